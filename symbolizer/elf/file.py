"""An ELF64 little-endian file, read through a memory map: headers, segments, sections, notes.

Written by hand rather than with pyelftools: files are hostile here, every table is bounded, and
opening must cost far less than a millisecond (see ARCHITECTURE.md).

Source of the layouts: System V ABI, `Elf64_Ehdr`, `Elf64_Phdr`, `Elf64_Shdr`, `Elf64_Nhdr`.
"""

import mmap
import os
import struct
import weakref
from dataclasses import dataclass
from functools import cached_property

from symbolizer.regular import open_regular

PT_LOAD = 1
PT_NOTE = 4
PT_TLS = 7
PF_X = 1
PF_W = 2
ET_EXEC = 2
ET_DYN = 3
EM_X86_64 = 62
SHT_SYMTAB = 2
SHT_NOTE = 7
SHT_NOBITS = 8
SHT_DYNSYM = 11
LARGE = 16 << 20
"""Bytes from which a file counts as large: reading all its tables takes long, and much memory."""
MAX_SEGMENTS = 1024
MAX_SECTIONS = 65536
MAX_NAME = 256
MAX_NOTES = 64 * 1024
"""Bytes of one note section or segment that are looked at."""
MAX_CONTENTS = 512 << 20
"""Bytes of a section that are copied at most: above the largest tables known, below what would hurt."""
NT_GNU_BUILD_ID = 3
MAX_BUILD_ID = 64
"""Bytes; linkers write 16 (MD5, UUID) or 20 (SHA-1), and ld takes any hexadecimal string."""

_EHDR = struct.Struct("<16sHHIQQQIHHHHHH")
_PHDR = struct.Struct("<IIQQQQQQ")
_SHDR = struct.Struct("<IIQQQQIIQQ")
_NHDR = struct.Struct("<III")


class ElfError(ValueError):
    """The file is not an ELF file that can be read: truncated, of another class, or lying about its tables."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A program header. `offset` and `filesz` are in the file, `vaddr` and `memsz` in file virtual addresses."""

    type: int
    flags: int
    offset: int
    vaddr: int
    filesz: int
    memsz: int


@dataclass(frozen=True, slots=True)
class Section:
    """A section header with its name."""

    name: str
    type: int
    flags: int
    addr: int
    offset: int
    size: int
    link: int
    info: int
    entsize: int


class ElfFile:
    """A read-only view of one ELF file. `data` is the mapped file (or bytes in tests)."""

    def __init__(self, data: "mmap.mmap | bytes") -> None:
        """Parse the headers of `data`. Raises ElfError."""
        self.data = data
        self.path = ""
        """The name it was opened by, empty where it was no name."""
        self.descriptor: int | None = None
        """An open descriptor of a large file, so that another process can be given it; closed with this object."""
        if len(data) < _EHDR.size or data[:4] != b"\x7fELF":
            raise ElfError("not an ELF file")
        if data[4] != 2 or data[5] != 1:
            raise ElfError("not a 64-bit little-endian ELF file")
        header = _EHDR.unpack_from(data, 0)
        self.type: int = header[1]
        self.machine: int = header[2]
        self.entry: int = header[4]
        self.segments = self._read_segments(header[5], header[9], header[10])
        self.sections = self._read_sections(header[6], header[11], header[12], header[13])
        self.loads = tuple(segment for segment in self.segments if segment.type == PT_LOAD)

    @classmethod
    def open(cls, path: str | int) -> "ElfFile":
        """Map the regular file at a path (or an open descriptor) and parse it. Raises OSError and ElfError.

        The map keeps the file: it stays readable when its name is gone.
        """
        fd = path if isinstance(path, int) else open_regular(path)
        try:
            size = os.fstat(fd).st_size
            if size == 0:
                raise ElfError("empty file")
            elf = cls(mmap.mmap(fd, 0, prot=mmap.PROT_READ))
            elf.path = path if isinstance(path, str) else ""
            if size >= LARGE:
                elf.descriptor = os.dup(fd)
                weakref.finalize(elf, os.close, elf.descriptor)
            return elf
        except ValueError as error:
            raise ElfError(str(error)) from error
        finally:
            if not isinstance(path, int):
                os.close(fd)

    def _read_segments(self, offset: int, size: int, count: int) -> tuple[Segment, ...]:
        if count > MAX_SEGMENTS or (count and size < _PHDR.size) or offset + size * count > len(self.data):
            raise ElfError("program headers lie outside the file")
        segments = []
        for index in range(count):
            type_, flags, start, vaddr, _, filesz, memsz, _ = _PHDR.unpack_from(self.data, offset + index * size)
            segments.append(Segment(type_, flags, start, vaddr, filesz, memsz))
        return tuple(segments)

    def _read_sections(self, offset: int, size: int, count: int, names: int) -> tuple[Section, ...]:
        """The sections, or none where the table is missing or damaged: code can be found without it."""
        if not offset or size < _SHDR.size or count > MAX_SECTIONS or offset + size * count > len(self.data):
            return ()
        raw = [_SHDR.unpack_from(self.data, offset + index * size) for index in range(count)]
        strings = raw[names] if names < count else None
        sections = []
        for name, type_, flags, addr, start, length, link, info, _, entsize in raw:
            text = self._string(strings[4] + name, strings[4] + strings[5]) if strings else ""
            sections.append(Section(text, type_, flags, addr, start, length, link, info, entsize))
        return tuple(sections)

    def _string(self, start: int, limit: int) -> str:
        return self.string(start, limit, MAX_NAME).decode("utf-8", "replace")

    def string(self, start: int, limit: int, longest: int) -> bytes:
        """The bytes from a file offset to the next NUL, `limit` (an offset), or `longest` bytes, whichever is first."""
        limit = min(limit, len(self.data), start + longest)
        if start >= limit:
            return b""  # also keeps offsets beyond 63 bits away from mmap.find
        end = self.data.find(b"\0", start, limit)
        return self.data[start : end if end >= 0 else limit]

    def section(self, name: str) -> Section | None:
        """The first section of that name, or None."""
        return next((section for section in self.sections if section.name == name), None)

    def contents(self, section: Section) -> bytes:
        """A copy of a section's bytes, cut at the end of the file and at MAX_CONTENTS; empty for SHT_NOBITS."""
        if section.type == SHT_NOBITS:
            return b""
        return self.data[section.offset : section.offset + min(section.size, MAX_CONTENTS)]

    @cached_property
    def build_id(self) -> str:
        """The GNU build id in hex, empty if there is none.

        From the note sections, else from the PT_NOTE segments: in a file made by `objcopy --only-keep-debug`
        only the sections still tell where the note is.
        """
        ranges = [(section.offset, section.size) for section in self.sections if section.type == SHT_NOTE]
        ranges += [(segment.offset, segment.filesz) for segment in self.segments if segment.type == PT_NOTE]
        for offset, size in ranges[:16]:
            found = _build_id_in(self.data[offset : offset + min(size, MAX_NOTES)])
            if found:
                return found
        return ""

    def release(self) -> None:
        """Give back the pages that were read. They stay in the page cache and fault in again when touched."""
        if isinstance(self.data, mmap.mmap):
            self.data.madvise(mmap.MADV_DONTNEED)

    def offset_of(self, vaddr: int) -> int | None:
        """The file offset that is loaded at a file virtual address, or None."""
        for segment in self.loads:
            if segment.vaddr <= vaddr < segment.vaddr + segment.filesz:
                return vaddr - segment.vaddr + segment.offset
        return None

    def vaddr_of(self, offset: int) -> int | None:
        """The file virtual address at which an offset of the file is loaded, or None; executable segments first."""
        for segment in sorted(self.loads, key=lambda load: not load.flags & PF_X):
            if segment.offset <= offset < segment.offset + segment.filesz:
                return offset - segment.offset + segment.vaddr
        return None

    def executable_segment(self, vaddr: int) -> Segment | None:
        """The executable load segment that holds a file virtual address, or None."""
        for segment in self.loads:
            if segment.flags & PF_X and segment.vaddr <= vaddr < segment.vaddr + segment.memsz:
                return segment
        return None


def _build_id_in(notes: bytes) -> str:
    """The build id among notes (Elf64_Nhdr: namesz, descsz, type; name and descriptor each padded to 4 bytes)."""
    at = 0
    while at + _NHDR.size <= len(notes):
        name_size, size, type_ = _NHDR.unpack_from(notes, at)
        name = at + _NHDR.size
        start = name + (name_size + 3 & ~3)
        if type_ == NT_GNU_BUILD_ID and notes[name : name + name_size] == b"GNU\0" and 0 < size <= MAX_BUILD_ID:
            return notes[start : start + size].hex() if start + size <= len(notes) else ""
        at = start + (size + 3 & ~3)
    return ""
