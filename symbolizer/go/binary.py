"""A Go program or shared library: the names of its code addresses, as Go itself would print them.

All addresses are file virtual addresses: no load bias. Nothing but the function list is read before it is
asked for; what was asked for is kept in bounded caches.
"""

import struct
from functools import cached_property

from profiles.model import Frame
from symbolizer.elf.file import EM_X86_64, PF_X, ElfFile
from symbolizer.go.buildinfo import Version, go_build_id, go_version
from symbolizer.go.errors import GoError
from symbolizer.go.layout import NEWEST_KNOWN, GoRuntimeLayout, runtime_layout
from symbolizer.go.moduledata import INLINED_CALL_SIZE, ModuleData, find_module_data
from symbolizer.go.pclntab import (
    ASSEMBLY,
    FUNCDATA_INL_TREE,
    HEADER_SIZE,
    MAGIC_120,
    PCDATA_INL_TREE_INDEX,
    Func,
    Pclntab,
)

_TABLE_SECTIONS = (".gopclntab", ".data.rel.ro.gopclntab")
_GO_SECTIONS = frozenset({*_TABLE_SECTIONS, ".go.buildinfo", ".note.go.buildid"})
_MAGIC_TAILS = (b"\xff\xff\xff\0\0\x01\x08", b"\xff\xff\xff\0\0\x04\x08")
_MAX_CANDIDATES = 64
_MAX_INLINE_DEPTH = 256
_MAX_CACHED_FRAMES = 1 << 16
_INLINED_CALL = struct.Struct("<B3xiii")


class GoBinary:
    """The Go part of an ELF file. Frames and names are cached, so share one object among processes."""

    def __init__(self, elf: ElfFile, table: Pclntab) -> None:
        """Use `open`. Raises GoError where the start of the text cannot be told."""
        self.elf = elf
        self.table = table
        self.version: Version | None = go_version(elf)
        self._module: ModuleData | None = find_module_data(elf, table, self.version)
        text = self._module.text if self._module else table.text_start
        self.text = text
        self.text_range = (text + table.entries[0], text + table.entries[table.count])
        segment = elf.executable_segment(text)
        in_file = min(segment.filesz, len(elf.data) - segment.offset) if segment else 0
        if table.entries[0] == table.entries[table.count]:
            raise GoError("The Go function table describes no code.")
        if segment is None or self.text_range[1] > segment.vaddr + in_file:
            raise GoError("The start of the Go code cannot be found: the module data is of an unknown layout.")
        self._trees = elf.offset_of(self._module.gofunc) if self._module and self._module.gofunc else None
        self._frames: dict[int, tuple[Frame, ...]] = {}

    @classmethod
    def open(cls, elf: ElfFile) -> "GoBinary | None":
        """The Go part of a file; None if it is not Go's. Raises GoError where it is damaged or not supported."""
        if elf.sections and not any(section.name in _GO_SECTIONS for section in elf.sections):
            return None
        failure: GoError | None = None
        for offset in _table_offsets(elf):
            try:
                return cls(elf, Pclntab(elf.data, offset))
            except GoError as error:
                failure = failure or error
        if failure:
            raise failure
        if elf.section(".go.buildinfo"):
            raise GoError("The program was built by Go, but its function table cannot be found.")
        return None

    @cached_property
    def build_id(self) -> str:
        """The build id that the go command wrote, empty if there is none. This is not the GNU build id."""
        return go_build_id(self.elf)

    @cached_property
    def limits(self) -> tuple[str, ...]:
        """Sentences that say what is missing, because this Go is newer than what is known or was altered."""
        found = []
        if self.table.magic != MAGIC_120 or (self.version and self.version[:2] > NEWEST_KNOWN):
            found.append("This Go is newer than any that was tested; names were checked as far as possible.")
        if self._module is None:
            found.append("Inlined calls are not expanded: Go's module data was not found.")
        elif self._module.gofunc is None:
            found.append("Inlined calls are not expanded: their table was not found.")
        return tuple(found)

    def symbolize(self, vaddr: int) -> tuple[Frame, ...]:
        """The frames at an address, innermost first, as runtime.CallersFrames gives them for the address after it.

        The address of a caller must lie inside the call already (one less than the return address). Empty
        outside Go's text and where the tables of that function are damaged.
        """
        found = self._frames.get(vaddr)
        if found is None:
            if len(self._frames) >= _MAX_CACHED_FRAMES:
                self._frames.clear()
            try:
                found = self._expand(vaddr - self.text)
            except GoError:
                found = ()
            self._frames[vaddr] = found
        return found

    def function_name(self, vaddr: int) -> str:
        """The name in the table of the function that holds an address, inlining aside; empty outside Go's text."""
        index = self.table.find(vaddr - self.text)
        return "" if index is None else self.table.name(self.table.function(index).name)

    @property
    def module_vaddr(self) -> int | None:
        """Where `runtime.firstmoduledata` lies; None where it was not found."""
        return self._module.vaddr if self._module else None

    def is_entry(self, vaddr: int) -> bool:
        """Whether a function begins exactly at an address."""
        index = self.table.find(vaddr - self.text)
        return index is not None and self.table.entries[index] == vaddr - self.text

    def is_wrapper(self, vaddr: int) -> bool:
        """Whether the function that holds an address was made by the compiler to call another; tracebacks omit it."""
        index = self.table.find(vaddr - self.text)
        return index is not None and self.table.function(index).func_id == self._wrapper_id

    def function_range(self, name: str) -> tuple[int, int] | None:
        """Start and end address of the function of exactly that name, None if there is none."""
        return self.function_ranges((name,)).get(name)

    def function_ranges(self, names: tuple[str, ...]) -> dict[str, tuple[int, int]]:
        """Start and end address of those of the functions that exist.

        Where the linker made a wrapper of the same name for the other calling convention, the function
        written in assembly is meant.
        """
        ranges: dict[str, tuple[int, int]] = {}
        for name, index in self.table.named(names):
            if name not in ranges or self.table.function(index).flag & ASSEMBLY:
                ranges[name] = (self.text + self.table.entries[index], self.text + self.table.entries[index + 1])
        return ranges

    def runtime_layout(self) -> GoRuntimeLayout | None:
        """What a walker of Go stacks must know of this program's runtime; None on machines other than x86-64."""
        return self._layout

    @cached_property
    def _layout(self) -> GoRuntimeLayout | None:
        return runtime_layout(self) if self.elf.machine == EM_X86_64 else None

    @cached_property
    def _wrapper_id(self) -> int:
        """FuncIDWrapper. Its number shifts, but it has always been the one after systemstack_switch."""
        for _, index in self.table.named(("runtime.systemstack_switch",)):
            func = self.table.function(index)
            if func.func_id:
                return func.func_id + 1
        return -1

    def _expand(self, offset: int) -> tuple[Frame, ...]:
        """The frames at an offset from the start of the text."""
        index = self.table.find(offset)
        if index is None:
            return ()
        table, func = self.table, self.table.function(index)
        pc = offset - func.entry
        tree = table.pcdata(func, PCDATA_INL_TREE_INDEX)
        calls = table.funcdata(func, FUNCDATA_INL_TREE) if self._trees is not None else None
        node = table.value(tree, pc) if calls is not None else -1
        if node < 0 or calls is None or self._trees is None:
            return (self._frame(func, func.name, func.start_line, pc),)
        frames: list[Frame] = []
        innermost = None
        for _ in range(_MAX_INLINE_DEPTH):
            func_id, name, parent, line = self._inlined_call(self._trees + calls + node * INLINED_CALL_SIZE)
            frame = self._frame(func, name, line, pc)
            innermost = innermost or frame
            if func_id != self._wrapper_id:
                frames.append(frame)
            pc = parent
            node = table.value(tree, pc)
            if node < 0:
                if func.func_id != self._wrapper_id:
                    frames.append(self._frame(func, func.name, func.start_line, pc))
                break
        # As in runtime.expandFinalInlineFrame, wrappers are left out of a chain, unless there is nothing else.
        return tuple(frames) or ((innermost,) if innermost else ())

    def _inlined_call(self, at: int) -> tuple[int, int, int, int]:
        """(funcID, name offset, code offset of the call, start line) of a `runtime.inlinedCall`."""
        try:
            func_id, name, parent, line = _INLINED_CALL.unpack_from(self.elf.data, at)
        except struct.error as error:
            raise GoError("An inline tree lies outside the file.") from error
        return func_id, name, parent, line

    def _frame(self, func: Func, name: int, start_line: int, pc: int) -> Frame:
        raw = self.table.name(name)
        shown = _shown(raw)
        file = self.table.file(func, self.table.value(func.pcfile, pc))
        line = self.table.value(func.pcln, pc)
        if line < 0 or not file:
            file, line = "", 0
        return Frame(shown, file, line, max(start_line, 0), raw if raw != shown else "")


def _shown(name: str) -> str:
    """A name as Go prints it (`runtime.funcNameForPrint`): type arguments become "[...]"."""
    start, end = name.find("["), name.rfind("]")
    return f"{name[:start]}[...]{name[end + 1 :]}" if 0 <= start < end else name


def _table_offsets(elf: ElfFile) -> list[int]:
    """File offsets at which the function table may lie: its section, else where data looks like its header.

    There is no section where the section table was removed, nor in position-independent cgo programs up to
    Go 1.25, where GNU ld merges it into `.data.rel.ro`.
    """
    named = [section.offset for section in map(elf.section, _TABLE_SECTIONS) if section]
    if named:
        return named
    found: list[int] = []
    for load in elf.loads:
        if load.flags & PF_X:
            continue
        limit = min(load.offset + load.filesz, len(elf.data))
        for tail in _MAGIC_TAILS:
            at = load.offset
            while at + HEADER_SIZE < limit and len(found) < _MAX_CANDIDATES:
                at = elf.data.find(tail, at + 1, limit)
                if at < 0:
                    break
                if (at - 1) % 8 == 0 and elf.data[at - 1] >= 0xF0:
                    found.append(at - 1)
    return found
