"""Unwind rows of Go code, from the pcsp tables of its function table: exact at every instruction.

The value of pcsp is how far rsp lies below its value on entry, so CFA = rsp + value + 8. Go's prologue
pushes rbp first, so it is saved at CFA - 16 as soon as the value is 8 or more (cmd/internal/obj/x86,
`preprocess`, since Go 1.21); hand-written assembly is looked at. Functions that write rsp themselves, and
those at the ends of stacks, are known by the flags TOPFRAME and SPWRITE, which the runtime's own unwinder
goes by, and by name (runtime/asm_amd64.s, sys_linux_amd64.s, time_linux_amd64.s).
"""

import re

from symbolizer.go.binary import GoBinary
from symbolizer.go.errors import GoError
from symbolizer.go.pclntab import ASSEMBLY, SP_WRITE, TOP_FRAME, Func
from symbolizer.unwind.pages import PageWriter, Spans
from symbolizer.unwind.rows import Rule, RuleKind, RuleSet, UnwindTable

_CROSSED = frozenset(
    {
        "runtime.asmcgocall",
        "runtime.cgocallback",
        "runtime.nanotime1",
        "runtime.systemstack",
        "runtime.vgetrandom1",
        "time.now",
    }
)
"""They move rsp to another stack and back, and rbp points into the caller's stack from the fifth byte on."""
_LEFT_AT_SWITCH = {"runtime.mcall": Rule(RuleKind.END), "runtime.morestack": Rule(RuleKind.CURG)}
"""They leave the goroutine's stack for good, at one instruction; before it they unwind as others do."""
_FRAMED_BY_CALLER = frozenset({"runtime.duffzero", "runtime.duffcopy"})
"""Before each call of them rbp is set to a frame made for it below rsp (cmd/internal/obj/x86/asm6.go, `Zcallduff`)."""
_SIGNAL_RETURN = frozenset({"runtime.sigreturn", "runtime.sigreturn__sigaction"})
_SIGNAL_HANDLER = "runtime.sigtramp"

_FLAGS = TOP_FRAME | SP_WRITE | ASSEMBLY
_PUSH_RBP = 0x55
_PROLOGUE = b"\x55\x48\x89\xe5"
"""push rbp; mov rbp, rsp"""
_STORE_RBP = b"\x48\x89\x6c\x24"
"""mov [rsp + disp8], rbp: five bytes with the displacement"""
_LOAD_SP = re.compile(rb"[\x48\x49]\x8b[\x60-\x63\x65-\x67]\x38")
"""mov rsp, [register + 56]: the switch to the stack in some g.sched.sp"""
_INT3 = b"\xcc"
_CODE_SIZE = 1024
_MAX_DELTA = 1 << 30
"""Above any stack; a rule holds 32 bits."""


def go_unwind_table(program: GoBinary) -> UnwindTable:
    """The rows of the pages that hold a program's Go text; elsewhere in them, the frame-pointer rule.

    Raises GoError if the tables ask for more rows or rules than any real program has.
    """
    rules = RuleSet()
    pages = PageWriter(program.text_range[0])
    write_go_rows(program, rules, pages)
    return pages.table(rules.in_order())


def write_go_rows(program: GoBinary, rules: RuleSet, pages: PageWriter) -> None:
    """Add the rows of a program's Go text to those of a file. Raises GoError as go_unwind_table does."""
    try:
        _write(program, _Rules(program, rules), pages)
    except OverflowError as error:
        raise GoError("The stack tables of this Go program need more rows than any real one.") from error


def _write(program: GoBinary, rules: "_Rules", pages: PageWriter) -> None:
    table, text = program.table, program.text
    shared = {0: rules.frame_pointer}
    start = text + table.entries[0]
    for index, (pcsp, flag) in enumerate(table.stack_tables()):
        if flag & _FLAGS:
            spans = rules.of_assembly(table.function(index))
        elif pcsp in shared:
            spans = shared[pcsp]
        else:
            spans = shared[pcsp] = rules.of_compiled(pcsp)
        if spans is rules.signal and index:
            # The handler's return address is the first byte of this function, and callers are looked up one
            # byte before their return address: the rule must begin in the padding.
            start -= rules.is_padding(start - 1)
        end = text + table.entries[index + 1]
        pages.add(start, end, spans)
        start = end


class _Rules:
    """The rules of each function, as spans."""

    def __init__(self, program: GoBinary, rules: RuleSet) -> None:
        self._program = program
        self._index = rules.index
        self._by_delta = _ByDelta(self)
        self.frame_pointer: Spans = [0]
        self.end: Spans = [self._index(Rule(RuleKind.END))]
        self.signal: Spans = [self._index(Rule(RuleKind.SIGNAL))]

    def is_padding(self, vaddr: int) -> bool:
        """Whether the byte at an address is one that the linker puts between functions."""
        offset = self._program.elf.offset_of(vaddr)
        return offset is not None and self._program.elf.data[offset : offset + 1] == _INT3

    def stack_pointer(self, delta: int, *, saved: bool) -> int:
        """The rule where rsp is `delta` below its value on entry."""
        if not 0 <= delta <= _MAX_DELTA:
            return 0
        return self._index(Rule(RuleKind.RSP, delta + 8, -16 if saved else 0))

    def of_compiled(self, pcsp: int) -> Spans:
        """The spans of compiled code with a pcsp table."""
        try:
            ends, deltas = self._program.table.pairs(pcsp)
        except GoError:
            return self.frame_pointer
        known = self._by_delta
        return [start << 16 | known[delta] for start, delta in zip((0, *ends), deltas, strict=False)]

    def of_assembly(self, func: Func) -> Spans:
        """The spans of a function with a flag: hand-written, or at the end of a stack."""
        name = self._program.table.name(func.name)
        if name in _SIGNAL_RETURN:
            return self.signal
        if name in _FRAMED_BY_CALLER:
            return self.frame_pointer
        if func.flag & TOP_FRAME and name != _SIGNAL_HANDLER:
            return self.end
        code = self._code(func)
        moves_stack = bool(func.flag & SP_WRITE)
        try:
            if not func.pcsp:
                return self.end if moves_stack else self.frame_pointer
            if not moves_stack:
                return self._by_code(func, code)
            if name in _CROSSED:
                return self._crossed(func) if code.startswith(_PROLOGUE) else self.frame_pointer
            if name in _LEFT_AT_SWITCH:
                return self._left(func, code, self._index(_LEFT_AT_SWITCH[name]))
        except GoError:
            return self.frame_pointer
        return self.end

    def _pieces(self, func: Func) -> list[tuple[int, int, int]]:
        """(start, end, delta) of a function's pcsp table."""
        ends, deltas = self._program.table.pairs(func.pcsp)
        return list(zip((0, *ends), ends, deltas, strict=False))

    def _by_code(self, func: Func, code: bytes) -> Spans:
        """The spans of hand-written code, which saves rbp at CFA - 16 by a push, by a store, or not at all."""
        pieces = self._pieces(func)
        saved_from = _saved_from(code, next((start for start, _, delta in pieces if delta >= 8), len(code)))
        spans: Spans = []
        for start, end, delta in pieces:
            spans.append(start << 16 | self.stack_pointer(delta, saved=delta >= 8 and start >= saved_from))
            if delta >= 8 and start < saved_from < end:
                spans.append(saved_from << 16 | self.stack_pointer(delta, saved=True))
        return spans

    def _crossed(self, func: Func) -> Spans:
        """By rbp, except where it does not yet, or no longer, point to this function's frame."""
        spans: Spans = []
        framed = len(_PROLOGUE)
        for start, end, delta in self._pieces(func):
            if delta < 8 or start < framed:
                spans.append(start << 16 | self.stack_pointer(delta, saved=delta >= 8))
                start = framed  # noqa: PLW2901 -- what is left of the piece
            if delta >= 8 and start < end:
                spans.append(start << 16)
        return spans

    def _left(self, func: Func, code: bytes, after: int) -> Spans:
        """As other code up to the load of rsp, then the rule of index `after`."""
        switch = _LOAD_SP.search(code)
        if switch is None:
            return [after]
        before = [span for span in self._by_code(func, code) if span >> 16 < switch.end()]
        return [*before, switch.end() << 16 | after]

    def _code(self, func: Func) -> bytes:
        offset = self._program.elf.offset_of(self._program.text + func.entry)
        return self._program.elf.data[offset : offset + _CODE_SIZE] if offset is not None else b""


class _ByDelta(dict[int, int]):
    """The index of the rule of compiled code by the value of pcsp, made when it is first met."""

    def __init__(self, rules: _Rules) -> None:
        super().__init__()
        self._rules = rules

    def __missing__(self, delta: int) -> int:
        index = self[delta] = self._rules.stack_pointer(delta, saved=delta >= 8)
        return index


def _saved_from(code: bytes, grown: int) -> int:
    """From which offset on rbp lies at CFA - 16, if rsp was first moved by the instruction before `grown`."""
    if 0 < grown <= len(code) and code[grown - 1] == _PUSH_RBP:
        return grown
    return grown + 5 if code.startswith(_STORE_RBP, grown) else 1 << 32
