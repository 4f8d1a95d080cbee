"""Which expressions of call frame information become which rule."""

import pytest

from symbolizer.unwind.rows import RBP_AT_RBP, RBP_LOST, Rule, RuleKind
from tests.support.elfwriter import TEXT_ADDRESS
from tests.support.framewriter import (
    DEREF,
    R10,
    RAX,
    RBP,
    RIP,
    RSP,
    FrameWriter,
    advance,
    assert_in_order,
    breg,
    def_cfa,
    def_cfa_expression,
    def_cfa_offset,
    offset,
    rules_of,
    saved_at,
    table_of,
)

UNSUPPORTED, SIGNAL = Rule(RuleKind.UNSUPPORTED), Rule(RuleKind.SIGNAL)
PLUS_8 = b"\x23\x08"


def plt(pushed: int, distance: int = 8) -> bytes:
    """The CFA in a lazy linkage table whose entries push in their first `pushed` bytes."""
    return breg(RSP, distance) + b"\x80\x00\x3f\x1a" + bytes([0x30 + pushed]) + b"\x2a\x33\x24\x22"


@pytest.mark.parametrize(
    ("expression", "rule"),
    [
        (plt(11), Rule(RuleKind.PLT, 8)),
        (breg(RSP, 40), Rule(RuleKind.RSP, 40)),
        (breg(RBP, 40), Rule(RuleKind.RBP, 40)),
        (breg(R10, -3), Rule(RuleKind.REGISTER, -3, register=R10)),
        (breg(RBP, -8) + DEREF, Rule(RuleKind.DEREF_RBP, -8)),
        (breg(RBP, -136) + DEREF, Rule(RuleKind.DEREF_RBP, -136)),
        (breg(RSP, 16) + DEREF, Rule(RuleKind.DEREF_RSP, 16)),
        (breg(RSP, 160) + DEREF, Rule(RuleKind.DEREF_RSP, 160)),
        (breg(RSP, 544) + DEREF + PLUS_8, Rule(RuleKind.DEREF_RSP_8, 544)),
        (breg(RBP, 120) + DEREF + PLUS_8, Rule(RuleKind.DEREF_RBP_8, 120)),
        (breg(RBP, 120) + DEREF + b"\x23\x88\x00", Rule(RuleKind.DEREF_RBP_8, 120)),
        (b"", UNSUPPORTED),
        (b"\x77", UNSUPPORTED),
        (b"\x77\x80", UNSUPPORTED),
        (breg(RSP, 1 << 40), UNSUPPORTED),
        (breg(RSP, 8) + b"\x22", UNSUPPORTED),
        (breg(RAX, 8) + DEREF, UNSUPPORTED),
        (breg(RSP, 8) + DEREF + DEREF, UNSUPPORTED),
        (breg(RSP, 8) + DEREF + b"\x23", UNSUPPORTED),
        (breg(RSP, 8) + DEREF + b"\x23\x80", UNSUPPORTED),
        (breg(RSP, 8) + DEREF + b"\x23\x10", UNSUPPORTED),
        (breg(RSP, 8) + DEREF + PLUS_8 + b"\x96", UNSUPPORTED),
        (breg(RSP, 8) + DEREF + b"\x38\x08", UNSUPPORTED),
        (b"\x9c", UNSUPPORTED),
        (plt(11, 16), UNSUPPORTED),
        (plt(0), UNSUPPORTED),
        (plt(11) + b"\x96", UNSUPPORTED),
        (b"\x96" * 127, UNSUPPORTED),
    ],
)
def test_the_cfa_by_an_expression(expression: bytes, rule: Rule) -> None:
    assert rules_of(advance(1) + def_cfa_expression(expression), 1) == [rule]


@pytest.mark.parametrize(
    ("expression", "rbp"),
    [(breg(RBP, 0), RBP_AT_RBP), (breg(RBP, -8), RBP_LOST), (breg(RSP, 0), RBP_LOST), (b"", RBP_LOST)],
)
def test_rbp_saved_where_an_expression_says(expression: bytes, rbp: int) -> None:
    body = saved_at(RBP, expression) + def_cfa_expression(breg(RBP, -8) + DEREF)
    assert rules_of(body, 0) == [Rule(RuleKind.DEREF_RBP, -8, rbp)]


def test_gcc_realigns_a_stack() -> None:
    """lea r10, [rsp+8]; and rsp, -32; push [r10-8]; push rbp; mov rbp, rsp; ...; push r10"""
    body = (
        advance(5) + def_cfa(R10, 0) + advance(8) + saved_at(RBP, breg(RBP, 0)) + advance(5)
        + def_cfa_expression(breg(RBP, -8) + DEREF) + advance(40) + def_cfa(R10, 0)
        + advance(4) + def_cfa(RSP, 8)
    )  # fmt: skip
    assert rules_of(body, 0, 5, 12, 13, 18, 57, 58, 62) == [
        Rule(RuleKind.RSP, 8),
        Rule(RuleKind.REGISTER, 0, 0, R10),
        Rule(RuleKind.REGISTER, 0, 0, R10),
        Rule(RuleKind.REGISTER, 0, RBP_AT_RBP, R10),
        Rule(RuleKind.DEREF_RBP, -8, RBP_AT_RBP),
        Rule(RuleKind.DEREF_RBP, -8, RBP_AT_RBP),
        Rule(RuleKind.REGISTER, 0, RBP_AT_RBP, R10),
        Rule(RuleKind.RSP, 8, RBP_AT_RBP),
    ]


def test_def_cfa_offset_keeps_an_expression_and_def_cfa_register_ends_it() -> None:
    body = def_cfa_expression(breg(RBP, -8) + DEREF) + def_cfa_offset(32) + advance(1) + b"\x0d\x07"
    assert rules_of(body, 0, 1) == [Rule(RuleKind.DEREF_RBP, -8), Rule(RuleKind.RSP, 32)]


def restorer() -> bytes:
    """What glibc says of __restore_rt: all registers are in the ucontext at rsp."""
    registers = ((8, 40), (RBP, 120), (RAX, 144), (RSP, 160), (RIP, 168))
    return def_cfa_expression(breg(RSP, 160) + DEREF) + b"".join(saved_at(*(r, breg(RSP, at))) for r, at in registers)


def test_a_signal_trampoline() -> None:
    assert rules_of(restorer(), 0, 9, initial=b"", letters="zRS") == [SIGNAL, SIGNAL]


def test_the_same_without_the_letter_of_signal_frames_is_none() -> None:
    assert rules_of(restorer(), 0, initial=b"") == [UNSUPPORTED]


def test_the_letter_of_signal_frames_alone_changes_nothing() -> None:
    assert rules_of(advance(1) + def_cfa_offset(16) + offset(RBP, 2), 0, 1, letters="zRS") == [
        Rule(RuleKind.RSP, 8),
        Rule(RuleKind.RSP, 16, -16),
    ]
    other = def_cfa_expression(breg(RSP, 168) + DEREF) + saved_at(RIP, breg(RSP, 168))
    assert rules_of(other, 0, letters="zRS") == [UNSUPPORTED]


def linkage(pushed: int, start: int, size: int) -> list[Rule | None]:
    writer = FrameWriter()
    writer.cie()
    head = def_cfa_offset(16) + advance(6) + def_cfa_offset(24) + advance(10)
    writer.fde(start, size, head + def_cfa_expression(plt(pushed)))
    writer.fde(start + size, 16)
    table = table_of(writer)
    assert_in_order(table)
    return [table.rule_at(start + at) for at in range(size + 1)]


@pytest.mark.parametrize("pushed", [1, 5, 9, 10, 15])
@pytest.mark.parametrize("size", [16 * 5, 16 * 5 + 11, 17, 4096 + 64])
def test_other_linkage_tables_have_two_rows_an_entry(pushed: int, size: int) -> None:
    rules = linkage(pushed, TEXT_ADDRESS, size)
    first = [Rule(RuleKind.RSP, 16)] * 6 + [Rule(RuleKind.RSP, 24)] * 10
    entries = [Rule(RuleKind.RSP, 8 if at % 16 < pushed else 16) for at in range(16, size)]
    assert rules == [*first, *entries, Rule(RuleKind.RSP, 8)]


@pytest.mark.parametrize("pushed", [7, 8, 9])
def test_a_linkage_table_of_other_entries_goes_by_the_address_not_by_its_start(pushed: int) -> None:
    rules = linkage(pushed, TEXT_ADDRESS + 8, 64)
    assert rules[16:64] == [Rule(RuleKind.RSP, 8 if (at + 8) % 16 < pushed else 16) for at in range(16, 64)]


def test_the_usual_linkage_table_is_one_row() -> None:
    assert linkage(11, TEXT_ADDRESS, 96)[16:96] == [Rule(RuleKind.PLT, 8)] * 80
