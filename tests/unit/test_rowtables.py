"""The rows of files in the walker's maps (in memory here), looked up step by step as the walker does."""

import struct
from array import array
from itertools import pairwise

import pytest

from bpf import abi
from bpf.abi import RowsState
from bpf.rows import RowTables
from symbolizer.unwind.rows import FRAME_POINTER, Rule, RuleKind, UnwindTable
from tests.support.bpfmaps import MemoryMap, walker_maps

SLAB = 4 * abi.SLAB_ROWS
DEEP, END = Rule(RuleKind.RSP, 72, -16), Rule(RuleKind.END)
NO_ROOM = 1


@pytest.fixture
def maps(monkeypatch: pytest.MonkeyPatch) -> dict[str, MemoryMap]:
    made = walker_maps()

    def add_slab(self: RowTables, number: int, rows: "array[int]") -> None:
        made["rows"].elements[number] = rows.tobytes()
        self.memory += SLAB

    # The one place that makes maps of its own in the kernel.
    monkeypatch.setattr(RowTables, "_add_slab", add_slab)
    return made


def unwind_table(pages: list[list[tuple[int, int]]], rules: tuple[Rule, ...], first_page: int = 0x401) -> UnwindTable:
    rows, starts = array("I"), array("I", [0])
    for page in pages:
        rows.extend(low << 16 | rule for low, rule in page)
        starts.append(len(rows))
    return UnwindTable(first_page, starts, rows, rules)


def state(maps: dict[str, MemoryMap], index: int) -> RowsState:
    return RowsState(abi.TABLE.unpack(maps["tables"].elements[index])[4])


def find_rule(maps: dict[str, MemoryMap], index: int, vaddr: int) -> tuple[int, int, int, int]:
    """(cfa, rbp, kind, register) as the walker finds them."""
    first_page, pages, first, base, ready, *_ = abi.TABLE.unpack(maps["tables"].elements[index])
    assert ready == RowsState.READY
    number = (vaddr >> 12) - first_page
    assert 0 <= number < pages
    slab, start, count = abi.PAGE.unpack(maps["pages"].elements[first + number])
    rows = struct.unpack_from(f"<{count}I", maps["rows"].elements[slab], 4 * start)
    local = max(row for row in rows if row >> 16 <= vaddr & 4095) & 0xFFFF
    return abi.RULE.unpack_from(maps["rules"].elements[0], (base + local if local else 0) * abi.RULE.size)


def packed(rule: Rule) -> tuple[int, int, int]:
    return rule.cfa, rule.rbp, int(rule.kind)


def test_rule_zero_is_the_frame_pointer_before_anything_is_added(maps: dict[str, MemoryMap]) -> None:
    RowTables(maps)
    assert abi.RULE.unpack_from(maps["rules"].elements[0])[:3] == packed(FRAME_POINTER)


def test_a_reserved_table_wants_rows(maps: dict[str, MemoryMap]) -> None:
    assert state(maps, RowTables(maps).reserve()) is RowsState.WANTED


def test_rows_are_found_again_and_each_file_has_its_own_rules(maps: dict[str, MemoryMap]) -> None:
    rows = RowTables(maps)
    one, two = rows.reserve(), rows.reserve()
    assert rows.place(one, unwind_table([[(0, 1), (16, 0)], [(0, 2)]], (FRAME_POINTER, DEEP, END)), 1)
    assert rows.place(two, unwind_table([[(0, 2), (0x800, 1)]], (FRAME_POINTER, END, DEEP), first_page=0x10), 1)
    assert len({0, NO_ROOM, one, two}) == 4
    assert find_rule(maps, one, 0x401008)[:3] == packed(DEEP)
    assert find_rule(maps, one, 0x401010)[:3] == packed(FRAME_POINTER)
    assert find_rule(maps, one, 0x402FFF)[:3] == packed(END)
    assert find_rule(maps, two, 0x107FF)[:3] == packed(DEEP)
    assert find_rule(maps, two, 0x10800)[:3] == packed(END)


@pytest.mark.parametrize(("dwarf", "field"), [(0, "ax"), (1, "dx"), (2, "cx"), (3, "bx"), (10, "r10"), (15, "r15")])
def test_a_register_is_named_by_its_place_in_pt_regs(maps: dict[str, MemoryMap], dwarf: int, field: str) -> None:
    order = ["r15", "r14", "r13", "r12", "bp", "bx", "r11", "r10", "r9", "r8", "ax", "cx", "dx", "si", "di"]
    rows = RowTables(maps)
    index = rows.reserve()
    rows.place(index, unwind_table([[(0, 1)]], (FRAME_POINTER, Rule(RuleKind.REGISTER, 8, 0, dwarf))), 1)
    cfa, _, kind, register = find_rule(maps, index, 0x401000)
    assert (cfa, kind, order[register]) == (8, RuleKind.REGISTER, field)


def test_a_page_is_never_split_between_slabs(maps: dict[str, MemoryMap]) -> None:
    rows = RowTables(maps)
    many = [[(at, 1 + at % 2) for at in range(0, 4096, 4)] for _ in range(20)]  # 1,024 rows a page, 16 pages a slab
    index = rows.reserve()
    assert rows.place(index, unwind_table(many, (FRAME_POINTER, DEEP, END)), 1)
    for page in (0, 15, 16, 19):
        assert find_rule(maps, index, (0x401 + page << 12) + 5)[:3] == packed(DEEP)
    assert len(maps["rows"].elements) == 2
    assert rows.memory == 2 * SLAB


def test_what_does_not_fit_takes_nothing(maps: dict[str, MemoryMap]) -> None:
    rows = RowTables(maps)
    index = rows.reserve()
    for _ in range(20):
        assert not rows.place(index, unwind_table([[(0, 1)]] * 65, (FRAME_POINTER, DEEP)), 1)
    rows.settle()
    assert rows.memory == 0
    assert state(maps, index) is RowsState.WANTED
    assert rows.place(index, unwind_table([[(0, 1)]] * 64, (FRAME_POINTER, DEEP)), 1)


def test_the_budget_is_kept(maps: dict[str, MemoryMap]) -> None:
    rows = RowTables(maps, budget=2 * SLAB)
    small = unwind_table([[(0, 1)]], (FRAME_POINTER, DEEP))
    placed = [rows.place(rows.reserve(), small, 1) for _ in range(3)]
    assert placed == [True, True, False]
    assert rows.memory == 2 * SLAB


def test_rows_taken_out_make_room_after_a_window_and_can_come_back(maps: dict[str, MemoryMap]) -> None:
    rows = RowTables(maps)
    whole = unwind_table([[(0, 1)]] * 64, (FRAME_POINTER, DEEP))
    one, two = rows.reserve(), rows.reserve()
    assert rows.place(one, whole, 1)
    rows.take_out(one)
    assert state(maps, one) is RowsState.WANTED
    assert rows.memory == 0
    assert not rows.place(two, whole, 1), "a program may still be reading there"
    rows.settle()
    assert rows.place(two, whole, 2)
    rows.take_out(two)
    rows.settle()
    assert rows.place(one, whole, 3)
    assert find_rule(maps, one, 0x401000)[:3] == packed(DEEP)


def test_the_walkers_own_note_tells_when_rows_were_used(maps: dict[str, MemoryMap]) -> None:
    rows = RowTables(maps)
    index = rows.reserve()
    rows.place(index, unwind_table([[(0, 1)]], (FRAME_POINTER, DEEP)), 7)
    assert rows.last_used() == {index: 7}
    fields = list(abi.TABLE.unpack(maps["tables"].elements[index]))
    fields[6] = 9
    maps["tables"].update(index, abi.TABLE.pack(*fields))
    assert rows.last_used() == {index: 9}


def test_when_tables_run_out_further_files_share_one_that_says_so(maps: dict[str, MemoryMap]) -> None:
    rows = RowTables(maps)
    reserved = [rows.reserve() for _ in range(8)]
    assert reserved == [2, 3, 4, 5, 6, 7, NO_ROOM, NO_ROOM]
    assert state(maps, NO_ROOM) is RowsState.REFUSED
    rows.release(NO_ROOM)
    rows.release(3)
    rows.settle()
    assert [rows.reserve(), rows.reserve()] == [3, NO_ROOM]
    assert all(one < two for one, two in pairwise(reserved[:6]))
