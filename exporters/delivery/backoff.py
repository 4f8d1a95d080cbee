"""How long to wait before a failed request is tried again: exponential, with full jitter, bounded both ways."""

from collections.abc import Callable
from dataclasses import dataclass

from exporters.delivery.outcome import LONGEST_WAIT, bounded_wait


@dataclass(frozen=True, slots=True)
class Backoff:
    """The rule of one destination. `first` and `longest` are seconds: the ceiling of the first wait, and of any.

    Full jitter (anything from nothing to the ceiling) spreads a fleet best whose members all failed at one moment.
    """

    first: float = 1.0
    longest: float = 60.0

    def __post_init__(self) -> None:
        """Raise ValueError for waits that are none."""
        if not 0 < self.first <= self.longest <= LONGEST_WAIT:
            raise ValueError(f"Back-off from {self.first} to {self.longest} s is not within 0..{LONGEST_WAIT:.0f} s.")

    def ceiling(self, failures: int) -> float:
        """The longest wait in seconds after so many failures in a row (from 1 on)."""
        doublings = min(max(failures - 1, 0), 63)  # 2**63 s is beyond every bound; a float holds it
        return min(self.longest, self.first * 2.0**doublings)

    def delay(self, failures: int, asked: float | None, random: Callable[[], float]) -> float:
        """Seconds to wait, 0..3600, after `failures` in a row; `random` gives 0 <= x < 1.

        What the server `asked` for is never undercut, and jittered upwards by as much as `first`: else all that
        it turned away come back together. Its 0 does not undercut our own back-off.
        """
        share = random()
        own = share * self.ceiling(failures)
        wait = bounded_wait(asked)
        if wait is None:
            return own
        return min(max(own, wait + share * self.first), LONGEST_WAIT)
