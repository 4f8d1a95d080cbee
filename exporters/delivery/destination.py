"""One destination: what is offered to it, where that waits, and when it is sent. A state machine without threads.

    offer() ──> memory queue ──────────── healthy ────────────> due() ─> sender ─> done()
                    │ it fails, or the queue is half full         ^
                    └────────> spool ──── in order, paced ────────┘

All in the spool is older than all in memory, so the spool goes first; at most one payload is being sent. It is given
up only for what the destination or the bounds say: at-least-once, so that a lost answer means a duplicate.
Every payload offered is in the end sent or counted as dropped, by cause:

    offered + recovered == sent + sum(dropped) + waiting

offer() takes no lock that is held across disk or network. The other methods share one that is held across the disk;
none calls the sender. `now` is seconds of a clock that does not go back; `wall` gives UNIX time in nanoseconds.
"""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from exporters.delivery.backoff import Backoff
from exporters.delivery.breaker import Breaker, Circuit
from exporters.delivery.memory import Item, MemoryQueue
from exporters.delivery.outcome import Drop, Outcome, Partial, RetryAfter
from exporters.delivery.spool import Spool


@dataclass(frozen=True, slots=True)
class DestinationSettings:
    """Bounds of one destination.

    `queue_items`, `queue_bytes` bound memory, `largest` one payload in bytes; `max_age` in seconds is how long a
    payload that cannot be spooled is tried. Replay sends at most `replay_items` and `replay_bytes` a second.
    `threshold` and `rest` (seconds) are the breaker's.
    """

    queue_items: int = 64
    queue_bytes: int = 16 << 20
    largest: int = 4 << 20
    max_age: float = 3600.0
    replay_items: float = 10.0
    replay_bytes: float = 4 << 20
    threshold: int = 5
    rest: float = 30.0
    backoff: Backoff = field(default_factory=Backoff)


@dataclass(frozen=True, slots=True)
class Stats:
    """Counts since the start. `bytes_sent` is of payloads; `waiting` is in memory, on disk and being sent."""

    offered: int
    recovered: int
    sent: int
    retried: int
    rejected: int
    spooled: int
    bytes_sent: int
    waiting: int
    waiting_bytes: int
    dropped: dict[str, int]
    state: str


@dataclass(slots=True)
class _Flight:
    """The payload that is next or being sent; `sequence` is its number in the spool, None while in memory only."""

    item: Item
    sequence: int | None
    replayed: bool
    in_hand: bool = False


class Destination:
    """The state of one destination; `spool` None keeps all in memory."""

    def __init__(
        self,
        name: str,
        settings: DestinationSettings | None = None,
        spool: Spool | None = None,
        *,
        wall: Callable[[], int] = time.time_ns,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.name = name
        self._settings = settings or DestinationSettings()
        if spool is not None and self._settings.largest > spool.largest:
            raise ValueError(f"Destination {name} takes payloads that its spool does not.")
        self._spool = spool
        self._wall = wall
        self._chance = chance
        self._queue = MemoryQueue(self._settings.queue_items, self._settings.queue_bytes)
        self._breaker = Breaker(self._settings.threshold, self._settings.rest)
        self._lock = threading.Lock()
        self._offer_lock = threading.Lock()
        self._flight: _Flight | None = None
        self._failures = 0
        self._not_before = float("-inf")
        self._closed = False
        self._offered = self._sent = self._retried = self._rejected = self._bytes_sent = 0
        self._refused: Counter[str] = Counter()  # by offer(), under its lock
        self._dropped: Counter[str] = Counter()
        self._cause = ""

    def offer(self, payload: bytes, when: int | None = None) -> bool:
        """Take a payload of UNIX time `when` (ns, now if None); False where it is dropped, which is counted.

        Never blocks: no disk, no network.
        """
        item = Item(payload, self._wall() if when is None else when)
        with self._offer_lock:
            self._offered += 1
            if self._closed:
                cause = "stopped"
            elif len(payload) > self._settings.largest:
                cause = "too large"
            elif self._queue.put(item):
                return True
            else:
                cause = self._spool.cause if self._spool is not None and self._spool.cause else "queue full"
            self._refused[cause] += 1
            return False

    def keep(self) -> None:
        """Move memory to the spool while the destination fails or memory is half full; let the spool keep time."""
        with self._lock:
            if self._spool is None or self._closed:
                return
            if self._failures > 0 or self._queue.half_full:
                self._spill()
            self._spool.tick(self._wall())

    def due(self, now: float) -> bytes | float:
        """The payload to send now, which done() must follow; else when to ask again, infinity for after an offer."""
        with self._lock:
            if self._closed or (self._flight is not None and self._flight.in_hand):
                return float("inf")
            if now < self._not_before or not self._breaker.ready(now):
                return max(self._not_before, self._breaker.until)
            if self._flight is None:
                self._flight = self._load()
            if self._flight is None:
                # Nothing, or the disk cannot be read at the moment.
                return now + 1.0 if self._spool is not None and self._spool.pending else float("inf")
            self._breaker.begin(now)
            self._flight.in_hand = True
            return self._flight.item.payload

    def done(self, outcome: Outcome, now: float) -> None:
        """What became of the payload that due() gave; ignored after close(), where it was spooled again."""
        with self._lock:
            flight = self._flight
            if flight is None or not flight.in_hand or self._closed:
                return
            flight.in_hand = False
            if isinstance(outcome, RetryAfter):
                self._failed(flight, outcome, now)
                return
            self._breaker.succeeded()
            self._failures = 0
            if isinstance(outcome, Drop):
                self._dropped[outcome.cause] += 1
                self._cause = outcome.cause
            else:
                self._sent += 1
                self._bytes_sent += len(flight.item.payload)
                self._cause = ""
                if isinstance(outcome, Partial):
                    self._rejected += outcome.rejected
                    self._cause = outcome.message
            if flight.sequence is not None and self._spool is not None:
                self._spool.acknowledge(flight.sequence)
            self._flight = None
            if flight.replayed:
                size = len(flight.item.payload)
                self._not_before = now + max(1 / self._settings.replay_items, size / self._settings.replay_bytes)

    def step(self, now: float, sender: Callable[[bytes], Outcome]) -> float:
        """Keep, and send one payload if one is due; when to step again, in the same clock."""
        self.keep()
        payload = self.due(now)
        if isinstance(payload, float):
            return payload
        self.done(sender(payload), now)
        return now

    @property
    def crowded(self) -> bool:
        """Whether keep() should be called at once."""
        return self._spool is not None and self._queue.half_full

    @property
    def healthy(self) -> bool:
        """Whether the last request was answered for good."""
        return self._failures == 0

    def close(self) -> None:
        """Spool what is in memory, what is being sent too; what cannot be is dropped, as "stopped"."""
        with self._lock:
            with self._offer_lock:
                if self._closed:
                    return
                self._closed = True
            if self._spool is not None:
                self._spill()
            if self._flight is not None and self._flight.sequence is None:
                self._dropped["stopped"] += 1
            while self._queue.pop() is not None:
                self._dropped["stopped"] += 1
            if self._spool is not None:
                self._spool.close()
            self._flight = None

    def stats(self, now: float) -> Stats:
        """The counters at one moment."""
        with self._lock, self._offer_lock:
            spool = self._spool
            dropped = self._dropped + self._refused
            flying = self._flight is not None and (self._flight.sequence is None or spool is None)
            waiting = len(self._queue) + flying
            size = self._queue.size + (len(self._flight.item.payload) if flying and self._flight else 0)
            if spool is not None:
                dropped += spool.dropped
                waiting += spool.pending + spool.adrift
                size += spool.size
            return Stats(
                offered=self._offered,
                recovered=spool.recovered if spool is not None else 0,
                sent=self._sent,
                retried=self._retried,
                rejected=self._rejected,
                spooled=spool.appended if spool is not None else 0,
                bytes_sent=self._bytes_sent,
                waiting=waiting,
                waiting_bytes=size,
                dropped=dict(dropped),
                state=self._state(now),
            )

    def _state(self, now: float) -> str:
        circuit = self._breaker.state(now)
        if self._closed:
            return "stopped"
        if circuit is Circuit.OPEN:
            return f"resting for {max(self._breaker.until - now, 0):.0f} s: {self._cause}"
        if self._failures:
            return f"failing, {self._failures} in a row: {self._cause}"
        behind = self._spool.pending if self._spool is not None else 0
        state = f"catching up, {behind} behind" if behind else "sending"
        return f"{state}: {self._cause}" if self._cause else state

    def _load(self) -> _Flight | None:
        """The next to send: the spool's, else memory's."""
        if self._spool is not None:
            record = self._spool.take(self._wall())
            if record is not None:
                return _Flight(Item(record.payload, record.when), record.sequence, replayed=True)
            if self._spool.pending:
                return None  # later ones must not overtake it
        item = self._queue.pop()
        return None if item is None else _Flight(item, None, replayed=False)

    def _failed(self, flight: _Flight, outcome: RetryAfter, now: float) -> None:
        """Nothing was taken: wait, and put it where it is safe."""
        self._retried += 1
        self._failures += 1
        self._cause = outcome.cause
        self._breaker.failed(now)
        self._not_before = now + self._settings.backoff.delay(self._failures, outcome.seconds, self._chance)
        self._spill()
        if flight.sequence is not None and self._spool is not None:
            self._spool.release()  # read again when its time comes; the bounds may drop it before
            self._flight = None
        elif self._wall() - flight.item.when > self._settings.max_age * 1e9:
            self._dropped["expired"] += 1
            self._flight = None

    def _spill(self) -> None:
        """Move what is being sent and what is queued to the spool, in order, as far as the disk takes it."""
        if self._spool is None:
            return
        flight = self._flight
        if flight is not None and flight.sequence is None:
            flight.sequence = self._spool.append(flight.item.payload, flight.item.when)
            if flight.sequence is None:
                return
            self._spool.hold(flight.sequence)
        while (item := self._queue.first()) is not None:
            if self._spool.append(item.payload, item.when) is None:
                return
            self._queue.pop()
