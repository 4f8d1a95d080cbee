"""The consumer side of a BPF ring buffer (kernel/bpf/ringbuf.c), by mmap.

The consumer page is writable; the producer page and the data follow, the data mapped twice in a row so that a
record is never split. Records: u32 length (bit 31 busy, bit 30 discarded), u32 page offset, then the payload,
padded to 8 bytes.
"""

import mmap
from collections.abc import Iterator

from bpf.maps import Map

_HEADER = 8
_BUSY = 1 << 31
_DISCARDED = 1 << 30
_LENGTH = (1 << 30) - 1


class RingBuffer:
    """Reads records that programs have put into a ring buffer. `fileno()` is readable when they ask for it."""

    def __init__(self, descriptor: int) -> None:
        """Map the ring of a map descriptor. Raises OSError."""
        self._descriptor = descriptor
        size = Map(descriptor).max_entries
        self._mask = size - 1
        page = mmap.PAGESIZE
        self._consumer_map = mmap.mmap(descriptor, page, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        self._producer_map = mmap.mmap(descriptor, page + 2 * size, mmap.MAP_SHARED, mmap.PROT_READ, offset=page)
        # Views of u64 make one load or store of a position: it is never seen half-written.
        self._consumer = memoryview(self._consumer_map).cast("Q")
        self._producer = memoryview(self._producer_map)[:page].cast("Q")
        self._data = memoryview(self._producer_map)[page:]
        self._lengths = self._data.cast("I")

    def fileno(self) -> int:
        """For epoll."""
        return self._descriptor

    def records(self) -> Iterator[memoryview]:
        """Every finished record now in the ring; each view holds only until the next one is asked for."""
        position = self._consumer[0]
        while position < self._producer[0]:
            start = position & self._mask
            header = self._lengths[start >> 2]
            if header & _BUSY:
                return
            length = header & _LENGTH
            if not header & _DISCARDED:
                yield self._data[start + _HEADER : start + _HEADER + length]
            position += (_HEADER + length + 7) & ~7
            self._consumer[0] = position

    def close(self) -> None:
        """Unmap; the descriptor stays open."""
        for view in (self._consumer, self._producer, self._lengths, self._data):
            view.release()
        self._consumer_map.close()
        self._producer_map.close()
