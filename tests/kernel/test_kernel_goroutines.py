"""A recording with goroutines: the time of requests is split into what they waited for; CPU time stands beside it."""

import json
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from agent.recording.goroutines_only import GoroutineRecorder
from agent.recording.recorder import Recorder, Wanted, recorder_for
from profiles.model import Profile
from tests.go import toolchains
from tests.kernel.recording import running

pytestmark = [pytest.mark.kernel, pytest.mark.go, pytest.mark.slow]

SOURCE = Path(toolchains.__file__).parent / "programs/handlers"
REASONS = {
    "main.waitLock": {"sync.Mutex.Lock", "semacquire"},
    "main.waitChannel": {"chan receive"},
    "main.waitNetwork": {"IO wait"},
    "main.waitTimer": {"sleep"},
}


def recorded(seconds: float, **wanted: object) -> tuple[Profile, dict[str, int]]:
    """A recording, and what the program says that it did meanwhile (ns by function)."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with running([toolchains.build(toolchains.VERSIONS[-1], "stripped", SOURCE)], **pipes) as process:

        def ask() -> dict[str, int]:
            process.stdin.write("\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        with recorder_for(Wanted(pids=(process.pid,), goroutines_hertz=20, **wanted)) as recorder:
            recorder.start()
            recorder.run(0.3, lambda _: True)
            before = ask()
            recorder.run(seconds, lambda _: True)
            after = ask()
            recorder.stop()
            profile = recorder.profile("test", "test")
    return profile, {name: after[name] - before[name] for name in after}


def by_function(profile: Profile, column: str) -> dict[str, Counter]:
    """Values of a column by state, for each function of REASONS and main.compute."""
    index, found = profile.column(column), {name: Counter() for name in (*REASONS, "main.compute")}
    for sample in profile.samples:
        for name in {frame.function for _, frame in profile.frames_of(sample.stack)} & found.keys():
            found[name][profile.labels[sample.labels].state] += sample.values[index]
    return found


def test_the_time_of_requests_is_split_by_what_they_waited_for() -> None:
    profile, told = recorded(6.0, on_cpu=False)
    found = by_function(profile, "goroutine_wait")
    total = sum(told.values()) - told["main.compute"]
    for name, reasons in REASONS.items():
        assert found[name].keys() <= reasons | {"runnable", "preempted"}
        waited = found[name].total()
        # Looked at 20 times a second: each of some hundred waits is seen to within a look.
        assert abs(waited - told[name]) < 0.06 * total, (name, waited, told)


def test_cpu_time_stands_beside_it_and_is_not_in_it() -> None:
    profile, told = recorded(4.0, on_cpu=True)
    assert [known.type for known in profile.value_types] == ["samples", "cpu", "goroutine_wait"]
    on_cpu = sum(by_function(profile, "cpu")["main.compute"].values())
    assert 0 < on_cpu < 1.5 * told["main.compute"]
    assert set(by_function(profile, "goroutine_wait")["main.compute"]) <= {"runnable", "preempted", ""}


def test_without_cpu_time_and_waits_no_program_is_loaded() -> None:
    alone = Wanted(pids=(1,), goroutines_hertz=1, on_cpu=False)
    assert isinstance(recorder_for(alone), GoroutineRecorder)
    with recorder_for(Wanted(pids=(1,), goroutines_hertz=1)) as both:
        assert isinstance(both, Recorder)
