"""Turns a row of call frame information into a rule that the walker knows.

Expressions are known by their bytes, for only a few forms occur: those of GCC for realigned stacks, of OpenSSL's
and glibc's assembly, and of linkers for the procedure linkage table. Operations: DWARF 5, section 7.7.1
(DW_OP_bregN 0x70 + N, followed by a sleb; DW_OP_deref 0x06; DW_OP_plus_uconst 0x23, followed by a uleb).
"""

import re
from enum import Enum, auto
from typing import NamedTuple

from symbolizer.unwind.frame_pointers import FrameError, sleb128, uleb128
from symbolizer.unwind.rows import RBP_AT_RBP, RBP_LOST, RBP_UNCHANGED, Rule, RuleKind

RBP, RSP, RIP = 6, 7, 16
"""DWARF numbers of registers (System V ABI for AMD64, figure 3.36); 16 is the column of the return address."""

_BREG, _DEREF, _PLUS = 0x70, 0x06, 0x23
_AT_RBP = b"\x76\0"
"""breg6 0: at the address in rbp."""
_UCONTEXT_RSP = 160
"""Offset of the interrupted rsp from rsp in a signal trampoline: uc_mcontext 40, in it gregs[REG_RSP] 120 (glibc's
sysdeps/unix/sysv/linux/x86_64/libc_sigaction.c, `do_cfa_expr`)."""
_PLT = re.compile(rb"\x77\x08\x80\x00\x3f\x1a([\x31-\x3f])\x2a\x33\x24\x22", re.DOTALL)
"""breg7 8; breg16 0; lit15; and; litN; ge; lit3; shl; plus: entries of 16 bytes push 8 bytes in their first N
(binutils' bfd/elfxx-x86.c, `elf_x86_64_eh_frame_lazy_plt`)."""
_USUAL_PLT = 11
_LIT0 = 0x30
_GENERAL = range(16)
_S32 = range(-(1 << 31), 1 << 31)
_S16 = range(-(1 << 15), 1 << 15)
_UNSUPPORTED = Rule(RuleKind.UNSUPPORTED)


class How(Enum):
    """How the caller's value of a register is found."""

    UNSPECIFIED = auto()
    AT_CFA = auto()
    """In memory at CFA + offset."""
    IS_CFA = auto()
    """CFA + offset itself."""
    SAME = auto()
    UNDEFINED = auto()
    AT_EXPRESSION = auto()
    OTHER = auto()
    """In another register, or the value of an expression."""


class Saved(NamedTuple):
    """The rule of one register."""

    how: How
    offset: int = 0
    expression: bytes = b""


UNSPECIFIED = Saved(How.UNSPECIFIED)
_RETURN_ADDRESS = Saved(How.AT_CFA, -8)
_IS_CFA = Saved(How.IS_CFA, 0)


class Row(NamedTuple):
    """What holds at one place of a function: CFA = `register` + `offset`, unless there is an expression."""

    register: int = -1
    offset: int = 0
    expression: bytes | None = None
    rbp: Saved = UNSPECIFIED
    rsp: Saved = UNSPECIFIED
    rip: Saved = UNSPECIFIED


def rule_of(row: Row, *, signal: bool) -> Rule:
    """The rule of a row; `signal` says that its CIE is of signal frames.

    A linkage table whose entries push at another place than usual has the kind UNSUPPORTED with that place, 1 to 15,
    in `register`.
    """
    if row.rip.how is How.UNDEFINED:
        return Rule(RuleKind.END)
    cfa = _by_register(row.register, row.offset) if row.expression is None else _by_expression(row.expression)
    if signal and cfa == Rule(RuleKind.DEREF_RSP, _UCONTEXT_RSP):
        return Rule(RuleKind.SIGNAL)
    if row.rip != _RETURN_ADDRESS or row.rsp not in {UNSPECIFIED, _IS_CFA} or cfa.cfa not in _S32:
        return _UNSUPPORTED
    return cfa if cfa.kind is RuleKind.UNSUPPORTED else cfa._replace(rbp=_saved_rbp(row.rbp))


def _by_register(register: int, offset: int) -> Rule:
    if register == RSP:
        return Rule(RuleKind.RSP, offset)
    if register == RBP:
        return Rule(RuleKind.RBP, offset)
    return Rule(RuleKind.REGISTER, offset, register=register) if register in _GENERAL else _UNSUPPORTED


def _by_expression(expression: bytes) -> Rule:
    """The CFA of one of the known forms: a linkage table, bregN n, bregN n; deref, and that with plus_uconst 8."""
    if linkage := _PLT.fullmatch(expression):
        pushed = linkage[1][0] - _LIT0
        return Rule(RuleKind.PLT, 8) if pushed == _USUAL_PLT else Rule(RuleKind.UNSUPPORTED, register=pushed)
    if not expression or expression[0] - _BREG not in _GENERAL:
        return _UNSUPPORTED
    base = expression[0] - _BREG
    try:
        offset, at = sleb128(expression, 1)
        if at == len(expression):
            return _by_register(base, offset)
        if expression[at] != _DEREF or base not in {RBP, RSP}:
            return _UNSUPPORTED
        if at + 1 == len(expression):
            return Rule(RuleKind.DEREF_RBP if base == RBP else RuleKind.DEREF_RSP, offset)
        added = uleb128(expression, at + 2)
    except FrameError:
        return _UNSUPPORTED
    if expression[at + 1] != _PLUS or added != (8, len(expression)):
        return _UNSUPPORTED
    return Rule(RuleKind.DEREF_RBP_8 if base == RBP else RuleKind.DEREF_RSP_8, offset)


def _saved_rbp(saved: Saved) -> int:
    """`Rule.rbp` of a register rule. Compilers say nothing, or that it is the same, where rbp is as in the caller."""
    if saved.how in {How.UNSPECIFIED, How.SAME}:
        return RBP_UNCHANGED
    if saved.how is How.AT_CFA and saved.offset and saved.offset % 8 == 0 and saved.offset in _S16:
        return saved.offset
    return RBP_AT_RBP if saved == Saved(How.AT_EXPRESSION, 0, _AT_RBP) else RBP_LOST
