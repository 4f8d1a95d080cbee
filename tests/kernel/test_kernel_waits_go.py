"""A Go server that waits for a lock, a pipe and a disk: three towers with the seconds that it has measured itself."""

import json
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from agent.recording.wanted import Wanted
from bpf.waits import WaitSettings
from profiles.model import Profile, State
from tests.go import toolchains
from tests.kernel.recording import names_of, record, running

pytestmark = [pytest.mark.kernel, pytest.mark.go]

SOURCE = Path(__file__).parents[1] / "go" / "programs" / "waiting"
SECONDS = 3.0
TOWERS = {"lock": "main.takeLock", "pipe": "main.readPipe", "disk": "main.writeDisk"}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, dict[str, float]], Profile]:
    """What the server says it has waited, and the profile of that time."""
    path = toolchains.build(toolchains.VERSIONS[-1], "plain", SOURCE)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with running([path, tmp_path_factory.mktemp("disk")], **pipes) as process:
        pid = int(process.stdout.readline())
        time.sleep(0.2)  # until it waits for its first line

        def say(line: str) -> None:
            process.stdin.write(line)
            process.stdin.flush()

        during = [(0.3, lambda: say("go\n")), (0.3 + SECONDS, lambda: say("stop\n"))]
        every_wait = WaitSettings(min_ns=0, thread_walks=100_000, cpu_walks=100_000)
        wanted = Wanted(hertz=999, pids=(pid,), waits=every_wait, window_seconds=1.0)
        recording = record(wanted, SECONDS + 1.0, during)
        return json.loads(process.stdout.readline()), recording.profile


def seconds_of(profile: Profile, *columns: str) -> Counter[str]:
    """Seconds below each function, and in each state (as `state NAME`)."""
    found: Counter[str] = Counter()
    indexes = [profile.column(name) for name in columns]
    for sample in profile.samples:
        value = sum(sample.values[index] for index in indexes) / 1e9
        names = {name for index in profile.stacks[sample.stack] for name in names_of(profile.locations[index])}
        for name in names:
            found[name] += value
        found[f"state {profile.labels[sample.labels].state}"] += value
    return found


@pytest.mark.parametrize("name", TOWERS)
def test_each_way_of_waiting_is_a_tower_with_the_right_seconds(recorded: object, name: str) -> None:
    own, profile = recorded
    # What it does on a CPU in between, and for which it waits, its own clock counts as well.
    found = seconds_of(profile, "off_cpu", "cpu")[TOWERS[name]]
    assert own[name]["seconds"] >= 0.8 * SECONDS
    assert found == pytest.approx(own[name]["seconds"], rel=0.03, abs=0.05)


def test_waits_are_counted_as_often_as_there_were(recorded: object) -> None:
    own, profile = recorded
    waits = Counter()
    for sample in profile.samples:
        names = [name for index in profile.stacks[sample.stack] for name in names_of(profile.locations[index])]
        state = profile.labels[sample.labels].state
        if TOWERS["lock"] in names and state == State.SLEEPING:
            waits["lock"] += sample.values[profile.column("waits")]
        if TOWERS["pipe"] in names and state == State.SLEEPING:
            waits["pipe"] += sample.values[profile.column("waits")]
    # A signal of Go's own may interrupt a wait, which then goes on: that is one wait more.
    assert own["lock"]["waits"] <= waits["lock"] <= 1.05 * own["lock"]["waits"] + 2
    assert own["pipe"]["waits"] <= waits["pipe"] <= 1.05 * own["pipe"]["waits"] + 2


def test_threads_that_go_had_nothing_to_do_for_are_idle(recorded: object) -> None:
    _, profile = recorded
    idle = Counter()
    for sample in profile.samples:
        if profile.labels[sample.labels].state == State.GO_IDLE:
            names = {name for index in profile.stacks[sample.stack] for name in names_of(profile.locations[index])}
            assert not names & set(TOWERS.values())
            idle["ns"] += sample.values[profile.column("off_cpu")]
    assert idle["ns"] >= SECONDS * 1e9


def test_what_waited_before_the_recording_began_has_its_stack(recorded: object) -> None:
    """The main goroutine waits for its first line, and while the servers serve for its second."""
    own, profile = recorded
    scanning = seconds_of(profile, "off_cpu")["bufio.(*Scanner).Scan"]
    assert own["pipe"]["seconds"] + 0.15 <= scanning <= profile.metadata.duration_ns / 1e9
