"""What each operation of call frame information does to the rules."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from symbolizer.unwind.frame_operations import MAX_DEPTH
from symbolizer.unwind.rows import FRAME_POINTER, RBP_LOST, Rule, RuleKind
from tests.support.elfwriter import TEXT_ADDRESS
from tests.support.framewriter import (
    INITIAL,
    R8,
    R10,
    RAX,
    RBP,
    RBX,
    REMEMBER,
    RESTORE_STATE,
    RIP,
    RSP,
    FrameWriter,
    advance,
    def_cfa,
    def_cfa_offset,
    def_cfa_register,
    offset,
    restore,
    rules_of,
    saved_at,
    sleb,
    table_of,
    uleb,
)

ENTRY = Rule(RuleKind.RSP, 8)
PUSHED = Rule(RuleKind.RSP, 16, -16)
LOST = Rule(RuleKind.RSP, 8, RBP_LOST)
UNSUPPORTED, END = Rule(RuleKind.UNSUPPORTED), Rule(RuleKind.END)
PROLOGUE = advance(1) + def_cfa_offset(16) + offset(RBP, 2) + advance(3) + def_cfa_register(RBP)


def test_the_usual_function_goes_from_rsp_to_rbp_and_back() -> None:
    rules = rules_of(PROLOGUE + advance(40) + def_cfa(RSP, 8) + restore(RBP), 0, 1, 3, 4, 43, 44, 3999)
    assert rules == [ENTRY, PUSHED, PUSHED, FRAME_POINTER, FRAME_POINTER, ENTRY, ENTRY]


@pytest.mark.parametrize("delta", [1, 63, 64, 255, 256, 3000])
def test_every_size_of_advance(delta: int) -> None:
    assert rules_of(advance(delta) + def_cfa_offset(24), delta - 1, delta) == [ENTRY, Rule(RuleKind.RSP, 24)]


def test_the_four_byte_advance() -> None:
    assert rules_of(b"\x04" + struct.pack("<I", 5) + def_cfa_offset(24), 4, 5) == [ENTRY, Rule(RuleKind.RSP, 24)]


def test_advances_count_in_units_of_the_code_alignment() -> None:
    writer = FrameWriter()
    writer.cie(code=4)
    writer.fde(TEXT_ADDRESS, 64, advance(3) + def_cfa_offset(24))
    table = table_of(writer)
    assert [table.rule_at(TEXT_ADDRESS + at) for at in (11, 12)] == [ENTRY, Rule(RuleKind.RSP, 24)]


def test_an_advance_beyond_the_function_is_cut() -> None:
    writer = FrameWriter()
    writer.cie()
    writer.fde(TEXT_ADDRESS, 64, advance(0xFFFFFFFF) + def_cfa_offset(24) + advance(0xFFFFFFFF) + def_cfa_offset(32))
    writer.fde(TEXT_ADDRESS + 64, 64, b"")
    table = table_of(writer)
    assert [table.rule_at(TEXT_ADDRESS + at) for at in (0, 63, 64, 127)] == [ENTRY] * 4


def test_what_is_said_twice_of_one_place_counts_as_said_last() -> None:
    assert rules_of(def_cfa_offset(16) + advance(0) + def_cfa_offset(32), 0) == [Rule(RuleKind.RSP, 32)]


@pytest.mark.parametrize(
    ("operation", "rule"),
    [
        (b"\0", ENTRY),
        (b"\x0c" + uleb(RBP) + uleb(300), Rule(RuleKind.RBP, 300)),
        (b"\x12" + uleb(RSP) + sleb(-5), Rule(RuleKind.RSP, 40)),
        (b"\x13" + sleb(-200), Rule(RuleKind.RSP, 1600)),
        (b"\x0d" + uleb(R10), Rule(RuleKind.REGISTER, 8, register=R10)),
        (b"\x0c" + uleb(RAX) + uleb(16), Rule(RuleKind.REGISTER, 16, register=RAX)),
        (b"\x0d" + uleb(17), UNSUPPORTED),
        (b"\x0e" + uleb(1 << 31), UNSUPPORTED),
        (b"\x0e" + uleb((1 << 31) - 1), Rule(RuleKind.RSP, (1 << 31) - 1)),
        (b"\x05" + uleb(RBP) + uleb(3), Rule(RuleKind.RSP, 8, -24)),
        (b"\x11" + uleb(RBP) + sleb(4), Rule(RuleKind.RSP, 8, -32)),
        (b"\x11" + uleb(RBP) + sleb(-4), Rule(RuleKind.RSP, 8, 32)),
        (b"\x2f" + uleb(RBP) + uleb(4), Rule(RuleKind.RSP, 8, 32)),
        (b"\x2e" + uleb(1000), ENTRY),
        (b"\x07" + uleb(RBP), LOST),
        (b"\x08" + uleb(RBP), ENTRY),
        (b"\x09" + uleb(RBP) + uleb(R8), LOST),
        (b"\x14" + uleb(RBP) + uleb(2), LOST),
        (b"\x15" + uleb(RBP) + sleb(2), LOST),
        (b"\x16" + uleb(RBP) + b"\x01\x50", LOST),
        (offset(RBP, 0), LOST),
        (offset(RBP, 4096), Rule(RuleKind.RSP, 8, -32768)),
        (offset(RBP, 4097), LOST),
        (b"\x07" + uleb(RIP), END),
        (b"\x08" + uleb(RIP), UNSUPPORTED),
        (b"\x09" + uleb(RIP) + uleb(RAX), UNSUPPORTED),
        (offset(RIP, 2), UNSUPPORTED),
        (saved_at(RIP, b"\x77\0"), UNSUPPORTED),
        (b"\x14" + uleb(RIP) + uleb(1), UNSUPPORTED),
        (offset(RSP, 2), UNSUPPORTED),
        (b"\x08" + uleb(RSP), UNSUPPORTED),
        (b"\x14" + uleb(RSP) + uleb(0), ENTRY),
        (b"\x15" + uleb(RSP) + sleb(0), ENTRY),
        (offset(RBX, 2) + restore(RBX) + b"\x07" + uleb(12) + b"\x09\x0d\x0e" + saved_at(15, b"\x76\x78"), ENTRY),
    ],
)
def test_one_operation(operation: bytes, rule: Rule) -> None:
    assert rules_of(advance(1) + operation, 0, 1) == [ENTRY, rule]


def test_the_offset_of_rbp_is_in_units_of_the_data_alignment() -> None:
    writer = FrameWriter()
    writer.cie(def_cfa(RSP, 8) + offset(RIP, 2), data=-4)
    writer.fde(TEXT_ADDRESS, 64, offset(RBP, 6) + advance(1) + offset(RBP, 5))
    table = table_of(writer)
    assert table.rule_at(TEXT_ADDRESS) == Rule(RuleKind.RSP, 8, -24)
    assert table.rule_at(TEXT_ADDRESS + 1) == LOST  # 20 is no multiple of 8


def test_restore_goes_back_to_what_the_cie_said() -> None:
    initial = INITIAL + offset(RBP, 2)
    rules = rules_of(offset(RBP, 3) + advance(1) + restore(RBP), 0, 1, initial=initial)
    assert rules == [Rule(RuleKind.RSP, 8, -24), Rule(RuleKind.RSP, 8, -16)]
    assert rules_of(offset(RBP, 3) + advance(1) + b"\x06" + uleb(RBP), 1) == [ENTRY]
    undefined = b"\x07" + uleb(RIP) + advance(1) + restore(RIP)
    assert rules_of(undefined, 0, 1) == [END, ENTRY]


def test_a_remembered_row_comes_back_whole() -> None:
    body = PROLOGUE + REMEMBER + advance(10) + def_cfa(RSP, 8) + restore(RBP) + advance(1) + RESTORE_STATE
    assert rules_of(body, 13, 14, 15) == [FRAME_POINTER, ENTRY, FRAME_POINTER]


def test_rows_are_remembered_in_a_stack() -> None:
    deep = b"".join(REMEMBER + advance(1) + def_cfa_offset(8 * depth) for depth in range(2, 2 + MAX_DEPTH))
    back = (advance(1) + RESTORE_STATE) * MAX_DEPTH
    expected = [8 * depth for depth in (*range(1, 2 + MAX_DEPTH), *range(MAX_DEPTH, 0, -1))]
    assert [rule.cfa if rule else 0 for rule in rules_of(deep + back, *range(len(expected)))] == expected


def test_the_same_operations_lead_elsewhere_from_another_row() -> None:
    writer = FrameWriter()
    writer.cie()
    for number, distance in enumerate((16, 32)):
        body = def_cfa_offset(distance) + REMEMBER + advance(1) + def_cfa_offset(64) + advance(1) + RESTORE_STATE
        writer.fde(TEXT_ADDRESS + 16 * number, 16, body)
    table = table_of(writer)
    assert [table.rule_at(TEXT_ADDRESS + at) for at in (2, 18)] == [Rule(RuleKind.RSP, 16), Rule(RuleKind.RSP, 32)]


def test_cies_that_differ_are_kept_apart() -> None:
    writer = FrameWriter()
    first = writer.cie()
    second = writer.cie(def_cfa(RSP, 8) + offset(RIP, 2), data=-4)
    body = advance(1) + offset(RBP, 4)
    writer.fde(TEXT_ADDRESS, 16, body, first)
    writer.fde(TEXT_ADDRESS + 16, 16, body, second)
    table = table_of(writer)
    assert [table.rule_at(TEXT_ADDRESS + at) for at in (1, 17)] == [
        Rule(RuleKind.RSP, 8, -32),
        Rule(RuleKind.RSP, 8, -16),
    ]


@pytest.mark.parametrize(
    "broken",
    [
        RESTORE_STATE,
        REMEMBER * (MAX_DEPTH + 1),
        b"\x3f",
        b"\x17",
        b"\x2d",
        b"\x0e",
        b"\x0e\x80",
        b"\x0c\x07",
        b"\x02",
        b"\x03\x01",
        b"\x04\x01\x02\x03",
        b"\x0f\x05\x77\x08",
        b"\x10\x06\x02\x76",
        b"\x0e" + b"\x80" * 20 + b"\x01",
        b"\x01\0\0",
        pytest.param(def_cfa_offset(16) * 300_000, id="long"),
    ],
)
def test_a_function_with_broken_instructions_has_the_frame_pointer_rule_and_no_other_has(broken: bytes) -> None:
    writer = FrameWriter()
    writer.cie()
    writer.fde(TEXT_ADDRESS, 64, advance(4) + def_cfa_offset(16) + advance(4) + broken)
    writer.fde(TEXT_ADDRESS + 64, 64, advance(4) + def_cfa_offset(16))
    table = table_of(writer)
    assert [table.rule_at(TEXT_ADDRESS + at) for at in (0, 4, 8, 63)] == [FRAME_POINTER] * 4
    assert [table.rule_at(TEXT_ADDRESS + at) for at in (64, 68)] == [ENTRY, Rule(RuleKind.RSP, 16)]


@pytest.mark.parametrize("encoding", [0x00, 0x03, 0x04, 0x0B, 0x0C, 0x1B, 0x1C])
def test_set_loc_names_the_address_in_the_encoding_of_the_cie(encoding: int) -> None:
    for start in (TEXT_ADDRESS, TEXT_ADDRESS + 256):
        writer = FrameWriter()
        writer.cie(encoding=encoding)
        operation_at = len(writer.data) + 8 + 2 * (4 if encoding & 0xF in {3, 0xB} else 8) + 1 + 1
        target = start + 10 - (writer.address + operation_at + 1 if encoding & 0x10 else 0)
        size = 4 if encoding & 0xF in {3, 0xB} else 8
        located = b"\x01" + (target % (1 << 8 * size)).to_bytes(size, "little")
        writer.fde(start, 64, advance(0) + located + def_cfa_offset(16) + advance(2) + def_cfa_offset(24))
        table = table_of(writer)
        assert [table.rule_at(start + at) for at in (0, 9, 10, 12)] == [
            ENTRY,
            ENTRY,
            Rule(RuleKind.RSP, 16),
            Rule(RuleKind.RSP, 24),
        ]


def test_set_loc_shares_nothing_between_functions_and_does_not_go_back() -> None:
    writer = FrameWriter()
    writer.cie(encoding=0x03)
    body = b"\x01" + struct.pack("<I", TEXT_ADDRESS + 70) + def_cfa_offset(16)
    writer.fde(TEXT_ADDRESS, 64, body)
    writer.fde(TEXT_ADDRESS + 64, 64, body)
    writer.fde(TEXT_ADDRESS + 128, 64, body)
    table = table_of(writer)
    rules = [table.rule_at(TEXT_ADDRESS + at) for at in (0, 63, 69, 70, 128, 191)]
    assert rules == [ENTRY, ENTRY, ENTRY, Rule(RuleKind.RSP, 16), FRAME_POINTER, FRAME_POINTER]


@pytest.mark.parametrize("encoding", [0x01, 0x09])
def test_set_loc_with_an_address_of_no_fixed_size_is_refused(encoding: int) -> None:
    writer = FrameWriter()
    writer.cie(encoding=encoding)
    writer.fde(TEXT_ADDRESS, 64, b"\x01" + uleb(TEXT_ADDRESS + 5) + def_cfa_offset(16))
    assert table_of(writer).rule_at(TEXT_ADDRESS + 5) == FRAME_POINTER


def test_advances_in_a_cie_mean_nothing() -> None:
    assert rules_of(b"", 0, initial=INITIAL + advance(4) + offset(RBP, 2)) == [Rule(RuleKind.RSP, 8, -16)]


def test_functions_of_a_cie_with_broken_instructions_have_the_frame_pointer_rule() -> None:
    writer = FrameWriter()
    broken = writer.cie(INITIAL + b"\x3f")
    intact = writer.cie()
    writer.fde(TEXT_ADDRESS, 64, advance(4) + def_cfa_offset(16), broken)
    writer.fde(TEXT_ADDRESS + 64, 64, b"", intact)
    table = table_of(writer)
    assert [table.rule_at(TEXT_ADDRESS + at) for at in (0, 4, 64)] == [FRAME_POINTER, FRAME_POINTER, ENTRY]


def test_without_a_return_address_there_is_no_caller() -> None:
    assert rules_of(b"", 0, initial=def_cfa(RSP, 8)) == [UNSUPPORTED]
    assert rules_of(b"", 0, initial=b"") == [UNSUPPORTED]


operations = st.one_of(
    st.tuples(st.just("advance"), st.integers(0, 300)),
    st.tuples(st.just("cfa"), st.sampled_from([RSP, RBP, R10]), st.integers(0, 300)),
    st.tuples(st.just("cfa offset"), st.integers(0, 300)),
    st.tuples(st.just("cfa register"), st.sampled_from([RSP, RBP, RAX])),
    st.tuples(st.just("save"), st.sampled_from([RBP, RBX, 12]), st.integers(1, 200)),
    st.tuples(st.just("restore"), st.sampled_from([RBP, RBX])),
    st.tuples(st.just("remember")),
    st.tuples(st.just("recall")),
    st.tuples(st.just("nothing")),
)


class Simple:
    """Runs operations one by one, in the plainest way: the rules by offset."""

    def __init__(self) -> None:
        self.at, self.cfa, self.rbp = 0, (RSP, 8), 0
        self.aside: list[tuple[tuple[int, int], int]] = []
        self.code = b""
        self.rules: dict[int, Rule] = {0: self.rule()}

    def rule(self) -> Rule:
        register, distance = self.cfa
        kind = {RSP: RuleKind.RSP, RBP: RuleKind.RBP}.get(register, RuleKind.REGISTER)
        return Rule(kind, distance, self.rbp, register if kind is RuleKind.REGISTER else 0)

    def do(self, name: str, *args: int) -> None:
        if name == "advance":
            self.at, self.code = self.at + args[0], self.code + advance(args[0])
        elif name == "cfa":
            self.cfa, self.code = (args[0], args[1]), self.code + def_cfa(*args)
        elif name == "cfa offset":
            self.cfa, self.code = (self.cfa[0], args[0]), self.code + def_cfa_offset(args[0])
        elif name == "cfa register":
            self.cfa, self.code = (args[0], self.cfa[1]), self.code + def_cfa_register(args[0])
        elif name == "save":
            self.rbp = -8 * args[1] if args[0] == RBP else self.rbp
            self.code += offset(*args)
        elif name == "restore":
            self.rbp = 0 if args[0] == RBP else self.rbp
            self.code += restore(args[0])
        elif name == "remember" and len(self.aside) < MAX_DEPTH:
            self.aside.append((self.cfa, self.rbp))
            self.code += REMEMBER
        elif name == "recall" and self.aside:
            self.cfa, self.rbp = self.aside.pop()
            self.code += RESTORE_STATE
        elif name == "nothing":
            self.code += b"\0"
        self.rules[self.at] = self.rule()


@given(st.lists(st.lists(operations, max_size=30), min_size=1, max_size=3))
def test_functions_have_the_rules_that_running_them_plainly_gives(functions: list[list[tuple[str, int]]]) -> None:
    writer = FrameWriter()
    writer.cie()
    expected, size = {}, 4000
    for number, body in enumerate(functions):
        plain, start = Simple(), TEXT_ADDRESS + size * number
        for operation in body:
            plain.do(*operation)
        writer.fde(start, size, plain.code)
        rule = None
        for at in range(size):
            rule = expected[start + at] = plain.rules.get(at, rule)
    table = table_of(writer)
    for vaddr, rule in expected.items():
        if vaddr % 7 == 0 or rule != expected.get(vaddr - 1):
            assert table.rule_at(vaddr) == rule, hex(vaddr)
