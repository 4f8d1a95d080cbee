"""The memory of a process, as the readers see it, and bulk reads of many small pieces of it."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

U64s = NDArray[np.uint64]
Indexes = NDArray[np.int64]
Flags = NDArray[np.bool_]

_RUN_SHIFT = np.uint64(20)
"""A run of pieces ends at a MiB: bounded, whatever the gaps are."""
USER_LIMIT = 1 << 47


class UnreadableError(Exception):
    """Memory could not be read: it is not mapped, or the process has gone."""


class Memory(Protocol):
    """Memory of one process. Addresses are the process's own."""

    def read(self, address: int, size: int) -> bytes:
        """Exactly `size` bytes. Raises UnreadableError."""

    def gather(self, addresses: U64s, sizes: U64s, into: NDArray[np.uint8]) -> Flags:
        """Read many pieces, one behind the other, into `into`; which of them could be read. What could not is zero."""


@dataclass(frozen=True, slots=True)
class Pieces:
    """Many pieces of memory: piece i is `words[index[i]:]`, where `ok[i]`."""

    words: U64s
    index: Indexes
    ok: Flags


def read_pieces(memory: Memory, starts: U64s, sizes: U64s, gap: int) -> Pieces:
    """Read pieces whose starts and sizes are multiples of 8, neighbours at most `gap` bytes apart at once.

    A run of neighbours that cannot be read is read again piece by piece. Pieces must be smaller than a MiB.
    """
    order = np.argsort(starts, kind="stable")
    begin = starts[order]
    end = np.maximum.accumulate(begin + sizes[order]) if len(order) else begin
    opens = np.ones(len(order), bool)
    if len(order) > 1:
        opens[1:] = (begin[1:] > end[:-1] + np.uint64(gap)) | (begin[1:] >> _RUN_SHIFT != begin[:-1] >> _RUN_SHIFT)
    first = np.nonzero(opens)[0]
    run = np.cumsum(opens) - 1
    run_start = begin[first]
    run_size = np.maximum.reduceat(begin + sizes[order], first) - run_start if len(first) else run_start
    buffer = np.zeros(int(run_size.sum()), np.uint8)
    ok = memory.gather(run_start, run_size, buffer)
    offset = np.concatenate(([0], np.cumsum(run_size)[:-1])).astype(np.uint64) if len(first) else run_start
    index = np.empty(len(order), np.int64)
    index[order] = ((offset[run] + begin - run_start[run]) >> np.uint64(3)).astype(np.int64)
    good = np.empty(len(order), bool)
    good[order] = ok[run]
    pieces = Pieces(buffer.view(np.uint64), index, good)
    return pieces if good.all() else _again(memory, starts, sizes, pieces)


def _again(memory: Memory, starts: U64s, sizes: U64s, pieces: Pieces) -> Pieces:
    """Read by itself each piece whose run could not be read."""
    missing = np.nonzero(~pieces.ok)[0]
    buffer = np.zeros(int(sizes[missing].sum()), np.uint8)
    pieces.ok[missing] = memory.gather(starts[missing], sizes[missing], buffer)
    behind = np.concatenate(([0], np.cumsum(sizes[missing])[:-1])).astype(np.int64) >> 3
    pieces.index[missing] = len(pieces.words) + behind
    return Pieces(np.concatenate((pieces.words, buffer.view(np.uint64))), pieces.index, pieces.ok)
