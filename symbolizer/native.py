"""Function names of native code (C, C++, Rust, assembly) in one file, from every symbol table that it has."""

from enum import StrEnum
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


class SymbolSource(StrEnum):
    """Where the functions of a file are written down. All but the last name static functions too."""

    SYMTAB = ".symtab"
    DEBUG_FILE = "debug file"
    MINIDEBUG = "MiniDebugInfo"
    DYNSYM = ".dynsym"


class NativeSymbols:
    """The functions of one file. Nothing is read before the first address is asked for."""

    def __init__(self, elf: ElfFile, debug: ElfFile | None = None) -> None:
        """`debug` is the file's separate debug file, whose build id or checksum has been checked."""
        self._elf = elf
        self._debug = debug
        self._loaded: tuple[tuple[SymbolSource, SymbolTable], ...] | None = None
        self._frames: dict[tuple[int, int], tuple[Frame, ...]] = {}

    def symbolize(self, vaddr: int) -> tuple[Frame, ...]:
        """One frame without file and line for a file virtual address, or none where no symbol covers it.

        Damaged tables have no symbols; nothing is raised.
        """
        for number, (_, table) in enumerate(self._tables()):
            if symbol := table.find(vaddr):
                return self._frame(number, table, symbol)
        name = self._linkage.name(vaddr)
        return (_named(f"{demangle(name)}@plt", f"{name}@plt"),) if name else ()

    @property
    def sources(self) -> tuple[tuple[SymbolSource, int], ...]:
        """The tables in the order in which they are asked, each with the number of its functions; read if need be."""
        return tuple((source, len(table)) for source, table in self._tables())

    @property
    def footprint(self) -> int:
        """Bytes of memory that `shrink` would give back, roughly."""
        return sum(table.footprint for _, table in self._loaded or ()) + _FRAME_SIZE * len(self._frames)

    def shrink(self) -> None:
        """Forget what was read; it is read again when needed."""
        self._loaded = None
        self._frames = {}

    @cached_property
    def _linkage(self) -> ProcedureLinkage:
        return ProcedureLinkage(self._elf)

    def _tables(self) -> tuple[tuple[SymbolSource, SymbolTable], ...]:
        """In the order in which they are asked: the first that holds all functions, and the exported ones."""
        if self._loaded is None:
            full = (
                self._full(SymbolSource.SYMTAB, self._elf)
                or self._full(SymbolSource.DEBUG_FILE, self._debug)
                or self._full(SymbolSource.MINIDEBUG, self._embedded())
            )
            exported = _table(self._elf, ".dynsym")
            self._loaded = (*full, *(((SymbolSource.DYNSYM, exported),) if exported else ()))
        return self._loaded

    @staticmethod
    def _full(source: SymbolSource, elf: ElfFile | None) -> tuple[tuple[SymbolSource, SymbolTable], ...]:
        table = _table(elf, ".symtab")
        return ((source, table),) if table else ()

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
