"""Waits that go on over windows, of threads that end or are killed meanwhile, and of threads that come again."""

import subprocess
import time
from pathlib import Path

import pytest

import agent.recording.attached
from agent.errors import MachineError
from agent.recording.recorder import Recorder, Wanted
from bpf import abi
from bpf.programs import Sizes
from bpf.waits import WaitSettings, WaitState
from tests.kernel.conftest import CBuild
from tests.kernel.recording import PATIENCE, record, running
from tests.kernel.waiting import Truth, Waiting, after, record_waits, waiters

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

NO_LIMIT = 10**9
EVERY = WaitSettings(min_ns=0, thread_walks=NO_LIMIT, cpu_walks=NO_LIMIT)
ASLEEP = (WaitState.SLEEPING, WaitState.UNINTERRUPTIBLE)
UNREPORTED = 3
"""Switches of a target that the kernel may not report in some seconds: see Run.unreported of test_kernel_waits.py."""


def of_process(truth: Truth, settings: WaitSettings, window_seconds: float = 10.0) -> Wanted:
    return Wanted(pids=(truth.pid,), per_thread=True, on_cpu=False, window_seconds=window_seconds, waits=settings)


def test_a_wait_that_goes_on_over_windows_is_counted_once_and_its_time_is_all_there(c_program: CBuild) -> None:
    with waiters(c_program("waits"), 1000, "sleep=1,2300000", "sleep=2,800000", "pipe=1,1700000") as truth:
        recorded = record_waits(of_process(truth, WaitSettings(), 0.6), truth.go, truth.done)
    for account, within in zip(truth.of("sleep", "pipe"), ("wait_asleep", "wait_asleep", "wait_read"), strict=True):
        mine = recorded.waits.of(account.tid, within)
        assert mine.count == account.waits == account.rounds
        assert mine.off_ns == pytest.approx(account.total, rel=0.001, abs=500_000)
        windows = [one for one in mine.waits if one.wait.waits == 0]
        assert account.cause == "pipe" or len(windows) >= 1
    assert len(recorded.recording.windows) >= 3
    for window in recorded.recording.windows:
        threads = len(truth.accounts) + 1
        # What was too short to be told in the window before is told in this one.
        span = window.end_ns - window.start_ns + 2_000_000
        assert sum(wait.blocked_ns + wait.runnable_ns for wait in window.waits) <= threads * span


def test_a_process_that_is_killed_while_it_waits_has_waited_until_then(c_program: CBuild) -> None:
    times: list[int] = []
    with waiters(c_program("waits"), 1000, "never=1", "never=1") as truth:

        def go() -> None:
            truth.go()
            times.append(time.monotonic_ns())

        def kill() -> bool:
            if len(times) == 1 and time.monotonic_ns() - times[0] > 1_500_000_000:
                truth.process.kill()
                truth.process.wait(PATIENCE)
                times.append(time.monotonic_ns())
            return time.monotonic_ns() - times[0] > 2_700_000_000

        recorded = record_waits(of_process(truth, WaitSettings(), 0.7), go, kill)
    waits = recorded.waits.of(within="cause_never")
    assert waits.count == 2
    assert waits.off_ns == pytest.approx(2 * (times[1] - times[0]), abs=200_000_000)
    assert not any(since for since, *_ in recorded.held.values()), "nobody waits any more"


def test_threads_that_end_while_they_wait_and_thread_ids_that_come_again(c_program: CBuild) -> None:
    with waiters(c_program("waits"), 100, "die=300,2000", "brief=2000,300", "reuse=500,1000") as truth:
        recorded = record_waits(of_process(truth, EVERY), truth.go, truth.done)
    died, brief, reuse = truth.of("die")[0], truth.of("brief")[0], truth.of("reuse")[0]
    assert reuse.moved >= 0.5 * reuse.rounds, "most of them have the thread id of the one before"
    waited = recorded.waits.of(within="wait_asleep", states=ASLEEP)
    ended = waited.of(within="brief")
    lived = waited.of(within="short_lived")
    assert abs(ended.count - died.waits) <= UNREPORTED + died.rounds - died.waits  # cancelled before it waited
    assert abs(lived.count - brief.rounds - reuse.rounds) <= UNREPORTED
    assert ended.off_ns == pytest.approx(died.total, rel=0.01, abs=died.disturbed + 5_000_000)
    shorter = brief.rounds + reuse.rounds - brief.waits - reuse.waits
    total = brief.total + reuse.total + shorter * 100_000
    # Waits of 0.3 ms: the few microseconds by which the two accounts of each differ matter.
    apart = brief.disturbed + reuse.disturbed + shorter * 100_000 + 10_000 * (brief.rounds + reuse.rounds)
    assert lived.off_ns == pytest.approx(total, rel=0.01, abs=apart)
    longest = max(died.longest, brief.longest, reuse.longest)
    assert max(one.off_ns / one.wait.waits for one in waited.waits if one.wait.waits) <= 1.01 * longest + 1_000_000
    alive = {account.tid for account in truth.accounts} | {truth.pid}
    assert set(recorded.held) <= alive, "nothing is kept of threads that have ended"


def test_nothing_is_kept_of_processes_that_have_ended() -> None:
    script = "read go; for one in $(seq 200); do /bin/sleep 0.001; done; read end"
    with running(["sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as shell:

        def go() -> None:
            shell.stdin.write("go\n")
            shell.stdin.flush()

        wanted = Wanted(pids=(shell.pid,), on_cpu=False, waits=EVERY)
        recorded = record_waits(wanted, go, after(3.0))
    assert recorded.waits.count > 400
    assert set(recorded.held) <= {shell.pid}


def test_waits_that_do_not_fit_in_the_map_are_counted_as_lost(c_program: CBuild) -> None:
    before, end = [], []
    with waiters(c_program("waits"), 100, "sleep=500", "pipe=500", "futex=500", "disk=200") as truth:
        before.append(truth.switches())
        recorded = record_waits(
            of_process(truth, EVERY),
            truth.go,
            truth.done,
            sizes=Sizes(waits=8),
            before_stop=lambda: end.append(truth.switches()),
        )
    lost = recorded.losses()
    threads = len(truth.accounts) + 1
    assert lost["waits_full"] >= 100
    everything = recorded.waits.count + lost["waits_full"]
    assert abs(everything - (end[0] - before[0] + threads)) <= UNREPORTED
    (told,) = [loss for loss in recorded.recording.profile.metadata.losses if loss.name == "waits_full"]
    assert told.dropped


def test_threads_that_do_not_fit_in_the_table_are_counted_as_lost(c_program: CBuild) -> None:
    """The whole node: whoever is not in the table loses every wait, which is counted."""
    with waiters(c_program("waits"), 100, *["sleep=300"] * 8) as truth:
        wanted = Wanted(per_thread=True, on_cpu=False, waits=EVERY)
        recorded = record_waits(wanted, truth.go, truth.done, sizes=Sizes(threads=4))
    assert recorded.losses()["waiting_full"] >= 300
    assert len(recorded.held) <= 4


def test_a_kernel_without_the_tracepoint_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent.recording.attached, "WAIT_TRACEPOINTS", {"on_switch": "sched_no_such_tracepoint"})
    with (
        running(["sleep", "60"]) as sleeper,
        Recorder(Wanted(pids=(sleeper.pid,), on_cpu=False, waits=WaitSettings())) as recorder,
        pytest.raises(MachineError) as raised,
    ):
        recorder.start()
    assert "could not be attached" in str(raised.value)


def test_the_same_process_recorded_twice_begins_anew(c_program: CBuild) -> None:
    found: list[Waiting] = []
    with waiters(c_program("waits"), 1000, "never=1") as truth:
        found.extend(
            record_waits(of_process(truth, WaitSettings()), truth.go if not turn else lambda: None, after(1.2))
            for turn in range(2)
        )
    for recorded in found:
        for one in recorded.waits.waits:
            assert one.off_ns <= 1.001 * recorded.wall_ns
        assert recorded.waits.of(within="wait_asleep").count == 1


def test_threads_that_are_busy_when_a_recording_begins_have_not_waited_since(c_program: CBuild) -> None:
    with waiters(c_program("waits"), 100, *["sleep=100000,500"] * 12) as truth:
        truth.go()
        time.sleep(0.2)
        recorded = record_waits(of_process(truth, WaitSettings(min_ns=100_000_000)), lambda: None, after(1.0))
    assert recorded.left_out.short_waits >= 1000
    assert not recorded.waits.of(within="wait_asleep").count


def test_a_thread_that_has_just_been_made_waits_for_a_cpu_until_it_runs(tmp_path: Path) -> None:
    script = tmp_path / "makes_threads.py"
    script.write_text(
        "import sys, threading, time\n"
        "sys.stdin.readline()\n"
        "for _ in range(200):\n"
        "    thread = threading.Thread(target=time.sleep, args=(0.001,))\n"
        "    thread.start()\n"
        "    thread.join()\n"
        "print('done', flush=True)\n"
        "time.sleep(60)\n"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with running(["/usr/bin/python3", script], **pipes) as process:
        time.sleep(0.3)  # until it waits for its line

        def begin() -> None:
            process.stdin.write("go\n")
            process.stdin.flush()

        wanted = Wanted(pids=(process.pid,), on_cpu=False, waits=EVERY)
        recording = record(wanted, 1.0, [(0.1, begin)], before_stop=process.stdout.readline)
    started = [wait for window in recording.windows for wait in window.waits if wait.stack == abi.STARTED_STACK]
    assert 195 <= sum(wait.waits for wait in started) <= 200
    assert {wait.state for wait in started} == {WaitState.PREEMPTED}
    assert not sum(wait.blocked_ns for wait in started)
    assert 0 < sum(wait.runnable_ns for wait in started) < 10 * 10**9
