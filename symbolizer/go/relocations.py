"""Words of a file as they are when it is loaded at its link address.

In position-independent programs a pointer in the file is filled in by a relocation. Go's linker and GNU ld
leave the link-time value in place as well, which is only a courtesy: where it is missing, the addend of the
R_X86_64_RELATIVE relocation says the same. Source: System V ABI, x86-64 supplement, `Elf64_Rela`.
"""

import struct
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
        if offset is None or offset + 8 > len(self._elf.data):
            raise GoError("The Go module data points outside the file.")
        value = int(_U64.unpack_from(self._elf.data, offset)[0])
        return value or self._addend(vaddr)

    def find(self, value: int) -> list[int]:
        """The file virtual addresses, 8-aligned and writable, of words that hold a value; at most _MAX_HITS."""
        pattern, data = _U64.pack(value), self._elf.data
        hits: list[int] = []
        for load in self._elf.loads:
            if not load.flags & PF_W:
                continue
            at, limit = load.offset, min(load.offset + load.filesz, len(data))
            while at < limit and len(hits) < _MAX_HITS:
                at = data.find(pattern, at, limit)
                if at < 0:
                    break
                vaddr = at - load.offset + load.vaddr
                if vaddr % 8 == 0:
                    hits.append(vaddr)
                at += 1
        return hits or self._relocated_to(pattern)

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

    def _relocated_to(self, addend: bytes) -> list[int]:
        start, end = self._table
        hits: list[int] = []
        at = start
        while at < end and len(hits) < _MAX_HITS:
            at = self._elf.data.find(addend, at, end)
            if at < 0:
                break
            if (at - start) % _RELA_SIZE == 16:
                place, info, _ = _RELA.unpack_from(self._elf.data, at - 16)
                if info == _R_X86_64_RELATIVE:
                    hits.append(place)
            at += 1
        return hits

    def _addend(self, vaddr: int) -> int:
        start, end = self._table
        pattern = _RELA.pack(vaddr, _R_X86_64_RELATIVE, 0)[:16]
        at = self._elf.data.find(pattern, start, end)
        while at >= 0 and (at - start) % _RELA_SIZE:
            at = self._elf.data.find(pattern, at + 1, end)
        return int(_U64.unpack_from(self._elf.data, at + 16)[0]) if 0 <= at <= end - _RELA_SIZE else 0
