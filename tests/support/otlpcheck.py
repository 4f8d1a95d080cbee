"""A checker of OTLP profiles requests that says what some known reader would refuse, or misread.

Each rule is a function of a request that yields sentences. A rule looks at what it is about and passes over what
another one complains of, such as indexes out of range. As strict as the strictest of the collector, its profcheck,
Pyroscope and Parca.
"""

import re
from collections.abc import Callable, Iterator

from tests.support.otlpparts import (
    TABLES,
    Request,
    attributes,
    encoded,
    owners,
    plain_attributes,
    profiles,
    references,
    repeated,
    samples,
    scopes,
    table,
    value_type,
    values,
)

Rule = Callable[[Request], Iterator[str]]

MAX_BYTES = 4 * 2**20
"""What the collector takes by default."""

# Attributes of the conventions and of ours: whose they may be, and of which type.
PLACES = {
    "service.name": ("resource sample", "string_value"),
    "container.id": ("resource sample", "string_value"),
    "process.pid": ("resource sample", "int_value"),
    "process.executable.name": ("resource sample", "string_value"),
    "process.executable.build_id.gnu": ("mapping", "string_value"),
    "profile.frame.type": ("location", "string_value"),
    "thread.name": ("sample", "string_value"),
    "thread.id": ("sample", "int_value"),
    "goroscope.state": ("sample", "string_value"),
    "goroscope.goroutine": ("sample", "int_value"),
    "goroscope.start_function": ("sample", "string_value"),
    "pprof.profile.comment": ("profile", "array_value"),
}

RULES: list[Rule] = []


def rule(function: Rule) -> Rule:
    RULES.append(function)
    return function


def check(request: Request) -> list[str]:
    """What is wrong with a request, each with the name of the rule; empty where all is well."""
    return [f"{known.__name__}: {sentence}" for known in RULES for sentence in known(request)]


# The dictionary.


@rule
def every_table_begins_with_its_zero_element(request: Request) -> Iterator[str]:
    for name in TABLES:
        rows = table(request, name)
        if not rows or encoded(rows[0]):
            yield f"{name}_table[0] is {'missing' if not rows else 'not empty'}"


@rule
def every_index_is_in_range(request: Request) -> Iterator[str]:
    for who, name, index in references(request):
        if not 0 <= index < max(1, len(table(request, name))):
            yield f"{who} refers to {name}_table[{index}]"


@rule
def no_entry_is_repeated(request: Request) -> Iterator[str]:
    for name in TABLES:
        if again := repeated(encoded(row) for row in table(request, name)):
            yield f"{name}_table holds {again[0]!r} twice"


@rule
def every_entry_is_used(request: Request) -> Iterator[str]:
    used = {(name, index) for _, name, index in references(request)}
    for name in TABLES:
        for index in range(1, len(table(request, name))):
            if (name, index) not in used:
                yield f"nothing refers to {name}_table[{index}]"


@rule
def functions_have_a_name(request: Request) -> Iterator[str]:
    for index, row in enumerate(table(request, "function")):
        if index and not (row.name_strindex or row.system_name_strindex or row.filename_strindex):
            yield f"function_table[{index}] has neither name nor file"


@rule
def lines_have_a_function(request: Request) -> Iterator[str]:
    for index, row in enumerate(table(request, "location")):
        if any(line.function_index == 0 for line in row.lines):
            yield f"location_table[{index}] has a line of no function"


@rule
def numbers_of_lines_are_not_negative(request: Request) -> Iterator[str]:
    lines = [line.line for row in table(request, "location") for line in row.lines]
    lines += [row.start_line for row in table(request, "function")]
    if any(number < 0 for number in lines):
        yield f"a line has the number {min(lines)}"


@rule
def locations_have_an_address_or_a_line(request: Request) -> Iterator[str]:
    for index, row in enumerate(table(request, "location")):
        if index and not row.address and not row.lines:
            yield f"location_table[{index}] has neither address nor line"


@rule
def locations_have_a_frame_type(request: Request) -> Iterator[str]:
    for index, row in enumerate(table(request, "location")):
        if index and "profile.frame.type" not in dict(attributes(request, row.attribute_indices)):
            yield f"location_table[{index}] has no profile.frame.type"


@rule
def stacks_refer_to_locations(request: Request) -> Iterator[str]:
    for index, row in enumerate(table(request, "stack")):
        if 0 in row.location_indices:
            yield f"stack_table[{index}] refers to no location"


@rule
def links_have_ids(request: Request) -> Iterator[str]:
    for index, row in enumerate(table(request, "link")):
        sizes = (len(row.trace_id), len(row.span_id))
        if index and (sizes != (16, 8) or not any(row.trace_id) or not any(row.span_id)):
            yield f"link_table[{index}] has ids of {sizes} bytes, or of zeros"


# Attributes.


@rule
def keys_are_there_and_not_repeated(request: Request) -> Iterator[str]:
    for owner, indexes in owners(request):
        keys = [key for key, _ in attributes(request, indexes)]
        if "" in keys:
            yield f"a {owner} has an attribute without a key"
        elif again := repeated(keys):
            yield f"a {owner} has the attribute {again[0]} twice"
    for owner, rows in plain_attributes(request):
        if again := repeated(row.key for row in rows):
            yield f"a {owner} has the attribute {again[0]} twice"


@rule
def attributes_are_plain(request: Request) -> Iterator[str]:
    for owner, rows in plain_attributes(request):
        if any(row.key_strindex or not row.key for row in rows):
            yield f"a {owner} has an attribute whose key is in the dictionary, or that has none"
    if any(value.WhichOneof("value") == "string_value_strindex" for value in values(request)):
        yield "the text of an attribute is in the dictionary"


@rule
def attributes_are_not_empty(request: Request) -> Iterator[str]:
    for value in values(request):
        which = value.WhichOneof("value")
        if which is None or (which == "string_value" and not value.string_value):
            yield "an attribute has no value"
        if which == "array_value" and not value.array_value.values:
            yield "an attribute is an empty array"


@rule
def attributes_are_where_they_belong(request: Request) -> Iterator[str]:
    found = [(owner, *pair) for owner, indexes in owners(request) for pair in attributes(request, indexes)]
    found += [(owner, row.key, row.value) for owner, rows in plain_attributes(request) for row in rows]
    for owner, key, value in found:
        places, kind = PLACES.get(key, (owner, value.WhichOneof("value")))
        if owner not in places.split():
            yield f"a {owner} has the attribute {key}"
        # Ones without a value are for the rule above.
        elif value.WhichOneof("value") not in {kind, None, "string_value_strindex"}:
            yield f"{key} of a {owner} is a {value.WhichOneof('value')}"


# Resources, scopes, profiles, samples.


@rule
def messages_are_there_even_if_empty(request: Request) -> Iterator[str]:
    parts = [
        *((row, "resource") for row in request.resource_profiles),
        *((row, "scope") for row in scopes(request)),
        *((row, name) for row in profiles(request) for name in ("sample_type", "period_type")),
        (request, "dictionary"),
    ]
    for row, name in parts:
        if not row.HasField(name):
            yield f"there is no {name}"


@rule
def nothing_is_empty(request: Request) -> Iterator[str]:
    if not request.resource_profiles:
        yield "the request has no resource"
    if not all(row.scope_profiles for row in request.resource_profiles):
        yield "a resource has no scope"
    if not all(row.profiles for row in scopes(request)):
        yield "a scope has no profile"
    if not all(row.samples for row in profiles(request)):
        yield "a profile has no sample"


@rule
def resources_differ(request: Request) -> Iterator[str]:
    if repeated(frozenset(map(encoded, row.resource.attributes)) for row in request.resource_profiles):
        yield "two resources have the same attributes"


@rule
def scopes_are_identifiers(request: Request) -> Iterator[str]:
    for row in scopes(request):
        if not re.fullmatch("[a-zA-Z_][a-zA-Z0-9_]*", row.scope.name):
            yield f"the scope's name is {row.scope.name!r}"


@rule
def kinds_of_a_scope_differ(request: Request) -> Iterator[str]:
    for row in scopes(request):
        if again := repeated(value_type(request, profile.sample_type) for profile in row.profiles):
            yield f"a scope has two profiles of {again[0]}"


@rule
def sample_types_have_type_and_unit(request: Request) -> Iterator[str]:
    for row in profiles(request):
        if not row.sample_type.type_strindex or not row.sample_type.unit_strindex:
            yield f"a sample type is {value_type(request, row.sample_type)}"


@rule
def periods_are_those_of_the_kind(request: Request) -> Iterator[str]:
    for row in profiles(request):
        kind, period_type = value_type(request, row.sample_type), value_type(request, row.period_type)
        told = f"{kind} has a period of {row.period} {period_type}"
        if kind == "off_cpu/nanoseconds":
            if period_type != "/" or row.period:
                yield f"{told}: it is measured"
        elif row.period <= 0 or "" in period_type.split("/"):
            yield f"{told}: readers find no name for it"
        elif kind == "samples/count" and period_type != "cpu/nanoseconds":
            yield f"{told}: only CPU time is sampled"


@rule
def ids_of_profiles_are_sixteen_bytes(request: Request) -> Iterator[str]:
    ids = [row.profile_id for row in profiles(request) if row.profile_id]
    for known in ids:
        if len(known) != 16 or not any(known):
            yield f"a profile's id is {known!r}"
    if again := repeated(ids):
        yield f"two profiles have the id {again[0]!r}"


@rule
def originals_have_a_format(request: Request) -> Iterator[str]:
    for row in profiles(request):
        if bool(row.original_payload) != bool(row.original_payload_format):
            yield "there is an original without its format, or a format without an original"


@rule
def samples_have_one_value_and_no_timestamp(request: Request) -> Iterator[str]:
    for row in samples(request):
        if len(row.values) != 1 or row.timestamps_unix_nano:
            yield f"a sample has {len(row.values)} values and {len(row.timestamps_unix_nano)} timestamps"


@rule
def values_count_something(request: Request) -> Iterator[str]:
    for row in samples(request):
        if any(value <= 0 for value in row.values):
            yield f"a sample has the value {min(row.values)}"


@rule
def samples_have_a_stack(request: Request) -> Iterator[str]:
    if any(row.stack_index == 0 for row in samples(request)):
        yield "a sample has no stack"


@rule
def equal_samples_are_one(request: Request) -> Iterator[str]:
    for row in profiles(request):
        if repeated((one.stack_index, frozenset(one.attribute_indices), one.link_index) for one in row.samples):
            yield "two samples have the same stack, attributes and link"


@rule
def requests_are_small_enough(request: Request) -> Iterator[str]:
    if request.ByteSize() > MAX_BYTES:
        yield f"the request has {request.ByteSize():,} bytes"
