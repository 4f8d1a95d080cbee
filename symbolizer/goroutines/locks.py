"""Which lock a goroutine waits for: the address of the sync.Mutex, RWMutex, WaitGroup or Cond, as its owner has it.

All of them but Cond wait for a semaphore, a word within the lock; the function that waits tells which word it is, so
where the lock begins. For other semaphores of Go's own it is the word itself. Since Go 1.26 a g leads to its sudog,
which has the address. Before, only the frame of the function that waits has a pointer to it. It lies in the same place
in all frames of that function, so the place is found in a few goroutines and then read in all.

Who holds a lock is not known to Go itself.
"""

from dataclasses import dataclass

import numpy as np

from symbolizer.goroutines.attach import Runtime
from symbolizer.goroutines.memory import USER_LIMIT, Flags, Indexes, Memory, U64s
from symbolizer.goroutines.snapshot import Field, Snapshot
from symbolizer.goroutines.steps import Steps, Stop
from symbolizer.goroutines.sudogs import WaitLayout, find, read_rows, read_sudogs

_SEMAPHORE, _LIST = "runtime.semacquire1", "sync.runtime_notifyListWait"
_DISTANCES = {
    "sync.runtime_SemacquireMutex": 4,
    "internal/sync.runtime_SemacquireMutex": 4,
    "sync.runtime_SemacquireRWMutexR": 12,
    "sync.runtime_SemacquireRWMutex": 8,
    "sync.runtime_SemacquireWaitGroup": 8,
}
"""From the lock to the semaphore, by what calls semacquire1. The same in Go 1.21 to 1.27."""
_CALLERS = {"sync.(*WaitGroup).Wait": 8, "sync.(*Cond).Wait": 16}
"""Likewise by who calls that, where it does not tell (up to Go 1.23), and to the list of a Cond."""
_HEAD, _TAIL = 32, 40
"""In a Cond, of its list of those that wait."""
_DEEPEST = 4
_KEY_FRAMES = _DEEPEST + 2
_SPILLED = 24
"""Bytes above a frame that hold its return address and what it keeps of its arguments."""
_MAX_FRAME = 1024
_SAMPLE = 32
_STACK_GAP, _STACKS_AT_ONCE = 512, 1 << 13
_MAX_PLACES = 1 << 14
_MAX_CODE = 64
"""Places in the code that wait, copies by inlining included."""


@dataclass(frozen=True, slots=True)
class _Place:
    """How a stack waits. The frame to be looked at is `size` bytes at `offset` from the stack pointer."""

    pc: int
    is_list: bool
    distance: int
    offset: int
    size: int


_NOWHERE = _Place(0, is_list=False, distance=0, offset=0, size=0)


class Locks:
    """Of one process."""

    def __init__(self, runtime: Runtime, memory: Memory, steps: Steps, layout: WaitLayout) -> None:
        """Nothing is read yet."""
        self._runtime, self._memory, self._steps, self._layout = runtime, memory, steps, layout
        ranges = runtime.binary.function_ranges((_SEMAPHORE, _LIST))
        self._waits = {
            name: range(start + runtime.bias, end + runtime.bias + 1) for name, (start, end) in ranges.items()
        }
        self._places: dict[tuple[int, ...], _Place] = {}

    def begins(self, snapshot: Snapshot, rows: Indexes, elem: U64s) -> U64s:
        """Where the locks begin, for goroutines that are known to wait for the semaphore or list `elem`."""
        places, which = self._of(snapshot, rows)
        return _valid(elem - np.array([one.distance for one in places], np.uint64)[which])

    def by_stacks(self, snapshot: Snapshot, rows: Indexes) -> U64s:
        """Where the locks begin, by the stacks of goroutines that may wait for one; 0 for those that do not."""
        found = np.zeros(len(rows), np.uint64)
        places, which = self._of(snapshot, rows)
        for pc in list(dict.fromkeys(one.pc for one in places if one.pc))[:_MAX_CODE]:
            alike = [index for index, one in enumerate(places) if one.pc == pc]
            at = np.nonzero(np.isin(which, np.array(alike, np.int64)))[0]
            place = places[alike[0]]
            offset = np.array([one.offset for one in places], np.uint64)[which[at]]
            frames = snapshot.fields[rows[at], Field.SP] + offset
            inside = frames + np.uint64(place.size) <= snapshot.fields[rows[at], Field.STACK_HI]
            at, frames = at[inside], frames[inside]
            distance = np.array([one.distance for one in places], np.uint64)[which[at]]
            found[at] = self._read(snapshot, rows[at], frames, place, distance)
        return found

    def _of(self, snapshot: Snapshot, rows: Indexes) -> tuple[list[_Place], Indexes]:
        """How they wait: a few places, and which of them is whose."""
        stacks, which = np.unique(snapshot.stack[rows], return_inverse=True)
        return [self._place(snapshot.stacks[one]) for one in stacks.tolist()], which

    def _place(self, stack: tuple[int, ...]) -> _Place:
        key = stack[:_KEY_FRAMES]
        found = self._places.get(key)
        if found is None:
            if len(self._places) >= _MAX_PLACES:
                self._places.clear()
            found = self._places[key] = self._look(key)
        return found

    def _look(self, stack: tuple[int, ...]) -> _Place:
        for depth, pc in enumerate(stack[:_DEEPEST]):
            for name, code in self._waits.items():
                if pc in code and len(stack) > depth + 2:
                    return self._waiting(stack, depth, is_list=name == _LIST)
        return _NOWHERE

    def _waiting(self, stack: tuple[int, ...], depth: int, *, is_list: bool) -> _Place:
        """How the frame at a depth waits. Of a list, it is in its caller's frame that the Cond is."""
        by = self._runtime.binary.function_name(stack[depth + 1] - self._runtime.bias - 1)
        distance = _DISTANCES.get(by)
        if distance is None:
            calls = self._runtime.binary.symbolize(stack[depth + (1 if is_list else 2)] - self._runtime.bias - 1)
            distance = _CALLERS.get(calls[0].function, 0) if calls else 0
        depth += is_list
        sizes, stops = self._steps.look_up(np.array(stack[: depth + 1], np.uint64))
        if (stops != Stop.GO_ON).any():
            return _NOWHERE
        size = min(int(sizes[-1]) + (_SPILLED if is_list else 0), _MAX_FRAME)
        return _Place(stack[depth], is_list, distance, int(sizes[:-1].sum()) + 8 * depth, size)

    def _read(self, snapshot: Snapshot, rows: Indexes, frames: U64s, place: _Place, distance: U64s) -> U64s:
        """Where the locks begin, for goroutines that have a frame of the same code."""
        some = slice(None, None, max(1, len(rows) // _SAMPLE))
        slot = self._slot(snapshot, rows[some], frames[some], place)
        if slot is None:
            return np.zeros(len(rows), np.uint64)
        words, _ = read_rows(self._memory, frames + np.uint64(8 * slot), (0,), _STACK_GAP, _STACKS_AT_ONCE)
        found = self._told(snapshot, rows, words[:, 0], place)
        return found if place.is_list else _valid(np.where(found != 0, found - distance, np.uint64(0)))

    def _slot(self, snapshot: Snapshot, rows: Indexes, frames: U64s, place: _Place) -> int | None:
        """Which word of a frame leads to what is waited for, in most of some goroutines."""
        words, _ = read_rows(self._memory, frames, range(0, place.size, 8))
        if not words.size:
            return None
        told = self._told(snapshot, np.repeat(rows, words.shape[1]), words.ravel(), place)
        counts = (told.reshape(words.shape) != 0).sum(axis=0)
        return int(counts.argmax()) if 2 * int(counts.max()) >= len(rows) else None

    def _told(self, snapshot: Snapshot, rows: Indexes, values: U64s, place: _Place) -> U64s:
        """What some words of a frame lead to: the semaphore, or the Cond; 0 for those that lead nowhere."""
        if place.is_list:
            return np.where(self._conds(snapshot, values), values, np.uint64(0))
        found = np.zeros(len(rows), np.uint64)
        sudogs = read_sudogs(self._memory, np.arange(len(rows)), values, snapshot.addresses[rows], self._layout)
        found[sudogs.row] = np.where(sudogs.channel == 0, sudogs.elem, np.uint64(0))
        return found

    def _conds(self, snapshot: Snapshot, values: U64s) -> Flags:
        """Which of some words point to a Cond that goroutines wait for."""
        unique, _, inverse = np.unique(values, return_index=True, return_inverse=True)
        words, good = read_rows(self._memory, unique, (_HEAD, _TAIL))
        owners = np.sort(snapshot.addresses)
        for end in words.T:
            first, ok = read_rows(self._memory, end, (0,))
            good &= ok & find(owners, first[:, 0])[1]
        return np.asarray(good[inverse], bool)


def _valid(addresses: U64s) -> U64s:
    """Those that can be, else 0."""
    good = (addresses >= 4096) & (addresses < USER_LIMIT) & (addresses & np.uint64(3) == 0)
    return np.where(good, addresses, np.uint64(0))
