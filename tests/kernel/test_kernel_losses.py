"""Nothing is lost without being counted: full maps, CPUs that go and come, and the sum against the CPU time used."""

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent.recording.recorder import Wanted
from bpf.programs import Sizes
from profiles.model import Kind
from tests.go import toolchains
from tests.kernel.conftest import CBuild
from tests.kernel.recording import Recording, cpu_seconds, record, running, wait_for

pytestmark = pytest.mark.kernel

SOURCE = Path(__file__).parents[1] / "go" / "programs" / "truth"
CPU1 = Path("/sys/devices/system/cpu/cpu1/online")


@dataclass(frozen=True)
class Measured:
    recording: Recording
    cpu_seconds: float
    """What the program used between the first and the last sample, about."""


def measure(hertz: int, seconds: float, sizes: Sizes | None = None, pause: float = 0.0) -> Measured:
    """A busy Go program recorded, and the CPU time that it used meanwhile. For `pause` seconds nothing is read."""
    path = toolchains.build(toolchains.VERSIONS[-1], "plain", SOURCE)
    with running([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        pid = json.loads(process.stdout.readline())["pid"]
        marks: list[float] = []

        def mark() -> None:
            marks.append(cpu_seconds(pid))

        during = [(0.0, mark), (0.5, lambda: time.sleep(pause))]
        recording = record(Wanted(hertz=hertz, pids=(pid,)), seconds, during, before_stop=mark, sizes=sizes)
    return Measured(recording, marks[-1] - marks[0])


@pytest.mark.go
def test_samples_are_rate_times_cpu_time() -> None:
    measured = measure(499, 5.0)
    expected = 499 * measured.cpu_seconds
    counted = measured.recording.samples()
    lost = measured.recording.losses()
    missed = lost.pop("missed_ticks")
    assert not any(lost.values()), lost
    # Ticks that the machine (a hypervisor) did not let come in time are told, not counted.
    assert expected > 1000
    assert abs(counted + missed - expected) <= 0.02 * expected + missed, (counted, missed, expected)


@pytest.mark.go
def test_samples_that_a_full_count_map_takes_are_counted_as_lost() -> None:
    measured = measure(499, 3.0, Sizes(counts=64, stack_ring_pages=64))
    lost = measured.recording.losses()
    expected = 499 * measured.cpu_seconds
    everything = measured.recording.samples() + lost["counts_full"]
    assert lost["counts_full"] > 100
    assert abs(everything - expected) <= 0.03 * expected + lost["missed_ticks"], (everything, expected)
    (told,) = [loss for loss in measured.recording.profile.metadata.losses if loss.name == "counts_full"]
    assert told.samples == lost["counts_full"]
    assert told.dropped


@pytest.mark.go
def test_samples_whose_stack_does_not_fit_in_the_ring_are_kept_under_a_placeholder() -> None:
    measured = measure(499, 3.0, Sizes(stack_ring_pages=1), pause=1.5)
    recording = measured.recording
    lost = recording.losses()
    expected = 499 * measured.cpu_seconds
    assert lost["stack_ring_full"] > 20
    assert abs(recording.samples() - expected) <= 0.03 * expected + lost["missed_ticks"]
    profile = recording.profile
    kept = sum(
        sample.values[0]
        for sample in profile.samples
        if [profile.locations[index].kind for index in profile.stacks[sample.stack]] == [Kind.MARKER]
    )
    assert kept == lost["stack_ring_full"]
    (told,) = [loss for loss in profile.metadata.losses if loss.name == "stack_ring_full"]
    assert (told.samples, told.dropped) == (kept, False)


@contextmanager
def restored_cpu1() -> Iterator[None]:
    try:
        yield
    finally:
        CPU1.write_text("1")
        wait_for(lambda: CPU1.read_text().strip() == "1", "cpu1 is online again")


def can_be_taken_offline() -> bool:
    if not CPU1.exists():
        return False
    try:
        CPU1.write_text("0")
        CPU1.write_text("1")
    except OSError:
        return False
    return True


def test_a_cpu_that_goes_and_comes_back_is_sampled_again(c_program: CBuild) -> None:
    """Two programs keep two CPUs busy; one CPU is away for a while."""
    if not can_be_taken_offline():
        pytest.skip("cpu1 cannot be taken offline on this machine")
    marks: list[tuple[int, float]] = []
    """Monotonic time and CPU time used, once CPU 1 has been back for some time and at the end."""
    with restored_cpu1(), running([c_program("chain")]) as one, running([c_program("chain")]) as two:

        def mark() -> None:
            marks.append((time.monotonic_ns(), cpu_seconds(one.pid) + cpu_seconds(two.pid)))

        recording = record(
            Wanted(hertz=199, pids=(one.pid, two.pid), window_seconds=0.5),
            6.0,
            [(1.0, lambda: CPU1.write_text("0")), (2.5, lambda: CPU1.write_text("1")), (4.0, mark)],
            before_stop=mark,
        )
    (begin, used), (end, used_at_end) = marks
    windows = [window for window in recording.windows if begin <= window.start_ns and window.end_ns <= end]
    span = sum(window.end_ns - window.start_ns for window in windows) / (end - begin)
    samples = sum(count.samples for window in windows for count in window.counts)
    assert span > 0.5
    # Without the timer of CPU 1 it would be about half.
    assert samples > 0.8 * span * 199 * (used_at_end - used)
