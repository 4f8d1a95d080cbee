"""`goroscope goroutines --leaks`: what it prints, and how it ends, with looks made by hand."""

import json
from dataclasses import replace

import pytest

from agent.cli.goroutine_leaks import cause, run_leaks
from agent.errors import TargetError
from profiles.goroutines import Goroutines, GoState, Kind, Member
from tests.support.goroutines import LOCK, PUT, READ, SECOND, frame, goroutines

SELECT = replace(PUT, wait_reason="select")
INTERVAL = 0.05


class Process:
    """Grows by a hundred of each kind with every look, until it ends or somebody interrupts."""

    def __init__(self, *kinds: Kind, looks: int = 99, end: BaseException | None = None, **more) -> None:
        self.kinds, self.looks, self.end, self.more, self.taken = kinds, looks, end, more, 0

    def take(self) -> Goroutines:
        if self.taken == self.looks and self.end:
            raise self.end
        self.taken += 1
        rows = [
            (kind, Member(10**4 * number + n, 1, max(0, self.taken - 1 - n // 100) * SECOND))
            for number, kind in enumerate(self.kinds, 1)
            for n in range(100 * self.taken)
        ]
        return goroutines(rows, **self.more)


def run(process: Process, rounds: int = 4, **options) -> int:
    return run_leaks(process, INTERVAL, rounds, sleep=lambda _: None, **options)


@pytest.fixture(autouse=True)
def no_glances(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.cli.goroutine_leaks._GLANCES", 0)


def test_the_report_names_who_made_them_where_they_are_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(Process(PUT, READ), exact=True) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0].startswith("shop (PID 4217, go1.27.3): 800 goroutines; 4 looks in 0.")
    assert lines[1] == "1 leak and 1 suspect, which may still prove harmless."
    assert lines[3].startswith("1. LEAK  400 in chan send, +300 = +")
    assert lines[4:7] == [
        "    created by  shop.(*Server).Serve  shop/server.go:88",
        "    begun as    shop.(*Server).handle",
        "    blocked at  shop.push[...]  shop/queue.go:17",
    ]
    assert lines[7].startswith("    likely      They send, and nobody receives")
    assert lines[8] == "    evidence    100 → 200 → 300 → 400; 300 of 300 stayed where they were"
    assert lines[9] == "    look at     goroutine 10000, seen there for 3s"
    told = [line[10:] for line in err.splitlines()]
    assert told[0] == "look 1 of 4: 200 goroutines, nothing to compare with yet; next in 0.05 s"
    assert told[3] == "look 4 of 4: 800 goroutines, 2 sites suspected"


def test_two_looks_are_a_suspicion_and_say_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(Process(PUT), 2) == 0
    out = capsys.readouterr().out
    assert "\n1 suspect, which may still prove harmless.\n" in out
    assert "100 → 200; 100 of 100 stayed where they were; rests on 1 interval\n" in out


def test_what_a_ticker_may_wake_stands_apart(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(Process(SELECT, partial="Only the first 7 goroutines were read.")) == 0
    out = capsys.readouterr().out
    assert "\nNo leak found" in out
    assert "longer intervals may tell:\n    400 in select, +" in out
    assert out.endswith("\nOnly the first 7 goroutines were read.\n")
    assert run(Process(SELECT), exact=True) == 0
    assert "\n1 leak.\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("end", "words"),
    [
        (KeyboardInterrupt(), "interrupted"),
        (TargetError("Process 4217 has gone.", "Give another."), "the process has gone"),
    ],
)
def test_an_early_end_reports_what_was_gathered(
    end: BaseException, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(Process(PUT, looks=3, end=end)) == 0
    out = capsys.readouterr().out
    assert "3 looks in 0." in out.splitlines()[0]
    assert out.splitlines()[0].endswith(f"s, then {words}")
    assert "1 suspect" in out
    assert run(Process(PUT, looks=2, end=end), as_json=True) == 0
    assert json.loads(capsys.readouterr().out)["ended_early"] == words
    with pytest.raises(type(end)):
        run(Process(PUT, looks=1, end=end))


def test_ctrl_c_while_it_waits_is_an_early_end(capsys: pytest.CaptureFixture[str]) -> None:
    slept = iter([None, None])

    def sleep(_: float) -> None:
        if next(slept, 1):
            raise KeyboardInterrupt

    assert run_leaks(Process(PUT), INTERVAL, 9, sleep=sleep) == 0
    assert "3 looks" in capsys.readouterr().out


def test_json_says_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(Process(PUT, SELECT), as_json=True) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["pid"], found["looks"], found["total"], found["ended_early"]) == (4217, 4, 800, None)
    (leak,) = found["suspects"]
    assert (leak["confidence"], leak["count"], leak["grown"], leak["intervals"]) == ("leak", 400, 300, 3)
    assert leak["created_by"] == {"function": "shop.(*Server).Serve", "file": "/home/dev/shop/server.go", "line": 88}
    assert leak["blocked_at"]["function"] == "shop.push[...]"
    assert leak["populations"] == [100, 200, 300, 400]
    assert [one["status"] for one in found["undecided"]] == ["select"]


def test_glances_are_made_between_looks_where_a_take_is_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.cli.goroutine_leaks._GLANCES", 3)
    process = Process()
    assert run_leaks(process, 0.5, 3, sleep=lambda _: None) == 0
    assert process.taken == 3 + 2 * 3


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (PUT, "nobody receives"),
        (replace(PUT, wait_reason="chan send (nil chan)"), "nil channel"),
        (replace(PUT, wait_reason="chan receive (nil chan)"), "nil channel"),
        (replace(PUT, wait_reason="chan receive"), "nobody sends or closes"),
        (SELECT, "context that is never cancelled"),
        (replace(PUT, wait_reason="select (no cases)"), "lasts for ever"),
        (LOCK, "never unlocked"),
        (replace(LOCK, wait_reason="sync.RWMutex.RLock"), "read-write mutex"),
        (replace(LOCK, wait_reason="semacquire", frames=(frame("sync.(*WaitGroup).Wait"),)), "WaitGroup never"),
        (replace(LOCK, wait_reason="semacquire"), "never released"),
        (replace(LOCK, wait_reason="sync.Cond.Wait"), "never signalled"),
        (READ, "The other side never answers"),
        (replace(READ, wait_reason="sleep"), "They sleep"),
        (replace(READ, wait_reason="", state=GoState.SYSCALL), "does not return"),
        (replace(READ, wait_reason="coroutine"), "not known"),
        (replace(PUT, state=GoState.LEAKED), "Go's own leak profile"),
    ],
)
def test_each_wait_has_a_likely_cause(kind: Kind, words: str) -> None:
    assert words in cause(kind, kind.status)
