"""Goroutines of one process, as they were at about one moment: what many have in common is stored once."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple


class GoState(StrEnum):
    """What the scheduler says of a goroutine (`runtime.gStatusStrings`). Dead ones are none."""

    RUNNABLE = "runnable"
    RUNNING = "running"
    SYSCALL = "syscall"
    WAITING = "waiting"
    COPYSTACK = "copystack"
    PREEMPTED = "preempted"
    LEAKED = "leaked"


class GoFrame(NamedTuple):
    """A call: `function` as Go prints it, `file` empty and `line` 0 where unknown; `inlined` into its caller."""

    function: str
    file: str
    line: int
    inlined: bool


class Creation(NamedTuple):
    """Where goroutines were made: the function that holds the go statement, and its place."""

    function: str
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Kind:
    """What goroutines may have in common.

    `frames` are leaf first; `why_not` says in a few words why there are none, or why they are not all, else it is
    empty. `wait_reason` is empty unless the state is waiting or leaked. `labels` are those of pprof, sorted by key.
    `created_by` is None for the main goroutine and those that the runtime made itself before it.
    """

    frames: tuple[GoFrame, ...]
    state: GoState
    wait_reason: str = ""
    start_function: str = ""
    created_by: Creation | None = None
    labels: tuple[tuple[str, str], ...] = ()
    system: bool = False
    locked: bool = False
    """To its thread."""
    why_not: str = ""

    @property
    def status(self) -> str:
        """As Go prints it in brackets: the wait reason of a goroutine that waits, else its state."""
        return self.wait_reason or self.state.value


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel that goroutines wait for. `senders` and `receivers` are how many wait in it."""

    buffered: int
    capacity: int
    closed: bool
    senders: int
    receivers: int


class Member(NamedTuple):
    """What a goroutine has of its own.

    `creator` is the id of the goroutine that made it, 0 where unknown. `waiting_ns`: for how long it has been seen
    in the same place and state, 0 at first sight: it may wait longer. `at_most_ns`: by what the process itself keeps
    it cannot wait longer than this; 0 where it keeps nothing. `waits_for` is the address of the channel, lock or
    other thing that it waits for, 0 where unknown. `thread` is the id of the thread it is on, 0 for none.
    """

    id: int
    creator: int = 0
    waiting_ns: int = 0
    at_most_ns: int = 0
    waits_for: int = 0
    thread: int = 0


@dataclass(frozen=True, slots=True)
class Goroutines:
    """All of a process, in the order of their ids. The columns from `kind` on have one entry a goroutine.

    `taken_ns` is UNIX time. `dead` are entries of the runtime's list that are no goroutines now. `unsettled` are
    goroutines that changed while they were read, so that their stack is not known. `partial` says in a sentence what
    is missing where not all could be read, else it is empty.
    """

    pid: int
    process: str
    version: str
    """Of Go, such as "go1.27.3"."""
    taken_ns: int
    kinds: tuple[Kind, ...]
    kind: Sequence[int]
    """Index into `kinds`."""
    ids: Sequence[int]
    creators: Sequence[int]
    waiting_ns: Sequence[int]
    at_most_ns: Sequence[int]
    waits_for: Sequence[int]
    threads: Sequence[int]
    dead: int = 0
    unsettled: int = 0
    partial: str = ""
    channels: Mapping[int, Channel] = field(default_factory=dict)
    """By address, for those of `waits_for` that are channels."""

    def __len__(self) -> int:
        return len(self.ids)

    def members(self) -> Iterator[tuple[Kind, Member]]:
        """Every goroutine: what it shares and what is its own."""
        rows = zip(
            *(self.kind, self.ids, self.creators, self.waiting_ns, self.at_most_ns, self.waits_for, self.threads),
            strict=True,
        )
        for kind, *own in rows:
            yield self.kinds[kind], Member(*own)
