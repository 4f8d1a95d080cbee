"""Go's function table (pclntab): functions, their names, and the tables that map code addresses to values.

Layout of Go 1.20 to 1.27, little-endian, 8-byte pointers; sources: `runtime.pcHeader`, `runtime._func`,
`runtime.functab` and cmd/link's pcln.go. The header is 8 bytes (magic u32, two zeros, instruction quantum
u8, pointer size u8), then u64: nfunc, nfiles, textStart, and the offsets, from the header, of the name,
compilation unit, file, pc-value and function tables. Names are never stripped.
"""

import mmap
import operator
import struct
from array import array
from bisect import bisect_right
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from symbolizer.go.errors import GoError
from symbolizer.go.pcvalue import PcValues, whole_table

HEADER_SIZE = 72
MAGIC_120 = 0xFFFFFFF1
"""The magic of Go 1.20 and everything since. Older ones were fffffffb (1.2), fffffffa (1.16) and fffffff0 (1.18)."""
OLDER_MAGICS = frozenset({0xFFFFFFF0, 0xFFFFFFFA, 0xFFFFFFFB})
MAX_MAGIC = 0xFFFFFFF9
MAX_NAME = 16 * 1024
NONE = 0xFFFFFFFF
"""An offset that refers to nothing."""

TOP_FRAME = 1
SP_WRITE = 2
ASSEMBLY = 4
"""Bits of Func.flag (internal/abi.FuncFlag)."""

PCDATA_INL_TREE_INDEX = 2
FUNCDATA_INL_TREE = 3

_HEADER = struct.Struct("<IBBBBQQQQQQQQ")
_FUNC = struct.Struct("<IiiIIIIIIiBBBB")
_STACK = struct.Struct("<16xI21xB")
_U32 = struct.Struct("<I")
_MAX_CACHED_STRINGS = 1 << 16
_MAX_CACHED_TABLES = 1 << 13
_MAX_CACHED_PAIRS = 1 << 19
_CHECKED_FUNCTIONS = 64


class Func(NamedTuple):
    """A `runtime._func`. `entry` is an offset from the start of Go's text; `at` is the record's file offset.

    `pcsp`, `pcfile` and `pcln` are offsets in the pc-value table, 0 = none.
    """

    entry: int
    name: int
    args: int
    deferreturn: int
    pcsp: int
    pcfile: int
    pcln: int
    npcdata: int
    cu_offset: int
    start_line: int
    func_id: int
    flag: int
    pad: int
    nfuncdata: int
    at: int


class Pclntab:
    """The table at a file offset of `data`. Only the sorted list of functions is held in memory, 8 bytes each."""

    def __init__(self, data: "mmap.mmap | bytes", offset: int) -> None:
        """Read and check the header and the function list. Raises GoError."""
        if not 0 <= offset <= len(data) - HEADER_SIZE:
            raise GoError("The Go function table lies outside the file.")
        self.data = data
        self.offset = offset
        (self.magic, pad1, pad2, self.quantum, pointer_size, self.count, _, self.text_start, *parts) = (
            _HEADER.unpack_from(data, offset)
        )
        if self.magic in OLDER_MAGICS:
            raise GoError("The program was built by a Go older than 1.20, which is not supported.")
        if not MAGIC_120 <= self.magic <= MAX_MAGIC or pad1 or pad2 or self.quantum not in {1, 2, 4}:
            raise GoError("The Go function table has no valid header.")
        if pointer_size != 8:
            raise GoError("Only 64-bit Go programs are supported.")
        if parts != sorted(parts) or parts[0] < HEADER_SIZE or offset + parts[4] + 8 * self.count + 4 > len(data):
            raise GoError("The Go function table claims parts outside the file.")
        self.offsets: tuple[int, ...] = tuple(parts)
        self._names, self._units, self._files, self._values, self._functions = (offset + part for part in parts)
        self._read_functions()
        self._strings: dict[int, str] = {}
        self._tables: dict[int, PcValues] = {}
        self._decoded = 0

    def _read_functions(self) -> None:
        pairs = array("I")
        pairs.frombytes(self.data[self._functions : self._functions + 8 * self.count + 4])
        self.entries, self._records = pairs[0::2], pairs[1::2]
        """The entry of each function as an offset in the text, and at the end the end of the text."""
        if not self.count or not all(map(operator.le, self.entries, self.entries[1:])):
            raise GoError("The Go function table is not sorted.")
        for index in range(0, self.count, max(1, self.count // _CHECKED_FUNCTIONS)):
            if self.function(index).entry != self.entries[index]:
                raise GoError("The Go function table has records of an unknown layout.")

    def find(self, offset: int) -> int | None:
        """The index of the function at an offset from the start of the text, or None."""
        index = bisect_right(self.entries, offset) - 1
        return index if 0 <= index < self.count else None

    def function(self, index: int) -> Func:
        """The record of a function. Raises GoError if it lies outside the file."""
        at = self._functions + self._records[index]
        try:
            return Func._make((*_FUNC.unpack_from(self.data, at), at))
        except struct.error as error:
            raise GoError("A Go function record lies outside the file.") from error

    def stack_tables(self) -> Iterator[tuple[int, int]]:
        """(pcsp, flag) of every function, in order. Raises GoError if a record lies outside the file."""
        read, base = _STACK.unpack_from, self._functions
        try:
            for record in self._records[: self.count]:
                yield read(self.data, base + record)
        except struct.error as error:
            raise GoError("A Go function record lies outside the file.") from error

    def name(self, offset: int) -> str:
        """The function name at an offset in the name table; empty outside it."""
        return self._string(self._names + offset, self._units)

    def is_name(self, offset: int) -> bool:
        """Whether a name, and not the middle of one, begins at an offset in the name table."""
        at = self._names + offset
        return offset >= 0 and at < self._units and self.data[at - 1] == 0 and self.data[at] != 0

    def file(self, func: Func, number: int) -> str:
        """The path of a function's file, by the number that its pcfile table gives; empty if there is none."""
        if number < 0 or func.cu_offset == NONE:
            return ""
        at = self._units + 4 * (func.cu_offset + number)
        if at + 4 > self._files:
            return ""
        offset = self._u32(at)
        return "" if offset == NONE else self._string(self._files + offset, self._values)

    def pcdata(self, func: Func, table: int) -> int:
        """The offset of a function's PCDATA table in the pc-value table, 0 if it has none."""
        return self._u32(func.at + _FUNC.size + 4 * table) if table < func.npcdata else 0

    def funcdata(self, func: Func, table: int) -> int | None:
        """The offset of a function's FUNCDATA from moduledata.gofunc, None if it has none."""
        if table >= func.nfuncdata:
            return None
        offset = self._u32(func.at + _FUNC.size + 4 * (func.npcdata + table))
        return None if offset == NONE else offset

    def value(self, table: int, pc: int) -> int:
        """What a pc-value table says at a code offset from the function's entry; -1 if nothing. Raises GoError."""
        if not table:
            return -1
        values = self._tables.get(table)
        if values is None:
            values = PcValues(self.data, self._values + table, self._functions, self.quantum)
            self._tables[table] = values
        before = len(values)
        result = values.at(pc)
        self._decoded += len(values) - before
        if self._decoded > _MAX_CACHED_PAIRS or len(self._tables) > _MAX_CACHED_TABLES:
            self._tables.clear()
            self._decoded = 0
        return result

    def pairs(self, table: int) -> tuple[Sequence[int], Sequence[int]]:
        """All of a pc-value table, not kept: the code offsets at which values end, and the values. Raises GoError."""
        return whole_table(self.data, self._values + table, self._functions, self.quantum)

    def named(self, names: Collection[str]) -> Iterator[tuple[str, int]]:
        """(name, index) of every function that bears one of the names exactly, by address."""
        wanted = {}
        for name in names:
            at = self.data.find(b"\0" + name.encode() + b"\0", self._names - 1, self._units)
            if at >= 0:
                wanted[at + 1 - self._names] = name
        if not wanted:
            return
        read, base = _U32.unpack_from, self._functions + 4
        for index in range(self.count):
            try:
                (offset,) = read(self.data, base + self._records[index])
            except struct.error:
                continue
            if offset in wanted:
                yield wanted[offset], index

    def _u32(self, at: int) -> int:
        try:
            return int(_U32.unpack_from(self.data, at)[0])
        except struct.error as error:
            raise GoError("A Go table lies outside the file.") from error

    def _string(self, start: int, limit: int) -> str:
        found = self._strings.get(start)
        if found is None:
            if len(self._strings) >= _MAX_CACHED_STRINGS:
                self._strings.clear()
            end = -1
            if self.offset <= start < limit:
                end = self.data.find(b"\0", start, min(limit, start + MAX_NAME))
            found = self._strings[start] = self.data[start:end].decode("utf-8", "replace") if end >= 0 else ""
        return found
