"""Profile to pprof: a gzipped `profile.proto` message, byte for byte the same for the same profile.

Ids are positions + 1, every line has a function, strings are valid UTF-8: the strictest readers (Parca,
Pyroscope) are satisfied, `go tool pprof` all the more. Addresses and mappings are file virtual addresses.

Nothing is left out: Go's idle time is there under its label, and a comment (which pprof shows above its reports)
says how to leave it out.

Labels that a program gives its goroutines have their own keys; one that is called as a label of ours is
`label.KEY`, so that neither is taken for the other. Readers know no empty values: those are left out.
"""

import gzip
from dataclasses import dataclass, field, replace

from exporters.describe import comments, human_time
from exporters.proto import pprof_pb2 as pb
from exporters.text import printable
from profiles.flame import UNKNOWN
from profiles.model import Frame, Kind, Labels, Location, Mapping, Profile, State, ValueType
from profiles.offcpu import off_cpu_totals

# The kernel's half of the address space on x86-64 and arm64. Constant, so that profiles of two boots or two
# machines can be merged: pprof takes addresses relative to the mapping's start.
KERNEL_MAPPING = Mapping(0xFFFF000000000000, 0xFFFFFFFFFFFFFFFF, 0, "[kernel.kallsyms]")

_COMPRESSION = 6
_MAX_UINT64 = 2**64 - 1
_MAX_INT64 = 2**63 - 1


def encode(profile: Profile) -> bytes:
    """The profile as a gzip file."""
    return gzip.compress(encode_bare(profile), _COMPRESSION, mtime=0)


def encode_bare(profile: Profile) -> bytes:
    """The profile as an uncompressed message, for transports that compress by themselves."""
    return to_message(profile).SerializeToString(deterministic=True)


def to_message(profile: Profile) -> pb.Profile:
    """The profile as a protobuf message."""
    return _Encoder(profile).encode()


@dataclass(slots=True)
class _MappingUse:
    """A mapping's id and what is known of every location in it; becomes its has_* flags."""

    id: int
    functions: bool = True
    files: bool = True
    lines: bool = True

    def saw(self, frames: tuple[Frame, ...]) -> None:
        self.functions = self.functions and bool(frames)
        self.files = self.files and bool(frames) and all(frame.file for frame in frames)
        self.lines = self.lines and bool(frames) and all(frame.line for frame in frames)


@dataclass(slots=True)
class _Encoder:
    """The tables of one message while it is written."""

    profile: Profile
    message: pb.Profile = field(default_factory=pb.Profile)
    strings: dict[str, int] = field(default_factory=lambda: {"": 0})
    functions: dict[tuple[str, str, str, int], int] = field(default_factory=dict)
    mappings: dict[Mapping, _MappingUse] = field(default_factory=dict)

    def encode(self) -> pb.Profile:
        self._header()
        self._number_mappings()
        self.message.location.extend(
            self._location(index + 1, location) for index, location in enumerate(self.profile.locations)
        )
        self._samples()
        self.message.mapping.extend(self._mapping(mapping, use) for mapping, use in self.mappings.items())
        self.message.function.extend(self._function(key, number) for key, number in self.functions.items())
        self.message.string_table.extend(self.strings)
        return self.message

    def _string(self, text: str) -> int:
        return self.strings.setdefault(printable(text), len(self.strings))

    def _value_type(self, value_type: ValueType) -> pb.ValueType:
        return pb.ValueType(type=self._string(value_type.type), unit=self._string(value_type.unit))

    def _header(self) -> None:
        message, metadata = self.message, self.profile.metadata
        message.sample_type.extend(map(self._value_type, self.profile.value_types))
        message.default_sample_type = self._string(self.profile.value_types[self.profile.default_column].type)
        message.time_nanos = metadata.start_ns
        message.duration_nanos = metadata.duration_ns
        # Time off the CPU is measured, not sampled: it has no period.
        if metadata.period and self.profile.column(metadata.period_type.type) is not None:
            message.period_type.CopyFrom(self._value_type(metadata.period_type))
            message.period = metadata.period
        message.comment.extend(map(self._string, (*comments(metadata), *_idle_comment(self.profile))))

    def _number_mappings(self) -> None:
        """Give every mapping its id; the one with most locations is first, where readers expect the main binary."""
        counts: dict[Mapping, int] = {}
        for location in self.profile.locations:
            mapping = mapping_of(location)
            if mapping is not None:
                counts[mapping] = counts.get(mapping, 0) + 1
        for mapping in sorted(counts, key=lambda mapping: (mapping.filename.startswith("["), -counts[mapping])):
            self.mappings[mapping] = _MappingUse(len(self.mappings) + 1)

    def _location(self, number: int, location: Location) -> pb.Location:
        mapping = mapping_of(location)
        frames = location.frames
        if not frames and (mapping is None or not location.address):
            # Nobody can symbolize it later, and some readers drop a location with neither address nor line.
            frames = (Frame(UNKNOWN),)
        mapping_id = 0
        if mapping is not None:
            use = self.mappings[mapping]
            use.saw(frames)
            mapping_id = use.id
        return pb.Location(
            id=number,
            mapping_id=mapping_id,
            address=0 if location.kind is Kind.MARKER else location.address & _MAX_UINT64,
            line=[self._line(frame) for frame in frames],
        )

    def _line(self, frame: Frame) -> pb.Line:
        name = frame.function or frame.system_name or UNKNOWN
        key = (name, frame.system_name, frame.file, frame.start_line)
        function = self.functions.setdefault(key, len(self.functions) + 1)
        return pb.Line(function_id=function, line=_line_number(frame.line))

    def _function(self, key: tuple[str, str, str, int], number: int) -> pb.Function:
        name, system_name, file, start_line = key
        return pb.Function(
            id=number,
            name=self._string(name),
            system_name=self._string(system_name),
            filename=self._string(file),
            start_line=_line_number(start_line),
        )

    def _mapping(self, mapping: Mapping, use: _MappingUse) -> pb.Mapping:
        return pb.Mapping(
            id=use.id,
            memory_start=mapping.start & _MAX_UINT64,
            memory_limit=mapping.limit & _MAX_UINT64,
            file_offset=mapping.offset & _MAX_UINT64,
            filename=self._string(mapping.filename),
            build_id=self._string(mapping.build_id),
            # Readers symbolize by themselves only where no flag is set, so a flag means: nothing left to do.
            has_functions=use.functions,
            has_filenames=use.functions and use.files,
            has_line_numbers=use.functions and use.lines,
            # Where we have line tables we have inline trees too; symbol tables have neither.
            has_inline_frames=use.functions and use.lines,
        )

    def _samples(self) -> None:
        profile = self.profile
        stacks = [[index + 1 for index in stack] for stack in profile.stacks]
        labels = [self._labels(label) for label in profile.labels]
        self.message.sample.extend(
            pb.Sample(location_id=stacks[sample.stack], value=sample.values, label=labels[sample.labels])
            for sample in profile.samples
        )

    def _labels(self, labels: Labels) -> list[pb.Label]:
        numbers = {"pid": labels.pid, "tid": labels.tid, "goroutine": labels.goroutine}
        texts = {
            "thread_name": labels.thread,
            "process_name": labels.process,
            "container_id": labels.container,
            "state": labels.state,
            "start_function": labels.start_function,
        }
        of_program: dict[str, str] = {}
        for name, text in labels.more:
            key = printable(name)
            while not key or key in numbers or key in texts or key in of_program:
                key = f"label.{key}"
            of_program[key] = text
        return [pb.Label(key=self._string(key), num=number) for key, number in numbers.items() if number] + [
            pb.Label(key=self._string(key), str=self._string(text))
            for key, text in (texts | of_program).items()
            if text
        ]


def _idle_comment(profile: Profile) -> tuple[str, ...]:
    totals = off_cpu_totals(profile)
    if totals is None or not totals.idle:
        return ()
    option = f"-tagignore=state={State.GO_IDLE}"
    return (f"off_cpu includes {human_time(totals.idle)} of threads that Go had nothing to do for: {option}",)


def mapping_of(location: Location) -> Mapping | None:
    """The mapping that a location is told with: none for markers, one for all kernel code of a module."""
    if location.kind is Kind.MARKER:
        return None
    if location.kind is Kind.KERNEL:
        name = location.mapping.filename if location.mapping else ""
        return replace(KERNEL_MAPPING, filename=name) if name else KERNEL_MAPPING
    return location.mapping


def _line_number(line: int) -> int:
    """Lines come from tables in files that may lie; what does not fit is as good as unknown."""
    return line if 0 <= line <= _MAX_INT64 else 0
