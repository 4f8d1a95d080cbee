"""Call frame information that is damaged or hostile: what is lost, and that nothing is raised or grows."""

import struct
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from symbolizer.elf.file import ElfFile
from symbolizer.unwind import frame_entries, frame_programs
from symbolizer.unwind.frame_entries import Cie
from symbolizer.unwind.frame_pointers import FrameError
from symbolizer.unwind.frame_programs import Interpreter
from symbolizer.unwind.frames import frame_unwind_table
from symbolizer.unwind.pages import MAX_ADDRESS
from symbolizer.unwind.rows import FRAME_POINTER, MAX_RULES, Rule, RuleKind, RuleSet, UnwindTable
from tests.support.elfwriter import TEXT_ADDRESS, Sec, Seg, image
from tests.support.framewriter import (
    CODE_SIZE,
    INITIAL,
    FrameWriter,
    advance,
    assert_in_order,
    def_cfa_offset,
    elf_of,
    table_of,
    uleb,
)

ENTRY, GROWN = Rule(RuleKind.RSP, 8), Rule(RuleKind.RSP, 32)
BODY = advance(4) + def_cfa_offset(32)


def writer() -> tuple[FrameWriter, list[int]]:
    """Three functions of 32 bytes, and where their entries are."""
    made = FrameWriter()
    made.cie()
    return made, [made.fde(TEXT_ADDRESS + 32 * number, 32, BODY) for number in range(3)]


def grown(table: UnwindTable) -> list[bool]:
    return [table.rule_at(TEXT_ADDRESS + place) == GROWN for place in (4, 36, 68)]


@pytest.mark.parametrize("length", [0, 1, 4, 8, 12, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFF0, 0xFFFFFFFF])
def test_a_length_that_lies(length: int) -> None:
    made, at = writer()
    struct.pack_into("<I", made.data, at[1], length)
    table = table_of(made)
    assert grown(table)[0]
    assert not grown(table)[1]


@pytest.mark.parametrize("length", [0, 8, 1 << 32, 1 << 63, (1 << 64) - 1])
def test_a_length_of_64_bits_that_lies(length: int) -> None:
    made = FrameWriter(wide=True)
    made.cie()
    made.fde(TEXT_ADDRESS, 32, BODY)
    second = made.fde(TEXT_ADDRESS + 32, 32, BODY)
    struct.pack_into("<Q", made.data, second + 4, length)
    assert grown(table_of(made)) == [True, False, False]


@pytest.mark.parametrize("cut", range(1, 21))
def test_a_section_that_is_cut_off(cut: int) -> None:
    made, _ = writer()
    del made.data[-cut:]
    assert grown(table_of(made)) == [True, True, False]


@pytest.mark.parametrize("distance", [0x12345678, 0xFFFFFFFF, 0x80000000, 4, 1, 24])
def test_a_reference_to_what_is_no_cie(distance: int) -> None:
    made, at = writer()
    struct.pack_into("<I", made.data, at[1] + 4, distance)
    assert grown(table_of(made)) == [True, False, True]


@pytest.mark.parametrize("at", [2**31, 2**32 - 2, 40, 1])
def test_a_reference_to_what_is_no_cie_in_debug_frame(at: int) -> None:
    made = FrameWriter(debug=True)
    made.cie()
    first = made.fde(TEXT_ADDRESS, 32, BODY)
    made.fde(TEXT_ADDRESS + 32, 32, BODY)
    struct.pack_into("<I", made.data, first + 4, at)
    assert grown(table_of(made)) == [False, True, False]


def test_an_entry_may_not_be_smaller_than_its_parts() -> None:
    made = FrameWriter()
    cie = made.cie(encoding=0x0C)
    made.fde(TEXT_ADDRESS, -32, BODY, cie)
    made.fde(TEXT_ADDRESS + 32, 32, BODY, cie)
    lying = made.fde(TEXT_ADDRESS + 64, 32, BODY, cie)
    made.data[lying + 24] = 0x70
    assert grown(table_of(made)) == [False, True, False]


def test_augmentation_data_beyond_an_entry_of_the_usual_kind_leaves_the_rule_of_the_cie() -> None:
    made, at = writer()
    made.data[at[1] + 16] = 0x7F
    assert grown(table_of(made)) == [True, False, True]


def test_zeros_between_entries_are_skipped_in_a_section() -> None:
    made, _ = writer()
    made.data += bytes(4096)
    made.terminate()
    cie = made.cie()
    made.fde(TEXT_ADDRESS + 200, 32, BODY, cie)
    assert table_of(made).rule_at(TEXT_ADDRESS + 204) == GROWN


def test_entries_beyond_the_most_are_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_entries, "MAX_ENTRIES", 3)
    assert grown(table_of(writer()[0])) == [True, True, False]


def test_cies_beyond_the_most_are_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_entries, "MAX_CIES", 1)
    made, _ = writer()
    other = made.cie(data=-4)
    made.fde(TEXT_ADDRESS + 100, 32, BODY, other)
    table = table_of(made)
    assert grown(table) == [True, True, True]
    assert table.rule_at(TEXT_ADDRESS + 104) == FRAME_POINTER


def refused(made: FrameWriter) -> str:
    with pytest.raises(FrameError) as caught:
        frame_unwind_table(elf_of(made))
    return str(caught.value)


def test_more_rules_than_any_file_has_are_refused() -> None:
    made = FrameWriter()
    made.cie()
    for number in range(CODE_SIZE // 4):
        made.fde(TEXT_ADDRESS + 4 * number, 4, b"".join(b"\x41" + def_cfa_offset(100 * number + i) for i in range(8)))
    assert CODE_SIZE // 4 * 8 > MAX_RULES
    assert "rules" in refused(made)


@pytest.mark.parametrize(
    ("name", "most", "words"),
    [("MAX_PROGRAMS", 1, "CIE"), ("MAX_TRANSITIONS", 2, "kinds of instructions"), ("MAX_RUN", 20, "more instructions")],
)
def test_limits_of_a_file(monkeypatch: pytest.MonkeyPatch, name: str, most: int, words: str) -> None:
    monkeypatch.setattr(frame_programs, name, most)
    made = FrameWriter()
    for number in range(3):
        cie = made.cie(data=-8 - number)
        made.fde(TEXT_ADDRESS + 32 * number, 32, BODY + BODY[:1] + def_cfa_offset(48 + number) + advance(1), cie)
    assert words in refused(made)


def test_what_repeats_is_forgotten_before_it_takes_much_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_programs, "_MAX_REMEMBERED", 2)
    rules = RuleSet()
    program = Interpreter(rules).program(Cie(1, -8, INITIAL))
    for number in range(20):
        spans = program[advance(number % 5 + 1) + def_cfa_offset(32)]
        assert spans == [rules.index(ENTRY), number % 5 + 1 << 16 | rules.index(GROWN)]
        assert 0 < len(program) <= 2


def test_a_segment_larger_than_the_file_costs_no_more_than_the_file() -> None:
    made = FrameWriter()
    cie = made.cie(encoding=0)
    made.fde(TEXT_ADDRESS, 2**62, BODY, cie)
    section = Sec(".eh_frame", bytes(made.data), addr=0x9000)
    elf = ElfFile(image(sections=[section], segments=(Seg(0x1000, TEXT_ADDRESS, 2**62, 2**62),)))
    table = frame_unwind_table(elf)
    assert table is not None
    assert len(table.starts) < 8


@pytest.mark.parametrize("vaddr", [MAX_ADDRESS, 2**63, 2**64 - 0x1000])
def test_code_where_no_program_has_any_does_not_count(vaddr: int) -> None:
    made = FrameWriter()
    made.fde(vaddr, 64, BODY, made.cie(encoding=0))
    section = Sec(".eh_frame", bytes(made.data), addr=0x9000)
    elf = ElfFile(image(sections=[section], segments=(Seg(0x1000, vaddr, 0x1000, 0x1000),)))
    assert frame_unwind_table(elf) is None


def test_segments_far_apart_would_need_too_many_pages() -> None:
    made = FrameWriter()
    cie = made.cie(encoding=0)
    starts = (TEXT_ADDRESS, MAX_ADDRESS - 0x1000)
    for start in starts:
        made.fde(start, 64, BODY, cie)
    section = Sec(".eh_frame", bytes(made.data), addr=0x9000)
    elf = ElfFile(image(sections=[section], segments=tuple(Seg(0x1000, start, 0x1000, 0x1000) for start in starts)))
    with pytest.raises(FrameError, match="rows"):
        frame_unwind_table(elf)


def test_a_million_instructions_of_one_function_take_little_memory() -> None:
    made = FrameWriter()
    made.cie()
    made.fde(TEXT_ADDRESS, 0x1000, b"".join(advance(1) + def_cfa_offset(8 + 8 * (i & 1)) for i in range(1 << 20)))
    made.fde(TEXT_ADDRESS + 0x1000, 32, BODY)
    elf = elf_of(made)
    tracemalloc.start()
    table = frame_unwind_table(elf)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert table is not None
    assert table.rule_at(TEXT_ADDRESS + 0x1004) == GROWN
    assert peak < 4 * len(made.data)


@given(st.binary(max_size=120))
def test_any_bytes_as_instructions(instructions: bytes) -> None:
    made = FrameWriter()
    made.cie()
    made.fde(TEXT_ADDRESS, 32, instructions)
    made.fde(TEXT_ADDRESS + 32, 32, BODY)
    assert grown(table_of(made))[1]


@given(st.binary(max_size=200), st.booleans(), st.integers(0, 40))
def test_any_bytes_as_a_table(contents: bytes, debug: bool, kept: int) -> None:
    made = FrameWriter(debug=debug)
    made.cie()
    made.fde(TEXT_ADDRESS, 32, BODY)
    made.data[kept:] = contents
    table = frame_unwind_table(elf_of(made))
    assert table is None or table.rules[0] == FRAME_POINTER


@given(st.lists(st.tuples(st.integers(0, CODE_SIZE), st.integers(0, 600), st.integers(0, 20)), min_size=1, max_size=40))
def test_functions_that_overlap_leave_a_table_in_order(functions: list[tuple[int, int, int]]) -> None:
    made = FrameWriter()
    made.cie()
    for start, size, number in functions:
        made.fde(
            TEXT_ADDRESS + start, size, advance(number) + def_cfa_offset(16) + advance(number) + b"\x07" + uleb(16)
        )
    table = frame_unwind_table(elf_of(made))
    if table is None:
        assert all(not size or start >= CODE_SIZE for start, size, _ in functions)
        return
    assert_in_order(table)
    last = {start: size for start, size, _ in functions if size}
    for place in range(0, CODE_SIZE, 41):
        before = [start for start in last if start <= place]
        if not before or place - max(before) >= last[max(before)] + 16:
            assert table.rule_at(TEXT_ADDRESS + place) in {FRAME_POINTER, None}
