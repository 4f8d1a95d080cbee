"""An ELF64 little-endian file, read through a memory map: headers, segments, sections, notes.

Written by hand rather than with pyelftools: files are hostile here, every table is bounded, and
opening must cost far less than a millisecond (see ARCHITECTURE.md).

Source of the layouts: System V ABI, `Elf64_Ehdr`, `Elf64_Phdr`, `Elf64_Shdr`, `Elf64_Nhdr`.
"""

import mmap
import os
import struct
from dataclasses import dataclass

PT_LOAD = 1
PT_NOTE = 4
PT_TLS = 7
PF_X = 1
PF_W = 2
ET_EXEC = 2
ET_DYN = 3
EM_X86_64 = 62
SHT_SYMTAB = 2
SHT_NOBITS = 8
SHT_DYNSYM = 11
MAX_SEGMENTS = 1024
MAX_SECTIONS = 65536
MAX_NAME = 256
MAX_NOTES = 64 * 1024

_EHDR = struct.Struct("<16sHHIQQQIHHHHHH")
_PHDR = struct.Struct("<IIQQQQQQ")
_SHDR = struct.Struct("<IIQQQQIIQQ")


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
        """Map the file at a path (or an open descriptor) and parse it. Raises OSError and ElfError."""
        fd = path if isinstance(path, int) else os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if os.fstat(fd).st_size == 0:
                raise ElfError("empty file")
            return cls(mmap.mmap(fd, 0, prot=mmap.PROT_READ))
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
        limit = min(limit, len(self.data), start + MAX_NAME)
        end = self.data.find(b"\0", start, limit)
        return bytes(self.data[start : max(start, end if end >= 0 else limit)]).decode("utf-8", "replace")

    def section(self, name: str) -> Section | None:
        """The first section of that name, or None."""
        return next((section for section in self.sections if section.name == name), None)

    def contents(self, section: Section) -> bytes:
        """A copy of a section's bytes, cut at the end of the file; empty for SHT_NOBITS."""
        if section.type == SHT_NOBITS:
            return b""
        return bytes(self.data[section.offset : section.offset + section.size])

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
