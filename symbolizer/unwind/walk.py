"""Walks the stack of a thread that stands still, from outside: by the same rules as the walker in the kernel.

For threads that waited already when nobody was looking yet. Of their registers the kernel shows rsp and rip only
(/proc/PID/task/TID/syscall), so where the rule of a frame needs rbp before one of its callees has saved it, the
walk ends.
"""

from collections.abc import Callable

from symbolizer.unwind.rows import FRAME_POINTER, RBP_AT_RBP, RBP_LOST, RBP_UNCHANGED, Rule, RuleKind

MAX_FRAMES = 127
_FROM_RBP = frozenset({RuleKind.RBP, RuleKind.DEREF_RBP, RuleKind.DEREF_RBP_8})
_PLUS_WORD = frozenset({RuleKind.DEREF_RSP_8, RuleKind.DEREF_RBP_8})
_DEREFERENCED = _PLUS_WORD | {RuleKind.DEREF_RSP, RuleKind.DEREF_RBP}
_UCONTEXT_RBP, _UCONTEXT_RSP, _UCONTEXT_RIP = 120, 160, 168
"""Of struct ucontext, arch/x86/include/uapi/asm/sigcontext.h."""

ReadWord = Callable[[int], int | None]
"""The u64 at an address of the process, None where there is none."""
FindRule = Callable[[int], Rule | None]
"""The rule in force at an address of the process, None where no code is mapped."""


class Walk:
    """One walk. `addresses` are those of the frames, leaf first; `exact` says which are no return addresses."""

    def __init__(self, pc: int, sp: int, find_rule: FindRule, read_word: ReadWord) -> None:
        """Walk at once; `stop` is the name of a cause in bpf/causes.h."""
        self._pc, self._sp = pc, sp
        self._bp: int | None = None
        self._exact = True
        self._find_rule, self._read_word = find_rule, read_word
        self.addresses: list[int] = []
        self.exact: list[bool] = []
        self.stop = ""
        while not self.stop:
            self.stop = self._step()

    def _step(self) -> str:
        if len(self.addresses) >= MAX_FRAMES:
            return "depth"
        pc, exact = self._pc, self._exact
        address = pc if exact else pc - 1
        rule = self._find_rule(address)
        if rule is None:
            return "no_mapping"
        self.addresses.append(pc)
        self.exact.append(exact)
        self._exact = False
        if rule.kind is RuleKind.END:
            return "complete"
        if rule.kind is RuleKind.SIGNAL:
            return self._interrupted()
        if rule.kind in {RuleKind.UNSUPPORTED, RuleKind.CURG, RuleKind.REGISTER}:
            return "unsupported"
        if rule == FRAME_POINTER and self._bp == 0:
            return "complete"
        cfa = self._frame_address(rule, address)
        if cfa is None or cfa <= self._sp or cfa % 8:
            return "bad_frame"
        return self._return(rule, cfa)

    def _interrupted(self) -> str:
        self.exact[-1] = True
        sp = self._sp
        words = [self._read_word(sp + offset) for offset in (_UCONTEXT_RBP, _UCONTEXT_RSP, _UCONTEXT_RIP)]
        if words[1] is None or words[2] is None:
            return "bad_read"
        self._bp, self._sp, self._pc = words[0], words[1], words[2]
        self._exact = True
        return ""

    def _frame_address(self, rule: Rule, address: int) -> int | None:
        """The CFA, or None where it takes an rbp that is not known."""
        base = self._bp if rule.kind in _FROM_RBP else self._sp
        if base is None:
            return None
        if rule.kind in _DEREFERENCED:
            value = self._read_word(base + rule.cfa)
            return None if value is None else value + 8 * (rule.kind in _PLUS_WORD)
        return base + rule.cfa + 8 * (rule.kind is RuleKind.PLT and address % 16 >= 11)

    def _return(self, rule: Rule, cfa: int) -> str:
        pc = self._read_word(cfa - 8)
        if pc is None:
            return "bad_read"
        if rule.rbp == RBP_LOST:
            self._bp = None
        elif rule.rbp == RBP_AT_RBP:
            self._bp = None if self._bp is None else self._read_word(self._bp)
        elif rule.rbp != RBP_UNCHANGED:
            self._bp = self._read_word(cfa + rule.rbp)
        self._sp, self._pc = cfa, pc
        return "" if pc else "complete"
