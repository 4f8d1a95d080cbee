"""What a request of OTLP profiles consists of, for those who check or decode one. Unknown indexes stand for nothing."""

from collections import Counter
from collections.abc import Iterable, Iterator

from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import ExportProfilesServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.profiles.v1development import profiles_pb2 as pb

Request = ExportProfilesServiceRequest
TABLES = ("mapping", "location", "function", "link", "string", "attribute", "stack")


def table(request: Request, name: str):
    return getattr(request.dictionary, f"{name}_table")


def scopes(request: Request) -> Iterator[pb.ScopeProfiles]:
    return (scope for resource in request.resource_profiles for scope in resource.scope_profiles)


def profiles(request: Request) -> Iterator[pb.Profile]:
    return (profile for scope in scopes(request) for profile in scope.profiles)


def samples(request: Request) -> Iterator[pb.Sample]:
    return (sample for profile in profiles(request) for sample in profile.samples)


def owners(request: Request) -> Iterator[tuple[str, Iterable[int]]]:
    """Everything that refers to attributes: what it is, and their indexes."""
    for name in ("mapping", "location"):
        yield from ((name, row.attribute_indices) for row in table(request, name))
    yield from (("profile", row.attribute_indices) for row in profiles(request))
    yield from (("sample", row.attribute_indices) for row in samples(request))


def plain_attributes(request: Request) -> Iterator[tuple[str, Iterable[KeyValue]]]:
    """Attributes that are not in the dictionary."""
    yield from (("resource", row.resource.attributes) for row in request.resource_profiles)
    yield from (("scope", row.scope.attributes) for row in scopes(request))


def references(request: Request) -> Iterator[tuple[str, str, int]]:
    """Every index: who refers, to which table, where; 0 ("none") included."""
    for profile in profiles(request):
        for kind in (profile.sample_type, profile.period_type):
            yield from (("a value type", "string", index) for index in (kind.type_strindex, kind.unit_strindex))
    for sample in samples(request):
        yield "a sample", "stack", sample.stack_index
        yield "a sample", "link", sample.link_index
    yield from (("a stack", "location", index) for row in table(request, "stack") for index in row.location_indices)
    for location in table(request, "location"):
        yield "a location", "mapping", location.mapping_index
        yield from (("a line", "function", line.function_index) for line in location.lines)
    yield from (("a mapping", "string", row.filename_strindex) for row in table(request, "mapping"))
    for function in table(request, "function"):
        for index in (function.name_strindex, function.system_name_strindex, function.filename_strindex):
            yield "a function", "string", index
    for attribute in table(request, "attribute"):
        yield from (("an attribute", "string", index) for index in (attribute.key_strindex, attribute.unit_strindex))
    yield from ((f"a {owner}", "attribute", index) for owner, indexes in owners(request) for index in indexes)


def looked_up(request: Request, name: str, index: int):
    """The entry of a table; None where there is none."""
    rows = table(request, name)
    return rows[index] if 0 <= index < len(rows) else None


def text(request: Request, index: int) -> str:
    return looked_up(request, "string", index) or ""


def attributes(request: Request, indexes: Iterable[int]) -> Iterator[tuple[str, AnyValue]]:
    rows = (looked_up(request, "attribute", index) for index in indexes)
    return ((text(request, row.key_strindex), row.value) for row in rows if row is not None)


def value_type(request: Request, known: pb.ValueType) -> str:
    return f"{text(request, known.type_strindex)}/{text(request, known.unit_strindex)}"


def repeated(things: Iterable[object]) -> list[object]:
    return [thing for thing, count in Counter(things).items() if count > 1]


def encoded(row: object) -> object:
    return row if isinstance(row, str) else row.SerializeToString(deterministic=True)


def values(request: Request) -> Iterator[AnyValue]:
    top = [row.value for row in table(request, "attribute")[1:]]
    top += [row.value for _, rows in plain_attributes(request) for row in rows]
    for value in top:
        yield value
        yield from value.array_value.values
