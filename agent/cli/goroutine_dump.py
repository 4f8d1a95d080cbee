"""Goroutines in the text shape of Go's own dump (Go 1.27's), so that what reads that can read this.

What is not known from outside is left out: arguments, which are `...` as Go has them for inlined calls, and offsets of
instructions. Minutes are those for which the goroutine was seen waiting, so they may be fewer than Go's.
"""

from collections.abc import Iterator
from itertools import compress

from agent.cli.goroutine_words import channel_text, labels_text, lasting
from exporters.text import printable
from profiles.goroutines import Goroutines, GoState, Kind, Member
from profiles.grouping import plain

_MINUTE = 60 * 10**9
_PIECE = 2000
"""Goroutines whose text is made at once."""
_TIMED = (GoState.WAITING, GoState.SYSCALL)
"""Go tells minutes of these only."""


def dump(goroutines: Goroutines, *, system: bool) -> Iterator[str]:
    """All goroutines, or all but the runtime's own, in pieces."""
    ids = plain(goroutines.ids)
    kept = [system or not kind.system for kind in goroutines.kinds]
    bodies: list[_Body | None] = [None] * len(goroutines.kinds)
    rows = zip(plain(goroutines.kind), ids, plain(goroutines.creators), plain(goroutines.waiting_ns), strict=True)
    texts: list[str] = []
    for index, number, creator, waiting_ns in compress(rows, [kept[kind] for kind in plain(goroutines.kind)]):
        body = bodies[index]
        if body is None:
            body = bodies[index] = _Body(goroutines.kinds[index])
        texts.append(body.text(number, creator, waiting_ns))
        if len(texts) == _PIECE:
            yield "\n".join(texts) + "\n"
            texts.clear()
    if texts:
        yield "\n".join(texts)


def one(goroutines: Goroutines, kind: Kind, member: Member) -> str:
    """A goroutine in full, and below it what Go's dump does not say."""
    text = _Body(kind).text(member.id, member.creator, member.waiting_ns)
    facts = []
    if member.waiting_ns >= 10**9:
        facts.append(f"seen so for at least {lasting(member.waiting_ns)}")
    if member.at_most_ns:
        facts.append(f"waits for at most {lasting(member.at_most_ns, up=True)}, by what garbage collection noted")
    if member.waits_for:
        channel = goroutines.channels.get(member.waits_for)
        facts.append(f"waits for {channel_text(member.waits_for, channel)}")
    if member.thread:
        facts.append(f"on thread {member.thread}")
    if kind.start_function:
        facts.append(f"started as {printable(kind.start_function)}")
    if kind.system:
        facts.append("of the runtime itself")
    return "\n".join([text, *facts]) + "\n"


class _Body:
    """The text that goroutines of a kind share."""

    def __init__(self, kind: Kind) -> None:
        leaked = " (leaked)" if kind.state is GoState.LEAKED and kind.wait_reason else ""
        labels = labels_text(kind.labels)
        self._status = printable(kind.status + leaked)
        self._timed = kind.state in _TIMED
        self._rest = f"{', locked to thread' if kind.locked else ''}]{' ' if labels else ''}{labels}:\n{_calls(kind)}"
        self._creation = self._place = ""
        if kind.created_by is not None:
            self._creation = f"created by {printable(kind.created_by.function)}"
            self._place = _place(kind.created_by.file, kind.created_by.line)

    def text(self, number: int, creator: int, waiting_ns: int) -> str:
        minutes = f", {waiting_ns // _MINUTE} minutes" if self._timed and waiting_ns >= _MINUTE else ""
        by = ""
        if self._creation:
            by = f"{self._creation}{f' in goroutine {creator}' if creator else ''}\n{self._place}"
        return f"goroutine {number} [{self._status}{minutes}{self._rest}{by}"


def _calls(kind: Kind) -> str:
    if not kind.frames:
        if kind.state is GoState.RUNNING:
            return "\tgoroutine running on other thread; stack unavailable\n"
        return f"\tstack unavailable: {printable(kind.why_not or 'unknown')}\n"
    calls = "".join(f"{printable(frame.function)}(...)\n{_place(frame.file, frame.line)}" for frame in kind.frames)
    return calls + (f"...{printable(kind.why_not)}...\n" if kind.why_not else "")


def _place(file: str, line: int) -> str:
    return f"\t{printable(file) or '?'}:{max(line, 0)}\n"
