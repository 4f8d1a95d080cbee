"""From addresses to what people read: the kinds of goroutines in a snapshot, each named once."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from profiles.goroutines import Creation, GoFrame, GoState, Kind
from symbolizer.goroutines.attach import Runtime
from symbolizer.goroutines.labels import LabelSet, read_labels
from symbolizer.goroutines.layout import COPYSTACK, LEAKED, PREEMPTED, RUNNABLE, RUNNING, SYSCALL, WAITING
from symbolizer.goroutines.memory import Memory
from symbolizer.goroutines.snapshot import Field, Snapshot
from symbolizer.goroutines.steps import Stop

_STATES = {
    RUNNABLE: GoState.RUNNABLE,
    RUNNING: GoState.RUNNING,
    SYSCALL: GoState.SYSCALL,
    WAITING: GoState.WAITING,
    COPYSTACK: GoState.COPYSTACK,
    PREEMPTED: GoState.PREEMPTED,
    LEAKED: GoState.LEAKED,
}
_WHY_NOT = {
    Stop.WHOLE: "",
    Stop.SWITCH: "the code there changes the stack",
    Stop.UNKNOWN_CODE: "the code there is not Go's",
    Stop.NO_TABLE: "the code there has no stack table",
    Stop.BAD_STACK: "the stack leads nowhere",
    Stop.UNREADABLE: "the stack could not be read",
    Stop.DEPTH: "deeper than 4,096 frames",
    Stop.RUNNING: "running",
    Stop.COPIED: "its stack was being moved",
    Stop.CHANGING: "it changed while it was read",
    Stop.TOO_MANY: "with those of others it is too deep to be kept",
}
_USERS = frozenset({"runtime.main", "runtime.corostart", "runtime.handleAsyncEvent"})
"""Functions of the runtime that goroutines of the program begin with (`runtime.isSystemGoroutine`)."""
_FINALIZERS = frozenset({"runtime.runfinq", "runtime.runFinalizers", "runtime.runCleanups"})
"""Likewise, but only while they run code of the program."""
_INTERRUPTED = ("runtime.sigpanic", "runtime.asyncPreempt", "runtime.debugCallV2")
"""What is above these did not call them: its address is that of an instruction of its own."""
_PANICS = frozenset({"runtime.gopanic", "runtime.sigpanic", "runtime.panicwrap"})
_MAIN = 1
"""The id of the main goroutine, which no go statement made."""
_MAX_LABEL_SETS, _MAX_LABEL_TEXT = 1 << 14, 64 << 20
"""Of one snapshot; further ones are not looked at."""
_KEYS = (Field.STATUS, Field.REASON, Field.GOPC, Field.STARTPC, Field.LABELS)
_MIX = np.uint64(0x9E3779B97F4A7C15)


class Namer:
    """Names what snapshots of one process hold.

    What was named is kept by address; label sets are read anew each time, since their memory is used again.
    """

    def __init__(self, runtime: Runtime, memory: Memory) -> None:
        """Nothing is named yet."""
        self._runtime, self._memory = runtime, memory
        binary = runtime.binary
        ranges = binary.function_ranges(_INTERRUPTED).values()
        self._interrupted = tuple((start + runtime.bias, end + runtime.bias) for start, end in ranges)
        self._labels: dict[int, LabelSet] = {}
        self._label_text = 0
        self._stacks: dict[tuple[int, ...], tuple[GoFrame, ...]] = {}

    def kinds(self, snapshot: Snapshot) -> tuple[tuple[Kind, ...], NDArray[np.int64]]:
        """The kinds, and for each goroutine the index of its own."""
        self._labels.clear()
        self._label_text = 0
        used: dict[tuple[int, ...], tuple[GoFrame, ...]] = {}
        for stack in snapshot.stacks:
            used[stack] = self._stacks.get(stack) or self._frames(stack)
        self._stacks = used
        fields = snapshot.fields
        locked = (fields[:, Field.LOCKEDM] != 0).astype(np.uint64)
        hashes = snapshot.stack.astype(np.uint64)
        for column in (*(fields[:, key] for key in _KEYS), locked, snapshot.stops.astype(np.uint64)):
            hashes = (hashes ^ column) * _MIX
            hashes ^= hashes >> np.uint64(29)
        _, first, kind = np.unique(hashes, return_index=True, return_inverse=True)
        # Equal sets of labels at different places make equal kinds.
        numbers: dict[Kind, int] = {}
        same = [numbers.setdefault(self._kind(snapshot, row), len(numbers)) for row in first.tolist()]
        return tuple(numbers), np.array(same, np.int64)[kind]

    def _kind(self, snapshot: Snapshot, row: int) -> Kind:
        own = dict(zip(Field, snapshot.fields[row].tolist(), strict=True))
        state = _STATES[own[Field.STATUS]]
        frames = self._stacks[snapshot.stacks[int(snapshot.stack[row])]]
        start = self._function(own[Field.STARTPC])
        return Kind(
            frames=frames,
            state=state,
            wait_reason=self._reason(own[Field.REASON]) if state in {GoState.WAITING, GoState.LEAKED} else "",
            start_function=start,
            created_by=self._creation(own[Field.GOPC]) if own[Field.GOID] != _MAIN else None,
            labels=self._label_set(own[Field.LABELS]),
            system=_is_system(start, frames),
            locked=own[Field.LOCKEDM] != 0,
            why_not=_WHY_NOT[Stop(int(snapshot.stops[row]))],
        )

    def _reason(self, number: int) -> str:
        """As the program itself calls it."""
        reasons = self._runtime.reasons
        return reasons[number] if number < len(reasons) else f"reason {number}"

    def _function(self, pc: int) -> str:
        return _printed(self._runtime.binary.function_name(pc - self._runtime.bias)) if pc else ""

    def _creation(self, gopc: int) -> Creation | None:
        """As `runtime.printcreatedby` has it: the function, and the place that the address before gopc has."""
        name = self._function(gopc)
        if not name:
            return None
        vaddr = gopc - self._runtime.bias
        frames = self._runtime.binary.symbolize(vaddr if self._runtime.binary.is_entry(vaddr) else vaddr - 1)
        return Creation(name, frames[0].file, frames[0].line) if frames else Creation(name, "", 0)

    def _label_set(self, address: int) -> LabelSet:
        found = self._labels.get(address)
        if found is None:
            version = self._runtime.binary.version
            known = len(self._labels) < _MAX_LABEL_SETS and self._label_text < _MAX_LABEL_TEXT
            found = read_labels(address, version, self._memory) if version and known and address else ()
            self._labels[address] = found
            self._label_text += sum(len(key) + len(value) for key, value in found)
        return found

    def insides(self, stack: tuple[int, ...]) -> Iterator[int]:
        """The file virtual addresses to look up: within the calls, but where the code was interrupted, there."""
        binary, bias, exact = self._runtime.binary, self._runtime.bias, False
        for pc in stack:
            yield pc - bias if exact or binary.is_entry(pc - bias) else pc - bias - 1
            exact = any(start <= pc < end for start, end in self._interrupted)

    def _frames(self, stack: tuple[int, ...]) -> tuple[GoFrame, ...]:
        """The calls of a stack, leaf first, as a traceback of Go shows them."""
        binary = self._runtime.binary
        frames: list[GoFrame] = []
        callee = ""
        for inside in self.insides(stack):
            name = binary.function_name(inside)
            hidden = binary.is_wrapper(inside) and callee not in _PANICS
            callee = name
            chain = binary.symbolize(inside)
            if not chain:
                frames.append(GoFrame(_printed(name) or f"{inside:#x}", "", 0, inlined=False))
            for one in chain:
                inlined = (one.system_name or one.function) != name
                if inlined or not hidden:
                    frames.append(GoFrame(_printed(one.function), one.file, one.line, inlined))
        return tuple(frames)


def _printed(name: str) -> str:
    """As tracebacks have it: type arguments are left out, and gopanic is what people wrote."""
    if name == "runtime.gopanic":
        return "panic"
    start, end = name.find("["), name.rfind("]")
    return f"{name[:start]}[...]{name[end + 1 :]}" if 0 <= start < end else name


def _is_system(start: str, frames: tuple[GoFrame, ...]) -> bool:
    """Whether a goroutine is the runtime's own."""
    if start in _FINALIZERS:
        return all(frame.function.startswith("runtime.") for frame in frames)
    return start.startswith("runtime.") and start not in _USERS
