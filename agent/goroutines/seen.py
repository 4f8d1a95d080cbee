"""Since when goroutines have been seen where they are: what the process itself keeps is no time of waiting.

A goroutine that woke and went back to the same place has run meanwhile, which Go counts in a byte of its g.
"""

import numpy as np
from numpy.typing import NDArray

from symbolizer.goroutines.snapshot import Field, Fields

# Not the stack pointer: the collector moves the stacks of those that wait.
_PLACE = (Field.GOID, Field.STATUS, Field.PC, Field.RAN)


class Seen:
    """Remembers the last look: id, state and place of every goroutine, and since when it is so."""

    def __init__(self) -> None:
        """Nothing was seen yet."""
        self._places: Fields = np.zeros((0, len(_PLACE)), np.uint64)
        self._since: NDArray[np.int64] = np.zeros(0, np.int64)

    def waiting_ns(self, fields: Fields, now: int) -> NDArray[np.int64]:
        """For how long each goroutine has been seen in the same place and state; 0 at first sight.

        `fields` are in the order of ids, `now` is of a clock that never goes back.
        """
        places = fields[:, _PLACE]
        since = np.full(len(places), now, np.int64)
        if len(self._places):
            at = np.searchsorted(self._places[:, 0], places[:, 0])
            at[at == len(self._places)] = 0
            same = (self._places[at] == places).all(axis=1)
            since[same] = self._since[at[same]]
        self._places, self._since = places, since
        return now - since
