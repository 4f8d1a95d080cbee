"""Profile to OTLP: requests for the collector's ProfilesService, fit for the strictest of its readers.

A request has one resource a process (or one for all), in it one scope, in it one profile a kind of sample. Samples
have one value and no timestamps: what all known readers take. What was lost, and what else a recording has to say,
are the comments of each profile.

A profile that is larger than a request may be is cut by samples. Each part is complete in itself: it has its own
dictionary, with what its samples need and no more.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from types import MappingProxyType

from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import ExportProfilesServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.profiles.v1development import profiles_pb2 as pb

from exporters import pprof
from exporters.describe import comments
from exporters.otlp.attributes import Told, resource_pairs, told
from exporters.otlp.dictionary import MAX_INT64, Dictionary, Once, any_value, varint
from exporters.otlp.kinds import SampleKind, sample_kinds
from exporters.text import printable
from profiles.flame import UNKNOWN
from profiles.model import Frame, Kind, Location, Loss, Profile, ProfileBuilder

SCOPE = "goroscope"
"""Name of the scope. An identifier, because Parca names profiles after it."""
COMMENT = "pprof.profile.comment"
MAX_BYTES = 3 * 2**20
"""Below what servers take by default (4 MiB), with room for what a transport adds."""
_NO_STACK = Location(Kind.MARKER, None, 0, (Frame(UNKNOWN),))


@dataclass(frozen=True, slots=True)
class Settings:
    """What is told, and how.

    `resource` are attributes of every resource; they win over those of a process. With `per_process` each process is
    a resource; without it there is one for all, and its samples say of which process they are. Attributes whose keys
    are in `leave_out` are told nowhere, and samples and resources that do not differ without them are one.
    `parts` adds profiles of what time off the CPU consists of, `original` a pprof file of each profile.
    """

    resource: Mapping[str, str | int] = field(default_factory=lambda: MappingProxyType({}))
    per_process: bool = True
    leave_out: frozenset[str] = frozenset()
    parts: bool = False
    original: bool = False


DEFAULT = Settings()


@dataclass(frozen=True, slots=True)
class Encoded:
    """The requests, none of them empty, and what could not be told in any: a loss in samples."""

    requests: tuple[ExportProfilesServiceRequest, ...]
    losses: tuple[Loss, ...] = ()


def random_id() -> bytes:
    """A new profile's id."""
    return os.urandom(16)


def requests(
    profile: Profile,
    settings: Settings = DEFAULT,
    *,
    max_bytes: int = MAX_BYTES,
    new_id: Callable[[], bytes] | None = random_id,
) -> Encoded:
    """The profile as requests of at most `max_bytes` each; profiles have no id where `new_id` is None."""
    encoder = _Encoder(profile, settings, new_id)
    made: list[ExportProfilesServiceRequest] = []
    dropped = 0
    rows = encoder.rows()
    pending = [rows] if rows else []
    while pending:
        rows = pending.pop()
        message = encoder.request(rows)
        size = message.ByteSize()
        if size <= max_bytes:
            made.append(message)
        elif len(rows) == 1:
            dropped += encoder.times(rows[0])
        else:
            pending.extend(reversed(_cut(rows, size // max(1, max_bytes) + 1)))
    sentence = f"each is larger than the {max_bytes:,} bytes that a whole request may have"
    losses = (Loss("otlp_too_large", sentence, dropped, dropped=True),) if dropped else ()
    return Encoded(tuple(made), losses)


_Row = tuple[int, int, int]
"""One value to tell: index of its resource, of its kind, of its sample."""


def _cut(rows: list[_Row], parts: int) -> list[list[_Row]]:
    """Rows in that many parts, or one a row, all of about the same length."""
    length = -(-len(rows) // min(parts, len(rows)))
    return [rows[start : start + length] for start in range(0, len(rows), length)]


class _Encoder:
    """What all requests of one profile have in common."""

    def __init__(self, profile: Profile, settings: Settings, new_id: Callable[[], bytes] | None) -> None:
        self._profile = profile
        self._original = settings.original
        self._new_id = new_id
        self._kinds = sample_kinds(profile, parts=settings.parts)
        self._told = [
            told(labels, per_process=settings.per_process, leave_out=settings.leave_out) for labels in profile.labels
        ]
        resources: dict[tuple[tuple[str, object], ...], int] = {}
        attributes = [resource_pairs(known.resource, settings.resource) for known in self._told]
        self._resource_of = [resources.setdefault(pairs, len(resources)) for pairs in attributes]
        self._resources = [
            [KeyValue(key=key, value=any_value(value)) for key, value in pairs] for pairs in dict.fromkeys(attributes)
        ]
        self._comments = tuple(text for text in comments(profile.metadata) if text)

    def rows(self) -> list[_Row]:
        """All that there is to tell, in the order of resources, kinds and samples; zeros are not told."""
        columns = [kind.column for kind in self._kinds]
        return sorted(
            (self._resource_of[sample.labels], kind, index)
            for index, sample in enumerate(self._profile.samples)
            for kind, column in enumerate(columns)
            if sample.values[column] > 0
        )

    def times(self, row: _Row) -> int:
        """How often the sample of a row was seen."""
        _, kind, index = row
        return self._kinds[kind].times(self._profile.samples[index].values)

    def request(self, rows: Sequence[_Row]) -> ExportProfilesServiceRequest:
        """A request that tells these rows."""
        message = ExportProfilesServiceRequest()
        part = _Part(self._profile, self._told)
        for resource, of_resource in groupby(rows, itemgetter(0)):
            in_resource = message.resource_profiles.add()
            in_resource.resource.SetInParent()
            in_resource.resource.attributes.extend(self._resources[resource])
            in_scope = in_resource.scope_profiles.add()
            in_scope.scope.name = SCOPE
            in_scope.scope.version = printable(self._profile.metadata.version)
            for kind, of_kind in groupby(of_resource, itemgetter(1)):
                self._fill(in_scope.profiles.add(), part, self._kinds[kind], [index for _, _, index in of_kind])
        part.dictionary.fill(message.dictionary)
        return message

    def _fill(self, message: pb.Profile, part: "_Part", kind: SampleKind, indexes: list[int]) -> None:
        """Write the profile of some samples; readers want sample_type and period_type there even if empty."""
        metadata = self._profile.metadata
        message.sample_type.CopyFrom(part.dictionary.value_type(kind.type))
        message.period_type.SetInParent()
        if kind.period_type is not None:
            message.period_type.CopyFrom(part.dictionary.value_type(kind.period_type))
        message.period = kind.period
        message.time_unix_nano = min(max(0, metadata.start_ns), MAX_INT64)
        message.duration_nano = min(max(0, metadata.duration_ns), MAX_INT64)
        message.attribute_indices.extend(part.dictionary.attributes(((COMMENT, self._comments),)))
        if self._new_id is not None:
            message.profile_id = self._new_id()
        message.samples.extend(part.samples(kind.column, indexes))
        if self._original:
            message.original_payload_format = "pprof"
            message.original_payload = pprof.encode(_extract(self._profile, kind, indexes))


class _Part:
    """What belongs to one request: its dictionary, and where in it the profile's stacks and labels are."""

    def __init__(self, profile: Profile, of_labels: Sequence[Told]) -> None:
        self.dictionary = Dictionary()
        self._profile = profile
        self._told = of_labels
        self._locations: Once[int, bytes] = Once(
            lambda index: varint(self.dictionary.location(profile.locations[index]))
        )
        self._stacks = Once(self._stack)
        self._labels = Once(self._attributes_and_link)

    def samples(self, column: int, indexes: Sequence[int]) -> Iterator[pb.Sample]:
        """The samples of one profile, those of equal stack, attributes and link added up."""
        merged: dict[tuple[int, tuple[tuple[int, ...], int]], int] = {}
        for index in indexes:
            sample = self._profile.samples[index]
            key = (self._stacks[sample.stack], self._labels[sample.labels])
            merged[key] = merged.get(key, 0) + sample.values[column]
        for (stack, (attributes, link)), value in merged.items():
            yield pb.Sample(
                stack_index=stack, attribute_indices=attributes, link_index=link, values=(min(value, MAX_INT64),)
            )

    def _stack(self, index: int) -> int:
        locations = b"".join(map(self._locations.__getitem__, self._profile.stacks[index]))
        # Index 0 would say that there is no stack, which no reader shows.
        return self.dictionary.stack(locations or varint(self.dictionary.location(_NO_STACK)))

    def _attributes_and_link(self, index: int) -> tuple[tuple[int, ...], int]:
        known = self._told[index]
        return self.dictionary.attributes(known.sample), self.dictionary.link(*known.link) if known.link else 0


def _extract(profile: Profile, kind: SampleKind, indexes: Sequence[int]) -> Profile:
    """The profile of some samples alone, with the columns that a kind stands for."""
    builder = ProfileBuilder(tuple(profile.value_types[column] for column in kind.origin))
    for sample in map(profile.samples.__getitem__, indexes):
        stack = builder.stack(tuple(builder.location(profile.locations[at]) for at in profile.stacks[sample.stack]))
        values = (sample.values[column] for column in kind.origin)
        builder.add(stack, builder.labels(profile.labels[sample.labels]), *values)
    return builder.build(profile.metadata)
