"""The leak census on processes that leak, and on others that only look like it."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from agent.cli.goroutine_leaks import run_leaks
from agent.goroutines.source import Source
from tests.go.conftest import GoBuild

NEWEST = "1.27.3"
WAYS = {
    "send": ("chan send", "main.send", "nobody receives"),
    "receive": ("chan receive", "main.receive", "nobody sends"),
    "nothing": ("chan receive (nil chan)", "main.nothing", "nil channel"),
    "choose": ("select", "main.choose", "never cancelled"),
    "empty": ("select (no cases)", "main.empty", "lasts for ever"),
    "lock": ("sync.Mutex.Lock", "main.lock", "never unlocked"),
    "read": ("sync.RWMutex.RLock", "main.read", "never unlocked"),
    "group": ("sync.WaitGroup.Wait", "main.group", "Done that is missing"),
    "signal": ("sync.Cond.Wait", "main.signal", "never signalled"),
    "peer": ("IO wait", "main.peer", "never answers"),
}

Start = Callable[..., subprocess.Popen[str]]
pytestmark = pytest.mark.go


@pytest.fixture
def start(go_build: GoBuild) -> Iterator[Start]:
    with ExitStack() as running:

        def started(program: str, *arguments: str, version: str = NEWEST) -> subprocess.Popen[str]:
            path: Path = go_build(version, "plain", program)
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
            process = running.enter_context(subprocess.Popen([path, *arguments], text=True, **pipes))
            running.callback(process.kill)
            assert process.stdout is not None
            while process.stdout.readline() != "ready\n":
                assert process.poll() is None
            return process

        yield started


def leaks_of(process: subprocess.Popen[str], capsys: pytest.CaptureFixture[str], interval: float, rounds: int) -> Any:
    capsys.readouterr()
    with Source(process.pid) as source:
        assert run_leaks(source, interval, rounds, as_json=True, exact=source.tells_of_waking) == 0
    return json.loads(capsys.readouterr().out)


def test_fifty_thousand_are_named_within_two_looks(start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    process = start("goroutines", "leak", "25000")
    time.sleep(1)
    found = leaks_of(process, capsys, 2, 2)
    (leak,) = found["suspects"]
    assert leak["count"] > 50_000
    assert (leak["status"], leak["created_by"]["function"]) == ("chan send", "main.spawnLeaks")
    assert leak["blocked_at"]["function"] == "main.neverReceived"
    assert leak["blocked_at"]["file"].endswith("fleets.go")
    assert leak["per_minute"] > 200_000  # 1,500,000 where the machine keeps up


@pytest.mark.parametrize(
    "arguments", [("pool", "1000"), ("burst", "2000", "1500"), ("burst", "500", "400"), ("cache", "1000")]
)
def test_what_comes_back_is_no_leak(start: Start, capsys: pytest.CaptureFixture[str], arguments: tuple[str]) -> None:
    process = start("goroutines", *arguments)
    assert leaks_of(process, capsys, 1, 4)["suspects"] == []


@pytest.mark.parametrize("way", WAYS)
def test_of_a_process_that_does_everything_the_leak_is_named_alone(
    start: Start, capsys: pytest.CaptureFixture[str], way: str
) -> None:
    process = start("leaks", way)
    time.sleep(0.5)
    (leak,) = leaks_of(process, capsys, 1, 4)["suspects"]
    status, function, cause = WAYS[way]
    assert (leak["status"], leak["blocked_at"]["function"]) == (status, function)
    assert leak["created_by"]["function"] == "main.spawnLeaks"
    assert cause in leak["likely_cause"]
    assert leak["confidence"] == ("suspect" if way == "peer" else "leak")


@pytest.mark.parametrize("version", ["1.21.13", "1.24.11", NEWEST])
def test_the_same_without_the_leak_has_none(start: Start, capsys: pytest.CaptureFixture[str], version: str) -> None:
    process = start("leaks", "none", version=version)
    assert leaks_of(process, capsys, 1.5, 4)["suspects"] == []


def test_waits_that_older_versions_do_not_tell_apart_are_told_by_their_calls(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    process = start("leaks", "group", version="1.21.13")
    time.sleep(0.5)
    (leak,) = leaks_of(process, capsys, 1, 3)["suspects"]
    assert leak["status"] == "semacquire"
    assert "Done that is missing" in leak["likely_cause"]


def test_a_process_that_ends_half_way_is_reported(start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    process = start("leaks", "send")
    time.sleep(0.5)
    with Source(process.pid) as source:

        class Dying:
            taken = 0

            def take(self) -> Any:
                self.taken += 1
                if self.taken == 3:
                    process.kill()
                    process.wait()
                return source.take()

        capsys.readouterr()
        assert run_leaks(Dying(), 0.05, 4, as_json=True) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["looks"], found["ended_early"]) == (2, "the process has gone")
    assert "main.spawnLeaks" in {one["created_by"]["function"] for one in found["suspects"]}
