"""BPF maps by descriptor: single elements, batches, and draining a hash into one buffer.

Layouts: the map commands of union bpf_attr, include/uapi/linux/bpf.h.
"""

import ctypes
import errno
import struct
from collections.abc import Iterator

from bpf.syscalls import Command, bpf, fdinfo

_BATCH_COUNT_OFFSET = 32
_BATCH_SIZE = 56
MAP_TYPE_ARRAY = 2


class Map:
    """One map. Keys and values are bytes of exactly `key_size` and `value_size` (u32 keys may be given as int)."""

    def __init__(self, descriptor: int) -> None:
        """Take over a descriptor; its sizes are read from the kernel."""
        self.descriptor = descriptor
        fields = dict(line.split(":\t", 1) for line in fdinfo(descriptor) if ":\t" in line)
        self.key_size = int(fields["key_size"])
        self.value_size = int(fields["value_size"])
        self.max_entries = int(fields["max_entries"])

    def memory(self) -> int:
        """Bytes of kernel memory the map uses now."""
        fields = dict(line.split(":\t", 1) for line in fdinfo(self.descriptor) if ":\t" in line)
        return int(fields["memlock"])

    def _key(self, key: bytes | int) -> bytes:
        return key.to_bytes(self.key_size, "little") if isinstance(key, int) else key

    def _element(self, command: Command, key: bytes, value: ctypes.Array[ctypes.c_char] | None, flags: int = 0) -> None:
        buffer = ctypes.create_string_buffer(key, self.key_size)
        address = ctypes.addressof(value) if value is not None else 0
        bpf(command, struct.pack("<IIQQQ", self.descriptor, 0, ctypes.addressof(buffer), address, flags))

    def update(self, key: bytes | int, value: bytes) -> None:
        """Set an element. Raises OSError (E2BIG: the map is full)."""
        self._element(Command.MAP_UPDATE, self._key(key), ctypes.create_string_buffer(value, max(len(value), 1)))

    def lookup(self, key: bytes | int, cpus: int = 1) -> bytes | None:
        """An element's value, or None; of a per-CPU map the values of all `cpus` possible CPUs in a row."""
        value = ctypes.create_string_buffer(self.value_size * cpus)
        try:
            self._element(Command.MAP_LOOKUP, self._key(key), value)
        except OSError as error:
            if error.errno == errno.ENOENT:
                return None
            raise
        return value.raw

    def delete(self, key: bytes | int) -> bool:
        """Remove an element; False when it was not there."""
        try:
            self._element(Command.MAP_DELETE, self._key(key), None)
        except OSError as error:
            if error.errno == errno.ENOENT:
                return False
            raise
        return True

    def update_run(self, first: int, values: bytes) -> None:
        """Set consecutive elements of an array from index `first`. Raises OSError."""
        count = len(values) // self.value_size
        if not count:
            return
        keys = ctypes.create_string_buffer(struct.pack(f"<{count}I", *range(first, first + count)), 4 * count)
        buffer = ctypes.create_string_buffer(values, len(values))
        attributes = self.batch_attributes(keys, buffer, count, None, None)
        bpf(Command.MAP_UPDATE_BATCH, attributes)

    def batch_attributes(
        self,
        keys: ctypes.Array[ctypes.c_char],
        values: ctypes.Array[ctypes.c_char],
        count: int,
        start: ctypes.Array[ctypes.c_char] | None,
        end: ctypes.Array[ctypes.c_char] | None,
    ) -> ctypes.Array[ctypes.c_char]:
        """What the batch commands take: buffers, the number of elements, where to go on from and where to say so."""
        packed = struct.pack(
            "<QQQQIIQQ",
            *(ctypes.addressof(start) if start is not None else 0, ctypes.addressof(end) if end is not None else 0),
            *(ctypes.addressof(keys), ctypes.addressof(values), count, self.descriptor, 0, 0),
        )
        return ctypes.create_string_buffer(packed, _BATCH_SIZE)


class Drain:
    """Empties a hash map again and again through buffers that are made once."""

    def __init__(self, source: Map) -> None:
        """Prepare buffers for all elements of the map."""
        self._map = source
        self._keys = ctypes.create_string_buffer(source.key_size * source.max_entries)
        self._values = ctypes.create_string_buffer(source.value_size * source.max_entries)
        self._position = ctypes.create_string_buffer(max(source.key_size, 8))

    def take(self) -> tuple[memoryview, memoryview]:
        """Remove all elements: (keys, values) as views that hold until the next call. Raises OSError."""
        source, total, start = self._map, 0, None
        while total < source.max_entries:
            keys = (ctypes.c_char * (len(self._keys) - total * source.key_size)).from_buffer(
                self._keys, total * source.key_size
            )
            values = (ctypes.c_char * (len(self._values) - total * source.value_size)).from_buffer(
                self._values, total * source.value_size
            )
            attributes = source.batch_attributes(keys, values, source.max_entries - total, start, self._position)
            done = False
            try:
                bpf(Command.MAP_LOOKUP_AND_DELETE_BATCH, attributes)
            except OSError as error:
                if error.errno != errno.ENOENT:
                    raise
                done = True
            total += struct.unpack_from("<I", attributes, _BATCH_COUNT_OFFSET)[0]
            if done:
                break
            start = self._position
        return (
            memoryview(self._keys).cast("B")[: total * source.key_size],
            memoryview(self._values).cast("B")[: total * source.value_size],
        )


def elements(source: Map, chunk: int = 4096) -> Iterator[tuple[bytes, bytes]]:
    """All elements of a hash map, which stay in it. Raises OSError."""
    keys = ctypes.create_string_buffer(source.key_size * chunk)
    values = ctypes.create_string_buffer(source.value_size * chunk)
    position, start, done = ctypes.create_string_buffer(max(source.key_size, 8)), None, False
    while not done:
        attributes = source.batch_attributes(keys, values, chunk, start, position)
        try:
            bpf(Command.MAP_LOOKUP_BATCH, attributes)
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise
            done = True
        start = position
        all_keys, all_values = keys.raw, values.raw
        for index in range(struct.unpack_from("<I", attributes, _BATCH_COUNT_OFFSET)[0]):
            key, value = index * source.key_size, index * source.value_size
            yield all_keys[key : key + source.key_size], all_values[value : value + source.value_size]


def create_array(value_size: int, entries: int, name: str) -> int:
    """A new array map: its descriptor. Raises OSError."""
    attributes = struct.pack("<IIIIIII16s", MAP_TYPE_ARRAY, 4, value_size, entries, 0, 0, 0, name.encode()[:15])
    return bpf(Command.MAP_CREATE, attributes.ljust(72, b"\0"))
