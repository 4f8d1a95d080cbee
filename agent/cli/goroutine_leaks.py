"""`goroscope goroutines --leaks`: looks at intervals, then which goroutines pile up, where, and what likely keeps them.

A suspect is a finding, not a failure: the exit status is 0 with and without.
"""

import json
import random
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from agent.cli.goroutine_json import process_facts
from agent.cli.goroutine_words import clock, counted, frame_place, lasting, place, process_text
from agent.cli.output import emit
from agent.errors import TargetError
from exporters.text import printable
from profiles.census import Census, Confidence, Findings, Suspect
from profiles.goroutines import Goroutines, GoState, Kind

INTERVAL = 30.0
ROUNDS = 4

_GLANCES = 2
"""Takes between two looks: what is seen elsewhere in one of them, or in another state, has moved."""
_GLANCE_SHARE = 0.1
"""Of an interval, that one take may last: else there are no glances."""
_INDENT = " " * 4
_SHOWN_LOOKS = 6
_SHOWN_UNDECIDED = 5
_CAUSES = (
    ("chan send (nil", "They send on a nil channel, which lasts for ever: a channel that was never made."),
    ("chan receive (nil", "They receive from a nil channel, which lasts for ever: a channel that was never made."),
    ("chan send", "They send, and nobody receives: who was to take it has returned, or is too slow. A buffer helps."),
    ("chan receive", "They receive, and nobody sends or closes: a sender that gave up, a close that is missing."),
    ("select (no cases)", "`select {}` lasts for ever: goroutines with it never end."),
    ("select", "None of their cases comes: a context that is never cancelled, a channel that is never closed."),
    ("sync.Mutex.Lock", "A mutex is never unlocked: its holder is stuck itself, or returned without Unlock."),
    (
        "sync.RWMutex",
        "A read-write mutex is never unlocked: its holder is stuck itself, or returned without unlocking.",
    ),
    ("sync.WaitGroup.Wait", "A WaitGroup never gets to zero: a Done that is missing, or goroutines that never end."),
    ("sync.Cond.Wait", "A condition is never signalled, or was before they waited."),
    ("semacquire", "A lock or semaphore is never released."),
    ("IO wait", "The other side never answers: a connection without deadline, or one that is kept and never closed."),
    ("sleep", "They sleep, and longer than the looks lasted: a loop without an end, or a very long pause."),
    (GoState.SYSCALL.value, "A system call does not return: a blocking read, a lock on a file, a disk that hangs."),
)
_LEFT_BY_GO = "Go's own leak profile has found that nothing can wake them. "


class Taking(Protocol):
    """Where goroutines come from: `agent.goroutines.source.Source`."""

    def take(self) -> Goroutines:
        """All goroutines now. Raises TargetError where the process has gone."""


@dataclass(slots=True)
class _Outcome:
    """What was gathered, and why it is less than was asked for, if it is."""

    last: Goroutines | None = None
    findings: Findings = field(default_factory=lambda: Findings(0))
    began: float = 0.0
    seconds: float = 0.0
    ended: str = ""


def run_leaks(
    source: Taking,
    interval: float = INTERVAL,
    rounds: int = ROUNDS,
    *,
    as_json: bool = False,
    exact: bool = False,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Look `rounds` times at a process, tell each on standard error, then print what was found.

    `exact` says that the source tells of every waking (see `profiles.census`). Ctrl-C and a process that ends are no
    failures once there were two looks. Raises TargetError, or KeyboardInterrupt, before.
    """
    outcome = _watch(source, Census(exact=exact), interval, rounds, sleep)
    assert outcome.last is not None
    emit(leaks_json(outcome.last, outcome) if as_json else leaks_text(outcome.last, outcome))
    return 0


def _watch(source: Taking, census: Census, interval: float, rounds: int, sleep: Callable[[float], None]) -> _Outcome:
    outcome = _Outcome(began=time.monotonic())
    due = outcome.began
    try:
        for number in range(rounds):
            now = time.monotonic_ns()
            goroutines = source.take()
            cost = (time.monotonic_ns() - now) / 1e9
            outcome.findings = census.look(goroutines, now)
            outcome.last, outcome.seconds = goroutines, now / 1e9 - outcome.began
            _tell_round(outcome, number + 1, rounds, interval)
            due += interval
            if number + 1 < rounds:
                _wait(source, due, cost if cost < _GLANCE_SHARE * interval else 0.0, sleep)
    except KeyboardInterrupt:
        outcome.ended = "interrupted"
        if outcome.findings.looks < 2:
            raise
    except TargetError:
        outcome.ended = "the process has gone"
        if outcome.findings.looks < 2:
            raise
    return outcome


def _wait(source: Taking, due: float, cost: float, sleep: Callable[[float], None]) -> None:
    """Wait for the next look, with a few glances at random moments where a take costs little (0: it does not)."""
    start = time.monotonic()
    moments = sorted(start + random.uniform(0.1, 0.9) * (due - start) for _ in range(_GLANCES if cost else 0))  # noqa: S311
    for moment in moments:
        sleep(max(0.0, moment - time.monotonic()))
        source.take()
    sleep(max(0.0, due - time.monotonic()))


def _tell_round(outcome: _Outcome, number: int, rounds: int, interval: float) -> None:
    assert outcome.last is not None
    found = outcome.findings
    what = counted(len(found.suspects), "site") + " suspected" if number > 1 else "nothing to compare with yet"
    rest = f"; next in {interval:g} s" if number < rounds else ""
    size = counted(len(outcome.last), "goroutine")
    print(f"{clock(outcome.last.taken_ns)}  look {number} of {rounds}: {size}, {what}{rest}", file=sys.stderr)


def cause(kind: Kind, status: str) -> str:
    """What most likely keeps goroutines that wait like this, in a sentence or two."""
    waits = status
    if status == "semacquire":  # before Go 1.24 all of package sync waited so
        called = next((one.function for one in kind.frames if one.function.startswith("sync.(*")), "")
        waits = {"sync.(*WaitGroup).Wait": "sync.WaitGroup.Wait"}.get(called, status)
    text = next((text for start, text in _CAUSES if waits.startswith(start)), "It is not known what would wake them.")
    return (_LEFT_BY_GO if kind.state is GoState.LEAKED else "") + text


def leaks_text(last: Goroutines, outcome: _Outcome) -> str:
    """A heading, what was found in a sentence, then each suspect, the surest first."""
    found = outcome.findings
    lines = [f"{process_text(last)}: {counted(len(last), 'goroutine')}; {_looks(outcome)}", _verdict(found)]
    for number, suspect in enumerate(found.suspects, 1):
        lines += ["", *_suspect_lines(number, suspect)]
    if found.undecided:
        lines += ["", "These grow as well, but may be woken again and again by a ticker; longer intervals may tell:"]
        lines += [f"{_INDENT}{_undecided_line(one)}" for one in found.undecided[:_SHOWN_UNDECIDED]]
        rest = len(found.undecided) - _SHOWN_UNDECIDED
        lines += [f"{_INDENT}and {counted(rest, 'other site')}"] if rest > 0 else []
    if found.not_followed:
        lines += ["", f"{found.not_followed:,} at small sites were not followed: there are too many sites."]
    if last.partial:
        lines += ["", printable(last.partial)]
    return "\n".join(lines) + "\n"


def _looks(outcome: _Outcome) -> str:
    early = f", then {outcome.ended}" if outcome.ended else ""
    return f"{counted(outcome.findings.looks, 'look')} in {_time(outcome.seconds)}{early}"


def _time(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 10 else lasting(int(seconds * 1e9))


def _verdict(found: Findings) -> str:
    leaks = sum(one.confidence is Confidence.LEAK for one in found.suspects)
    suspected = len(found.suspects) - leaks
    if not found.suspects:
        return "No leak found: nowhere do goroutines only pile up."
    parts = [counted(leaks, "leak")] if leaks else []
    parts += [counted(suspected, "suspect") + ", which may still prove harmless"] if suspected else []
    return f"{' and '.join(parts)}."


def _suspect_lines(number: int, one: Suspect) -> Iterator[str]:
    site = one.site
    made = site.created_by
    size = one.populations[-1]
    yield (
        f"{number}. {one.confidence.upper()}  {size:,} in {printable(site.status)}, {one.grown:+,}"
        f" = {one.per_minute:+,.0f} a minute"
    )
    created = f"{printable(made.function)}  {place(made.file, made.line)}" if made else "no go statement"
    yield f"{_INDENT}created by  {created.rstrip()}"
    if site.start_function != site.blocked.function:
        yield f"{_INDENT}begun as    {printable(site.start_function)}"
    yield f"{_INDENT}blocked at  {printable(site.blocked.function)}  {frame_place(site.blocked)}".rstrip()
    yield f"{_INDENT}likely      {cause(one.kind, site.status)}"
    yield f"{_INDENT}evidence    {_evidence(one)}"
    seen = f", seen there for {lasting(one.oldest_ns)}" if one.oldest_ns >= 10**9 else ""
    yield f"{_INDENT}look at     goroutine {one.example}{seen}"


def _evidence(one: Suspect) -> str:
    numbers = " → ".join(f"{number:,}" for number in one.populations[-_SHOWN_LOOKS:])
    stayed = f"{one.before - one.left:,} of {one.before:,} stayed where they were"
    proven = ", and Go's own marks agree" if one.proven else ""
    rests = "" if one.confidence is Confidence.LEAK else f"; rests on {counted(one.intervals, 'interval')}"
    return f"{numbers}; {stayed}{proven}{rests}"


def _undecided_line(one: Suspect) -> str:
    where = f"{printable(one.site.blocked.function)}  {frame_place(one.site.blocked)}".rstrip()
    return f"{one.populations[-1]:,} in {printable(one.site.status)}, {one.per_minute:+,.0f} a minute, at {where}"


def leaks_json(last: Goroutines, outcome: _Outcome) -> str:
    """The same as one JSON object."""
    found = outcome.findings
    document = {
        **process_facts(last),
        "total": len(last),
        "looks": found.looks,
        "seconds": round(outcome.seconds, 3),
        "ended_early": outcome.ended or None,
        "not_followed": found.not_followed,
        "suspects": [_object(one) for one in found.suspects],
        "undecided": [_object(one) for one in found.undecided],
    }
    return json.dumps(document) + "\n"


def _object(one: Suspect) -> dict[str, Any]:
    site, made = one.site, one.site.created_by
    return {
        "confidence": one.confidence.value,
        "count": one.populations[-1],
        "grown": one.grown,
        "per_minute": round(one.per_minute, 1),
        "created_by": made._asdict() if made else None,
        "start_function": site.start_function,
        "blocked_at": {"function": site.blocked.function, "file": site.blocked.file, "line": site.blocked.line},
        "status": site.status,
        "likely_cause": cause(one.kind, site.status),
        "populations": list(one.populations),
        "settled": list(one.settled),
        "intervals": one.intervals,
        "stood_before": one.before,
        "moved": one.left,
        "proven": one.proven,
        "waiting_ns": one.oldest_ns,
        "example": one.example,
        "frames": [frame._asdict() for frame in one.kind.frames],
    }
