"""Unwinds the stacks of many goroutines at once: the first frames of all, then the second ones, and so on."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from symbolizer.goroutines.memory import Flags, Indexes, Memory, Pieces, U64s, read_pieces
from symbolizer.goroutines.steps import Steps, Stop

MAX_FRAMES = 4096
"""Go itself prints a hundred."""
MAX_TOGETHER = 1 << 21
"""Frames of all stacks that are read together: 32 MiB of them."""
_FIRST, _FURTHER = 4096, 16384
"""Bytes of a stack that are read at first, and where these were not enough."""
_GAP = 2048
_MAX_BYTES = 24 << 20
"""That are read of stacks at once, all told."""
_MIX, _SHIFT = np.uint64(0x9E3779B97F4A7C15), np.uint64(29)
_WORD, _WORDS = np.uint64(8), np.uint64(3)

Stops = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Starts:
    """Where to begin, one entry a goroutine: its registers, its stack, and whether it is in a system call."""

    pc: U64s
    sp: U64s
    low: U64s
    high: U64s
    in_syscall: Flags


@dataclass(frozen=True, slots=True)
class Unwound:
    """The stacks of some goroutines.

    `hashes` are equal where all frames are; `levels` are, from the leaf on, who has a frame there (ascending) and its
    address.
    """

    stops: Stops
    hashes: U64s
    levels: list[tuple[Indexes, U64s]]

    def stacks(self, members: Indexes) -> list[tuple[int, ...]]:
        """The addresses of the frames of some goroutines, leaf first; `members` are ascending."""
        frames: list[list[int]] = [[] for _ in members]
        for who, addresses in self.levels:
            at = np.searchsorted(who, members)
            at[at == len(who)] = 0
            found = who[at] == members if len(who) else np.zeros(len(members), bool)
            for index, address in zip(np.nonzero(found)[0].tolist(), addresses[at[found]].tolist(), strict=True):
                frames[index].append(address)
        return [tuple(one) for one in frames]


class Unwinder:
    """Walks stacks of one process. `seed` makes hashes that a hostile process cannot foresee."""

    def __init__(self, steps: Steps, memory: Memory, seed: int) -> None:
        """Nothing is read yet."""
        self._steps, self._memory = steps, memory
        self._seed = np.uint64(seed)

    def unwind(self, starts: Starts) -> Unwound:
        """The stacks; each ends with a Stop."""
        return _Walk(self._steps, self._memory, starts, self._seed).run()


class _Walk:
    """One walk of many stacks."""

    def __init__(self, steps: Steps, memory: Memory, starts: Starts, seed: np.uint64) -> None:
        self._steps, self._memory, self._starts = steps, memory, starts
        count = len(starts.pc)
        self._pc, self._sp = starts.pc.copy(), starts.sp.copy()
        self._stops: Stops = np.zeros(count, np.uint8)
        self._hashes: U64s = np.full(count, seed, np.uint64)
        self._window: U64s = starts.sp.copy()
        """Where what was read of each stack begins."""
        self._size: U64s = np.zeros(count, np.uint64)
        self._index: Indexes = np.zeros(count, np.int64)
        self._words: U64s = np.zeros(0, np.uint64)

    def run(self) -> Unwound:
        starts = self._starts
        within = (starts.low < starts.high) & (starts.low <= self._sp) & (self._sp < starts.high)
        within &= (self._sp | starts.high) & np.uint64(7) == 0
        within &= starts.high <= np.uint64(1 << 47)
        self._stops[~within] = Stop.BAD_STACK
        active = np.nonzero(within)[0]
        self._read(active, self._sp[active], _FIRST)
        active = active[self._stops[active] == Stop.GO_ON]
        unset = active[self._pc[active] == 0]  # a call of a nil function: its caller is at the stack pointer
        self._pc[unset] = self._words[self._index[unset]]
        self._sp[unset] += _WORD
        levels: list[tuple[Indexes, U64s]] = []
        frames = 0
        while len(active):
            frames += len(active)
            if len(levels) == MAX_FRAMES or frames > MAX_TOGETHER:
                self._stops[active] = Stop.DEPTH if len(levels) == MAX_FRAMES else Stop.TOO_MANY
                break
            pcs = self._pc[active]
            levels.append((active, pcs))
            mixed = (self._hashes[active] ^ pcs) * _MIX
            self._hashes[active] = mixed ^ mixed >> _SHIFT
            active = self._step(active, pcs, first=len(levels) == 1)
        return Unwound(self._stops, self._hashes, levels)

    def _step(self, active: Indexes, pcs: U64s, *, first: bool) -> Indexes:
        """Go to the callers; those that have one."""
        sizes, stops = self._steps.look_up(pcs)
        if first:  # it went into the kernel there, and changed no stack pointer
            stops = np.where((stops == Stop.SWITCH) & self._starts.in_syscall[active], np.uint8(Stop.GO_ON), stops)
        self._stops[active] = stops
        goes = stops == Stop.GO_ON
        active, at = active[goes], self._sp[active[goes]] + sizes[goes]
        inside = at + _WORD <= self._starts.high[active]
        self._stops[active[~inside]] = Stop.BAD_STACK
        active, at = active[inside], at[inside]
        offset = at - self._window[active]
        further = offset >= self._size[active]
        if further.any():
            self._read_further(active, at, further)
            readable = self._stops[active] == Stop.GO_ON
            active, at = active[readable], at[readable]
            offset = at - self._window[active]
        callers = self._words[self._index[active] + (offset >> _WORDS).astype(np.int64)]
        self._pc[active], self._sp[active] = callers, at + _WORD
        self._stops[active[callers == 0]] = Stop.BAD_STACK
        goes = callers != 0
        return np.compress(goes, active)

    def _read_further(self, active: Indexes, at: U64s, further: Flags) -> None:
        """Read on, for those that need it; for all, where what was read would become too much."""
        if self._words.nbytes > _MAX_BYTES:
            self._words = np.zeros(0, np.uint64)
            further = np.ones(len(active), bool)
        self._read(active[further], at[further], _FURTHER)

    def _read(self, members: Indexes, begin: U64s, most: int) -> None:
        """Read the stacks of some from an address each on."""
        fair = max(1024, _MAX_BYTES // max(len(members), 1) & ~7)
        sizes = np.minimum(self._starts.high[members] - begin, np.uint64(min(most, fair)))
        pieces: Pieces = read_pieces(self._memory, begin, sizes, _GAP)
        self._stops[members[~pieces.ok]] = Stop.UNREADABLE
        self._window[members], self._size[members] = begin, sizes
        self._index[members] = pieces.index + len(self._words)
        self._words = np.concatenate((self._words, pieces.words)) if len(self._words) else pieces.words
