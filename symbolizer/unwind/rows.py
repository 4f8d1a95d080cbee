"""Unwind rows: from this pc on, how a frame's caller is found. One format for every source of them.

A rule says how to get the CFA (the caller's stack pointer before the call pushed the return address, plus 8:
the return address is at CFA - 8) and where the caller's rbp is saved. Distinct rules are few, so a row is one
u32: the low 12 bits of the pc << 16 | index of its rule. Rows are kept per 4 KiB page of file virtual
addresses, each page beginning with the row in force at its first byte, so that the walker in the kernel
(bpf/walk.bpf.h, which reads the same numbers) looks at one page only.
"""

from array import array
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

PAGE_SHIFT = 12
MAX_ROWS_IN_PAGE = 4096
MAX_RULES = 16384
"""Distinct rules of one file. Of 1,638 files that were tried, none has 900."""


class RuleKind(IntEnum):
    """How the CFA is computed. Low bits: 1 = from rbp (else rsp), 2 = dereference, 4 = PLT, 8 = plus 8.

    From 0x10 on: what is no sum of rsp or rbp and an offset.
    """

    RSP = 0
    """CFA = rsp + cfa"""
    RBP = 1
    """CFA = rbp + cfa"""
    DEREF_RSP = 2
    """CFA = *(rsp + cfa)"""
    DEREF_RBP = 3
    """CFA = *(rbp + cfa)"""
    PLT = 4
    """CFA = rsp + cfa + (8 if (pc & 15) >= 11 else 0)"""
    DEREF_RSP_8 = 10
    """CFA = *(rsp + cfa) + 8"""
    DEREF_RBP_8 = 11
    """CFA = *(rbp + cfa) + 8"""
    END = 0x10
    """The outermost frame: the stack is complete."""
    SIGNAL = 0x20
    """A signal trampoline: the interrupted registers lie in the ucontext at rsp."""
    UNSUPPORTED = 0x30
    """The caller cannot be found from here by any rule the walker knows."""
    CURG = 0x40
    """Go's runtime.morestack: go on from the saved registers of the current goroutine (m.curg.sched)."""
    REGISTER = 0x80
    """CFA = a general register + cfa; its value is known in the leaf frame only."""


RBP_UNCHANGED = 0
RBP_AT_RBP = 1
"""The caller's rbp lies where rbp points, wherever the CFA is: functions that realign their stack."""
RBP_LOST = 2
"""The caller's rbp cannot be recovered."""


class Rule(NamedTuple):
    """How the caller of a frame is found.

    `cfa` is an s32 offset. `rbp` is the s16 offset from the CFA at which the caller's rbp is saved, a multiple of 8
    other than 0, or one of RBP_UNCHANGED, RBP_AT_RBP and RBP_LOST. `register` is, of RuleKind.REGISTER, the DWARF
    number of the register (0 to 15, not 6 or 7, which are rbp and rsp); of other kinds it means nothing to the walker.
    """

    kind: RuleKind
    cfa: int = 0
    rbp: int = RBP_UNCHANGED
    register: int = 0


FRAME_POINTER = Rule(RuleKind.RBP, 16, -16)
"""Always rule 0: where there is no better knowledge, rbp points at the saved rbp and the return address."""


class RuleSet:
    """The distinct rules of one file; each is known by its index, in the order in which they were first met."""

    def __init__(self) -> None:
        """Rule 0 is FRAME_POINTER for want of another: where a source says just that, it has an index of its own."""
        self._indexes: dict[Rule, int] = {}
        self._rules = [FRAME_POINTER]

    def index(self, rule: Rule) -> int:
        """The index of a rule. Raises OverflowError where there are more of them than MAX_RULES."""
        found = self._indexes.get(rule)
        if found is None:
            found = len(self._rules)
            if found >= MAX_RULES:
                raise OverflowError("more distinct unwind rules than any real file has")
            self._indexes[rule] = found
            self._rules.append(rule)
        return found

    def at(self, index: int) -> Rule:
        """The rule of an index that `index` gave."""
        return self._rules[index]

    def in_order(self) -> tuple[Rule, ...]:
        """All rules, so that an index is one into them."""
        return tuple(self._rules)


@dataclass(frozen=True, slots=True)
class UnwindTable:
    """The rows of one file.

    `first_page` is the page number (vaddr >> 12) of the first page; page i of the table has `rows[starts[i]]`
    up to `rows[starts[i + 1]]` (so `starts` has one element more than there are pages). Rule indexes in
    `rows` are into `rules`, where index 0 is FRAME_POINTER.
    """

    first_page: int
    starts: "array[int]"
    rows: "array[int]"
    rules: tuple[Rule, ...]

    def rule_at(self, vaddr: int) -> Rule | None:
        """The rule in force at a file virtual address, as the walker finds it; None outside the table."""
        page = (vaddr >> PAGE_SHIFT) - self.first_page
        if not 0 <= page < len(self.starts) - 1:
            return None
        low = vaddr & ((1 << PAGE_SHIFT) - 1)
        found = self.starts[page]
        for index in range(self.starts[page], self.starts[page + 1]):
            if self.rows[index] >> 16 > low:
                break
            found = index
        return self.rules[self.rows[found] & 0xFFFF]
