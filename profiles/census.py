"""A census of goroutines: which places pile up goroutines that never come back, told from looks at intervals.

Goroutines are counted by site: what made them, what they began as, where they are blocked and for what. Four things
make a site a suspect, and all of them must have held between the last looks, three times where there were as many:

- **It grows**, by at least one in each interval.
- **Nobody comes back.** Of those that were there before, at least 99 in 100 are there still and have not moved. So a
  pool, a queue that is worked off, and a burst that has begun to drain are none. A leak among others that only pass
  the same place is seen all the same: where some moved on in the interval before, both rules are about those that
  had stood there for all of it.
- **It can last.** They wait, or are in a system call; nothing is said of those that run.
- **It is no clock.** What sleeps, selects, receives, reads the network or is in the kernel may have been woken, and
  have gone back to the same place, between two looks. Such sites count where the looks tell of each waking (`exact`),
  or where Go's garbage collector tells: it marks whoever waits, and the mark goes when the goroutine runs. Otherwise
  they are told as undecided.

It is a leak (LEAK) when this held three times, without one that left, in a wait that nothing ends by itself; all else
is told as a suspect (SUSPECT): after two looks a burst in its rise looks the same. What grows more slowly than by one
in an interval, or leaks less than 1 in 100 of those that stand at a place for longer than an interval, is not told: it
wants longer intervals. A stack that the collector makes smaller looks like a waking to what is not `exact`, and hides
leaks of goroutines that once called deeply. What grows to a bound and waits on purpose (idle workers or connections)
is a suspect, or a leak, until it has reached it.
"""

from array import array
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from profiles.gonames import telling
from profiles.goroutines import Creation, GoFrame, Goroutines, GoState, Kind
from profiles.grouping import plain

MAX_SITES = 1000
"""The largest are followed."""
MAX_FOLLOWED = 1 << 20
"""Goroutines that are remembered at most."""
MAX_HISTORY = 20
AT_LEAST = 8
"""Goroutines at a site that is worth telling of."""
CERTAIN = 3
"""Intervals in a row after which no more is asked for."""

_LEAVING = 0.01
_SLACK = 0.95
_MINUTE = 60 * 10**9
_MARK_SLACK_NS = 20_000_000
"""The two clock readings of a look are this close, or else a mark is taken to be the same as before."""
_MAY_LAST = frozenset({GoState.WAITING, GoState.LEAKED, GoState.SYSCALL})
_PROVEN = 0.1
"""Of those that stood there: so many are enough to speak for the others, who were not marked yet."""
_ENDS = ("sleep", "IO wait", GoState.SYSCALL.value)
"""Waits that end by themselves, or by what another machine does: never more than suspected."""
_LASTS = ("chan send", "chan receive (nil", "select (no cases)", "sync.", "semacquire")
"""Waits that no clock of the program can end; all others may be those of a ticker."""


class Confidence(StrEnum):
    """How sure it is."""

    LEAK = "leak"
    SUSPECT = "suspect"


class Site(NamedTuple):
    """What those that are counted together have in common; `blocked` is the function that `gonames` chooses."""

    created_by: Creation | None
    start_function: str
    blocked: GoFrame
    status: str


@dataclass(frozen=True, slots=True)
class Suspect:
    """A site that grows and that nobody leaves. `populations` and `settled` are those of the last looks, oldest first.

    `settled` have stood there since the look before, of which `proven` have not run since by what Go itself keeps.
    It has been so for the last `intervals`. Of `before` that stood there before the last of them, `left` have moved.
    """

    site: Site
    confidence: Confidence
    kind: Kind
    populations: tuple[int, ...]
    settled: tuple[int, ...]
    intervals: int
    grown: int
    per_minute: float
    before: int
    left: int
    proven: int
    oldest_ns: int
    example: int


@dataclass(frozen=True, slots=True)
class Findings:
    """Of a census after some looks: first what is surer, then what grows most."""

    looks: int
    suspects: tuple[Suspect, ...] = ()
    undecided: tuple[Suspect, ...] = ()
    sites: int = 0
    not_followed: int = 0
    """Goroutines at sites beyond the largest."""


@dataclass(slots=True)
class _Row:
    """Those at a site in one look, a column for each thing known of them."""

    kinds: tuple[Kind, ...]
    kind: "array[int]" = field(default_factory=lambda: array("q"))
    ids: "array[int]" = field(default_factory=lambda: array("q"))
    waiting_ns: "array[int]" = field(default_factory=lambda: array("q"))
    marks: "array[int]" = field(default_factory=lambda: array("q"))
    """When the garbage collection ended that was the last not to find it waiting; 0 where none has found it so."""


@dataclass(frozen=True, slots=True)
class _History:
    """What is remembered of a site: those in it at the last look, and a few numbers of those before.

    `stood` were there at the look before as well, and had not moved. `passing` says that of the others some moved on.
    `began` are time and number where the `intervals` began that count.
    """

    row: _Row
    populations: tuple[int, ...]
    settled: tuple[int, ...]
    began: tuple[int, int]
    stood: frozenset[int] = frozenset()
    passing: bool = False
    intervals: int = 0
    before: int = 0
    left: int = 0
    left_ever: bool = False
    proven: int = 0


class Census:
    """Looks at a process, one after another. `exact`: `waiting_ns` begins anew whenever a goroutine has run."""

    def __init__(self, *, exact: bool = False, at_least: int = AT_LEAST, max_sites: int = MAX_SITES) -> None:
        """Nothing was looked at yet."""
        self._exact, self._at_least, self._max_sites = exact, at_least, max_sites
        self._sites: dict[Site, _History] = {}
        self._looks, self._last, self._not_followed = 0, 0, 0
        self._collected = False

    def look(self, goroutines: Goroutines, now_ns: int) -> Findings:
        """Count, and say what is found so far. `now_ns` is when they were taken, by a clock that never goes back."""
        rows = _rows(goroutines, now_ns)
        ages = [age for age in plain(goroutines.at_most_ns) if 0 < age < now_ns - self._last]
        # The end of the collection before is the mark that one sets: the first of two has come to its end.
        self._collected = bool(ages) and max(ages) - min(ages) > _MARK_SLACK_NS
        room, sites = MAX_FOLLOWED, {}
        for site in sorted(rows, key=lambda site: (-len(rows[site].ids), _order(site)))[: self._max_sites]:
            room -= len(rows[site].ids)
            if room >= 0:
                last = self._sites.get(site)
                sites[site] = self._followed(last, rows[site], now_ns) if last else self._met(rows[site], now_ns)
        self._not_followed = sum(len(row.ids) for site, row in rows.items() if site not in sites)
        self._sites, self._last = sites, now_ns
        self._looks += 1
        return self.findings()

    def findings(self) -> Findings:
        """What the looks have told until now."""
        suspects: list[Suspect] = []
        undecided: list[Suspect] = []
        for site, history in self._sites.items():
            if self._is_suspect(history):
                told = self._exact or history.proven >= _PROVEN * len(history.stood)
                (suspects if told or site.status.startswith(_LASTS) else undecided).append(self._suspect(site, history))
        suspects.sort(key=_rank)
        undecided.sort(key=_rank)
        return Findings(self._looks, tuple(suspects), tuple(undecided), len(self._sites), self._not_followed)

    def _met(self, row: _Row, now: int) -> _History:
        """A site seen for the first time, or again."""
        size = len(row.ids)
        return _History(row, (0, size) if self._looks else (size,), (0, 0) if self._looks else (0,), (now, size))

    def _followed(self, last: _History, row: _Row, now: int) -> _History:
        """What became of a site since the last look."""
        stood, proven = _stood(last.row, row, now - self._last, collected=self._collected, exact=self._exact)
        size, everyone = len(row.ids), frozenset(last.row.ids)
        old = last.stood if last.passing else everyone
        left, fresh = len(old - stood), everyone - last.stood
        grew = len(stood) > last.settled[-1] if last.passing else size > last.populations[-1]
        holds = grew and bool(old) and left <= _LEAVING * len(old)
        goes_on = holds and last.intervals > 0
        return _History(
            row,
            populations=(*last.populations, size)[-MAX_HISTORY:],
            settled=(*last.settled, len(stood))[-MAX_HISTORY:],
            began=last.began if goes_on else (self._last, last.populations[-1]) if holds else (now, size),
            stood=stood,
            passing=len(fresh - stood) > _LEAVING * len(fresh),
            intervals=last.intervals + 1 if holds else 0,
            before=len(old),
            left=left,
            left_ever=left > 0 or (goes_on and last.left_ever),
            proven=proven,
        )

    def _is_suspect(self, history: _History) -> bool:
        """Whether it grows and nobody leaves, for as long as there was to see."""
        # Nobody knows how long those of the first look had stood there: at a site that many pass, nearly all leave.
        needed = CERTAIN - 1 if self._looks == CERTAIN + 1 else min(self._looks - 1, CERTAIN)
        size = len(history.row.ids)
        return 0 < needed <= history.intervals and size >= self._at_least and size > history.began[1]

    def _suspect(self, site: Site, history: _History) -> Suspect:
        row = history.row
        oldest = max(range(len(row.ids)), key=lambda index: (row.waiting_ns[index], -row.ids[index]))
        kind = row.kinds[row.kind[oldest]]
        sure = history.intervals >= CERTAIN and not history.left_ever and not site.status.startswith(_ENDS)
        grown, since = len(row.ids) - history.began[1], self._last - history.began[0]
        return Suspect(
            site=site,
            confidence=Confidence.LEAK if sure or kind.state is GoState.LEAKED else Confidence.SUSPECT,
            kind=kind,
            populations=history.populations,
            settled=history.settled,
            intervals=history.intervals,
            grown=grown,
            per_minute=grown * _MINUTE / max(since, 1),
            before=history.before,
            left=history.left,
            proven=history.proven,
            oldest_ns=row.waiting_ns[oldest],
            example=row.ids[oldest],
        )


def _rows(goroutines: Goroutines, now: int) -> dict[Site, _Row]:
    """Those that may wait for ever, by site. What is shared is looked at once a kind."""
    rows: dict[Site, _Row] = {}
    kinds = goroutines.kinds
    of = [
        rows.setdefault(_site(kind), _Row(kinds)) if kind.state in _MAY_LAST and not kind.system else None
        for kind in kinds
    ]
    columns = (goroutines.kind, goroutines.ids, goroutines.waiting_ns, goroutines.at_most_ns)
    for kind, own, waiting, marked in zip(*map(plain, columns), strict=True):
        row = of[kind]
        if row is not None:
            row.kind.append(kind)
            row.ids.append(own)
            row.waiting_ns.append(waiting)
            row.marks.append(now - marked if marked else 0)
    return {site: row for site, row in rows.items() if row.ids}


def _site(kind: Kind) -> Site:
    told = telling((frame.function for frame in kind.frames), kind.start_function)
    place = next((frame for frame in kind.frames if frame.function == told), GoFrame(told or "[unknown]", "", 0, False))
    return Site(kind.created_by, kind.start_function, place._replace(inlined=False), kind.status)


def _stood(before: _Row, now: _Row, span: int, *, collected: bool, exact: bool) -> tuple[frozenset[int], int]:
    """Who has stood at a site for the whole of an interval, and of how many Go's own mark proves it.

    `collected`: meanwhile the garbage collector came by, so that all who stood there have a mark.
    """
    marks = dict(zip(before.ids, before.marks, strict=True))
    enough = int(span * _SLACK)
    stood, proven = [], 0
    for own, waiting, mark in zip(now.ids, now.waiting_ns, now.marks, strict=True):
        earlier = marks.get(own)
        if earlier is None:
            continue
        same = earlier and mark and abs(mark - earlier) <= _MARK_SLACK_NS
        # A stack that the collector moves looks like another place: an inexact source takes that for a waking.
        if not (waiting >= enough or (same and not exact)):
            continue
        if (earlier and not same) or (collected and not mark):
            continue
        proven += bool(earlier)
        stood.append(own)
    return frozenset(stood), proven


def _order(site: Site) -> tuple[object, ...]:
    """Any order will do, as long as it is always the same."""
    return (site.created_by or (), site.start_function, site.blocked, site.status)


def _rank(suspect: Suspect) -> tuple[object, ...]:
    surer = suspect.confidence is not Confidence.LEAK
    return (surer, -suspect.per_minute, -suspect.populations[-1], _order(suspect.site))
