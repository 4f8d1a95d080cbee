"""One executable file or library: where its code lies, and the functions at its addresses.

All addresses are file virtual addresses, so one Binary serves every process that maps the file.
"""

from dataclasses import dataclass
from functools import cached_property

from profiles.model import Frame, Kind, Mapping
from symbolizer.elf.debugfiles import find_debug_file
from symbolizer.elf.file import PF_X, ElfFile
from symbolizer.go.binary import GoBinary
from symbolizer.go.errors import GoError
from symbolizer.native import NativeSymbols, SymbolSource

PAGE = 4096
CACHED_ADDRESSES = 200_000
_ADDRESS_SIZE = 200
"""Bytes of a cached address with its tuples, roughly; frames are shared."""
_UNKNOWN: tuple[Kind, tuple[Frame, ...]] = (Kind.NATIVE, ())


@dataclass(frozen=True, slots=True)
class FileKey:
    """What tells one state of a file from all others on this machine: changed in place, it has another key."""

    device: int
    inode: int
    mtime_ns: int
    size: int


@dataclass(frozen=True, slots=True)
class _Code:
    """The file offsets of one executable segment, as far as they are mapped: whole pages."""

    first: int
    end: int
    begin_inside: int
    end_inside: int
    bias: int
    """File virtual address minus file offset."""
    mapping: Mapping


class Binary:
    """An ELF file, kept open: a process that exits keeps its names. For use by one thread at a time."""

    def __init__(self, elf: ElfFile, path: str, key: FileKey | None = None, debug: ElfFile | None = None) -> None:
        """`path` is what people are shown; `debug` the file's separate debug file."""
        self.elf = elf
        self.debug = debug
        self.path = path
        self.key = key
        self.build_id = elf.build_id
        """The GNU build id in hex, empty if there is none."""
        self.open_maps = 2 if debug else 1
        self.go_error = ""
        """Why Go's tables cannot be used, as a sentence; empty if they can, or are not there, or were not asked for."""
        self._native = NativeSymbols(elf, debug)
        self._code = tuple(_code_of(elf, path))
        self._recent: dict[int, tuple[Kind, tuple[Frame, ...]]] = {}
        self._older: dict[int, tuple[Kind, tuple[Frame, ...]]] = {}

    @classmethod
    def open(cls, file: str | int, path: str, key: FileKey | None = None, root: str = "") -> "Binary":
        """Map a file (a name or a descriptor) whose name is `path` below `root`, and look for its debug file there.

        The debug file is found now, while a container's root can still be reached, and read when needed.
        Raises OSError and ElfError.
        """
        elf = ElfFile.open(file)
        debug = None if elf.section(".symtab") else find_debug_file(elf, path, root)
        return cls(elf, path, key, debug)

    @classmethod
    def from_memory(cls, data: bytes, name: str = "[vdso]") -> "Binary":
        """A file that exists in memory only, such as the vDSO. Raises ElfError."""
        return cls(ElfFile(data), name)

    @cached_property
    def go(self) -> GoBinary | None:
        """What Go's runtime tables say; None for other programs and where the tables are damaged (`go_error`)."""
        try:
            return GoBinary.open(self.elf)
        except GoError as error:
            self.go_error = str(error)
            return None

    def symbolize(self, vaddr: int) -> tuple[Kind, tuple[Frame, ...]]:
        """The frames at a file virtual address (moved back by one for callers), innermost first; none if unknown."""
        found = self._recent.get(vaddr)
        if found is None:
            found = self._older.get(vaddr) or self._look_up(vaddr)
            if len(self._recent) >= CACHED_ADDRESSES // 2:
                self._older, self._recent = self._recent, {}
            self._recent[vaddr] = found
        return found

    def mapping_for(self, file_offset: int) -> Mapping | None:
        """The executable part of the file that is mapped at a file offset, in whole pages; None if none is."""
        code = self._code_at(file_offset)
        return code.mapping if code else None

    def vaddr_of(self, file_offset: int) -> int | None:
        """The file virtual address of a file offset that is mapped for execution, None if it is not.

        A line of /proc/PID/maps may begin before p_offset and end behind the segment: pages are mapped whole.
        """
        code = self._code_at(file_offset)
        return file_offset + code.bias if code else None

    @property
    def symbol_sources(self) -> tuple[tuple[SymbolSource, int], ...]:
        """Where the names of native code come from, each with its number of functions, the first asked first."""
        return self._native.sources

    @property
    def footprint(self) -> int:
        """Bytes of memory that `shrink` would give back, roughly. What Go's tables cache is not counted."""
        return self._native.footprint + _ADDRESS_SIZE * (len(self._recent) + len(self._older))

    def shrink(self) -> None:
        """Forget what was read from the file; it is read again when needed."""
        self._native.shrink()
        self._recent, self._older = {}, {}
        self.__dict__.pop("go", None)
        self.elf.release()

    def _look_up(self, vaddr: int) -> tuple[Kind, tuple[Frame, ...]]:
        if self.go is not None and (frames := self.go.symbolize(vaddr)):
            return Kind.GO, frames
        frames = self._native.symbolize(vaddr)
        return (Kind.NATIVE, frames) if frames else _UNKNOWN

    def _code_at(self, file_offset: int) -> _Code | None:
        rounded = None
        for code in self._code:
            if code.begin_inside <= file_offset < code.end_inside:
                return code
            if rounded is None and code.first <= file_offset < code.end:
                rounded = code
        return rounded


def _code_of(elf: ElfFile, path: str) -> list[_Code]:
    """The executable segments. Source of the rounding: the kernel's fs/binfmt_elf.c, `elf_map`."""
    found = []
    for segment in elf.loads:
        if not segment.flags & PF_X or segment.vaddr + segment.memsz > 1 << 64:
            continue
        first = segment.offset // PAGE * PAGE
        end_inside = segment.offset + segment.filesz
        start = segment.vaddr // PAGE * PAGE
        limit = min(-(-(segment.vaddr + segment.memsz) // PAGE) * PAGE, (1 << 64) - 1)
        mapping = Mapping(start, limit, first, path, elf.build_id)
        end = -(-end_inside // PAGE) * PAGE
        found.append(_Code(first, end, segment.offset, end_inside, segment.vaddr - segment.offset, mapping))
    return found
