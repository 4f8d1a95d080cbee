"""Takes what the kernel has counted, window by window.

The programs fill one of two count maps; `rotate()` makes them fill the other and empties the first. A stack's
addresses arrive over a ring before its first count of a window is made, so after a rotation every counted stack
has been seen. What could not be counted is read from the loss counters.
"""

import select
import struct
import time
from collections import deque
from dataclasses import dataclass

from bpf import abi, causes
from bpf.abi import Event, Target, Want
from bpf.maps import Drain
from bpf.programs import Programs
from bpf.ring import RingBuffer
from bpf.thinned import spread
from bpf.waits import NOTHING_LEFT_OUT, Wait, Waits, WaitSettings, WaitState, WaitTotals

_SETTLE_SECONDS = 0.005
"""A program that read the old map number just before the swap is done well within this time."""
_KEPT_WINDOWS = 3
_ROTATE_SHARE = 0.75


@dataclass(frozen=True, slots=True)
class Count:
    """Samples of one stack. `stack` is its hash; below FIRST_STACK_HASH the id of the loss that took its stack."""

    stack: int
    tgid: int
    tid: int
    samples: int


@dataclass(frozen=True, slots=True)
class RawWindow:
    """What was counted between two monotonic times (ns). `stacks` holds raw records by hash (abi.parse_stack)."""

    start_ns: int
    end_ns: int
    counts: tuple[Count, ...]
    stacks: dict[int, bytes]
    losses: dict[str, int]
    waits: tuple[Wait, ...] = ()
    left_out: WaitTotals = NOTHING_LEFT_OUT


class Capture:
    """The maps of the sampling programs, seen as a sequence of windows and of process events."""

    def __init__(
        self,
        programs: Programs,
        target: Target,
        want: Want,
        hertz: int,
        possible_cpus: int,
        waits: WaitSettings | None = None,
    ) -> None:
        """Configure the programs; nothing is sampled until timers are enabled and tracepoints attached.

        `waits` says what is kept of waits; None where those programs were not loaded.
        """
        self._config = programs.maps["config"]
        self._losses = programs.maps["losses"]
        self._drains = (Drain(programs.maps["counts_a"]), Drain(programs.maps["counts_b"]))
        self._capacity = programs.maps["counts_a"].max_entries
        self._stack_ring = RingBuffer(programs.maps["stacks"].descriptor)
        self._event_ring = RingBuffer(programs.maps["events"].descriptor)
        self._settings = (int(target), int(want), 1_000_000_000 // hertz)
        self._cpus = possible_cpus
        self._active = 0
        self._waits = None
        if waits is not None:
            self._waits = Waits(programs, waits, possible_cpus, per_thread=bool(want & Want.PER_THREAD))
        self._kept: dict[int, bytes] = {}
        self.window = 1
        """The number of the current window, which the walker notes beside the rows that it uses."""
        self._start_ns = time.monotonic_ns()
        self._recent: deque[dict[int, bytes]] = deque([{}], maxlen=_KEPT_WINDOWS)
        self._arrived = 0
        self._lost_before = {cause.name: 0 for cause in causes.losses()}
        self._epoll = select.epoll()
        self._epoll.register(self._stack_ring.fileno(), select.EPOLLIN)
        self._epoll.register(self._event_ring.fileno(), select.EPOLLIN)
        self._configure()
        if self._waits is not None:
            self._waits.configure(self._start_ns)

    def _configure(self) -> None:
        target, want, period = self._settings
        self._config.update(0, abi.CONFIG.pack(self._active, target, want, self.window % 2**32, period))

    def assume(self, tid: int, tgid: int, state: WaitState, record: bytes, since_ns: int) -> None:
        """Have a thread count as waiting since a monotonic time, before anything is attached. Raises OSError."""
        assert self._waits is not None, "waits are wanted"
        (stack,) = struct.unpack_from("<Q", record)
        self._kept[stack] = record
        self._waits.assume(tid, tgid, state, stack, since_ns)

    def change_waits(self, settings: WaitSettings) -> None:
        """Keep other waits from now on. Whether wakers are known is decided when the tracepoints are attached."""
        assert self._waits is not None, "waits are wanted"
        self._waits.settings = settings
        self._waits.configure(self._start_ns)

    def retract(self, tid: int, since_ns: int) -> None:
        """Take back what was assumed of a thread."""
        if self._waits is not None:
            self._waits.retract(tid, since_ns)

    @property
    def filling_up(self) -> bool:
        """Whether the window has so many stacks that it should be ended early."""
        return self._arrived > self._capacity * _ROTATE_SHARE

    def wait(self, seconds: float) -> list[Event]:
        """Sleep until something arrives or the time is over; returns the process events that came."""
        self._epoll.poll(max(seconds, 0.0))
        self._read_stacks()
        return [abi.parse_event(record) for record in self._event_ring.records()]

    def _read_stacks(self) -> None:
        newest = self._recent[-1]
        for record in self._stack_ring.records():
            hashed, space = struct.unpack_from("<QQ", record)
            newest[hashed] = bytes(record)
            self._arrived += space != abi.IS_LABELS

    def rotate(self, end_ns: int | None = None) -> RawWindow:
        """End the window: its counts, the stacks they name, and what was lost in it.

        `end_ns` (monotonic) is when everything ended, if it has; else the window ends now.
        """
        idle = self._active
        self._active = 1 - idle
        self.window += 1
        self._configure()
        final, end_ns = end_ns is not None, end_ns or time.monotonic_ns()
        if self._waits is not None:
            self._waits.configure(end_ns)
        time.sleep(_SETTLE_SECONDS)
        waits, open_stacks = self._waits.take(idle, end_ns, final=final) if self._waits is not None else ((), set())
        keys, values = self._drains[idle].take()
        self._read_stacks()
        samples = values.cast("Q")
        counts = tuple(
            Count(stack, tgid, tid, samples[index])
            for index, (stack, tgid, tid) in enumerate(abi.COUNT_KEY.iter_unpack(keys))
        )
        window = RawWindow(
            self._start_ns,
            end_ns,
            counts,
            self._stacks_of_waits(waits, open_stacks) | self._stacks_of(counts),
            self._new_losses(),
            tuple(spread(waits)),
            self._waits.new_totals() if self._waits is not None else NOTHING_LEFT_OUT,
        )
        self._start_ns = end_ns
        self._recent.append({})
        self._arrived = 0
        return window

    def _stacks_of(self, counts: tuple[Count, ...]) -> dict[int, bytes]:
        """The records of these counts. Those without a count yet are kept: theirs comes with a later window."""
        *older, newest = self._recent
        found = {}
        for count in counts:
            record = newest.get(count.stack)  # stays: it may have been sent for the window that has just begun
            for generation in older:
                record = generation.pop(count.stack, None) or record
            if record is not None:
                found[count.stack] = record
        for labels in {abi.labels_of(record) for record in found.values()} - {0}:
            record = next((one[labels] for one in self._recent if labels in one), None)
            if record is not None:
                found[labels] = record
        return found

    def _stacks_of_waits(self, waits: tuple[Wait, ...], open_stacks: set[int]) -> dict[int, bytes]:
        """The records of these waits. A wait's record came when it began, perhaps many windows ago."""
        named = {stack for wait in waits for stack in (wait.stack, wait.waker)}
        found = {}
        for stack in named | open_stacks:
            record = self._kept.get(stack)
            for generation in self._recent:
                record = generation.get(stack) or record
            if record is not None:
                found[stack] = record
        self._kept = found
        return found

    def _new_losses(self) -> dict[str, int]:
        losses = {}
        for cause in causes.losses():
            raw = self._losses.lookup(cause.id, self._cpus)
            total = sum(struct.unpack(f"<{self._cpus}Q", raw)) if raw else 0
            losses[cause.name] = total - self._lost_before[cause.name]
            self._lost_before[cause.name] = total
        return losses

    def close(self) -> None:
        """Unmap the rings; the maps stay with whoever loaded them."""
        self._epoll.close()
        self._stack_ring.close()
        self._event_ring.close()
