"""The functions of one ELF symbol table, sorted by address.

A table costs 12 bytes a function in memory (its address, and its index in the file's table); sizes and names
are read from the mapped file when an address is looked up.

Source of the layout: System V ABI, `Elf64_Sym`: st_name u32, st_info u8, st_other u8, st_shndx u16,
st_value u64, st_size u64, little-endian.
"""

import struct
from array import array
from bisect import bisect_right
from collections.abc import Iterable
from typing import NamedTuple

from symbolizer.elf.file import SHT_NOBITS, ElfFile, Section

MAX_ENTRIES = 1 << 23
"""Entries of a table that are looked at; what lies behind stays unsymbolized. (Chromium's has about 3 million.)"""
MAX_FUNCTIONS = 1 << 21
"""Functions that are kept: 24 MiB, and about 100 MiB for the moment of sorting."""
MAX_SYMBOL_NAME = 4096
LOOK_BACK = 16
"""How many symbols before the nearest one may enclose an address (functions nested by hand-written assembly)."""

SHF_EXECINSTR = 4
_SYM = struct.Struct("<IBBHQQ")
_CHUNK = 1 << 15
_INDEX_BITS = 23
_RANK_BITS = 4
_UNSIZED = 4


def _rank_of_info() -> bytes:
    """For each st_info: 0 = no function, else how good its name is among several at one address, 1 the best.

    STT_FUNC and STT_GNU_IFUNC: global (also STB_GNU_UNIQUE) 1, weak 2, local 3. STT_NOTYPE, which assembly
    leaves on its functions: 4. Without a size, _UNSIZED is added.
    """
    ranks = bytearray(256)
    for bind, rank in ((0, 3), (1, 1), (2, 2), (10, 1)):
        ranks[bind << 4 | 0] = 4
        ranks[bind << 4 | 2] = rank
        ranks[bind << 4 | 10] = rank
    return bytes(ranks)


_RANKS = _rank_of_info()


class Symbol(NamedTuple):
    """A function: `address` in file virtual addresses, `size` in bytes (0 = unknown), its entry's number."""

    address: int
    size: int
    entry: int


class SymbolTable:
    """The functions of one `.symtab` or `.dynsym` section, read when this is made."""

    def __init__(self, elf: ElfFile, section: Section) -> None:
        """Read the table. One that lies about its place or size has fewer symbols, or none; nothing is raised."""
        self._elf = elf
        self._offset = section.offset
        size = 0 if section.type == SHT_NOBITS else max(0, min(section.size, len(elf.data) - section.offset))
        self._count = min(size // _SYM.size, MAX_ENTRIES)
        strings = elf.sections[section.link] if section.link < len(elf.sections) else None
        self._strings = strings.offset if strings else 0
        self._strings_end = strings.offset + strings.size if strings else 0
        self._starts = array("Q")
        self._indexes = array("I")
        if self._count and strings:
            self._load()

    def __len__(self) -> int:
        return len(self._starts)

    @property
    def footprint(self) -> int:
        """Bytes of memory the table takes."""
        return len(self._starts) * (self._starts.itemsize + self._indexes.itemsize)

    def find(self, address: int) -> Symbol | None:
        """The function whose code holds a file virtual address, or None between functions.

        A symbol without a size reaches to the next symbol or to the end of its section.
        """
        nearest = bisect_right(self._starts, address) - 1
        if nearest < 0 or address >> 64:
            return None
        unsized = None
        for position in range(nearest, max(-1, nearest - LOOK_BACK), -1):
            index = self._indexes[position]
            start = self._starts[position]
            _, _, _, section, _, size = self._entry(index)
            if address - start < size:
                return Symbol(start, size, index)
            if not size and position == nearest and self._in_section(address, section):
                unsized = Symbol(start, 0, index)
        return unsized

    def name(self, symbol: Symbol) -> str:
        """The linker's name of a symbol, at most MAX_SYMBOL_NAME bytes of it; bytes that are not UTF-8 are replaced."""
        start = self._strings + self._entry(symbol.entry)[0]
        return self._elf.string(start, self._strings_end, MAX_SYMBOL_NAME).decode("utf-8", "replace")

    def _entry(self, index: int) -> tuple[int, int, int, int, int, int]:
        return _SYM.unpack_from(self._elf.data, self._offset + index * _SYM.size)

    def _in_section(self, address: int, index: int) -> bool:
        if index >= len(self._elf.sections):  # it was one of them when the table was read; the file was changed since
            return False
        section = self._elf.sections[index]
        return address - section.addr < section.size

    def _load(self) -> None:
        keys: list[int] = []
        for first in range(0, self._count, _CHUNK):
            self._gather(first, min(_CHUNK, self._count - first), keys)
            if len(keys) >= MAX_FUNCTIONS:
                del keys[MAX_FUNCTIONS:]
                break
        keys.sort()
        self._keep(keys)

    def _gather(self, first: int, count: int, keys: list[int]) -> None:
        """Append one number per function: address, rank and index, so that sorting them puts the best name first."""
        start = self._offset + first * _SYM.size
        words = array("Q", self._elf.data[start : start + count * _SYM.size])
        code = {i for i, section in enumerate(self._elf.sections) if section.flags & SHF_EXECINSTR}
        ranks = _RANKS
        keys.extend(
            (value << _RANK_BITS | (rank if size else rank + _UNSIZED)) << _INDEX_BITS | index
            for index, (head, value, size) in enumerate(zip(words[0::3], words[1::3], words[2::3], strict=True), first)
            if (rank := ranks[head >> 32 & 0xFF]) and head >> 48 in code and head & 0xFFFFFFFF
        )

    def _keep(self, keys: Iterable[int]) -> None:
        """Keep one symbol for each address: of equals in rank, the one with the fewest leading underscores."""
        starts, indexes = self._starts, self._indexes
        mask = (1 << _INDEX_BITS) - 1
        last_ranked = last = -1
        for key in keys:
            ranked = key >> _INDEX_BITS
            address = ranked >> _RANK_BITS
            if address != last:
                starts.append(address)
                indexes.append(key & mask)
                last, last_ranked = address, ranked
            elif ranked == last_ranked and self._underscores(key & mask) < self._underscores(indexes[-1]):
                indexes[-1] = key & mask

    def _underscores(self, index: int) -> int:
        start = self._strings + self._entry(index)[0]
        name = self._elf.string(start, self._strings_end, 8)
        return len(name) - len(name.lstrip(b"_"))
