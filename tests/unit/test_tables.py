"""What the walker looks things up in: run allocation, rows of files and mappings of processes, in maps in memory."""

import errno
import struct
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpf import abi, tables
from bpf.tables import GoThreads, ProcessMapping, ProcessTable, RowTables, Runs
from symbolizer.unwind.rows import FRAME_POINTER, Rule, RuleKind, UnwindTable


class MemoryMap:
    """A BPF map in memory: an array or a hash of bytes."""

    def __init__(self, value_size: int, max_entries: int) -> None:
        self.value_size = value_size
        self.max_entries = max_entries
        self.elements: dict[int, bytes] = {}

    def update(self, key: int, value: bytes) -> None:
        if key not in self.elements and len(self.elements) >= self.max_entries:
            raise OSError(errno.E2BIG, "full")
        self.elements[key] = value

    def lookup(self, key: int) -> bytes | None:
        return self.elements.get(key)

    def delete(self, key: int) -> bool:
        return self.elements.pop(key, None) is not None

    def update_run(self, first: int, values: bytes) -> None:
        for index in range(len(values) // self.value_size):
            assert 0 <= first + index < self.max_entries
            self.elements[first + index] = values[index * self.value_size : (index + 1) * self.value_size]


@pytest.fixture
def maps(monkeypatch: pytest.MonkeyPatch) -> dict[str, MemoryMap]:
    made = {
        "tables": MemoryMap(abi.TABLE.size, 8),
        "pages": MemoryMap(abi.PAGE.size, 64),
        "slabs": MemoryMap(4, abi.MAX_SLABS),
        "rules": MemoryMap(abi.RULE.size * abi.MAX_RULES, 1),
        "processes": MemoryMap(abi.PROCESS.size, 4),
        "mappings": MemoryMap(abi.MAPPING.size, 16),
        "rows": MemoryMap(4 * abi.SLAB_ROWS, 1 << 20),
    }

    def add_slab(self: RowTables, rows: "array[int]") -> int:
        number = self._slabs.take(1)
        made["rows"].elements[number] = rows.tobytes()
        return number

    # The one place that makes maps of its own in the kernel.
    monkeypatch.setattr(RowTables, "_add_slab", add_slab)
    return made


class TestRuns:
    def test_runs_are_handed_out_in_order_until_nothing_is_left(self) -> None:
        runs = Runs(10, first=1)
        assert [runs.take(4), runs.take(5), runs.take(1)] == [1, 5, None]

    def test_what_was_returned_is_free_only_after_a_window(self) -> None:
        runs = Runs(4)
        assert runs.take(4) == 0
        runs.give(0, 4)
        assert runs.take(1) is None
        runs.settle()
        assert runs.take(4) == 0

    def test_neighbours_are_joined(self) -> None:
        runs = Runs(6)
        starts = [runs.take(2) for _ in range(3)]
        for start in starts:
            runs.give(start, 2)
        runs.settle()
        assert runs.take(6) == 0

    @given(st.lists(st.integers(0, 12), max_size=60), st.randoms())
    def test_no_index_is_ever_handed_out_twice(self, lengths: list[int], chance: object) -> None:
        runs, taken = Runs(32), []
        for length in lengths:
            if length == 12 or (taken and chance.random() < 0.3):
                if taken:
                    runs.give(*taken.pop(chance.randrange(len(taken))))
                runs.settle()
                continue
            start = runs.take(length)
            if start is not None:
                taken.append((start, length))
            used = sorted(index for start, length in taken for index in range(start, start + length))
            assert len(set(used)) == len(used)
            assert all(0 <= index < 32 for index in used)


DEEP, END = Rule(RuleKind.RSP, 72, -16), Rule(RuleKind.END)


def unwind_table(pages: list[list[tuple[int, int]]], rules: tuple[Rule, ...], first_page: int = 0x401) -> UnwindTable:
    rows, starts = array("I"), array("I", [0])
    for page in pages:
        rows.extend(low << 16 | rule for low, rule in page)
        starts.append(len(rows))
    return UnwindTable(first_page, starts, rows, rules)


def find_rule(maps: dict[str, MemoryMap], index: int, vaddr: int) -> Rule:
    """What the walker finds, step by step, in the maps."""
    first_page, pages, first, _ = abi.TABLE.unpack(maps["tables"].elements[index])
    number = (vaddr >> 12) - first_page
    assert 0 <= number < pages
    slab, start, count = abi.PAGE.unpack(maps["pages"].elements[first + number])
    rows = struct.unpack_from(f"<{count}I", maps["rows"].elements[slab], 4 * start)
    row = max(row for row in rows if row >> 16 <= vaddr & 4095)
    cfa, rbp, kind, _ = abi.RULE.unpack_from(maps["rules"].elements[0], (row & 0xFFFF) * abi.RULE.size)
    return Rule(RuleKind(kind), cfa, rbp)


class TestRowTables:
    def test_rule_zero_is_the_frame_pointer_before_anything_is_added(self, maps: dict[str, MemoryMap]) -> None:
        RowTables(maps)
        cfa, rbp, kind, _ = abi.RULE.unpack_from(maps["rules"].elements[0])
        assert Rule(RuleKind(kind), cfa, rbp) == FRAME_POINTER

    def test_rows_are_found_again_with_rules_shared_between_files(self, maps: dict[str, MemoryMap]) -> None:
        rows = RowTables(maps)
        one = rows.add(unwind_table([[(0, 1), (16, 0)], [(0, 2)]], (FRAME_POINTER, DEEP, END)))
        two = rows.add(unwind_table([[(0, 2), (0x800, 1)]], (FRAME_POINTER, END, DEEP), first_page=0x10))
        assert len({0, one, two}) == 3
        assert find_rule(maps, one, 0x401008) == DEEP
        assert find_rule(maps, one, 0x401010) == FRAME_POINTER
        assert find_rule(maps, one, 0x402FFF) == END
        assert find_rule(maps, two, 0x107FF) == DEEP
        assert find_rule(maps, two, 0x10800) == END

    def test_a_page_is_never_split_between_slabs(self, maps: dict[str, MemoryMap]) -> None:
        rows = RowTables(maps)
        many = [[(at, 1 + at % 2) for at in range(0, 4096, 4)] for _ in range(20)]  # 1,024 rows a page, 16 pages a slab
        index = rows.add(unwind_table(many, (FRAME_POINTER, DEEP, END)))
        for page in (0, 15, 16, 19):
            assert find_rule(maps, index, (0x401 + page << 12) + 5) == DEEP
        assert len(maps["rows"].elements) == 2

    def test_what_does_not_fit_takes_nothing(self, maps: dict[str, MemoryMap]) -> None:
        rows = RowTables(maps)
        large = unwind_table([[(0, 1)]] * 65, (FRAME_POINTER, DEEP))
        for _ in range(20):
            assert rows.add(large) == 0
        rows.settle()
        assert rows.add(unwind_table([[(0, 1)]] * 64, (FRAME_POINTER, DEEP))) > 0
        assert rows.add(unwind_table([], (FRAME_POINTER,))) == 0

    def test_a_file_taken_out_makes_room_after_a_window(self, maps: dict[str, MemoryMap]) -> None:
        rows = RowTables(maps)
        whole = unwind_table([[(0, 1)]] * 64, (FRAME_POINTER, DEEP))
        index = rows.add(whole)
        rows.memory += 4 * abi.SLAB_ROWS
        rows.remove(index)
        assert rows.add(whole) == 0
        rows.settle()
        assert rows.add(whole) > 0


GO = GoThreads(mcall=(0x1000, 0x1080), sigpanic=(0x2000, 0x2100), tls=-8, g_m=48, m_curg=184, sched_bp=96)


class TestProcessTable:
    def test_a_process_is_written_as_the_walker_reads_it(self, maps: dict[str, MemoryMap]) -> None:
        table = ProcessTable(maps)
        code = [
            ProcessMapping(0x400000, 0x402000, 0, 3, go=True),
            ProcessMapping(0x7F0000000000, 0x7F0000001000, -4096),
        ]
        assert table.set(17, 99, code, GO)
        assert table.space_of(17) == 99
        assert table.space_of(18) is None
        value = abi.PROCESS.unpack(maps["processes"].elements[17])
        (
            space,
            _,
            mcall,
            morestack,
            _,
            _,
            sigpanic,
            mcall_size,
            _,
            _,
            _,
            sigpanic_size,
            first,
            count,
            flags,
            tls,
            g_m,
        ) = value[:17]
        assert (space, mcall, mcall_size, morestack, sigpanic, sigpanic_size) == (99, 0x1000, 0x80, 0, 0x2000, 0x100)
        assert (count, flags, tls, g_m, value[-2]) == (2, abi.MAPPINGS_KNOWN, -8, 48, 96)
        written = [abi.MAPPING.unpack(maps["mappings"].elements[first + index]) for index in range(count)]
        assert written == [(0x400000, 0, 2, 3 | abi.GO_CODE), (0x7F0000000000, 2**64 - 4096, 1, 0)]

    def test_where_there_is_no_room_the_old_mappings_stay(self, maps: dict[str, MemoryMap]) -> None:
        table = ProcessTable(maps)
        code = [ProcessMapping(page << 12, page + 1 << 12, 0) for page in range(10)]
        assert table.set(17, 99, code, None)
        before = maps["processes"].elements[17]
        assert not table.set(17, 99, code, None)
        assert maps["processes"].elements[17] == before
        table.settle()
        assert not table.set(18, 100, code, None), "the run of a living process was given away"

    def test_room_comes_back_after_a_window(self, maps: dict[str, MemoryMap]) -> None:
        table = ProcessTable(maps)
        code = [ProcessMapping(page << 12, page + 1 << 12, 0) for page in range(16)]
        assert table.set(17, 99, code, None)
        table.exited(17, 99)
        assert not table.set(18, 100, code, None)
        table.settle()
        assert table.set(18, 100, code, None)

    def test_a_full_table_of_processes_is_no_error(self, maps: dict[str, MemoryMap]) -> None:
        table = ProcessTable(maps)
        code = [ProcessMapping(0x1000, 0x2000, 0)]
        assert [table.set(pid, pid, code, None) for pid in range(1, 6)] == [True] * 4 + [False]

    def test_mappings_that_came_too_late_for_an_exit_are_taken_out(self, maps: dict[str, MemoryMap]) -> None:
        table = ProcessTable(maps)
        code = [ProcessMapping(0x1000, 0x2000, 0)]
        table.set(17, 99, code, None)  # the kernel side has removed 17 before, and told
        table.exited(17, 99)
        assert table.space_of(17) is None

    def test_the_exit_of_one_program_leaves_the_next_in_the_same_process(self, maps: dict[str, MemoryMap]) -> None:
        table = ProcessTable(maps)
        table.set(17, 100, [ProcessMapping(0x1000, 0x2000, 0)], None)
        table.exited(17, 99)
        table.settle()
        assert table.space_of(17) == 100
        assert not table.set(18, 101, [ProcessMapping(page << 12, page + 1 << 12, 0) for page in range(16)], None)


def test_the_limits_are_those_of_the_c_side() -> None:
    assert abi.SLAB_ROWS * 4 == 64 * 1024
    assert tables.abi.MAX_MAPPINGS == 4096
