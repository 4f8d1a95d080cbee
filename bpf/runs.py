"""Runs of consecutive elements of a BPF array, handed out and taken back.

Elements that programs may still be reading are reused only after `settle()`, a window later.
"""


class Runs:
    """Hands out runs of consecutive indexes of an array, first fit."""

    def __init__(self, size: int, first: int = 0) -> None:
        """All of [first, size) is free."""
        self._free = [(first, size - first)]
        self._leaving: list[tuple[int, int]] = []

    def take(self, length: int) -> int | None:
        """The first index of a free run of that length, or None."""
        for position, (start, free) in enumerate(self._free):
            if free >= length:
                self._free[position] = (start + length, free - length)
                return start
        return None

    def give(self, start: int, length: int) -> None:
        """Return a run; it is free again after `settle()`."""
        self._leaving.append((start, length))

    def settle(self) -> None:
        """Make returned runs free and join neighbours."""
        if not self._leaving:
            return
        merged: list[tuple[int, int]] = []
        for start, length in sorted(self._free + self._leaving):
            if merged and sum(merged[-1]) == start:
                merged[-1] = (merged[-1][0], merged[-1][1] + length)
            elif length:
                merged.append((start, length))
        self._free, self._leaving = merged, []
