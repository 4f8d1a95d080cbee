"""Which files' rows the walker has, with maps in memory and rows made at once."""

from array import array
from dataclasses import dataclass, field

import pytest

from agent.processes.rowkeeper import RowKeeper
from agent.processes.rows import FileRows, Made, Making
from agent.processes.spaces import AddressSpace, Region
from bpf import abi
from bpf.abi import RowsState
from bpf.processes import ProcessMapping
from bpf.rows import RowTables
from symbolizer.unwind.rows import FRAME_POINTER, Rule, RuleKind, UnwindTable
from tests.support.bpfmaps import MemoryMap, walker_maps

SLAB = 4 * abi.SLAB_ROWS


@dataclass(eq=False)
class FakeBinary:
    """A file whose rows take `slabs` slabs; 0: it has no tables."""

    slabs: int = 1
    key: None = None
    go: None = None


@dataclass
class FakeBuilder:
    """Stands for the thread: what is wanted is made at once."""

    files: dict[FakeBinary, FileRows] = field(default_factory=dict)
    ready: list[Made] = field(default_factory=list)
    made: list[FakeBinary] = field(default_factory=list)

    def file_of(self, binary: FakeBinary) -> FileRows:
        return self.files.setdefault(binary, FileRows())

    def want(self, binary: FakeBinary) -> FileRows:
        rows = self.file_of(binary)
        if rows.making is Making.UNASKED:
            rows.making = Making.MADE
            self.made.append(binary)
            self.ready.append(Made(rows, unwind_table(binary.slabs) if binary.slabs else None, 0.0))
        return rows

    @property
    def pending(self) -> bool:
        return bool(self.ready)

    def finished(self, _timeout: float) -> Made | None:
        return self.ready.pop(0) if self.ready else None

    def forget(self, keep: set[FileRows]) -> list[FileRows]:
        gone = {binary: rows for binary, rows in self.files.items() if rows not in keep}
        for binary in gone:
            del self.files[binary]
        return list(gone.values())

    def __len__(self) -> int:
        return len(self.files)


def unwind_table(slabs: int) -> UnwindTable:
    rows = array("I", [at << 16 | 1 for at in range(4096)] * 4 * slabs)
    return UnwindTable(1, array("I", range(0, len(rows) + 1, 4096)), rows, (FRAME_POINTER, Rule(RuleKind.RSP, 16, -16)))


@dataclass
class Bench:
    keeper: RowKeeper
    builder: FakeBuilder
    maps: dict[str, MemoryMap]

    def state(self, binary: FakeBinary) -> RowsState:
        return RowsState(abi.TABLE.unpack(self.maps["tables"].elements[self.builder.files[binary].table])[4])

    def use(self, binary: FakeBinary, window: int) -> None:
        """What the walker notes when it looks at rows."""
        fields = list(abi.TABLE.unpack(self.maps["tables"].elements[self.builder.files[binary].table]))
        fields[6] = window
        self.maps["tables"].update(self.builder.files[binary].table, abi.TABLE.pack(*fields))

    def ask(self, binary: FakeBinary) -> None:
        """A sample meets code of a file."""
        region = Region(0x1000, 0x2000, 0, "/f", binary)
        self.keeper.mappings(region)
        self.keeper.asked(AddressSpace(1, 1, "", "", [region]), self.builder.files[binary].table)
        self.keeper.place()


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    maps = walker_maps()

    def add_slab(self: RowTables, number: int, _rows: "array[int]") -> None:
        maps["slabs"].elements[number] = b""
        self.memory += SLAB

    monkeypatch.setattr(RowTables, "_add_slab", add_slab)
    builder = FakeBuilder()
    return Bench(RowKeeper(builder, RowTables(maps, budget=4 * SLAB)), builder, maps)


def test_mapped_files_cost_nothing_until_a_sample_meets_them(bench: Bench) -> None:
    binary = FakeBinary()
    (mapping,) = bench.keeper.mappings(Region(0x1000, 0x3000, 0x400, "/f", binary))
    assert mapping == ProcessMapping(0x1000, 0x3000, 0x400, bench.builder.files[binary].table)
    assert bench.state(binary) is RowsState.WANTED
    assert not bench.builder.made
    bench.ask(binary)
    assert bench.state(binary) is RowsState.READY


def test_generated_code_has_no_table(bench: Bench) -> None:
    assert bench.keeper.mappings(Region(0x1000, 0x3000, 0, "")) == [ProcessMapping(0x1000, 0x3000, 0, 0)]


def test_a_file_without_tables_is_not_asked_for_again(bench: Bench) -> None:
    binary = FakeBinary(slabs=0)
    bench.ask(binary)
    assert bench.state(binary) is RowsState.NONE
    bench.ask(binary)
    assert len(bench.builder.made) == 1


def test_the_longest_unused_rows_make_room_and_come_back_when_asked_for(bench: Bench) -> None:
    one, two, three = FakeBinary(2), FakeBinary(2), FakeBinary(2)
    bench.ask(one)
    bench.ask(two)
    bench.use(one, 3)
    bench.keeper.settle(4, [])
    bench.ask(three)
    assert [bench.state(binary) for binary in (one, two, three)] == [
        RowsState.READY,
        RowsState.WANTED,
        RowsState.READY,
    ]
    bench.use(three, 9)
    bench.keeper.settle(9, [])
    bench.ask(two)
    assert [bench.state(binary) for binary in (one, two, three)] == [
        RowsState.WANTED,
        RowsState.READY,
        RowsState.READY,
    ]


def test_rows_in_use_are_not_taken_out_and_what_found_no_room_may_ask_a_window_later(bench: Bench) -> None:
    one, two = FakeBinary(3), FakeBinary(2)
    bench.ask(one)
    bench.ask(two)
    assert bench.state(one) is RowsState.READY
    assert bench.state(two) is RowsState.REFUSED
    bench.ask(two)
    assert bench.builder.made == [one, two]
    bench.keeper.settle(2, [])
    assert bench.state(two) is RowsState.WANTED
    bench.keeper.settle(3, [])
    bench.ask(two)
    assert bench.state(one) is RowsState.WANTED
    assert bench.state(two) is RowsState.READY


def test_a_file_larger_than_the_budget_is_refused_and_nothing_else_suffers(bench: Bench) -> None:
    one, giant = FakeBinary(1), FakeBinary(5)
    bench.ask(one)
    bench.keeper.settle(9, [])
    bench.ask(giant)
    assert bench.state(giant) is RowsState.REFUSED
    assert bench.state(one) is RowsState.READY


def test_tables_of_files_that_nothing_maps_are_given_back(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.processes.rowkeeper._MAX_FILES", 2)
    mapped, *gone = (FakeBinary() for _ in range(3))
    for binary in (mapped, *gone):
        bench.ask(binary)
    space = AddressSpace(1, 1, "", "", [Region(0x1000, 0x2000, 0, "/f", mapped)])
    bench.keeper.settle(2, [space])
    assert list(bench.builder.files) == [mapped]
    bench.keeper.settle(3, [space])
    assert bench.keeper.mappings(space.regions[0])[0].table == bench.builder.files[mapped].table
    fresh = FakeBinary()
    bench.ask(fresh)
    assert bench.state(fresh) is RowsState.READY
