"""Reads all goroutines of a process, in bulk and without stopping it.

A goroutine counts as read when its g is the same before and after its stack was read; else it is read again, and
after a few times told as changing. So what is told of each is true of a moment, though not the same one for all.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from symbolizer.goroutines.attach import Runtime, listed
from symbolizer.goroutines.layout import COPYSTACK, LIVE, RUNNING, SCAN
from symbolizer.goroutines.memory import USER_LIMIT, Flags, Memory, U64s, read_pieces
from symbolizer.goroutines.steps import Stop
from symbolizer.goroutines.unwind import Starts, Unwinder

MAX_LIVE = 1 << 20
"""Goroutines that are read at most."""
_LISTED_AT_ONCE, _AT_ONCE = 1 << 15, 1 << 13
_GAP = 1024
_TRIES = 4
_MAX_ID = 1 << 63
_LIVE = np.array(LIVE, np.uint64)
_ENDS = np.array((Stop.WHOLE, Stop.RUNNING, Stop.DEPTH, Stop.TOO_MANY), np.uint8)
"""Of a walk that would end so a second time too."""
_STATUS_BITS = np.uint64(0xFFFFFFFF & ~SCAN)

Fields = NDArray[np.uint64]
Progress = Callable[[int, int], None]
"""Called with how many of how many are read."""


class Field(IntEnum):
    """Columns of what is kept of each g."""

    STACK_LO = 0
    STACK_HI = 1
    M = 2
    SP = 3
    PC = 4
    SYSCALLSP = 5
    SYSCALLPC = 6
    STATUS = 7
    GOID = 8
    WAITSINCE = 9
    REASON = 10
    LOCKEDM = 11
    PARENT = 12
    GOPC = 13
    STARTPC = 14
    WAITING = 15
    LABELS = 16
    RAN = 17


_SAME = (Field.STATUS, Field.GOID, Field.SP, Field.PC, Field.STACK_LO, Field.SYSCALLSP)
"""What tells that a goroutine has not moved."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The goroutines, by their ids.

    `fields` has a row each and a column for each Field; `stack` is an index into `stacks`, whose addresses are leaf
    first, and `stops` say how the walk of it ended.
    """

    addresses: U64s
    fields: Fields
    stack: NDArray[np.int64]
    stacks: list[tuple[int, ...]]
    stops: NDArray[np.uint8]
    dead: int
    partial: str


class Reader:
    """Reads goroutines of one process, again and again."""

    def __init__(self, runtime: Runtime, memory: Memory, unwinder: Unwinder) -> None:
        """Nothing is read yet."""
        self._runtime, self._memory, self._unwinder = runtime, memory, unwinder
        layout = runtime.layout
        offsets = (
            *(layout.stack_lo, layout.stack_hi, layout.m, layout.sched_sp, layout.sched_pc, layout.syscallsp),
            *(layout.syscallpc, layout.status, layout.goid, layout.waitsince, layout.waitreason, layout.lockedm),
            *(layout.parent_goid, layout.gopc, layout.startpc, layout.waiting, layout.labels, layout.ran),
        )
        self._columns = np.array(offsets, np.int64) >> 3
        self._ran_shift = np.uint64(8 * (layout.ran & 7))

    def take(self, progress: Progress = lambda _done, _all: None) -> Snapshot:
        """All of them. Raises UnreadableError where the list cannot be read: the process has gone."""
        addresses, fields, dead, partial = self._living()
        order = np.argsort(fields[:, Field.STACK_LO], kind="stable")  # neighbours in memory are read at once
        hashes, stops = np.zeros(len(order), np.uint64), np.full(len(order), Stop.CHANGING, np.uint8)
        stacks: dict[int, tuple[int, ...]] = {}
        for first in range(0, len(order), _AT_ONCE):
            progress(first, len(order))
            self._read_stacks(order[first : first + _AT_ONCE], addresses, fields, hashes, stops, stacks)
        ids = fields[:, Field.GOID]
        by_id = np.nonzero(np.isin(fields[:, Field.STATUS], _LIVE) & (ids != 0) & (ids < _MAX_ID))[0]
        by_id = by_id[np.unique(ids[by_id], return_index=True)[1]]
        numbers = {hashed: index for index, hashed in enumerate(stacks)}
        unique, inverse = np.unique(hashes[by_id], return_inverse=True)
        stack = np.array([numbers[one] for one in unique.tolist()], np.int64)[inverse]
        return Snapshot(
            addresses[by_id],
            fields[by_id],
            stack,
            list(stacks.values()),
            stops[by_id],
            dead + len(order) - len(by_id),
            partial,
        )

    def _living(self) -> tuple[U64s, Fields, int, str]:
        """Addresses and fields of the goroutines that are not dead, how many are, and what was left out."""
        start, length = listed(self._runtime, self._memory)
        found: list[tuple[U64s, Fields]] = []
        count, looked_at, partial = 0, 0, ""
        while looked_at < length and not partial:
            size = min(_LISTED_AT_ONCE, length - looked_at)
            pointers = np.frombuffer(self._memory.read(start + 8 * looked_at, 8 * size), np.uint64)
            pointers = pointers[(pointers >= 4096) & (pointers < USER_LIMIT) & (pointers & np.uint64(7) == 0)]
            fields, ok = self._fields(pointers)
            live = ok & np.isin(fields[:, Field.STATUS], _LIVE)
            count += int(live.sum())
            found.append((pointers[live], fields[live]))
            looked_at += size
            if count >= MAX_LIVE:
                partial = f"Only the first {count:,} goroutines were read."
        addresses = np.concatenate([one for one, _ in found])
        addresses, unique = np.unique(addresses, return_index=True)
        return addresses, np.concatenate([one for _, one in found])[unique], looked_at - len(addresses), partial

    def _fields(self, pointers: U64s) -> tuple[Fields, Flags]:
        """What is kept of some g, and which could be read."""
        extent = np.full(len(pointers), self._runtime.layout.extent, np.uint64)
        pieces = read_pieces(self._memory, pointers, extent, _GAP)
        if not len(pieces.words):
            return np.zeros((len(pointers), len(Field)), np.uint64), pieces.ok
        fields = pieces.words[pieces.index[:, None] + self._columns]
        fields[:, Field.STATUS] &= _STATUS_BITS
        fields[:, Field.REASON] &= np.uint64(0xFF)
        fields[:, Field.RAN] = fields[:, Field.RAN] >> self._ran_shift & np.uint64(0xFF)
        return fields, pieces.ok

    def _read_stacks(
        self,
        members: NDArray[np.int64],
        addresses: U64s,
        fields: Fields,
        hashes: U64s,
        stops: NDArray[np.uint8],
        stacks: dict[int, tuple[int, ...]],
    ) -> None:
        """Read the stacks of some goroutines, those that moved meanwhile once more; fills the last four."""
        for attempt in range(_TRIES):
            before = fields[members]
            unwound = self._unwinder.unwind(_starts(before))
            after, ok = self._fields(addresses[members])
            fields[members] = after
            same = ok & (before[:, _SAME] == after[:, _SAME]).all(axis=1)
            status = after[:, Field.STATUS]
            found = unwound.stops.copy()
            found[status == RUNNING], found[status == COPYSTACK] = Stop.RUNNING, Stop.COPIED
            # A stack may be read half changed and its g be what it was: what does not end well is read again.
            well = np.isin(found, _ENDS) | ~np.isin(status, _LIVE)
            settled = same & (well | (attempt == _TRIES - 1))
            rows = np.nonzero(settled)[0]
            readable = (found[rows] != Stop.RUNNING) & (found[rows] != Stop.COPIED)
            hashes[members[rows]] = np.where(readable, unwound.hashes[rows], 0)
            stops[members[rows]] = found[rows]
            _keep(unwound.hashes, rows[readable], unwound.stacks, stacks)
            members = members[~settled]
            if not len(members):
                break
        stacks.setdefault(0, ())


def _starts(fields: Fields) -> Starts:
    """Where the walk of each begins: where it entered the kernel, or where it was put aside; nowhere while it runs."""
    in_syscall = fields[:, Field.SYSCALLSP] != 0
    stands = ~np.isin(fields[:, Field.STATUS], np.array((RUNNING, COPYSTACK), np.uint64))
    return Starts(
        pc=np.where(in_syscall, fields[:, Field.SYSCALLPC], fields[:, Field.PC]),
        sp=np.where(in_syscall, fields[:, Field.SYSCALLSP], fields[:, Field.SP]),
        low=fields[:, Field.STACK_LO],
        high=np.where(stands, fields[:, Field.STACK_HI], np.uint64(0)),
        in_syscall=in_syscall,
    )


def _keep(
    hashes: U64s,
    rows: NDArray[np.int64],
    frames_of: Callable[[NDArray[np.int64]], list[tuple[int, ...]]],
    stacks: dict[int, tuple[int, ...]],
) -> None:
    """Add the stacks that are new, each once."""
    unique, first = np.unique(hashes[rows], return_index=True)
    new = [index for index, one in enumerate(unique.tolist()) if one not in stacks]
    chosen = np.sort(rows[first[new]])
    for row, frames in zip(chosen.tolist(), frames_of(chosen), strict=True):
        stacks[int(hashes[row])] = frames
