"""Function names of native code (C, C++, Rust, assembly) in one file, from every symbol table that it has."""

from functools import cached_property

from profiles.model import Frame
from symbolizer.demangle import demangle
from symbolizer.elf.file import ElfError, ElfFile
from symbolizer.elf.minidebug import read_minidebug
from symbolizer.elf.plt import ProcedureLinkage
from symbolizer.elf.symbols import Symbol, SymbolTable

CACHED_FUNCTIONS = 16384
_FRAME_SIZE = 512
"""Bytes of a cached frame with its names, on average."""


class NativeSymbols:
    """The functions of one file. Nothing is read before the first address is asked for."""

    def __init__(self, elf: ElfFile, debug: ElfFile | None = None) -> None:
        """`debug` is the file's separate debug file, whose build id or checksum has been checked."""
        self._elf = elf
        self._debug = debug
        self._loaded: tuple[SymbolTable, ...] | None = None
        self._frames: dict[tuple[int, int], tuple[Frame, ...]] = {}

    def symbolize(self, vaddr: int) -> tuple[Frame, ...]:
        """One frame without file and line for a file virtual address, or none where no symbol covers it.

        Damaged tables have no symbols; nothing is raised.
        """
        if self._loaded is None:
            self._loaded = self._read_tables()
        for number, table in enumerate(self._loaded):
            if symbol := table.find(vaddr):
                return self._frame(number, table, symbol)
        name = self._linkage.name(vaddr)
        return (_named(f"{demangle(name)}@plt", f"{name}@plt"),) if name else ()

    @property
    def footprint(self) -> int:
        """Bytes of memory that `shrink` would give back, roughly."""
        return sum(table.footprint for table in self._loaded or ()) + _FRAME_SIZE * len(self._frames)

    def shrink(self) -> None:
        """Forget what was read; it is read again when needed."""
        self._loaded = None
        self._frames = {}

    @cached_property
    def _linkage(self) -> ProcedureLinkage:
        return ProcedureLinkage(self._elf)

    def _read_tables(self) -> tuple[SymbolTable, ...]:
        """In the order in which they are asked: `.symtab` holds all functions, `.dynsym` the exported ones only."""
        full = _table(self._elf, ".symtab") or _table(self._debug, ".symtab") or _table(self._embedded(), ".symtab")
        return tuple(table for table in (full, _table(self._elf, ".dynsym")) if table)

    def _embedded(self) -> ElfFile | None:
        try:
            return read_minidebug(self._elf)
        except ElfError:
            return None  # the exported names remain

    def _frame(self, number: int, table: SymbolTable, symbol: Symbol) -> tuple[Frame, ...]:
        frames = self._frames.get((number, symbol.entry))
        if frames is None:
            system_name = table.name(symbol)
            name, _, _ = system_name.partition("@")  # .symtab of glibc has its versions in the names
            if len(self._frames) >= CACHED_FUNCTIONS:
                self._frames = {}
            frames = (_named(demangle(name or system_name), system_name),)
            self._frames[number, symbol.entry] = frames
        return frames


def _named(shown: str, system_name: str) -> Frame:
    return Frame(shown, system_name="" if shown == system_name else system_name)


def _table(elf: ElfFile | None, name: str) -> SymbolTable | None:
    """The functions of a section, None if there are none."""
    section = elf.section(name) if elf else None
    if elf is None or section is None:
        return None
    table = SymbolTable(elf, section)
    elf.release()
    return table if len(table) else None
