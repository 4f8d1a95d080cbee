"""Waits as user space takes them from the kernel's maps, with maps in memory: what is told, when, and once."""

from dataclasses import dataclass, field

import pytest

from bpf import abi, waits
from bpf.waits import Wait, Waits, WaitSettings, WaitState, WaitTotals

MS = 1_000_000
BEGAN = 1_000 * MS


@dataclass
class MemoryHash:
    """A BPF hash in memory. `before_lookup` stands for what the kernel does meanwhile."""

    elements: dict[int, bytes] = field(default_factory=dict)
    before_lookup: object = None

    def update(self, key: int, value: bytes) -> None:
        self.elements[key] = value

    def lookup(self, key: int, _cpus: int = 1) -> bytes | None:
        if self.before_lookup is not None:
            self.before_lookup()
        return self.elements.get(key)

    def delete(self, key: int) -> bool:
        return self.elements.pop(key, None) is not None


@dataclass
class FakeDrain:
    ended: bytes = b""
    sums: bytes = b""

    def take(self) -> tuple[memoryview, memoryview]:
        keys, sums, self.ended, self.sums = self.ended, self.sums, b"", b""
        return memoryview(keys), memoryview(sums)


@dataclass
class Programs:
    maps: dict[str, object]


class Bench:
    """The maps, and a Waits that reads them."""

    def __init__(self, settings: WaitSettings, *, per_thread: bool = False) -> None:
        names = ("off_config", "off_totals", "waiting", "reported")
        self.maps = {name: MemoryHash() for name in names}
        self.drains = (FakeDrain(), FakeDrain())
        self.waits = Waits(
            Programs({**self.maps, "waits_a": self.drains[0], "waits_b": self.drains[1]}),
            settings,
            1,
            per_thread=per_thread,
        )

    def open(self, tid: int, since: int, *, woken: int = 0, state: int = 1, stack: int = 999, one_in: int = 1) -> None:
        self.maps["waiting"].elements[tid] = abi.WAIT.pack(since, woken, stack, 0, 0, 0, 0, 40, state, one_in, 0)

    def take(self, boundary: int) -> list[Wait]:
        return list(self.waits.take(0, boundary)[0])


@pytest.fixture(autouse=True)
def in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def elements(source: MemoryHash) -> list[tuple[bytes, bytes]]:
        return [(key.to_bytes(4, "little"), value) for key, value in source.elements.items()]

    monkeypatch.setattr(waits, "Drain", lambda drain: drain)
    monkeypatch.setattr(waits, "elements", elements)


def test_settings_are_told_as_the_kernel_reads_them() -> None:
    bench = Bench(WaitSettings(5 * MS, 9 * MS, (WaitState.SLEEPING, WaitState.STOPPED), wakers=True))
    bench.waits.configure(BEGAN)
    told = abi.OFF_CONFIG.unpack(bench.maps["off_config"].elements[0])
    assert told == (5 * MS, 9 * MS, BEGAN, 0b1010, 200, 2000, 1)


def test_ended_waits_are_told_and_sums_that_only_note_a_stack_are_not() -> None:
    bench = Bench(WaitSettings())
    bench.drains[0].ended = abi.WAIT_KEY.pack(999, 0, 40, 0, 2, 0) + abi.WAIT_KEY.pack(998, 0, 40, 0, 1, 0)
    bench.drains[0].sums = abi.WAIT_SUM.pack(3, 30 * MS, 3 * MS, 20 * MS) + abi.WAIT_SUM.pack(0, 0, 0, 0)
    assert bench.take(BEGAN) == [
        Wait(999, 0, 40, 0, WaitState.UNINTERRUPTIBLE, 3, 30 * MS, 3 * MS, 20 * MS),
    ]


def test_an_open_wait_is_counted_once_and_its_time_goes_on() -> None:
    bench = Bench(WaitSettings(), per_thread=True)
    bench.open(41, BEGAN)
    (first,) = bench.take(BEGAN + 10 * MS)
    assert first == Wait(999, 0, 40, 41, WaitState.SLEEPING, 1, 10 * MS, 0, 10 * MS)
    assert abi.REPORTED.unpack(bench.maps["reported"].elements[41]) == (BEGAN, BEGAN + 10 * MS)
    (second,) = bench.take(BEGAN + 25 * MS)
    assert second == Wait(999, 0, 40, 41, WaitState.SLEEPING, 0, 15 * MS, 0, 25 * MS)
    assert bench.take(BEGAN + 25 * MS) == []


def test_the_next_wait_of_a_thread_is_another_one() -> None:
    bench = Bench(WaitSettings())
    bench.open(41, BEGAN)
    bench.take(BEGAN + 10 * MS)
    bench.open(41, BEGAN + 12 * MS)
    (again,) = bench.take(BEGAN + 20 * MS)
    assert (again.waits, again.blocked_ns) == (1, 8 * MS)


def test_a_short_open_wait_is_told_when_it_is_long_enough() -> None:
    bench = Bench(WaitSettings(min_ns=5 * MS))
    bench.open(41, BEGAN)
    assert bench.take(BEGAN + 4 * MS) == []
    assert not bench.maps["reported"].elements
    (told,) = bench.take(BEGAN + 6 * MS)
    assert (told.waits, told.blocked_ns) == (1, 6 * MS)


def test_a_woken_or_preempted_thread_is_ready_to_run() -> None:
    bench = Bench(WaitSettings())
    bench.open(41, BEGAN, woken=BEGAN + 7 * MS)
    bench.open(42, BEGAN, state=WaitState.PREEMPTED, stack=998)
    found = {wait.stack: (wait.blocked_ns, wait.runnable_ns) for wait in bench.take(BEGAN + 10 * MS)}
    assert found == {999: (7 * MS, 3 * MS), 998: (0, 10 * MS)}
    found = {wait.stack: (wait.blocked_ns, wait.runnable_ns) for wait in bench.take(BEGAN + 15 * MS)}
    assert found == {999: (0, 5 * MS), 998: (0, 5 * MS)}


def test_a_wait_that_stands_for_others_has_its_class() -> None:
    bench = Bench(WaitSettings())
    bench.open(41, BEGAN, one_in=8)
    bench.open(42, BEGAN, stack=abi.THINNED_STACK, one_in=8)
    told = {wait.stack: (wait.waits, wait.blocked_ns, wait.thinned) for wait in bench.take(BEGAN + 10 * MS)}
    assert told == {999: (1, 10 * MS, 6), abi.THINNED_STACK: (1, 10 * MS, 6)}


def test_with_an_upper_limit_open_waits_are_told_at_the_end_only() -> None:
    bench = Bench(WaitSettings(max_ns=20 * MS))
    bench.open(41, BEGAN)
    bench.open(42, BEGAN + 15 * MS, stack=998)
    assert bench.take(BEGAN + 10 * MS) == []
    (told,) = bench.waits.take(0, BEGAN + 30 * MS, final=True)[0]
    assert (told.stack, told.blocked_ns) == (998, 15 * MS)
    assert bench.waits.new_totals() == WaitTotals(long_waits=1, long_ns=30 * MS)


def test_a_wait_that_ends_before_it_could_be_marked_tells_all_itself() -> None:
    bench = Bench(WaitSettings())
    bench.open(41, BEGAN)
    bench.maps["waiting"].before_lookup = lambda: bench.open(41, 0)
    assert bench.take(BEGAN + 10 * MS) == []
    assert not bench.maps["reported"].elements


def test_a_wait_that_ends_just_after_it_was_marked_has_used_the_mark() -> None:
    bench = Bench(WaitSettings())
    bench.open(41, BEGAN)

    def end() -> None:
        bench.open(41, 0)
        bench.maps["reported"].delete(41)

    bench.maps["waiting"].before_lookup = end
    (told,) = bench.take(BEGAN + 10 * MS)
    assert told.blocked_ns == 10 * MS


def test_stacks_of_open_waits_are_asked_to_be_kept() -> None:
    bench = Bench(WaitSettings())
    bench.open(41, BEGAN, stack=777)
    bench.open(42, 0, stack=778)
    assert 777 in bench.waits.take(0, BEGAN + MS)[1]
    assert 778 not in bench.waits.take(0, BEGAN + MS)[1]


def test_what_was_left_out_is_told_as_the_difference() -> None:
    bench = Bench(WaitSettings())
    bench.maps["off_totals"].elements[0] = abi.OFF_TOTALS.pack(3, 300, 1, 9000, 2, 50, 0, 0, 0)
    assert bench.waits.new_totals() == WaitTotals(3, 300, 1, 9000, 2, 50)
    bench.maps["off_totals"].elements[0] = abi.OFF_TOTALS.pack(5, 400, 1, 9000, 2, 50, 0, 0, 0)
    assert bench.waits.new_totals() == WaitTotals(2, 100)
