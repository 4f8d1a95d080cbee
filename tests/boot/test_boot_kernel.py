"""What the running kernel can do, a test a column of the matrix of kernels.

They run on this machine's kernel like all other tests, and, as `vagrant/run KERNEL` has it, on others under software
emulation, where everything takes ten to twenty times as long. So there is one load of the programs and one recording
for all, and what is counted is held against the CPU time that the kernel says was used, never against time gone by.

Properties of the tests are what `vagrant/run` reads: `column` and `cell`, and facts to compare between kernels.
"""

import json
import os
import signal
import subprocess
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from unittest import mock

import pytest

from agent.recording.recorder import Wanted
from bpf import causes
from bpf.attach import CpuTimers
from bpf.programs import Loading, Programs
from bpf.waits import WaitSettings, WaitState
from tests.boot.build import shares
from tests.boot.goroutines import GO_OUTERMOST, state_of_threads
from tests.kernel.conftest import CBuild
from tests.kernel.recording import Recording, Walked, cpu_seconds, record, running, wait_for
from tests.kernel.waiting import Account, Waiting, Waits, waiters

pytestmark = [pytest.mark.kernel, pytest.mark.go, pytest.mark.slow]

HERTZ = 199
SECONDS, CPU_SECONDS = 5.0, 12
"""How long is recorded, and how much CPU time the Go program has then had at least."""
SLEEPS, SLEEP_US, THRESHOLD_US = 100, 20_000, 1_000
SHARES = {"main.alpha": 50, "main.beta": 30, "main.gamma": 20}
"""What each function of programs/shares has of the work, in percent."""
CHAIN = ["leaf", "third", "second", "first", "main"]
VERIFIER_LIMIT = 1_000_000
"""BPF_COMPLEXITY_LIMIT_INSNS of the kernel's include/linux/bpf.h."""

Say = Callable[[str, object], None]


@dataclass(frozen=True)
class Taken:
    """The one recording: of a Go program with known shares, a C program without frame pointers, and one that sleeps."""

    loads: list[Programs]
    recording: Recording
    go: int
    native: int
    cpu_seconds: float
    """What the Go program used meanwhile."""
    used: dict[str, int]
    """By function what the Go program says that it used meanwhile, in ns."""
    sleeper: Account

    @cached_property
    def go_stacks(self) -> list[Walked]:
        return self.recording.walked(self.go)

    @cached_property
    def native_stacks(self) -> list[Walked]:
        return self.recording.walked(self.native)

    @cached_property
    def sleeps(self) -> Waits:
        return Waiting(self.recording, {}).waits.of(self.sleeper.tid, "wait_asleep", (WaitState.SLEEPING,))


class Counted(Loading):
    """Loads as always, asks for the verifier's statistics, and keeps what was loaded."""

    loads: list[Programs]

    def __init__(self, *arguments: object, **options: object) -> None:
        super().__init__(*arguments, **options, statistics=True)

    def finish(self, timeout: float = 600.0) -> Programs:
        programs = super().finish(timeout)
        self.loads.append(programs)
        return programs


class Marked(CpuTimers):
    """Calls `mark` when the timers begin and when they end: what is done before and after takes its time, too."""

    mark: Callable[[], None]

    def enable(self) -> None:
        super().enable()
        type(self).mark()

    def disable(self) -> None:
        type(self).mark()
        super().disable()


def take(c_program: CBuild) -> Taken:
    Counted.loads = []
    chain = c_program("chain", "-O2", frame_pointers=False)
    sleeps = c_program("waits", "-O2", frame_pointers=False)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    used: list[dict[str, int]] = []
    cpu: list[float] = []
    with ExitStack() as stack:
        go = stack.enter_context(running([shares()], **pipes))
        native = stack.enter_context(running([chain]))
        sleeper = stack.enter_context(waiters(sleeps, THRESHOLD_US, f"sleep={SLEEPS},{SLEEP_US}"))

        def ask() -> None:
            go.stdin.write("\n")
            go.stdin.flush()
            used.append(json.loads(go.stdout.readline()))

        waits = WaitSettings(min_ns=THRESHOLD_US * 1000)
        wanted = Wanted(hertz=HERTZ, pids=(go.pid, native.pid, sleeper.pid), per_thread=True, waits=waits)
        ask()
        wait_for(lambda: cpu_seconds(native.pid) > 0.1, "the C program runs")
        for process in (go, native):  # while the programs are being loaded
            process.send_signal(signal.SIGSTOP)

        def begin() -> None:
            for process in (go, native):
                process.send_signal(signal.SIGCONT)
            ask()

        def end() -> None:
            wait_for(sleeper.done, f"{SLEEPS} sleeps")
            for seconds in range(CPU_SECONDS):  # each of them may take long
                wait_for(lambda least=cpu[0] + seconds + 1: cpu_seconds(go.pid) >= least, "the Go program runs")
            ask()

        Marked.mark = lambda: cpu.append(cpu_seconds(go.pid))
        stack.enter_context(mock.patch("agent.recording.recorder.Loading", Counted))
        stack.enter_context(mock.patch("agent.recording.attached.CpuTimers", Marked))
        recording = record(wanted, SECONDS, ((0.0, begin), (0.5, sleeper.go)), before_stop=end)
    meanwhile = {name: used[-1][name] - used[-2][name] for name in SHARES}
    return Taken(Counted.loads, recording, go.pid, native.pid, cpu[-1] - cpu[0], meanwhile, sleeper.accounts[0])


@pytest.fixture(scope="module")
def taken(c_program: CBuild) -> Callable[[], Taken]:
    """Says what was recorded, or fails as the recording did: each test by itself, when it has said its column."""
    try:
        done = take(c_program)
    except Exception as error:
        failure = error
    else:
        return lambda: done

    def fail() -> Taken:
        raise failure

    return fail


def test_the_programs_load_and_the_verifier_is_far_from_its_limit(
    taken: Callable[[], Taken], record_property: Say, record_testsuite_property: Say
) -> None:
    record_testsuite_property("release", os.uname().release)
    record_property("column", "load")
    (programs,) = taken().loads  # a second load would be that for plain tracepoints
    for name, instructions in programs.verified.items():
        record_property(f"verified.{name}", instructions)
    record_property("cell", "yes")
    assert not programs.plain
    assert not programs.blind
    assert programs.verified.keys() == programs.programs.keys()
    assert {"on_switch", "on_wakeup"} <= programs.verified.keys()
    assert max(programs.verified.values()) < VERIFIER_LIMIT / 2


def test_cpu_time_is_counted_and_is_where_it_was_used(taken: Callable[[], Taken], record_property: Say) -> None:
    record_property("column", "on-cpu")
    record_property("perf_event_paranoid", Path("/proc/sys/kernel/perf_event_paranoid").read_text().strip())
    run = taken()
    samples, expected = run.recording.samples(run.go), HERTZ * run.cpu_seconds
    by_function = {name: sum(walked.samples for walked in run.go_stacks if name in walked.names) for name in SHARES}
    inside = sum(by_function.values())  # the rest is Go's own, and depends on how slow the machine is
    found = {name: 100 * number / inside for name, number in by_function.items()}
    lost = run.recording.losses()
    missed = lost.pop("missed_ticks", 0)
    record_property("cell", "yes")
    record_property("samples", samples)
    record_property("cpu_seconds", round(run.cpu_seconds, 2))
    record_property("missed_ticks", missed)
    for name, share in found.items():
        record_property(f"share.{name}", round(share, 1))
    assert run.cpu_seconds >= CPU_SECONDS
    # A thread that has a CPU in turns with others is met by chance: the standard deviation is that of throws of dice.
    elsewhere = max(0.0, 1 - run.cpu_seconds * 1e9 / run.recording.profile.metadata.duration_ns)
    chance = 3 * (expected * elsewhere) ** 0.5
    # Ticks that came too late are told, of all that is recorded. Where the machine itself did not run meanwhile,
    # there was no CPU time either, and the late tick is one too many.
    assert abs(samples - expected) <= 0.02 * expected + 5 + chance + missed, (samples, missed, expected, chance)
    assert not lost["counts_full"] + lost["counts_busy"] + lost["stack_ring_full"] + lost["tail_call_failed"], lost
    assert inside >= 0.5 * samples
    assert found == pytest.approx(SHARES, abs=5)
    if missed <= 0.02 * expected:  # where the machine did not run for long, some function has that on its account
        assert found == pytest.approx(
            {name: 100 * used / sum(run.used.values()) for name, used in run.used.items()}, abs=5
        )


def test_sleeps_are_counted_one_by_one_with_their_time(taken: Callable[[], Taken], record_property: Say) -> None:
    record_property("column", "off-cpu")
    run = taken()
    sleeper, sleeps = run.sleeper, run.sleeps
    record_property("cell", f"{sleeps.count} of {sleeper.waits}")
    record_property("asleep_seconds", round(sleeps.off_ns / 1e9, 3))
    # A thread that loses the CPU between setting its timer and going to sleep may find that the time is over.
    assert SLEEPS - 5 <= sleeper.waits <= SLEEPS == sleeper.rounds
    assert sleeps.count == sleeper.waits
    least = sleeper.waits * SLEEP_US * 1000 - sleeper.disturbed
    assert least <= sleeps.off_ns <= 1.01 * sleeper.total, (sleeps.off_ns, sleeper)
    assert sum(one.wait.thinned for one in sleeps.waits) == 0


def is_whole(walked: Walked, *, go: bool) -> bool:
    """Whether a stack goes from its leaf to the outermost frame, and the chain of the C program is in order."""
    names = walked.names
    if walked.raw.stop or not names:
        return False
    if go:
        return names[-1] in GO_OUTERMOST
    own = [name for name in names if name in CHAIN]
    return names[-1] == "_start" and own == CHAIN[len(CHAIN) - len(own) :]


def test_stacks_are_whole_in_go_and_in_c_without_frame_pointers(
    taken: Callable[[], Taken], record_property: Say
) -> None:
    record_property("column", "unwinding")
    run = taken()
    stops = {cause.id: cause.name for cause in causes.stops()}
    total, broken = 0, Counter()
    for stacks, go in ((run.go_stacks, True), (run.native_stacks, False)):
        mine = sum(walked.samples for walked in stacks)
        assert mine >= 100
        total += mine
        for walked in stacks:
            if not is_whole(walked, go=go):
                broken[stops[walked.raw.stop], tuple(walked.names)] += walked.samples
    record_property("cell", f"{total - broken.total()} of {total}")
    assert broken.total() <= max(2, 0.002 * total), broken


def test_goroutines_are_read_from_outside(record_property: Say) -> None:
    record_property("column", "goroutines")
    record_property("cell", state_of_threads())


def test_kprobes_are_not_needed(taken: Callable[[], Taken], record_property: Say) -> None:
    record_property("column", "kprobes")
    there = Path("/sys/bus/event_source/devices/kprobe/type").exists()
    record_property("cell", "yes" if there else "no")
    assert taken().recording.samples()


def test_the_kernel_describes_its_types(record_property: Say) -> None:
    record_property("column", "btf")
    there = Path("/sys/kernel/btf/vmlinux").exists()
    record_property("cell", "yes" if there else "no")
    assert there


def test_the_programs_load_without_kernel_headers(taken: Callable[[], Taken], record_property: Say) -> None:
    record_property("column", "headers-free")
    headers = (Path("/lib/modules") / os.uname().release / "build", Path("/sys/kernel/kheaders.tar.xz"))
    assert taken().loads
    record_property("cell", "headers present" if any(path.exists() for path in headers) else "yes")
