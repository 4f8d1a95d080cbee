"""Names of machine code made at run time, from the file that the program itself writes: /tmp/perf-PID.map.

Source of the format: the kernel's tools/perf/Documentation/jit-interface.txt: "START SIZE NAME" a line, both
numbers hexadecimal without 0x, the name up to the end of the line. Node.js, .NET, Java agents, Julia and
CPython write it, appending: a later line is right about memory that an earlier one speaks of.
"""

import os
import re
from array import array
from bisect import bisect_right
from collections.abc import Iterable
from heapq import heappop, heappush

from profiles.model import Frame
from symbolizer.regular import open_regular

MAX_SIZE = 64 << 20
MAX_ENTRIES = 1 << 18
"""Lines that are kept, the first of the file; about 20 bytes each, and the names."""
MAX_NAME = 1024
_CHUNK = 1 << 20
_MAX_LINE = 2048
_CACHED_FRAMES = 16384
_LINE = re.compile(rb"^(?:0x)?([0-9a-fA-F]{1,16}) (?:0x)?([0-9a-fA-F]{1,16}) ([^\n]{1,%d})" % MAX_NAME, re.MULTILINE)
_LAST = (1 << 64) - 1


class PerfMap:
    """The functions of one process's map, as memory looks after the last line."""

    def __init__(self, path: str) -> None:
        """Use `read`. `path` is the map as this process can open it."""
        self._path = path
        self._version: tuple[int, int, int] | None = None
        self._table = _Table(_Entries())
        self._frames: dict[int, tuple[Frame, ...]] = {}

    @classmethod
    def read(cls, proc_root: str, pid: int, namespace_pid: int) -> "PerfMap | None":
        """The map of a process, seen through its own root; None if there is none that can be read.

        `namespace_pid` is the process's number in its own PID namespace, by which it names the file.
        """
        found = cls(f"{proc_root}/{pid}/root/tmp/perf-{namespace_pid}.map")
        return found if found.refresh() else None

    def __len__(self) -> int:
        return len(self._table.starts)

    def refresh(self) -> bool:
        """Read the file again if it was changed, and say whether it was. What was read is kept if it has gone."""
        try:
            fd = open_regular(self._path)
        except OSError:
            return False
        try:
            status = os.fstat(fd)
            version = (status.st_ino, status.st_mtime_ns, status.st_size)
            if version == self._version:
                return False
            entries = _Entries()
            for lines in _chunks(fd):
                entries.add(lines)
        except OSError:
            return False
        finally:
            os.close(fd)
        self._version = version
        self._table = _Table(entries)
        self._frames = {}
        return True

    def symbolize(self, address: int) -> tuple[Frame, ...]:
        """One frame without file and line for an address of the process, or none where the map has nothing."""
        frames = self._frames.get(address)
        if frames is None:
            if len(self._frames) >= _CACHED_FRAMES:
                self._frames = {}
            name = self._table.find(address)
            frames = self._frames[address] = (Frame(name.decode("utf-8", "replace")),) if name else ()
        return frames


def _chunks(fd: int) -> Iterable[bytes]:
    """Whole lines of a file, about 1 MiB at a time, up to MAX_SIZE."""
    total, rest = 0, b""
    while total < MAX_SIZE and (chunk := os.read(fd, _CHUNK)):
        total += len(chunk)
        lines, _, rest = (rest + chunk).rpartition(b"\n")
        rest = rest[:_MAX_LINE]
        yield lines
    yield rest


class _Entries:
    """The lines of a map: addresses, and where each name begins in `names`."""

    def __init__(self) -> None:
        self.starts = array("Q")
        self.ends = array("Q")
        self.offsets = array("I")
        self.names = bytearray()

    def add(self, lines: bytes) -> None:
        """Keep what whole lines say; lines of another form, and empty ranges, are passed over."""
        for start_digits, size_digits, name in _LINE.findall(lines):
            if len(self.starts) >= MAX_ENTRIES:
                return
            start = int(start_digits, 16)
            end = min(start + int(size_digits, 16), _LAST)
            if start < end:
                self.starts.append(start)
                self.ends.append(end)
                self.offsets.append(len(self.names))
                self.names += name
                self.names += b"\n"


class _Table:
    """Address ranges that do not overlap, sorted."""

    def __init__(self, entries: _Entries) -> None:
        """Where entries overlap, the later one holds."""
        self.starts = array("Q")
        self._ends = array("Q")
        self._offsets = array("I")
        self._names = entries.names
        self._flatten(entries)

    def find(self, address: int) -> bytes:
        """The name of the function at an address, empty if there is none."""
        position = bisect_right(self.starts, address) - 1
        if position < 0 or address >= self._ends[position]:
            return b""
        start = self._offsets[position]
        return bytes(self._names[start : self._names.index(b"\n", start)])

    def _flatten(self, entries: _Entries) -> None:
        """Sweep over the addresses; of the entries open at each, the last one of the file names it."""
        starts, ends = entries.starts, entries.ends
        order = sorted(range(len(starts)), key=starts.__getitem__)
        opened: list[int] = []  # a heap of negative indexes: the last entry comes first
        position = at = 0
        while position < len(order) or opened:
            if not opened:
                at = starts[order[position]]
            while position < len(order) and starts[order[position]] <= at:
                heappush(opened, -order[position])
                position += 1
            while opened and ends[-opened[0]] <= at:
                heappop(opened)
            if not opened:
                continue
            index = -opened[0]
            until = min(ends[index], starts[order[position]] if position < len(order) else _LAST)
            self._append(at, until, entries.offsets[index])
            at = until

    def _append(self, start: int, end: int, offset: int) -> None:
        if self._offsets and self._offsets[-1] == offset and self._ends[-1] == start:
            self._ends[-1] = end
            return
        self.starts.append(start)
        self._ends.append(end)
        self._offsets.append(offset)
