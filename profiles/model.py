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


@dataclass(frozen=True, slots=True)
class Labels:
    """Where samples were taken. `tid` is 0 and `thread` empty unless threads were kept apart."""

    pid: int
    process: str = ""
    tid: int = 0
    thread: str = ""
    container: str = ""


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
    """What was recorded, where and how. Times are UNIX nanoseconds; `period` is in units of `period_type`."""

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

    @property
    def default_column(self) -> int:
        """The column shown first where one must be chosen: CPU time if there is any, else the last one."""
        for column, value_type in enumerate(self.value_types):
            if value_type.type == "cpu":
                return column
        return len(self.value_types) - 1

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
