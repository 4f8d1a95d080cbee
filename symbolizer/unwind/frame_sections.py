"""Where a file keeps its call frame information: `.eh_frame`, which is loaded with the code, and `.debug_frame`.

Sources: Linux Standard Base Core, "Exception Frames" (`.eh_frame`, `.eh_frame_hdr`); DWARF 5, section 6.4.1
(`.debug_frame`); System V gABI, `Elf64_Chdr` (compressed sections).
"""

import struct
import zlib
from dataclasses import dataclass

from symbolizer.elf.file import SHT_NOBITS, ElfFile, Section
from symbolizer.unwind.frame_pointers import PC_RELATIVE, RELATION, FrameError, pointer

MAX_TABLE = 64 << 20
"""Bytes of one section that are looked at; a library of 110 MB has 5 MB of them."""

_PT_GNU_EH_FRAME = 0x6474E550
_SHF_COMPRESSED = 0x800
_ELFCOMPRESS_ZLIB = 1
_CHDR = struct.Struct("<IIQQ")
_DATA_RELATIVE = 0x30


@dataclass(frozen=True, slots=True)
class FrameSection:
    """A copy of one section. `address` is the file virtual address of its first byte, 0 where it is not loaded."""

    data: bytes
    address: int = 0
    debug: bool = False
    """`.debug_frame`, whose entries refer to each other in another way."""
    bounded: bool = True
    """Whether `data` ends with the section; if not, the section ends at its zero terminator."""


EMPTY = FrameSection(b"")


def exception_frames(elf: ElfFile) -> FrameSection:
    """`.eh_frame`: by its section, or where that is not told, by PT_GNU_EH_FRAME. Empty if absent or damaged."""
    section = elf.section(".eh_frame")
    if section and section.type != SHT_NOBITS and section.size:
        return FrameSection(_start_of(elf, section), section.addr)
    try:
        return _by_header(elf)
    except FrameError:
        return EMPTY


def debug_frames(elf: ElfFile, debug: ElfFile | None) -> FrameSection:
    """`.debug_frame` of the file itself or else of its separate debug file. Empty if absent or damaged."""
    contents = (_contents(file, ".debug_frame") for file in (elf, debug) if file is not None)
    return FrameSection(next(filter(None, contents), b""), debug=True)


def _by_header(elf: ElfFile) -> FrameSection:
    """By `.eh_frame_hdr`: u8 version (1), u8 encoding of the pointer to `.eh_frame`, u16, the pointer."""
    for segment in elf.segments:
        if segment.type != _PT_GNU_EH_FRAME:
            continue
        header = elf.data[segment.offset : segment.offset + 16]
        if len(header) < 8 or header[0] != 1:
            raise FrameError("no .eh_frame_hdr of a known version")
        relation = header[1] & RELATION
        base = {PC_RELATIVE: segment.vaddr + 4, _DATA_RELATIVE: segment.vaddr}.get(relation, 0)
        encoding = header[1] & ~RELATION | (PC_RELATIVE if base else relation)
        address, _ = pointer(header, 4, encoding, base)
        return _loaded_at(elf, address)
    return EMPTY


def _loaded_at(elf: ElfFile, address: int) -> FrameSection:
    """From a file virtual address to the end of the segment."""
    for segment in elf.loads:
        if segment.vaddr <= address < segment.vaddr + segment.filesz:
            start = address - segment.vaddr
            size = min(segment.filesz - start, MAX_TABLE)
            data = elf.data[segment.offset + start : segment.offset + start + size]
            return FrameSection(data, address, bounded=False)
    return EMPTY


def _contents(elf: ElfFile, name: str) -> bytes:
    """A section's bytes, at most MAX_TABLE, unpacked if it is compressed; empty if it is absent or damaged."""
    section = elf.section(name)
    if section is None or section.type == SHT_NOBITS:
        return b""
    contents = _start_of(elf, section)
    if not section.flags & _SHF_COMPRESSED:
        return contents
    if len(contents) < _CHDR.size or _CHDR.unpack_from(contents)[0] != _ELFCOMPRESS_ZLIB:
        return b""
    try:
        return zlib.decompressobj().decompress(memoryview(contents)[_CHDR.size :], MAX_TABLE)
    except zlib.error:
        return b""


def _start_of(elf: ElfFile, section: Section) -> bytes:
    return elf.data[section.offset : section.offset + min(section.size, MAX_TABLE)]
