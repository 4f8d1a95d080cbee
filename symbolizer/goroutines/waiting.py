"""What goroutines wait for: the addresses of channels and locks, and the facts of the channels.

It is read right after the snapshot, not at the same moment: what has moved on since is told as waiting for nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from profiles.goroutines import Channel
from symbolizer.goroutines.attach import Runtime
from symbolizer.goroutines.layout import LEAKED, WAITING
from symbolizer.goroutines.locks import Locks
from symbolizer.goroutines.memory import Flags, Indexes, Memory, U64s
from symbolizer.goroutines.snapshot import Field, Snapshot
from symbolizer.goroutines.steps import Steps
from symbolizer.goroutines.sudogs import Channels, Sudogs, find, read_channels, read_sudogs, wait_layout

MAX_CASES = 512
"""Cases of one select that are looked at."""
_MAX_SUDOGS = 1 << 21
_DOUBLINGS = 21
"""What a list of that many is followed through in."""
_SEND, _RECEIVE = "chan send", "chan receive"
"""What the reasons to wait of those that are in no select begin with."""


@dataclass(frozen=True, slots=True)
class Waits:
    """What is known of what goroutines wait for.

    `waits_for` has an entry for each goroutine of the snapshot, 0 where it is not known. For a select it is the channel
    of the lowest address among its cases: Go keeps them in that order. `further` are the other ones, and `selecting`
    the ids of the goroutines that wait for these.
    """

    waits_for: NDArray[np.int64]
    channels: dict[int, Channel]
    selecting: NDArray[np.int64]
    further: NDArray[np.int64]

    def others(self) -> dict[int, tuple[int, ...]]:
        """By the id of the goroutine, the channels other than `waits_for` of those that wait for several."""
        channels = self.further.tolist()
        begins = np.concatenate(([0], np.nonzero(np.diff(self.selecting))[0] + 1)) if channels else self.selecting
        ends = [*begins[1:].tolist(), len(channels)]
        ids = self.selecting[begins].tolist()
        return {own: tuple(channels[a:b]) for own, a, b in zip(ids, begins.tolist(), ends, strict=False)}


class WaitReader:
    """Of one process."""

    def __init__(self, runtime: Runtime, memory: Memory, steps: Steps) -> None:
        """Nothing is read yet."""
        version = runtime.binary.version
        assert version is not None  # such programs are not attached to
        self._memory, self._layout = memory, wait_layout(version)
        self._locks = Locks(runtime, memory, steps, self._layout)
        self._sends, self._receives = (
            np.array([number for number, text in enumerate(runtime.reasons) if text.startswith(what)], np.uint64)
            for what in (_SEND, _RECEIVE)
        )

    def read(self, snapshot: Snapshot) -> Waits:
        """What the goroutines of a snapshot wait for. Where the process has gone it is nothing."""
        fields = snapshot.fields
        waiting = np.isin(fields[:, Field.STATUS], np.array((WAITING, LEAKED), np.uint64))
        waits_for = np.zeros(len(fields), np.uint64)
        sudogs = self._sudogs(snapshot, np.nonzero(waiting & (fields[:, Field.WAITING] != 0))[0])
        locks = sudogs.take((sudogs.channel == 0) & (sudogs.elem != 0))
        waits_for[locks.row] = self._locks.begins(snapshot, locks.row, locks.elem)
        channels = read_channels(self._memory, sudogs.channel, self._layout)
        sudogs = sudogs.take(find(channels.address, sudogs.channel)[1])
        first = np.ones(len(sudogs.row), bool)
        first[1:] = sudogs.row[1:] != sudogs.row[:-1]
        waits_for[sudogs.row[first]] = sudogs.channel[first]
        further = ~first
        further[1:] &= sudogs.channel[1:] != sudogs.channel[:-1]
        unknown = np.nonzero(waiting & (fields[:, Field.WAITING] == 0) & (fields[:, Field.SYSCALLSP] == 0))[0]
        waits_for[unknown] = self._locks.by_stacks(snapshot, unknown)
        return Waits(
            waits_for.astype(np.int64),
            self._channels(channels, sudogs, fields[:, Field.REASON]),
            fields[sudogs.row[further], Field.GOID].astype(np.int64),
            sudogs.channel[further].astype(np.int64),
        )

    def _sudogs(self, snapshot: Snapshot, rows: Indexes) -> Sudogs:
        """All that some goroutines wait by: each goroutine's together, in its order."""
        found: list[Sudogs] = []
        for one in self._chains(snapshot, rows):
            found.append(one)
            if sum(len(one.row) for one in found) >= _MAX_SUDOGS:
                break
        if len(found) == 1:
            return found[0]
        every = Sudogs(*(np.concatenate([getattr(one, name) for one in found]) for name in Sudogs.__slots__))
        _, unique = np.unique(every.address, return_index=True)  # a list may lead back to itself
        every = every.take(np.sort(unique))
        return every.take(np.argsort(every.row, kind="stable"))

    def _chains(self, snapshot: Snapshot, rows: Indexes) -> Iterator[Sudogs]:
        """The first of each goroutine, then the second of each select, and so on."""
        pointers = snapshot.fields[rows, Field.WAITING]
        for _ in range(MAX_CASES):
            found = read_sudogs(self._memory, rows, pointers, snapshot.addresses[rows], self._layout)
            yield found
            further = found.is_select & (found.link != 0)
            rows, pointers = found.row[further], found.link[further]
            if not len(rows):
                break

    def _channels(self, channels: Channels, sudogs: Sudogs, reasons: U64s) -> dict[int, Channel]:
        """The channels, with how many of the sudogs wait in each to send and to receive."""
        at, _ = find(channels.address, sudogs.channel)
        sends, receives = self._directions(channels, sudogs, at, reasons)
        count = len(channels.address)
        columns = (
            channels.buffered,
            channels.capacity,
            channels.closed,
            np.bincount(at[sends], minlength=count),
            np.bincount(at[receives], minlength=count),
        )
        facts = map(Channel, *(column.tolist() for column in columns))
        return dict(zip(channels.address.tolist(), facts, strict=True))

    def _directions(self, channels: Channels, sudogs: Sudogs, at: Indexes, reasons: U64s) -> tuple[Flags, Flags]:
        """Which wait to send, and which to receive.

        Outside a select the reason says it. Else it is the one list of the channel that is not empty. Only a select
        that both sends to and receives from a channel makes both lists of it not empty: those are followed.
        """
        reason = reasons[sudogs.row]
        sends = np.isin(reason, self._sends) & ~sudogs.is_select
        receives = np.isin(reason, self._receives) & ~sudogs.is_select
        unsure = ~(sends | receives)
        sending, receiving = channels.sending[at] != 0, channels.receiving[at] != 0
        sends |= unsure & sending & ~receiving
        receives |= unsure & receiving & ~sending
        both = np.nonzero(sending & receiving)[0]
        if len(both):
            head = _heads(sudogs.address[both], sudogs.prev[both])
            sends[both] |= unsure[both] & (head == channels.sending[at[both]])
            receives[both] |= unsure[both] & (head == channels.receiving[at[both]])
        return sends, receives


def _heads(address: U64s, prev: U64s) -> U64s:
    """The first of the list that each is in, found by jumps of doubling length; any of it where it is a circle."""
    order = np.argsort(address, kind="stable")
    at, known = find(address[order], prev)
    before = np.where(known, order[at], np.arange(len(address)))
    for _ in range(_DOUBLINGS):
        before = before[before]
    heads: U64s = address[before]
    return heads
