"""Words of a file as they are when it is loaded at its link address.

In position-independent programs a pointer in the file is filled in by a relocation. Go's linker and GNU ld
leave the link-time value in place as well, which is only a courtesy: where it is missing, the addend of the
R_X86_64_RELATIVE relocation says the same. Source: System V ABI, x86-64 supplement, `Elf64_Rela`.
"""

import mmap
import struct
from collections.abc import Iterator
from functools import cached_property

from symbolizer.elf.file import PF_W, ElfFile
from symbolizer.go.errors import GoError

_PT_DYNAMIC = 2
_DT_RELA = 7
_DT_RELASZ = 8
_RELA_SIZE = 24
_R_X86_64_RELATIVE = 8
_MAX_DYNAMIC = 1024
_MAX_HITS = 64
_U64 = struct.Struct("<Q")
_RELA = struct.Struct("<QQQ")
_DYN = struct.Struct("<QQ")


class RelocatedWords:
    """Reads and finds 8-byte words of the loaded segments of a file."""

    def __init__(self, elf: ElfFile) -> None:
        """Nothing is read yet."""
        self._elf = elf

    def word(self, vaddr: int) -> int:
        """The word at a file virtual address. Raises GoError where the file has none."""
        offset = self._elf.offset_of(vaddr)
        if offset is None or offset + 8 > len(self._elf.data) or vaddr >= 1 << 64:
            raise GoError("The Go module data points outside the file.")
        value = int(_U64.unpack_from(self._elf.data, offset)[0])
        return value or self._addend(vaddr)

    def find(self, value: int) -> Iterator[int]:
        """The file virtual addresses, 8-aligned, of writable words that hold a value; those relocated to it last."""
        if value >= 1 << 64:
            return
        pattern, data = _U64.pack(value), self._elf.data
        for load in self._elf.loads:
            if load.flags & PF_W:
                for at in _occurrences(data, pattern, load.offset, load.offset + load.filesz):
                    vaddr = at - load.offset + load.vaddr
                    if vaddr % 8 == 0:
                        yield vaddr
        start, end = self._table
        for at in _occurrences(data, pattern, start, end):
            if (at - start) % _RELA_SIZE == 16:
                place, info, _ = _RELA.unpack_from(data, at - 16)
                if info == _R_X86_64_RELATIVE:
                    yield place

    @cached_property
    def _table(self) -> tuple[int, int]:
        """The file offsets at which the relocations begin and end; equal if there are none."""
        entries: dict[int, int] = {}
        dynamic = next((segment for segment in self._elf.segments if segment.type == _PT_DYNAMIC), None)
        if dynamic is None:
            return 0, 0
        end = min(dynamic.offset + min(dynamic.filesz, _MAX_DYNAMIC * _DYN.size), len(self._elf.data))
        for at in range(dynamic.offset, end - _DYN.size + 1, _DYN.size):
            tag, value = _DYN.unpack_from(self._elf.data, at)
            entries.setdefault(tag, value)
        start = self._elf.offset_of(entries.get(_DT_RELA, 0)) if _DT_RELA in entries else None
        if start is None:
            return 0, 0
        return start, min(start + entries.get(_DT_RELASZ, 0), len(self._elf.data))

    def _addend(self, vaddr: int) -> int:
        start, end = self._table
        pattern = _RELA.pack(vaddr, _R_X86_64_RELATIVE, 0)[:16]
        for at in _occurrences(self._elf.data, pattern, start, end):
            if (at - start) % _RELA_SIZE == 0 and at + _RELA_SIZE <= end:
                return int(_U64.unpack_from(self._elf.data, at + 16)[0])
        return 0


def _occurrences(data: "mmap.mmap | bytes", pattern: bytes, start: int, end: int) -> Iterator[int]:
    """The offsets of a pattern within a part of the data, the first _MAX_HITS."""
    at = start
    end = min(end, len(data))
    for _ in range(_MAX_HITS):
        at = data.find(pattern, at, end) if at < end else -1
        if at < 0:
            return
        yield at
        at += 1
