"""Where `runtime.g` and `runtime.m` keep what is read of them, by version (linux/amd64).

Offsets were read from the DWARF of built programs of Go 1.21 to 1.27. Those of g hang together: two of them, of goid
and of startpc, give the others. So a version that is not known needs no more than these two, which `probe` finds; and
what is known of a version is tried on the process itself before it is believed (`agrees`).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from symbolizer.go.buildinfo import Version
from symbolizer.go.layout import NEWEST_KNOWN, OLDEST_KNOWN, offsets_of

SCAN = 0x1000
"""Added to the status of a goroutine while its stack is scanned (`runtime._Gscan`)."""
RUNNABLE, RUNNING, SYSCALL, WAITING, COPYSTACK, PREEMPTED, LEAKED = 1, 2, 3, 4, 8, 9, 10
LIVE = (RUNNABLE, RUNNING, SYSCALL, WAITING, COPYSTACK, PREEMPTED, LEAKED)
_STATUSES = np.array((0, 6, 11, *LIVE), np.uint64)
"""Idle, dead, and dead but kept for threads of C (`runtime._Gidle`, `_Gdead`, `_Gdeadextra`) as well."""
PROBED_SIZE = 512
"""Bytes of each g that are looked at."""
_GOID, _STARTPC = (120, 208), (240, 400)
"""Where the two may lie, in bytes."""
_MOST = 0.9

Words = NDArray[np.uint64]
"""Of some g, a row each."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Offsets in bytes: those of g begin with no prefix, those of m with `m_`."""

    goid: int
    startpc: int
    syscallsp: int
    m_procid: int
    m_curg: int
    ran_after_goid: int = 39
    stack_lo: int = 0
    stack_hi: int = 8
    m: int = 48
    sched_sp: int = 56
    sched_pc: int = 64
    sched_g: int = 72

    @property
    def syscallpc(self) -> int:
        """Of the system call that it is in."""
        return self.syscallsp + 8

    @property
    def status(self) -> int:
        """u32."""
        return self.goid - 8

    @property
    def waitsince(self) -> int:
        """Nanoseconds of the monotonic clock, or 0."""
        return self.goid + 16

    @property
    def waitreason(self) -> int:
        """u8."""
        return self.goid + 24

    @property
    def ran(self) -> int:
        """u8 that counts how often it has stopped running (`runtime.g.trackingSeq`)."""
        return self.goid + self.ran_after_goid

    @property
    def lockedm(self) -> int:
        """Not 0 where the goroutine is locked to its thread."""
        return self.goid + 56

    @property
    def parent_goid(self) -> int:
        """The goroutine that made it."""
        return self.startpc - 24

    @property
    def gopc(self) -> int:
        """The address behind the go statement that made it."""
        return self.startpc - 16

    @property
    def waiting(self) -> int:
        """The `runtime.sudog` that it waits by."""
        return self.startpc + 16

    @property
    def labels(self) -> int:
        """Those of pprof."""
        return self.startpc + 48

    @property
    def extent(self) -> int:
        """Bytes of a g from its start on that hold all of this."""
        return self.labels + 8


def known(version: Version) -> Layout | None:
    """The layout of a version, None where it is not known."""
    if not OLDEST_KNOWN <= version[:2] <= NEWEST_KNOWN:
        return None
    minor = version[1]
    return Layout(*offsets_of(minor), ran_after_goid=39 if minor >= 22 else 36)


def probe(words: Words, is_entry: Callable[[int], bool], is_code: Callable[[int], bool]) -> Layout | None:
    """The layout that makes sense of some g of an unknown version, as those since 1.25 hang together, or None.

    `is_entry` tells whether a function begins at an address, `is_code` whether there is code of Go.
    """
    entries = _entries(words, is_entry)
    for goid in range(*_GOID, 8):
        for startpc in entries:
            layout = Layout(goid, startpc, goid - 48, 64, 184)
            if agrees(layout, words, is_entry, is_code):
                return layout
    return None


def _entries(words: Words, is_entry: Callable[[int], bool]) -> list[int]:
    """Offsets of fields that mostly are where a function begins."""
    return [
        offset
        for offset in range(*_STARTPC, 8)
        if _share(words[:, offset // 8][words[:, offset // 8] != 0], is_entry) > _MOST
    ]


def agrees(layout: Layout, words: Words, is_entry: Callable[[int], bool], is_code: Callable[[int], bool]) -> bool:
    """Whether a layout makes sense of some g that are not all dead.

    Each has a status; those that live have ids of their own, and were mostly made by code to begin where a function
    begins. Those that wait have a stack that holds their stack pointer, and are in no system call.
    """
    status = words[:, layout.status // 8] & np.uint64(0xFFFFFFFF & ~SCAN)
    lives = np.isin(status, np.array(LIVE, np.uint64))
    live = words[lives]
    if not np.isin(status, _STATUSES).all() or not len(live):
        return False
    ids = live[:, layout.goid // 8]
    if not ids.all() or (ids >= 1 << 40).any() or len(np.unique(ids)) != len(ids):
        return False
    waiting = live[status[lives] == WAITING]  # where others stand may be nowhere: running clears it
    if len(waiting):
        low, high, sp = (waiting[:, offset // 8] for offset in (layout.stack_lo, layout.stack_hi, layout.sched_sp))
        if ((low < high) & (low < sp) & (sp <= high)).mean() <= _MOST:
            return False
        if (waiting[:, layout.syscallsp // 8] != 0).mean() >= 1 - _MOST:
            return False
    made_by = live[:, layout.gopc // 8]
    if (live[:, layout.parent_goid // 8] >= 1 << 40).any() or (
        live[:, layout.waitreason // 8] & np.uint64(0xFF) > 127
    ).any():
        return False
    return _share(live[:, layout.startpc // 8], is_entry) > _MOST and _share(made_by[made_by != 0], is_code) > _MOST


def _share(values: Words, holds: Callable[[int], bool]) -> float:
    """How many of some values something holds for, from 0 to 1; 0 of none."""
    return sum(map(holds, values.tolist())) / len(values) if len(values) else 0.0
