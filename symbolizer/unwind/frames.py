"""Unwind rows of native code, from the call frame information that compilers leave for exceptions and debuggers.

It holds at every instruction of a function. Code without an entry has the frame-pointer rule, and so has code whose
entry is damaged: of a hostile file no more is lost than what is damaged in it.
"""

from bisect import bisect_left
from itertools import pairwise

from symbolizer.elf.file import EM_X86_64, PF_X, ElfFile
from symbolizer.unwind.frame_entries import FrameEntries
from symbolizer.unwind.frame_pointers import FrameError
from symbolizer.unwind.frame_programs import BROKEN, LOCATED, FrameProgram, Interpreter
from symbolizer.unwind.frame_sections import EMPTY, debug_frames, exception_frames
from symbolizer.unwind.pages import MAX_ADDRESS, PageWriter, Spans
from symbolizer.unwind.rows import Rule, RuleKind, RuleSet, UnwindTable
from symbolizer.unwind.stubs import Stub, linkage_stubs, musl_stubs

_PADDING = 16
"""Between functions there are fewer bytes than this; they never run, and need no row where they keep the rule."""
_MAX_LINKAGE = 1 << 20
"""Bytes of a procedure linkage table whose entries are written one by one."""
_SLOT = 16
"""Bytes of its entries."""
_DEBUG = 1 << 31
"""In a key: the offset is one in `.debug_frame`."""
_OFFSET = _DEBUG - 1


def frame_unwind_table(elf: ElfFile, debug: ElfFile | None = None) -> UnwindTable | None:
    """The rows of a file; None where it has no call frame information. `debug` is its separate debug file.

    Raises FrameError if the tables ask for more rows or rules than any real file has.
    """
    rules = RuleSet()
    frames = Frames.of(elf, debug, rules)
    return frames.table() if frames else None


class Frames:
    """The functions that have an entry: in `.eh_frame`, or where there is none in it, in `.debug_frame`."""

    def __init__(self, tables: tuple[FrameEntries, FrameEntries], code: list[tuple[int, int]], rules: RuleSet) -> None:
        """`tables` are of `.eh_frame` and `.debug_frame`, `code` is where a function may lie, sorted."""
        self._tables = tables
        self._code = code
        self._rules = rules
        self._interpreter = Interpreter(rules)
        self._programs: dict[int, FrameProgram | None] = {}
        """By the offset of the CIE, with _DEBUG."""
        loaded, debugging = tables
        self._keys = loaded.keys
        if debugging.keys:
            missing = [key | _DEBUG for key in debugging.keys if not loaded.covers(key >> 32)]
            self._keys = sorted([*loaded.keys, *missing])
        inside = (self._between(low, high) for low, high in code)
        self.first = next((keys[0] >> 32 for keys in inside if keys), -1)
        """Address of the first function, -1 if there is none."""
        self._stubs: list[Stub] = []

    @classmethod
    def of(cls, elf: ElfFile, debug: ElfFile | None, rules: RuleSet, *, loaded_only: bool = False) -> "Frames | None":
        """The entries of a file for x86-64, None if it has none. `loaded_only` leaves `.debug_frame` out."""
        if elf.machine != EM_X86_64:
            return None
        loaded, debugging = exception_frames(elf), EMPTY if loaded_only else debug_frames(elf, debug)
        entries = FrameEntries(loaded), FrameEntries(debugging)
        frames = cls(entries, _code_of(elf), rules)
        if frames.first < 0:
            return None
        known = linkage_stubs(elf)
        if elf.entry and not any(one.covers(elf.entry) for one in entries):
            known += musl_stubs(elf)
        frames.know(known)
        return frames

    def know(self, stubs: list[Stub]) -> None:
        """Write these too, where no entry covers them."""
        inside = [stub for stub in stubs if any(low <= stub[0] and stub[1] <= high for low, high in self._code)]
        self._stubs = sorted(inside, key=lambda stub: -stub[0])
        self.first = min([self.first, *(start for start, _, _ in inside)])

    def table(self) -> UnwindTable:
        """All of them. Raises FrameError as frame_unwind_table does."""
        pages = PageWriter(self.first)
        self.write(pages)
        return pages.table(self._rules.in_order())

    def write(self, pages: PageWriter, low: int = 0, high: int = MAX_ADDRESS) -> None:
        """Add the functions from `low` on and below `high`. Raises FrameError as frame_unwind_table does."""
        try:
            for start, end in self._code:
                if max(start, low) < min(end, high):
                    self._write(pages, max(start, low), min(end, high))
        except OverflowError as error:
            raise FrameError(str(error)) from error

    def _between(self, low: int, high: int) -> list[int]:
        return self._keys[bisect_left(self._keys, low << 32) : bisect_left(self._keys, high << 32)]

    def _write(self, pages: PageWriter, low: int, high: int) -> None:
        special, programs = self._interpreter.special, self._programs
        add, body = pages.add, self._tables[0].body
        at, stubs = low, self._stubs_between(low, high)
        for key, following in pairwise([*self._between(low, high), high << 32]):
            start, limit = key >> 32, following >> 32
            while stubs and stubs[-1][0] < start:
                self._write_stub(pages, stubs.pop(), at, start)
            if key & _DEBUG:
                size, cie, instructions = self._tables[1].body(key & _OFFSET)
                cie |= _DEBUG
            else:
                size, cie, instructions = body(key & _OFFSET)
            program = programs[cie] if cie in programs else self._program(cie)
            spans = program[instructions] if program is not None else BROKEN
            end = start + size
            if spans[-1] & 0xFFFF in special:
                # While the kernel restores what a signal interrupted, the pc is behind the last byte.
                end = min(end + self._is_signal(spans), limit)
                spans = self._special(key, end, spans)
            elif limit - end < _PADDING:
                end = limit
            add(start, end, spans)
            at = end
        while stubs:
            self._write_stub(pages, stubs.pop(), at, high)

    def _stubs_between(self, low: int, high: int) -> list[Stub]:
        """In descending order."""
        return [stub for stub in self._stubs if low <= stub[0] < high]

    def _write_stub(self, pages: PageWriter, stub: Stub, low: int, high: int) -> None:
        """What of it lies between two functions that have an entry."""
        start, end, rule = stub
        pages.add(max(start, low, pages.end), min(end, high), [self._rules.index(rule)])

    def _is_signal(self, spans: Spans) -> bool:
        return spans is not LOCATED and self._rules.at(spans[-1] & 0xFFFF).kind is RuleKind.SIGNAL

    def _program(self, cie: int) -> FrameProgram | None:
        found = self._tables[1 if cie & _DEBUG else 0].cie(cie & _OFFSET)
        program = self._programs[cie] = self._interpreter.program(found) if found else None
        return program

    def _special(self, key: int, end: int, spans: Spans) -> Spans:
        """The spans of a function that ends at `end` and has instructions or a last rule of a special kind."""
        if spans is LOCATED:
            table = self._tables[1 if key & _DEBUG else 0]
            fde = table.fde(key & _OFFSET)
            program = self._programs[fde.cie | key & _DEBUG]
            spans = program.located(fde, table.section.address) if program else BROKEN
        last = self._rules.at(spans[-1] & 0xFFFF)
        size = end - (key >> 32)
        if last.kind is RuleKind.UNSUPPORTED and last.register and size <= _MAX_LINKAGE:
            return self._linkage(key >> 32, size, spans, last.register)
        return spans

    def _linkage(self, start: int, size: int, spans: Spans, pushed: int) -> Spans:
        """Of a linkage table whose entries push 8 bytes in their first `pushed` bytes: two rows an entry.

        The walker knows the usual place of that push as a rule; this is of tables with endbr64 in the entries.
        """
        rules = [self._rules.index(Rule(RuleKind.RSP, 8 + 8 * done)) for done in (0, 1)]
        first = spans[-1] >> 16
        rows = [first << 16 | rules[(start + first) % _SLOT >= pushed]]
        for slot in range(first - (start + first) % _SLOT, size, _SLOT):
            rows += [at << 16 | rules[done] for done, at in enumerate((slot, slot + pushed)) if first < at < size]
        return [*spans[:-1], *rows]


def _code_of(elf: ElfFile) -> list[tuple[int, int]]:
    """First address and end of the executable segments, as far as they are in the file; sorted and apart."""
    found: list[tuple[int, int]] = []
    for segment in sorted(elf.loads, key=lambda load: load.vaddr):
        start = max(segment.vaddr, found[-1][1] if found else 0)
        end = min(segment.vaddr + min(segment.filesz, len(elf.data) - segment.offset), MAX_ADDRESS)
        if segment.flags & PF_X and start < end:
            found.append((start, end))
    return found
