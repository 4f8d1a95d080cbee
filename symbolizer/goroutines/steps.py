"""What a code address says about the frame there: how far its return address is, or why the walk ends.

By the rule of Go's own unwinder (`runtime.unwinder`): the pcsp table of the function, and the flags of functions that
end a stack or leave it.
"""

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from symbolizer.go.errors import GoError
from symbolizer.go.pclntab import SP_WRITE, TOP_FRAME
from symbolizer.goroutines.attach import Runtime
from symbolizer.goroutines.memory import Indexes, U64s

_MAX_KNOWN = 1 << 18
_MAX_FRAME = 1 << 30
_CALLBACK = "runtime.cgocallback"
"""Leaves the stack and comes back: on the goroutine's own stack its frame is an ordinary one."""


class Stop(IntEnum):
    """Why a walk ends. GO_ON is not the end."""

    GO_ON = 0
    WHOLE = 1
    """The outermost frame was reached."""
    SWITCH = 2
    """The function sets the stack pointer, so its caller is not found by it."""
    UNKNOWN_CODE = 3
    NO_TABLE = 4
    BAD_STACK = 5
    """A return address is not within the stack, or is 0."""
    UNREADABLE = 6
    DEPTH = 7
    RUNNING = 8
    """It has no stack to be read: it is on a CPU."""
    COPIED = 9
    """Its stack was being moved."""
    CHANGING = 10
    """It changed while it was read, more than once."""
    TOO_MANY = 11
    """The stacks that are read together have more frames than are kept."""


class Steps:
    """Of the code of one process. What was looked up is kept, within bounds."""

    def __init__(self, runtime: Runtime) -> None:
        """Nothing is known yet."""
        self._runtime = runtime
        callback = runtime.binary.function_ranges((_CALLBACK,)).get(_CALLBACK)
        self._callback = callback[0] - runtime.binary.text if callback else None
        self._forget()

    def _forget(self) -> None:
        self._known: U64s = np.zeros(1, np.uint64)
        self._sizes: U64s = np.zeros(1, np.uint64)
        self._stops: NDArray[np.uint8] = np.full(1, Stop.BAD_STACK, np.uint8)

    def look_up(self, pcs: U64s) -> tuple[U64s, NDArray[np.uint8]]:
        """Of each address: bytes from the stack pointer to the return address, and a Stop."""
        at, known = self._places(pcs)
        if not known.all():
            unknown = np.unique(pcs[~known])
            if len(self._known) + len(unknown) > _MAX_KNOWN:
                self._forget()
                unknown = np.unique(pcs[pcs != 0])
            self._learn(unknown)
            at, _ = self._places(pcs)
        return self._sizes[at], self._stops[at]

    def _places(self, pcs: U64s) -> tuple[Indexes, NDArray[np.bool_]]:
        at = np.searchsorted(self._known, pcs)
        at[at == len(self._known)] = 0
        return at, self._known[at] == pcs

    def _learn(self, pcs: U64s) -> None:
        told = [self._look(pc) for pc in pcs.tolist()]
        known = np.concatenate((self._known, pcs))
        order = np.argsort(known, kind="stable")
        self._sizes = np.concatenate((self._sizes, np.array([size for size, _ in told], np.uint64)))[order]
        self._stops = np.concatenate((self._stops, np.array([stop for _, stop in told], np.uint8)))[order]
        self._known = known[order]

    def _look(self, pc: int) -> tuple[int, Stop]:
        table, offset = self._runtime.binary.table, self._runtime.offset(pc)
        index = table.find(offset) if offset >= 0 else None
        if index is None:
            return 0, Stop.UNKNOWN_CODE
        try:
            function = table.function(index)
            if not function.pcsp:
                return 0, Stop.NO_TABLE
            size = table.value(function.pcsp, offset - function.entry)
        except GoError:
            return 0, Stop.NO_TABLE
        if function.flag & TOP_FRAME:
            return 0, Stop.WHOLE
        if not 0 <= size < _MAX_FRAME or size % 8:
            return 0, Stop.NO_TABLE
        if function.flag & SP_WRITE and function.entry != self._callback:
            return size, Stop.SWITCH
        return size, Stop.GO_ON
