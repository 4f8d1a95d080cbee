"""Go's moduledata, read from the file: where the text begins and where the inline trees lie.

Source: `runtime.moduledata` of Go 1.20 to 1.27 (linux/amd64). It begins with the address of pcHeader and the
slices (address, length, capacity) funcnametab and cutab, then filetab, pctab, pclntable and ftab; then
findfunctab, minpc and maxpc. What follows differs by version.
"""

import struct
from dataclasses import dataclass

from symbolizer.elf.file import ElfFile
from symbolizer.go.buildinfo import Version
from symbolizer.go.errors import GoError
from symbolizer.go.pclntab import FUNCDATA_INL_TREE, Pclntab
from symbolizer.go.relocations import RelocatedWords

INLINED_CALL_SIZE = 16
_INLINED_CALL = struct.Struct("<B3siii")
_MAX_PADDING = 64
_FIRST_MINPC, _LAST_MINPC = 152, 248
_FIRST_GOFUNC, _LAST_GOFUNC = 296, 448
_GOFUNC = {26: 320, 27: 344}
"""Offset of `gofunc` from a minor version of Go 1 on."""
_PROBED_TREES = 24


@dataclass(frozen=True, slots=True)
class ModuleData:
    """In file virtual addresses. `gofunc` is the base of FUNCDATA offsets, None where it could not be found."""

    vaddr: int
    text: int
    gofunc: int | None


def find_module_data(elf: ElfFile, table: Pclntab, version: Version | None) -> ModuleData | None:
    """The module data that belongs to a function table, None if there is none to be recognised."""
    address = elf.vaddr_of(table.offset)
    if address is None:
        return None
    words = RelocatedWords(elf)
    for vaddr in words.find(address):
        try:
            if _begins_module_data(words, vaddr, address, table):
                text = _text(elf, words, vaddr, table)
                if text is not None:
                    return ModuleData(vaddr, text, _gofunc(elf, words, vaddr, table, version))
        except GoError:
            continue
    return None


def _begins_module_data(words: RelocatedWords, vaddr: int, address: int, table: Pclntab) -> bool:
    """Whether the slices after the pointer are those of the table; their lengths leave out some padding."""
    names, units, *_ = table.offsets
    length = words.word(vaddr + 16)
    return (
        words.word(vaddr + 8) == address + names
        and words.word(vaddr + 24) == length
        and 0 <= units - names - length < _MAX_PADDING
        and words.word(vaddr + 32) == address + units
    )


def _text(elf: ElfFile, words: RelocatedWords, vaddr: int, table: Pclntab) -> int | None:
    """The start of the text: `minpc` and `maxpc` are the words that span exactly what the function list spans."""
    first, last = table.entries[0], table.entries[table.count]
    for field in range(_FIRST_MINPC, _LAST_MINPC, 8):
        low, high = words.word(vaddr + field), words.word(vaddr + field + 8)
        if high - low == last - first and elf.executable_segment(low):
            return low - first
    return None


def _gofunc(elf: ElfFile, words: RelocatedWords, vaddr: int, table: Pclntab, version: Version | None) -> int | None:
    """`gofunc`: where its version keeps it, else the word that makes sense of the inline trees."""
    trees = _inline_trees(table)
    if not trees:
        return None
    known = _GOFUNC[26 if version and version < (1, 27) else 27]
    candidates = [known, *(field for field in range(_FIRST_GOFUNC, _LAST_GOFUNC, 8) if field != known)]
    for field in candidates:
        try:
            base = words.word(vaddr + field)
        except GoError:
            return None
        start = elf.offset_of(base)
        if start is not None and _plausible(table, start, trees):
            return base
    return None


def _inline_trees(table: Pclntab) -> list[tuple[int, int]]:
    """(offset from gofunc, size of the function) of the inline trees of some functions."""
    trees = []
    for index in range(table.count):
        func = table.function(index)
        tree = table.funcdata(func, FUNCDATA_INL_TREE)
        if tree is not None:
            trees.append((tree, table.entries[index + 1] - func.entry))
            if len(trees) == _PROBED_TREES:
                break
    return trees


def _plausible(table: Pclntab, start: int, trees: list[tuple[int, int]]) -> bool:
    """Whether every tree, counted from a file offset, could begin with a `runtime.inlinedCall`."""
    lines = 0
    for tree, size in trees:
        at = start + tree
        if at + _INLINED_CALL.size > len(table.data):
            return False
        _, padding, name, parent, start_line = _INLINED_CALL.unpack_from(table.data, at)
        if padding != b"\0\0\0" or not 0 <= parent < size or start_line < 0 or not table.is_name(name):
            return False
        lines += start_line
    return lines > 0
