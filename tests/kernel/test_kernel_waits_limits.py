"""Which waits are kept: thresholds, states, targets; who ended them; and threads that switch too often to walk each."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.recording.recorder import Wanted
from bpf import abi
from bpf.waits import WaitSettings, WaitState
from profiles.model import Kind, Profile
from tests.kernel.cli import goroscope
from tests.kernel.conftest import CBuild
from tests.kernel.recording import names_of, running, wait_for
from tests.kernel.test_kernel_targets import cgroup_mount
from tests.kernel.waiting import Truth, Waiting, Waits, record_waits, waiters

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

MS = 1_000_000
NO_LIMIT = 10**9
EVERY = WaitSettings(min_ns=0, thread_walks=NO_LIMIT, cpu_walks=NO_LIMIT)
UNREPORTED = 5
"""Switches that the kernel may not report in a recording: see Run.unreported of test_kernel_waits.py."""


def record_all(truth: Truth, settings: WaitSettings, window_seconds: float = 10.0) -> tuple[Waiting, int]:
    """A recording, and how many switches the kernel counted in it."""
    before, end = truth.switches(), []

    def all_wait() -> None:
        time.sleep(0.1)
        end.append(truth.switches())

    wanted = Wanted(pids=(truth.pid,), per_thread=True, on_cpu=False, window_seconds=window_seconds, waits=settings)
    recorded = record_waits(wanted, truth.go, truth.done, before_stop=all_wait)
    return recorded, end[0] - before


def test_what_is_shorter_and_longer_than_asked_for_is_counted_and_not_kept(c_program: CBuild) -> None:
    settings = WaitSettings(min_ns=2 * MS, max_ns=50 * MS, thread_walks=NO_LIMIT, cpu_walks=NO_LIMIT)
    with waiters(c_program("waits"), 2000, "sleep=600,500", "sleep=100,8000", "sleep=10,90000") as truth:
        recorded, switches = record_all(truth, settings)
    left_out, waits = recorded.left_out, recorded.waits
    # All threads wait when it begins, and those waits end. All four wait when it ends: the kernel counts that later.
    counted = waits.count + left_out.short_waits + left_out.long_waits
    assert abs(counted - 4 - switches) <= UNREPORTED
    short, kept, long = truth.of("sleep")
    assert waits.of(kept.tid, "wait_asleep").count == pytest.approx(kept.waits, abs=2)
    assert not waits.of(long.tid, "wait_asleep").count
    assert left_out.long_waits >= long.waits
    assert left_out.long_ns >= 0.99 * long.total
    assert short.rounds - short.waits <= left_out.short_waits
    assert 0.5 * MS * (short.rounds - short.waits) <= left_out.short_ns <= 2 * MS * left_out.short_waits
    notes = recorded.recording.profile.metadata.notes
    assert any("shorter than 2 ms" in note and f"{left_out.short_waits:,}" in note for note in notes)
    assert any("longer than 50 ms" in note and f"{left_out.long_waits:,}" in note for note in notes)


def test_a_wait_longer_than_asked_for_is_not_kept_in_part(c_program: CBuild) -> None:
    settings = WaitSettings(min_ns=MS, max_ns=1500 * MS)
    with waiters(c_program("waits"), 1000, "sleep=1,2600000") as truth:
        recorded, _ = record_all(truth, settings, window_seconds=1.0)
    assert recorded.left_out.long_ns >= 2600 * MS
    assert recorded.waits.of(truth.of("sleep")[0].tid, "wait_asleep").off_ns == 0


def test_only_the_states_that_were_asked_for_are_kept(c_program: CBuild) -> None:
    settings = WaitSettings(min_ns=0, states=(WaitState.UNINTERRUPTIBLE,), thread_walks=NO_LIMIT, cpu_walks=NO_LIMIT)
    with waiters(c_program("waits"), 300, "disk=600", "sleep=600") as truth:
        recorded, _ = record_all(truth, settings)
    assert recorded.waits.states.keys() == {WaitState.UNINTERRUPTIBLE}
    disk, sleep = truth.of("disk")[0], truth.of("sleep")[0]
    assert recorded.waits.of(disk.tid).count == pytest.approx(disk.voluntary, abs=UNREPORTED)
    assert recorded.waits.of(sleep.tid).count <= UNREPORTED


@contextmanager
def cgroup() -> Iterator[Path]:
    mount = cgroup_mount()
    if mount is None:
        pytest.skip("no cgroup v2 hierarchy is mounted")
    path = mount / f"goroscope-waits-{os.getpid()}"
    path.mkdir()
    try:
        yield path
    finally:
        wait_for(lambda: not (path / "cgroup.procs").read_text().strip(), "the cgroup is empty")
        path.rmdir()


def test_a_cgroup_and_the_whole_node(c_program: CBuild) -> None:
    program = c_program("waits")
    for whole in (False, True):
        with (
            cgroup() as folder,
            waiters(program, 300, "sleep=700", "pipe=700") as inside,
            waiters(program, 300, "sleep=700") as outside,
        ):
            (folder / "cgroup.procs").write_text(str(inside.pid))
            both = (inside, outside)
            recorded, switches = record_both(Wanted(cgroup=None if whole else folder, on_cpu=False, waits=EVERY), both)
        assert not recorded.losses()
        for truth, switched in zip(both, switches, strict=True):
            mine = Waits(tuple(one for one in recorded.waits.waits if one.wait.tgid == truth.pid))
            # Of processes that are not named one by one the waits that go on when it begins are not seen.
            assert mine.count == pytest.approx(switched if whole or truth is inside else 0, abs=UNREPORTED)
            assert {one.wait.tid for one in mine.waits} <= {0}, "threads are kept apart only where that was asked for"
            if mine.waits:  # until its mappings are known a process has no names
                assert mine.of(within="wait_asleep").count >= 0.8 * 700


def record_both(wanted: Wanted, both: tuple[Truth, Truth]) -> tuple[Waiting, list[int]]:
    """Two programs at once, and how many switches the kernel counted of each."""
    before = [one.switches() for one in both]

    def go() -> None:
        for one in both:
            one.go()

    def done() -> bool:
        return all(one.done() for one in both)

    switches: list[int] = []

    def all_wait() -> None:
        time.sleep(0.1)
        switches.extend(one.switches() - begin for one, begin in zip(both, before, strict=True))

    return record_waits(wanted, go, done, before_stop=all_wait), switches


def woken(profile: Profile) -> Iterator[tuple[list[str], list[Kind], int]]:
    for sample in profile.samples:
        locations = [profile.locations[index] for index in profile.stacks[sample.stack]]
        yield [name for one in locations for name in names_of(one)], [one.kind for one in locations], sample.values[0]


def test_who_ended_a_wait_stands_above_it(c_program: CBuild) -> None:
    settings = WaitSettings(min_ns=300_000, wakers=True, thread_walks=NO_LIMIT, cpu_walks=NO_LIMIT)
    with waiters(c_program("waits"), 300, "pipe=800", "futex=800", "sleep=800") as truth:
        recorded, _ = record_all(truth, settings)
    for wait, marker, waker in (
        ("wait_read", "[woken by waits]", "help_pipe"),
        ("wait_condition", "[woken by waits]", "help_futex"),
        ("wait_asleep", "[woken by an interrupt]", ""),
    ):
        total = right = 0
        for names, _, waits in woken(recorded.recording.profile):
            if wait not in names:
                continue
            total += waits
            if marker in names and (not waker or waker in names[: names.index(marker)]):
                assert names.index(marker) < names.index(wait)
                right += waits
        assert total == pytest.approx(800, abs=UNREPORTED)
        # What is woken while it still goes to sleep has no stack yet that a waker could be written to.
        assert right >= 0.97 * total, (wait, right, total)
    assert not recorded.losses()


def test_at_full_speed_every_wait_is_counted(c_program: CBuild) -> None:
    """Two threads on one CPU that wake each other, each wait walked: more than 50,000 a second."""
    with waiters(c_program("waits"), 300, "pair=60000,0", "pair=60000,0") as truth:
        recorded, switches = record_all(truth, EVERY)
    threads = len(truth.accounts) + 1
    assert abs(recorded.waits.count - switches - threads) <= UNREPORTED
    assert not recorded.losses()
    assert recorded.left_out.thinned_waits == 0
    for account in truth.of("pair"):
        mine = recorded.waits.of(account.tid, "cause_pair")
        assert mine.off_ns == pytest.approx(account.off_cpu, rel=0.05)


@pytest.fixture(scope="module")
def thinned(c_program: CBuild) -> tuple[Truth, Waiting]:
    settings = WaitSettings(min_ns=0, thread_walks=100, cpu_walks=1000)
    with waiters(c_program("waits"), 300, "pair=250000,0", "pair=250000,0") as truth:
        recorded, _ = record_all(truth, settings)
    return truth, recorded


def test_a_thread_that_switches_too_often_has_as_many_waits_by_those_that_stand_for_others(
    thinned: tuple[Truth, Waiting],
) -> None:
    truth, recorded = thinned
    switches = sum(account.voluntary + account.involuntary for account in truth.of("pair"))
    walled = max(account.wall for account in truth.of("pair")) / 1e9
    assert switches / 2 / walled > 20_000, "too slow a machine for this test"
    assert recorded.waits.of(within="cause_pair").count == pytest.approx(switches, rel=0.05)
    assert recorded.left_out.thinned_waits >= 0.9 * switches
    assert any("came too fast to walk each" in note for note in recorded.recording.profile.metadata.notes)
    assert not recorded.losses()


def test_a_thread_that_switches_too_often_has_as_much_time_by_those_that_stand_for_others(
    thinned: tuple[Truth, Waiting],
) -> None:
    truth, recorded = thinned
    off = sum(account.off_cpu for account in truth.of("pair"))
    assert recorded.waits.of(within="cause_pair").off_ns == pytest.approx(off, rel=0.05)


def test_long_waits_among_many_short_ones_are_kept_as_they_are(c_program: CBuild) -> None:
    with waiters(c_program("waits"), 300, "pair=80000,30000", "pair=80000,0") as truth:
        recorded, _ = record_all(truth, WaitSettings())
    sleeps = 80_000 // 4096
    for account in truth.of("pair"):
        # Of one the sleeps, of the other the reads that wait for them. Where none was walked, a marker has them.
        own = recorded.waits.of(account.tid).waits
        mine = sum(one.off_ns for one in own if "cause_pair" in one.user or one.wait.stack == abi.THINNED_STACK)
        # What is under the marker may be of before and after its account too, but never more than there was time.
        assert 0.95 * sleeps * 30 * MS <= mine <= recorded.wall_ns


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--min-block", "2ms", "--max-block", "1ms"), "--max-block is below --min-block"),
        (("--states", "sleeping,dreaming"), "dreaming is not one of"),
        (("--min-block", "-1ms"), ""),
    ],
)
def test_what_cannot_be_is_one_sentence(options: tuple[str, ...], words: str) -> None:
    with running(["sleep", "30"]) as sleeper:
        ended = goroscope("record", "--off-cpu", "-p", sleeper.pid, "-d", "1", "-o", "-", *options)
    assert ended.status == 2
    assert words in ended.error
