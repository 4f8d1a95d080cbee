"""A circuit breaker: after so many failures in a row a destination is left alone, then asked once.

    closed ── `threshold` failures in a row ──> open ── `rest` seconds ──> half-open
       ^                                         ^                            │ one probe
       └───────────── it succeeds ───────────────┼────────────────────────────┤
                                                 └──────── it fails ──────────┘

Time is a parameter, in seconds of any clock that does not go back. Not thread-safe: its destination's lock guards it.
"""

from enum import Enum


class Circuit(Enum):
    """Where the breaker stands."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Breaker:
    """The breaker of one destination. `threshold` is a count of failures, `rest` seconds."""

    def __init__(self, threshold: int = 5, rest: float = 30.0) -> None:
        if threshold < 1 or not rest >= 0:
            raise ValueError(f"A breaker of {threshold} failures and {rest} s of rest never works.")
        self._threshold = threshold
        self._rest = rest
        self._failures = 0
        self._until: float | None = None  # when it may be probed; None while closed
        self._probing = False
        self.opened = 0  # how often it opened, failed probes included

    @property
    def until(self) -> float:
        """When the next request may be made; long ago while closed."""
        return float("-inf") if self._until is None else self._until

    def state(self, now: float) -> Circuit:
        """Where it stands at that time."""
        if self._until is None:
            return Circuit.CLOSED
        return Circuit.OPEN if now < self._until else Circuit.HALF_OPEN

    def ready(self, now: float) -> bool:
        """Whether a request may begin; changes nothing."""
        state = self.state(now)
        return state is Circuit.CLOSED or (state is Circuit.HALF_OPEN and not self._probing)

    def begin(self, now: float) -> bool:
        """Take the right to one request; False where there is none. Each True is followed by one of the two below."""
        if not self.ready(now):
            return False
        self._probing = self.state(now) is Circuit.HALF_OPEN
        return True

    def succeeded(self) -> None:
        """The destination answered, if only to refuse that request for good: closed."""
        self._failures = 0
        self._until = None
        self._probing = False

    def failed(self, now: float) -> None:
        """It did not answer or asked to be left alone: one failure more, and open when these are enough."""
        self._failures += 1
        if self._probing or self._failures >= self._threshold:
            self._until = now + self._rest
            self.opened += 1
        self._probing = False
