"""Which Go built a file, and the build id it was given.

Sources: `.go.buildinfo` as written by cmd/link (`(*Link).buildinfo`) and read by debug/buildinfo; the note
of cmd/link's `elfgobuildid` (Elf64_Nhdr, owner "Go", type 4).
"""

import re
import struct

from symbolizer.elf.file import PF_W, PF_X, PT_NOTE, SHT_NOBITS, ElfFile
from symbolizer.go.varint import uvarint

Version = tuple[int, int, int]

_MAGIC = b"\xff Go buildinf:"
_HEADER = 32
_INLINE_STRINGS = 2
_ALIGNMENT = 16
_MAX_VERSION = 256
_NHDR = struct.Struct("<III")
_NT_GO_BUILD_ID = 4
_MAX_NOTES = 64 * 1024
_MAX_BUILD_ID = 4096
_VERSION = re.compile(r"go(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?")


def go_version(elf: ElfFile) -> Version | None:
    """(major, minor, patch) of the toolchain; None if the file does not say (as garbled and ancient ones do not).

    Suffixes are ignored: "go1.25.0 X:nodwarf5", "devel go1.28-abcdef".
    """
    position = _find(elf)
    if position is None or not elf.data[position + 15] & _INLINE_STRINGS:
        return None
    try:
        length, start = uvarint(elf.data, position + _HEADER)
    except IndexError:
        return None
    text = elf.data[start : start + min(length, _MAX_VERSION)].decode("utf-8", "replace")
    found = _VERSION.search(text)
    return (int(found[1]), int(found[2]), int(found[3] or 0)) if found else None


def go_build_id(elf: ElfFile) -> str:
    """The build id that the go command wrote ("action/.../content"), empty if there is none."""
    for segment in elf.segments:
        if segment.type == PT_NOTE:
            found = _go_note(elf.data[segment.offset : segment.offset + min(segment.filesz, _MAX_NOTES)])
            if found:
                return found
    return ""


def _find(elf: ElfFile) -> int | None:
    """The file offset of the build info: in its section, else in a writable segment.

    Position-independent programs have two writable segments, the first of them for relocated constants.
    """
    section = elf.section(".go.buildinfo")
    if section and section.type != SHT_NOBITS:
        places = [(section.offset, section.size)]
    else:
        places = [(load.offset, load.filesz) for load in elf.loads if load.flags & (PF_W | PF_X) == PF_W]
    for start, size in places:
        at, limit = start, min(start + size, len(elf.data))
        while at + _HEADER < limit:
            at = elf.data.find(_MAGIC, at, limit - _HEADER)
            if at < 0:
                break
            if (at - start) % _ALIGNMENT == 0 or at % _ALIGNMENT == 0:
                return at
            at += 1
    return None


def _go_note(notes: bytes) -> str:
    at = 0
    while at + _NHDR.size <= len(notes):
        name_size, size, type_ = _NHDR.unpack_from(notes, at)
        name = at + _NHDR.size
        start = name + (name_size + 3 & ~3)
        if type_ == _NT_GO_BUILD_ID and notes[name : name + name_size] == b"Go\0\0":
            return notes[start : start + min(size, _MAX_BUILD_ID)].decode("utf-8", "replace")
        at = start + (size + 3 & ~3)
    return ""
