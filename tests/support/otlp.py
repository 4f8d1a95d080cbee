"""A decoder of OTLP profiles requests: what a receiver makes of them, as values to compare and as text."""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.profiles.v1development import profiles_pb2 as pb

from tests.support.otlpparts import TABLES, Request, attributes, table, text, value_type

Attributes = frozenset[tuple[str, object]]


class Place(NamedTuple):
    """One location: its attributes, address, mapping (None where it has none) and lines, innermost first."""

    attributes: Attributes
    address: int
    mapping: tuple[int, int, int, str, Attributes] | None
    lines: tuple[tuple[str, str, str, int, int], ...]


class Row(NamedTuple):
    """What identifies a sample; `link` is (trace id, span id) in hex, or None."""

    resource: Attributes
    kind: str
    stack: tuple[Place, ...]
    attributes: Attributes
    link: tuple[str, str] | None


def plain(value: AnyValue) -> object:
    if value.HasField("array_value"):
        return tuple(map(plain, value.array_value.values))
    return getattr(value, value.WhichOneof("value"))


def attributes_of(request: Request, indexes: Iterable[int]) -> Attributes:
    return frozenset((key, plain(value)) for key, value in attributes(request, indexes))


def place(request: Request, location: pb.Location) -> Place:
    mapping = None
    if location.mapping_index:
        row = request.dictionary.mapping_table[location.mapping_index]
        name, of = text(request, row.filename_strindex), attributes_of(request, row.attribute_indices)
        mapping = (row.memory_start, row.memory_limit, row.file_offset, name, of)
    lines = []
    for line in location.lines:
        function = request.dictionary.function_table[line.function_index]
        names = (function.name_strindex, function.system_name_strindex, function.filename_strindex)
        lines.append((*(text(request, index) for index in names), line.line, function.start_line))
    return Place(attributes_of(request, location.attribute_indices), location.address, mapping, tuple(lines))


def decode(requests: Iterable[Request]) -> Counter[Row]:
    """The values of all requests together."""
    found: Counter[Row] = Counter()
    for request in requests:
        places = [place(request, row) for row in request.dictionary.location_table]
        stacks = [tuple(places[index] for index in row.location_indices) for row in request.dictionary.stack_table]
        for resource in request.resource_profiles:
            of_resource = frozenset((row.key, plain(row.value)) for row in resource.resource.attributes)
            for profile in (profile for scope in resource.scope_profiles for profile in scope.profiles):
                kind = value_type(request, profile.sample_type)
                for sample in profile.samples:
                    link = request.dictionary.link_table[sample.link_index]
                    ids = (link.trace_id.hex(), link.span_id.hex()) if sample.link_index else None
                    of_sample = attributes_of(request, sample.attribute_indices)
                    found[Row(of_resource, kind, stacks[sample.stack_index], of_sample, ids)] += sum(sample.values)
    return found


def render(request: Request) -> str:
    """The request as text, for golden files."""
    lines = []
    for name in TABLES:
        for index, row in enumerate(table(request, name)):
            shown = repr(row) if isinstance(row, str) else " ".join(str(row).split())
            lines.append(f"{name} {index} {shown}".rstrip())
    for resource in request.resource_profiles:
        shown = " ".join(f"{row.key}={plain(row.value)}" for row in resource.resource.attributes)
        lines.append(f"resource {shown}".rstrip())
        for scope in resource.scope_profiles:
            lines.append(f" scope {scope.scope.name} {scope.scope.version}".rstrip())
            for profile in scope.profiles:
                types = (value_type(request, profile.sample_type), value_type(request, profile.period_type))
                lines += [
                    f"  profile {types[0]} period {profile.period} {types[1]} id {profile.profile_id.hex()}",
                    f"   time {profile.time_unix_nano} duration {profile.duration_nano}",
                    f"   attributes {list(profile.attribute_indices)}",
                ]
                lines += [
                    f"   sample {list(row.values)} stack {row.stack_index} attributes {list(row.attribute_indices)}"
                    f" link {row.link_index}"
                    for row in profile.samples
                ]
    return "\n".join(lines) + "\n"
