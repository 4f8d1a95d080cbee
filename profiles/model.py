"""Data types of a profile, and the builder that interns them.

A profile counts stacks. A stack is a tuple of location indexes, leaf first; a location is an address in a
file together with the source frames it stands for (several where calls were inlined). Everything that
repeats is stored once and referred to by index, so a profile of millions of samples stays small.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple


class Frame(NamedTuple):
    """A source frame: one function at one line.

    `function` is the name shown to people; `system_name` the linker's name where it differs (mangled), else
    empty. `line` and `start_line` are 0 where unknown, `file` is empty where unknown.
    """

    function: str
    file: str = ""
    line: int = 0
    start_line: int = 0
    system_name: str = ""


class Kind(StrEnum):
    """What a location is made of; the values are those of OpenTelemetry's `profile.frame.type` where it has one."""

    GO = "go"
    NATIVE = "native"
    KERNEL = "kernel"
    JIT = "jit"
    MARKER = "marker"
    """Not code: says why a stack ends here, or what is missing."""


@dataclass(frozen=True, slots=True)
class Mapping:
    """An executable part of a file, in file virtual addresses (no load bias, so equal in every process).

    `start` and `limit` are the segment's p_vaddr and end, `offset` its p_offset, `build_id` hex or empty.
    """

    start: int
    limit: int
    offset: int
    filename: str
    build_id: str = ""


@dataclass(frozen=True, slots=True)
class Location:
    """One code address and the frames it stands for, innermost (most inlined) first.

    `address` is the file virtual address, already moved back by one for callers, so it lies inside the
    call; for kernel code the kernel address. `frames` is empty where the address could not be symbolized.
    """

    kind: Kind
    mapping: Mapping | None
    address: int
    frames: tuple[Frame, ...] = ()


@dataclass(frozen=True, slots=True)
class ValueType:
    """What one column of values means: `type` such as "samples", `unit` such as "count"."""

    type: str
    unit: str


SAMPLES = ValueType("samples", "count")
CPU = ValueType("cpu", "nanoseconds")
GOROUTINES = ValueType("goroutines", "count")
GOROUTINE_WAIT = ValueType("goroutine_wait", "nanoseconds")
"""Time that goroutines were not running, seen by looking at all of them now and then."""
WAITS = ValueType("waits", "count")
BLOCKED = ValueType("blocked", "nanoseconds")
RUNNABLE = ValueType("runnable", "nanoseconds")
OFF_CPU = ValueType("off_cpu", "nanoseconds")
ON_CPU_TYPES = (SAMPLES, CPU)
"""The columns of a profile of CPU time: each sample stands for one period of it."""
OFF_CPU_TYPES = (WAITS, BLOCKED, RUNNABLE, OFF_CPU)
"""The columns of a profile of waits: until woken, then until on a CPU, and the sum of both, which is shown by default.
A profile of both kinds has ON_CPU_TYPES + OFF_CPU_TYPES; a sample of one kind has zeros in the columns of the other."""


class State(StrEnum):
    """Why a thread was off the CPU: the values of `Labels.state` where threads, not goroutines, are told."""

    SLEEPING = "sleeping"
    UNINTERRUPTIBLE = "uninterruptible"
    PREEMPTED = "preempted"
    STOPPED = "stopped"
    EXITED = "exited"
    GO_IDLE = "go_idle"
    """Parked by Go's scheduler, which has nothing for it to do: idle, not waiting, so left out of default views."""


@dataclass(frozen=True, slots=True)
class Labels:
    """Where samples were taken. `tid` is 0 and `thread` empty unless threads were kept apart.

    `state` is a `State` for samples of time off the CPU, what Go prints of it for goroutines (such as "chan receive"),
    else empty. `goroutine` is 0 unless goroutines were kept apart; `start_function` is the one that it was started
    with. `more` are labels that the program itself has given, keys and values.
    """

    pid: int
    process: str = ""
    tid: int = 0
    thread: str = ""
    container: str = ""
    state: str = ""
    goroutine: int = 0
    start_function: str = ""
    more: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Loss:
    """How often something went wrong, for one cause: in samples unless `sentence` says otherwise.

    `dropped` says whether samples are missing from the counts for it; else they are there, whole or in part.
    """

    name: str
    sentence: str
    samples: int
    dropped: bool


@dataclass(frozen=True, slots=True)
class Metadata:
    """What was recorded, where and how. Times are UNIX nanoseconds; `period` is in units of `period_type`.

    `notes` are sentences on what was left out on purpose, such as waits that were too short; the summary shows them.
    """

    start_ns: int = 0
    duration_ns: int = 0
    period_type: ValueType = ValueType("cpu", "nanoseconds")
    period: int = 0
    rate_hz: int = 0
    cpus: int = 0
    version: str = ""
    kernel: str = ""
    target: str = ""
    losses: tuple[Loss, ...] = ()
    comments: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sample:
    """One row of a profile: a stack under labels, with one value per value type."""

    stack: int
    labels: int
    values: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Profile:
    """A finished profile. `stacks` hold indexes into `locations`, leaf first; `samples` are in a fixed order."""

    value_types: tuple[ValueType, ...]
    locations: tuple[Location, ...]
    stacks: tuple[tuple[int, ...], ...]
    labels: tuple[Labels, ...]
    samples: tuple[Sample, ...]
    metadata: Metadata

    def total(self, column: int = 0) -> int:
        """The sum of one value column over all samples."""
        return sum(sample.values[column] for sample in self.samples)

    def column(self, name: str) -> int | None:
        """The column whose type is called so, such as "off_cpu"; None where there is none."""
        return next((column for column, known in enumerate(self.value_types) if known.type == name), None)

    @property
    def default_column(self) -> int:
        """The column shown first where one must be chosen: CPU time if there is any, else the last one.

        So a profile opens in the same way whether or not waits were recorded beside CPU time; and CPU time has
        nothing idle in it, which time off the CPU mostly is.
        """
        cpu = self.column(CPU.type)
        return len(self.value_types) - 1 if cpu is None else cpu

    @property
    def time_columns(self) -> tuple[int, ...]:
        """The columns that weigh a sample of any kind: time on the CPU and off it, else the default column.

        Their sum, "wall", is a way to look at a profile and no column of its own: readers that add columns up
        would count it twice, and one part of it is sampled where the other is measured.
        """
        known = (self.column(CPU.type), self.column(OFF_CPU.type))
        return tuple(column for column in known if column is not None) or (self.default_column,)

    def frames_of(self, stack: int) -> Iterator[tuple[Location, Frame]]:
        """Every source frame of a stack, leaf first, inlined ones expanded; unsymbolized locations are left out."""
        for index in self.stacks[stack]:
            location = self.locations[index]
            for frame in location.frames:
                yield location, frame


@dataclass(slots=True)
class ProfileBuilder:
    """Gathers counts of stacks and interns what they refer to. Indexes it hands out stay valid in the profile."""

    value_types: tuple[ValueType, ...]
    _locations: dict[Location, int] = field(default_factory=dict)
    _stacks: dict[tuple[int, ...], int] = field(default_factory=dict)
    _labels: dict[Labels, int] = field(default_factory=dict)
    _values: dict[tuple[int, int], list[int]] = field(default_factory=dict)

    def location(self, location: Location) -> int:
        """The index of a location, added if new."""
        return self._locations.setdefault(location, len(self._locations))

    def stack(self, locations: tuple[int, ...]) -> int:
        """The index of a stack of location indexes (leaf first), added if new."""
        return self._stacks.setdefault(locations, len(self._stacks))

    def labels(self, labels: Labels) -> int:
        """The index of a label set, added if new."""
        return self._labels.setdefault(labels, len(self._labels))

    def add(self, stack: int, labels: int, *values: int) -> None:
        """Add values (one per value type) to what was counted for this stack under these labels."""
        if len(values) != len(self.value_types):
            raise ValueError(f"{len(values)} values for {len(self.value_types)} value types")
        row = self._values.get((stack, labels))
        if row is None:
            self._values[stack, labels] = list(values)
        else:
            for column, value in enumerate(values):
                row[column] += value

    def build(self, metadata: Metadata) -> Profile:
        """The profile of all that was added; samples in the order in which they were first seen."""
        return Profile(
            value_types=self.value_types,
            locations=tuple(self._locations),
            stacks=tuple(self._stacks),
            labels=tuple(self._labels),
            samples=tuple(Sample(stack, labels, tuple(values)) for (stack, labels), values in self._values.items()),
            metadata=metadata,
        )
