"""What goroutines wait by and for in Go's runtime (`runtime.sudog`, `runtime.hchan`), read in bulk (linux/amd64).

Offsets were read from the DWARF of built programs of Go 1.21 to 1.27. What is read is believed where it makes sense: a
sudog names the goroutine that it is of, and a channel holds no more than its buffer takes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from symbolizer.go.buildinfo import Version
from symbolizer.goroutines.memory import USER_LIMIT, Flags, Indexes, Memory, U64s, read_pieces

_AT_ONCE = 1 << 15
_GAP = 512
_G, _PREV = 0, 16
_QCOUNT, _DATAQSIZ, _FLAGS = 0, 8, 24
"""Of a channel: what is in its buffer, how much the buffer takes, and the size of an element with the closed flag."""
_CLOSED_SHIFT = np.uint64(32)
_WORD = np.uint64(7)


@dataclass(frozen=True, slots=True)
class WaitLayout:
    """Offsets in bytes: of a sudog, then of a channel.

    `elem` is where the value is that is sent or received, or the semaphore or list that is waited for. `timer` is 0
    where channels have none.
    """

    elem: int
    is_select: int
    waitlink: int
    c: int
    timer: int
    recvq: int
    sendq: int


def wait_layout(version: Version) -> WaitLayout:
    """Of a version; one newer than those known is taken for the newest."""
    minor = version[1] if version[0] == 1 else 99
    # Since 1.26 two pointers are pairs of one that the collector may not see and the address, which counts.
    pair = 8 if minor >= 26 else 0
    timer = 8 if minor >= 23 else 0
    return WaitLayout(24 + pair, 52 + pair, 64 + pair, 80 + 2 * pair, 4 * timer, 56 + timer, 72 + timer)


@dataclass(frozen=True, slots=True)
class Sudogs:
    """Some, one entry each. `row` is whose it is, in the snapshot; `channel` is 0 where it waits for something else."""

    row: Indexes
    address: U64s
    prev: U64s
    elem: U64s
    is_select: Flags
    link: U64s
    channel: U64s

    def take(self, which: Indexes | Flags) -> "Sudogs":
        """Some of them."""
        return Sudogs(
            *(self.row[which], self.address[which], self.prev[which], self.elem[which]),
            *(self.is_select[which], self.link[which], self.channel[which]),
        )


@dataclass(frozen=True, slots=True)
class Channels:
    """Some that make sense, by address. The heads are the first sudogs that wait in it, 0 for none."""

    address: U64s
    buffered: U64s
    capacity: U64s
    closed: Flags
    receiving: U64s
    sending: U64s


def pointers(values: U64s) -> Flags:
    """Which of some words may point to words."""
    within: Flags = (values >= 4096) & (values < USER_LIMIT - 4096) & (values & _WORD == 0)
    return within


def read_sudogs(memory: Memory, row: Indexes, address: U64s, owner: U64s, layout: WaitLayout) -> Sudogs:
    """Those at some addresses, but for those that are not of the goroutine whose g is `owner`."""
    flags = layout.is_select & ~7
    words, ok = read_rows(memory, address, (_G, _PREV, layout.elem, flags, layout.waitlink, layout.c))
    own = np.nonzero(ok & (words[:, 0] == owner))[0]
    _, prev, elem, flag, link, channel = words[own].T
    is_select = flag >> np.uint64(8 * (layout.is_select - flags)) & np.uint64(0xFF) != 0
    return Sudogs(row[own], address[own], prev, elem, is_select, link, channel)


def read_channels(memory: Memory, addresses: U64s, layout: WaitLayout) -> Channels:
    """Those at some addresses, in ascending order, but for those that are no channels."""
    address = np.sort(addresses)
    address = address[np.diff(address, prepend=np.uint64(0)) != 0]
    offsets = (_QCOUNT, _DATAQSIZ, _FLAGS, layout.timer, layout.recvq, layout.sendq)
    words, ok = read_rows(memory, address, offsets)
    buffered, capacity, flags, timer, receiving, sending = words.T
    closed = flags >> _CLOSED_SHIFT
    good = ok & (buffered <= capacity) & (capacity < USER_LIMIT) & (closed <= 1)
    for head in (receiving, sending):
        good &= (head == 0) | pointers(head)
    if layout.timer:  # what a timer sends is in a buffer that programs are not to see
        buffered, capacity = np.where(timer == 0, (buffered, capacity), np.uint64(0))
    return Channels(
        *(address[good], buffered[good], capacity[good], closed[good] != 0, receiving[good], sending[good]),
    )


def read_rows(
    memory: Memory, addresses: U64s, offsets: Sequence[int], gap: int = _GAP, at_once: int = _AT_ONCE
) -> tuple[NDArray[np.uint64], Flags]:
    """The words at some offsets from each address, a row each, and which could be read; what could not is zero."""
    words, ok = np.zeros((len(addresses), len(offsets)), np.uint64), np.zeros(len(addresses), bool)
    columns, size = np.array(offsets, np.int64) >> 3, max(offsets, default=0) + 8
    sensible = np.nonzero(pointers(addresses))[0]
    order = sensible[np.argsort(addresses[sensible], kind="stable")]  # neighbours in memory are read at once
    for first in range(0, len(order), at_once):
        rows = order[first : first + at_once]
        pieces = read_pieces(memory, addresses[rows], np.full(len(rows), size, np.uint64), gap)
        if not pieces.ok.any():
            break  # the process has gone, or these are no addresses
        words[rows] = pieces.words[pieces.index[:, None] + columns]
        ok[rows] = pieces.ok
    return words, ok


def find(ascending: U64s, wanted: U64s) -> tuple[Indexes, Flags]:
    """Where some values are, and which of them are there at all."""
    at = np.searchsorted(ascending, wanted)
    at[at == len(ascending)] = 0
    return at, ascending[at] == wanted if len(ascending) else np.zeros(len(wanted), bool)
