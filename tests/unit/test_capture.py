"""Windows of counts and the stacks that belong to them, from maps and rings in memory."""

import struct
from dataclasses import dataclass, field

import pytest

from bpf import abi, capture, causes
from bpf.abi import Target, Want
from bpf.capture import Capture


@dataclass
class FakeMap:
    """The configuration, the losses, or (with counts) a hash that Drain empties."""

    max_entries: int = 100
    descriptor: int = 0
    values: dict[int, bytes] = field(default_factory=dict)
    counts: dict[tuple[int, int, int], int] = field(default_factory=dict)

    def update(self, key: int, value: bytes) -> None:
        self.values[key] = value

    def lookup(self, key: int, cpus: int = 1) -> bytes | None:
        return self.values.get(key, bytes(8 * cpus))


class FakeDrain:
    def __init__(self, source: FakeMap) -> None:
        self.source = source

    def take(self) -> tuple[memoryview, memoryview]:
        keys = b"".join(abi.COUNT_KEY.pack(*key) for key in self.source.counts)
        values = struct.pack(f"<{len(self.source.counts)}Q", *self.source.counts.values())
        self.source.counts.clear()
        return memoryview(keys), memoryview(values)


class FakeRing:
    def __init__(self, _descriptor: int) -> None:
        self.waiting: list[bytes] = []

    def fileno(self) -> int:
        return 0

    def records(self) -> list[memoryview]:
        taken, self.waiting = self.waiting, []
        return [memoryview(record) for record in taken]

    def close(self) -> None:
        pass


class FakeEpoll:
    def register(self, descriptor: int, events: int) -> None:
        pass

    def poll(self, timeout: float) -> None:
        pass

    def close(self) -> None:
        pass


@dataclass
class FakePrograms:
    maps: dict[str, FakeMap]


NAMES = ("config", "losses", "counts_a", "counts_b", "stacks", "events")


class Bench:
    def __init__(self) -> None:
        self.maps = {name: FakeMap() for name in NAMES}
        self.capture = Capture(FakePrograms(self.maps), Target.PIDS, Want.USER | Want.KERNEL, 49, 2)

    @property
    def active(self) -> dict[tuple[int, int, int], int]:
        number = abi.CONFIG.unpack(self.maps["config"].values[0])[0]
        return self.maps["counts_b" if number else "counts_a"].counts

    def send(self, stack: int) -> bytes:
        record = abi.STACK_HEAD.pack(stack, 1, 17, 17, 0, 0, 0, bytes(16), 0, 0, 0)
        self.capture._stack_ring.waiting.append(record)
        return record

    def lose(self, cause: str, *by_cpu: int) -> None:
        (number,) = [one.id for one in causes.losses() if one.name == cause]
        self.maps["losses"].values[number] = struct.pack("<2Q", *by_cpu)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(capture, "Drain", FakeDrain)
    monkeypatch.setattr(capture, "RingBuffer", FakeRing)
    monkeypatch.setattr(capture.select, "epoll", FakeEpoll)
    monkeypatch.setattr(capture, "_SETTLE_SECONDS", 0)
    return Bench()


def test_the_programs_are_told_what_to_do(bench: Bench) -> None:
    active, target, want, _, period = abi.CONFIG.unpack(bench.maps["config"].values[0])
    assert (active, target, want, period) == (0, Target.PIDS, 3, 10**9 // 49)


def test_windows_take_turns_at_the_two_maps(bench: Bench) -> None:
    for number in range(4):
        bench.active[1000, 17, 0] = number
        (count,) = bench.capture.rotate().counts
        assert (count.stack, count.tgid, count.tid, count.samples) == (1000, 17, 0, number)
        assert abi.CONFIG.unpack(bench.maps["config"].values[0])[0] == (number + 1) % 2


def test_a_counted_stack_comes_with_its_record(bench: Bench) -> None:
    record = bench.send(1000)
    bench.active[1000, 17, 0] = 2
    assert bench.capture.rotate().stacks == {1000: record}


def test_a_record_that_came_one_window_early_is_still_there(bench: Bench) -> None:
    record = bench.send(1000)
    assert bench.capture.rotate().stacks == {}
    bench.active[1000, 17, 0] = 1
    assert bench.capture.rotate().stacks == {1000: record}


def test_a_record_serves_the_window_that_ends_and_the_one_that_has_just_begun(bench: Bench) -> None:
    record = bench.send(1000)
    bench.active[1000, 17, 0] = 1
    assert bench.capture.rotate().stacks == {1000: record}
    bench.active[1000, 17, 0] = 1
    assert bench.capture.rotate().stacks == {1000: record}


def test_records_that_nobody_counts_are_forgotten(bench: Bench) -> None:
    bench.send(1000)
    for _ in range(5):
        bench.capture.rotate()
    bench.active[1000, 17, 0] = 1
    assert bench.capture.rotate().stacks == {}
    assert sum(map(len, bench.capture._recent)) == 0


def test_losses_are_those_of_the_window_all_cpus_together(bench: Bench) -> None:
    bench.lose("counts_full", 3, 4)
    assert bench.capture.rotate().losses["counts_full"] == 7
    assert bench.capture.rotate().losses["counts_full"] == 0
    bench.lose("counts_full", 3, 10)
    assert bench.capture.rotate().losses["counts_full"] == 6


def test_a_window_with_many_stacks_is_to_be_ended_early(bench: Bench) -> None:
    for stack in range(1000, 1080):
        bench.send(stack)
    assert not bench.capture.filling_up
    bench.capture.wait(0)
    assert bench.capture.filling_up
    bench.capture.rotate()
    assert not bench.capture.filling_up


def test_events_are_handed_on(bench: Bench) -> None:
    bench.capture._event_ring.waiting.append(abi.EVENT.pack(3, 17, 99, 0, b"thing".ljust(16, b"\0")))
    assert bench.capture.wait(0) == [abi.Event(abi.EventKind.EXIT, 17, 99, 0, "thing")]
