"""Takes what the kernel knows of waits, window by window: those that ended, and those that are still open.

A wait that is open when a window ends is told with its time so far; what it lasts beyond is told with a later
window, and the wait itself is counted once. To that end `reported` says, for each such wait, up to when it has been
told; the kernel side heeds that when the wait ends.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from bpf import abi
from bpf.maps import Drain, elements
from bpf.programs import Programs


class WaitState(IntEnum):
    """enum wait_state."""

    PREEMPTED = 0
    SLEEPING = 1
    UNINTERRUPTIBLE = 2
    STOPPED = 3


ALL_STATES = tuple(WaitState)
SLEEPERS = {
    "S": WaitState.SLEEPING,
    "I": WaitState.SLEEPING,
    "D": WaitState.UNINTERRUPTIBLE,
    "T": WaitState.STOPPED,
    "t": WaitState.STOPPED,
}
"""By the letter of /proc/PID/stat (proc_pid_stat(5))."""


@dataclass(frozen=True, slots=True)
class WaitSettings:
    """What is kept of waits. Times in ns; `max_ns` 0: no limit. The limits are per thread and per CPU, for 100 ms."""

    min_ns: int = 1_000_000
    max_ns: int = 0
    states: tuple[WaitState, ...] = ALL_STATES
    wakers: bool = False
    thread_walks: int = 200
    cpu_walks: int = 2000


@dataclass(frozen=True, slots=True)
class Wait:
    """Waits of one stack and state. `stack` and `waker` are hashes as in Count (waker 0: not known); times in ns.

    `waits` can be 0: the time goes on of a wait that an earlier window has counted.
    """

    stack: int
    waker: int
    tgid: int
    tid: int
    state: WaitState
    waits: int
    blocked_ns: int
    runnable_ns: int
    longest_ns: int
    thinned: int = 0
    """0: each such wait was walked; else one in some, and this is the class of their length."""


@dataclass(frozen=True, slots=True)
class WaitTotals:
    """Waits that were not kept, by why: number and ns. Of those thinned out others have the time: it is not missing."""

    short_waits: int = 0
    short_ns: int = 0
    long_waits: int = 0
    long_ns: int = 0
    thinned_waits: int = 0
    thinned_ns: int = 0

    def __add__(self, other: "WaitTotals") -> "WaitTotals":
        """The sum of both."""
        return WaitTotals(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))

    def __sub__(self, other: "WaitTotals") -> "WaitTotals":
        """What came since `other`."""
        return WaitTotals(*(getattr(self, name) - getattr(other, name) for name in self.__slots__))


NOTHING_LEFT_OUT = WaitTotals()


@dataclass(frozen=True, slots=True)
class _Open:
    """An element of `waiting`: struct wait."""

    since: int
    woken: int
    stack: int
    waker: int
    pace_begin: int
    pace_now: int
    pace_last: int
    tgid: int
    state: int
    one_in: int
    unused: int


class Waits:
    """The maps of bpf/offcpu.bpf.c."""

    def __init__(self, programs: Programs, settings: WaitSettings, possible_cpus: int, *, per_thread: bool) -> None:
        """Nothing is kept until `configure()`."""
        maps = programs.maps
        self._config, self._totals = maps["off_config"], maps["off_totals"]
        self._waiting, self._reported = maps["waiting"], maps["reported"]
        self._drains = (Drain(maps["waits_a"]), Drain(maps["waits_b"]))
        self._cpus = possible_cpus
        self._per_thread = per_thread
        self._before = self._too_long = WaitTotals()
        self._told: dict[int, tuple[int, int]] = {}
        self.settings = settings

    def configure(self, window_start: int) -> None:
        """Write the settings; `window_start` is the monotonic ns at which the current window began."""
        wanted = self.settings
        states = sum(1 << state for state in wanted.states)
        self._config.update(
            0,
            abi.OFF_CONFIG.pack(
                *(wanted.min_ns, wanted.max_ns, window_start),
                *(states, wanted.thread_walks, wanted.cpu_walks, int(wanted.wakers)),
            ),
        )

    def assume(self, tid: int, tgid: int, state: WaitState, stack: int, since: int) -> None:
        """Have a thread count as waiting since a time (monotonic ns). Before the tracepoints are attached only."""
        if state not in self.settings.states:
            return
        self._waiting.update(tid, abi.WAIT.pack(since, 0, stack, 0, 0, 0, 0, tgid, state, 1, 0))

    def retract(self, tid: int, since: int) -> None:
        """Take back what was assumed of a thread, if it has not waited anew."""
        value = self._waiting.lookup(tid)
        if value is not None and abi.WAIT.unpack(value)[0] == since:
            self._waiting.delete(tid)

    def take(self, idle: int, boundary: int, *, final: bool = False) -> tuple[tuple[Wait, ...], set[int]]:
        """The waits of the window that ended at `boundary` (monotonic ns), whose map is number `idle`.

        The second result are the stacks of open waits: they will be named by later windows too. `final`: there are
        none, and nothing goes on. With an upper limit open waits are told only then: they may get too long.
        """
        open_waits = list(self._open())
        if self.settings.max_ns and not final:
            open_waits = []
        told = [wait for tid, one in open_waits if (wait := self._tell(tid, one, boundary)) is not None]
        self._told = {tid: self._told[tid] for tid, _ in open_waits if tid in self._told}
        keys, values = self._drains[idle].take()
        ended = [
            Wait(stack, waker, tgid, tid, WaitState(state), waits, blocked, runnable, longest, thinned)
            for (stack, waker, tgid, tid, state, thinned), (waits, blocked, runnable, longest) in zip(
                abi.WAIT_KEY.iter_unpack(keys), abi.WAIT_SUM.iter_unpack(values), strict=True
            )
            if blocked or runnable or waits
        ]
        stacks = {stack for _, one in self._open() for stack in (one.stack, one.waker)}
        return (*ended, *told), stacks

    def _open(self) -> Iterator[tuple[int, _Open]]:
        for key, value in elements(self._waiting):
            one = _Open(*abi.WAIT.unpack(value))
            if one.since:
                yield int.from_bytes(key, "little"), one

    def _tell(self, tid: int, one: _Open, boundary: int) -> Wait | None:
        """What an open wait has lasted so far and was not told; None where that is to be told when it ends."""
        elapsed = boundary - one.since
        settings = self.settings
        if elapsed < settings.min_ns:
            return None
        if settings.max_ns and elapsed > settings.max_ns:
            self._too_long += WaitTotals(long_waits=1, long_ns=elapsed)
            return None
        since, upto = self._told.get(tid, (0, 0))
        first = since != one.since
        begin = one.since if first else upto
        if boundary <= begin or not self._mark(tid, one.since, boundary):
            return None
        ready = one.since if one.state == WaitState.PREEMPTED else one.woken or boundary
        ready = min(max(ready, begin), boundary)
        return Wait(
            *(one.stack, one.waker, one.tgid, tid if self._per_thread else 0, WaitState(one.state)),
            waits=int(first),
            blocked_ns=ready - begin,
            runnable_ns=boundary - ready,
            longest_ns=elapsed,
            thinned=class_of(elapsed) if one.one_in > 1 else 0,
        )

    def _mark(self, tid: int, since: int, upto: int) -> bool:
        """Note in `reported` that a wait is told up to a time. False where it ended before that could be noted."""
        mark = abi.REPORTED.pack(since, upto)
        self._reported.update(tid, mark)
        value = self._waiting.lookup(tid)
        if value is not None and abi.WAIT.unpack(value)[0] == since:
            self._told[tid] = since, upto
            return True
        # It has ended meanwhile, either with the mark, which then is gone, or without it, and told all itself.
        unused = self._reported.lookup(tid) == mark
        if unused:
            self._reported.delete(tid)
        self._told.pop(tid, None)
        return not unused

    def new_totals(self) -> WaitTotals:
        """What was not kept since the last call."""
        raw = self._totals.lookup(0, self._cpus) or b""
        total = WaitTotals()
        for fields in abi.OFF_TOTALS.iter_unpack(raw):
            total += WaitTotals(*fields[:6])
        new, self._before = total - self._before + self._too_long, total
        self._too_long = WaitTotals()
        return new


def class_of(duration_ns: int) -> int:
    """As in bpf/offcpu.bpf.c: 1 is below 2^14 ns, each further class four times as long, up to THINNED_CLASSES."""
    above = max(0, duration_ns >> abi.THINNED_BITS).bit_length()
    return min(1 + (above + 1) // 2, abi.THINNED_CLASSES)
