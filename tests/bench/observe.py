"""The BPF programs and maps of another process, seen through the descriptors it holds.

Sources: the identifiers in /proc/PID/fdinfo (kernel/bpf/syscall.c, bpf_prog_show_fdinfo, bpf_map_show_fdinfo) and the
commands BPF_PROG_GET_FD_BY_ID, BPF_MAP_GET_FD_BY_ID, BPF_OBJ_GET_INFO_BY_FD and BPF_MAP_GET_NEXT_KEY of
include/uapi/linux/bpf.h.
"""

import ctypes
import errno
import os
import struct
from contextlib import suppress
from pathlib import Path

from bpf.maps import Map
from bpf.syscalls import bpf

_GET_NEXT_KEY, _PROGRAM_BY_ID, _MAP_BY_ID, _GET_INFO = 4, 13, 14, 15
_NAME_OFFSET = 64
"""Of `name` in struct bpf_prog_info."""
_ARRAY_OF_MAPS = 12
_COUNT_KEY, _COUNT_VALUE = 16, 8


def programs_of(pid: int) -> dict[str, int]:
    """Descriptors of ours for the BPF programs a process holds, by name. The caller closes them."""
    found = {}
    for fields in _fdinfo(pid, "bpf-prog"):
        descriptor = bpf(_PROGRAM_BY_ID, struct.pack("<III", int(fields["prog_id"]), 0, 0))
        found[_program_name(descriptor)] = descriptor
    return found


def count_maps_of(pid: int) -> list[int]:
    """Descriptors of ours for its two count maps. The caller closes them."""
    return [
        _map_by_id(int(fields["map_id"]))
        for fields in _fdinfo(pid, "bpf-map")
        if (int(fields["key_size"]), int(fields["value_size"])) == (_COUNT_KEY, _COUNT_VALUE)
    ]


def is_empty(descriptor: int) -> bool:
    """Whether a map has no element."""
    key = ctypes.create_string_buffer(_COUNT_KEY)
    try:
        bpf(_GET_NEXT_KEY, struct.pack("<IIQQ", descriptor, 0, 0, ctypes.addressof(key)))
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise
        return True
    return False


def map_memory_of(pid: int) -> int:
    """Kernel memory (bytes) of all maps a process holds, those inside of maps of maps included."""
    total = 0
    for fields in _fdinfo(pid, "bpf-map"):
        total += int(fields["memlock"])
        if int(fields["map_type"]) == _ARRAY_OF_MAPS:
            total += _inner_memory(int(fields["map_id"]))
    return total


def _inner_memory(map_id: int) -> int:
    descriptor = _map_by_id(map_id)
    try:
        outer = Map(descriptor)
        total = 0
        for index in range(outer.max_entries):
            inner = outer.lookup(index)  # the id of the inner map
            if inner is not None:
                number = _map_by_id(int.from_bytes(inner, "little"))
                total += Map(number).memory()
                os.close(number)
        return total
    finally:
        os.close(descriptor)


def _map_by_id(map_id: int) -> int:
    return bpf(_MAP_BY_ID, struct.pack("<III", map_id, 0, 0))


def _program_name(descriptor: int) -> str:
    info = ctypes.create_string_buffer(_NAME_OFFSET + 16)
    bpf(_GET_INFO, struct.pack("<IIQ", descriptor, len(info), ctypes.addressof(info)))
    return info.raw[_NAME_OFFSET:].split(b"\0")[0].decode()


def _fdinfo(pid: int, kind: str) -> list[dict[str, str]]:
    """The fields the kernel tells about each descriptor of a kind; none of those that have just been closed."""
    found = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            if str(link.readlink()) == f"anon_inode:{kind}":
                lines = Path(f"/proc/{pid}/fdinfo/{link.name}").read_text(encoding="ascii").splitlines()
                found.append(dict(line.split(":\t", 1) for line in lines if ":\t" in line))
    return found
