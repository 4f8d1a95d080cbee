"""The checker of OTLP requests: one request that all rules accept, and for each rule what it alone refuses."""

from collections.abc import Callable

import pytest

from exporters.otlp.encode import requests
from profiles.model import OFF_CPU, SAMPLES, Frame, Kind, Labels, Location, Metadata, ProfileBuilder
from tests.support import otlpcheck
from tests.support.otlpcheck import check
from tests.support.otlpparts import Request, attributes, profiles, samples, scopes
from tests.support.profiles import LIBC, SHOP

TRACE = (("span_id", "1f" * 8), ("trace_id", "2e" * 16))


def valid() -> Request:
    """A small request that has everything: both kinds, attributes of all, a link, a location without a line."""
    builder = ProfileBuilder((SAMPLES, OFF_CPU))
    main = builder.location(Location(Kind.GO, SHOP, 0x401010, (Frame("main", "main.go", 3, 1),)))
    bare = builder.location(Location(Kind.NATIVE, LIBC, 0x30000))
    stack = builder.stack((bare, main))
    builder.add(stack, builder.labels(Labels(7, "shop", 8, "worker", more=(*TRACE, ("region", "eu")))), 3, 0)
    builder.add(stack, builder.labels(Labels(7, "shop", 9, "worker", state="sleeping")), 0, 500)
    (made,) = requests(builder.build(Metadata(period=100, comments=("a comment",)))).requests
    return made


Change = Callable[[Request], object]
CHANGES: dict[str, list[Change]] = {}


def breaks(rule: Callable[[Request], object]) -> Callable[[Change], Change]:
    """Marks a function that makes the valid request one that this rule, and no other, refuses."""

    def register(change: Change) -> Change:
        CHANGES.setdefault(rule.__name__, []).append(change)
        return change

    return register


def first(rows):
    return next(iter(rows))


def string(request: Request, text: str) -> int:
    """The index of a text, added if new."""
    table = request.dictionary.string_table
    if text not in table:
        table.append(text)
    return list(table).index(text)


def attribute(request: Request, key: str, **value) -> int:
    """The index of a new attribute."""
    row = request.dictionary.attribute_table.add(key_strindex=string(request, key))
    for name, what in value.items():
        setattr(row.value, name, what)
    return len(request.dictionary.attribute_table) - 1


def give_sample(request: Request, key: str, **value) -> None:
    first(samples(request)).attribute_indices.append(attribute(request, key, **value))


@breaks(otlpcheck.every_table_begins_with_its_zero_element)
def a_link_of_zero_bytes(request: Request) -> None:
    request.dictionary.link_table[0].trace_id = bytes(16)


@breaks(otlpcheck.every_table_begins_with_its_zero_element)
def a_mapping_first_that_is_not_empty(request: Request) -> None:
    request.dictionary.mapping_table[0].memory_start = 1


@breaks(otlpcheck.every_table_begins_with_its_zero_element)
def no_links(request: Request) -> None:
    del request.dictionary.link_table[:]
    first(samples(request)).link_index = 0


@breaks(otlpcheck.every_index_is_in_range)
def a_stack_with_an_unknown_location(request: Request) -> None:
    request.dictionary.stack_table[1].location_indices.append(99)


@breaks(otlpcheck.every_index_is_in_range)
def a_stack_with_a_negative_location(request: Request) -> None:
    request.dictionary.stack_table[1].location_indices.append(-1)


@breaks(otlpcheck.every_index_is_in_range)
def a_sample_with_an_unknown_attribute(request: Request) -> None:
    first(samples(request)).attribute_indices.append(99)


@breaks(otlpcheck.every_index_is_in_range)
def a_unit_that_is_not_there(request: Request) -> None:
    request.dictionary.attribute_table[1].unit_strindex = 99


@breaks(otlpcheck.every_index_is_in_range)
def a_line_of_an_unknown_function(request: Request) -> None:
    request.dictionary.location_table[1].lines.add(function_index=99)


@breaks(otlpcheck.every_index_is_in_range)
def a_sample_of_an_unknown_stack(request: Request) -> None:
    first(profiles(request)).samples.add(stack_index=99, values=[1])


@breaks(otlpcheck.no_entry_is_repeated)
def a_stack_twice(request: Request) -> None:
    stacks = request.dictionary.stack_table
    stacks.append(stacks[1])
    first(profiles(request)).samples.add(stack_index=2, values=[1])


@breaks(otlpcheck.no_entry_is_repeated)
def a_string_twice(request: Request) -> None:
    request.dictionary.string_table.append("main.go")
    request.dictionary.attribute_table[1].unit_strindex = len(request.dictionary.string_table) - 1


@breaks(otlpcheck.every_entry_is_used)
def a_string_for_nobody(request: Request) -> None:
    string(request, "nobody")


@breaks(otlpcheck.every_entry_is_used)
def a_link_for_nobody(request: Request) -> None:
    first(samples(request)).link_index = 0


@breaks(otlpcheck.functions_have_a_name)
def a_function_without_a_name(request: Request) -> None:
    request.dictionary.function_table.add(start_line=1)
    request.dictionary.location_table[1].lines.add(function_index=len(request.dictionary.function_table) - 1)


@breaks(otlpcheck.lines_have_a_function)
def a_line_without_a_function(request: Request) -> None:
    request.dictionary.location_table[1].lines.add(line=5)


@breaks(otlpcheck.numbers_of_lines_are_not_negative)
def a_negative_line(request: Request) -> None:
    request.dictionary.function_table[1].start_line = -1


@breaks(otlpcheck.locations_have_an_address_or_a_line)
def a_location_of_nothing(request: Request) -> None:
    request.dictionary.location_table[1].ClearField("address")
    request.dictionary.location_table[1].ClearField("lines")


@breaks(otlpcheck.locations_have_a_frame_type)
def a_location_of_no_type(request: Request) -> None:
    places = request.dictionary.location_table
    places.append(places[2])
    places[3].ClearField("attribute_indices")
    request.dictionary.stack_table[1].location_indices.append(3)


@breaks(otlpcheck.stacks_refer_to_locations)
def a_hole_in_a_stack(request: Request) -> None:
    request.dictionary.stack_table[1].location_indices.append(0)


@breaks(otlpcheck.links_have_ids)
def a_short_trace_id(request: Request) -> None:
    request.dictionary.link_table[1].trace_id = b"short"


@breaks(otlpcheck.links_have_ids)
def a_span_id_of_zeros(request: Request) -> None:
    request.dictionary.link_table[1].span_id = bytes(8)


@breaks(otlpcheck.keys_are_there_and_not_repeated)
def two_regions(request: Request) -> None:
    give_sample(request, "region", string_value="us")


@breaks(otlpcheck.keys_are_there_and_not_repeated)
def two_services_of_a_resource(request: Request) -> None:
    for name in "ab":
        request.resource_profiles[0].resource.attributes.add(key="service.name").value.string_value = name


@breaks(otlpcheck.keys_are_there_and_not_repeated)
def an_attribute_without_a_key(request: Request) -> None:
    give_sample(request, "", string_value="x")


@breaks(otlpcheck.attributes_are_plain)
def a_key_in_the_dictionary(request: Request) -> None:
    request.resource_profiles[0].resource.attributes.add(key_strindex=1).value.string_value = "x"


@breaks(otlpcheck.attributes_are_plain)
def a_text_in_the_dictionary(request: Request) -> None:
    give_sample(request, "x", string_value_strindex=1)


@breaks(otlpcheck.attributes_are_not_empty)
def an_empty_text(request: Request) -> None:
    give_sample(request, "x", string_value="")


@breaks(otlpcheck.attributes_are_not_empty)
def a_resource_attribute_without_a_value(request: Request) -> None:
    request.resource_profiles[0].resource.attributes.add(key="service.name")


@breaks(otlpcheck.attributes_are_not_empty)
def no_comments(request: Request) -> None:
    (comment,) = (row.value for row in request.dictionary.attribute_table if row.value.HasField("array_value"))
    comment.array_value.ClearField("values")


@breaks(otlpcheck.attributes_are_where_they_belong)
def a_thread_of_a_resource(request: Request) -> None:
    request.resource_profiles[0].resource.attributes.add(key="thread.name").value.string_value = "x"


@breaks(otlpcheck.attributes_are_where_they_belong)
def a_thread_id_that_is_text(request: Request) -> None:
    row = next(row for key, row in attributes(request, first(samples(request)).attribute_indices) if key == "thread.id")
    row.string_value = "9"


@breaks(otlpcheck.messages_are_there_even_if_empty)
def no_period_type(request: Request) -> None:
    off_cpu = list(profiles(request))[1]
    off_cpu.ClearField("period_type")


@breaks(otlpcheck.messages_are_there_even_if_empty)
def no_resource(request: Request) -> None:
    request.resource_profiles[0].ClearField("resource")


@breaks(otlpcheck.nothing_is_empty)
def a_scope_without_profiles(request: Request) -> None:
    request.resource_profiles[0].scope_profiles.add().scope.name = "other"


@breaks(otlpcheck.nothing_is_empty)
def a_profile_without_samples(request: Request) -> None:
    scope = first(scopes(request))
    made = scope.profiles.add(period=1)
    made.sample_type.CopyFrom(scope.profiles[0].period_type)
    made.period_type.CopyFrom(scope.profiles[0].period_type)


@breaks(otlpcheck.resources_differ)
def a_process_twice(request: Request) -> None:
    known = request.resource_profiles[0]
    request.resource_profiles.append(known)
    for profile in request.resource_profiles[1].scope_profiles[0].profiles:
        profile.ClearField("profile_id")


@breaks(otlpcheck.scopes_are_identifiers)
def a_scope_with_a_dash(request: Request) -> None:
    first(scopes(request)).scope.name = "go-roscope"


@breaks(otlpcheck.kinds_of_a_scope_differ)
def a_kind_twice(request: Request) -> None:
    scope = first(scopes(request))
    scope.profiles.append(scope.profiles[0])
    scope.profiles[2].ClearField("profile_id")


@breaks(otlpcheck.sample_types_have_type_and_unit)
def a_type_without_a_unit(request: Request) -> None:
    on_cpu = first(profiles(request))
    on_cpu.sample_type.unit_strindex = 0
    request.dictionary.attribute_table[1].unit_strindex = string(request, "count")


@breaks(otlpcheck.periods_are_those_of_the_kind)
def a_period_of_zero(request: Request) -> None:
    first(profiles(request)).period = 0


@breaks(otlpcheck.periods_are_those_of_the_kind)
def a_period_of_time_off_the_cpu(request: Request) -> None:
    list(profiles(request))[1].period = 7


@breaks(otlpcheck.periods_are_those_of_the_kind)
def events_without_a_period_type(request: Request) -> None:
    list(profiles(request))[1].sample_type.unit_strindex = string(request, "count")


@breaks(otlpcheck.periods_are_those_of_the_kind)
def samples_of_something_else(request: Request) -> None:
    first(profiles(request)).period_type.type_strindex = string(request, "wall")
    request.dictionary.attribute_table[1].unit_strindex = string(request, "cpu")


@breaks(otlpcheck.ids_of_profiles_are_sixteen_bytes)
def an_id_of_zeros(request: Request) -> None:
    first(profiles(request)).profile_id = bytes(16)


@breaks(otlpcheck.ids_of_profiles_are_sixteen_bytes)
def one_id_for_all(request: Request) -> None:
    for profile in profiles(request):
        profile.profile_id = b"0123456789abcdef"


@breaks(otlpcheck.originals_have_a_format)
def an_original_of_no_format(request: Request) -> None:
    first(profiles(request)).original_payload = b"x"


@breaks(otlpcheck.samples_have_one_value_and_no_timestamp)
def two_values(request: Request) -> None:
    first(samples(request)).values.append(1)


@breaks(otlpcheck.samples_have_one_value_and_no_timestamp)
def a_timestamp(request: Request) -> None:
    first(samples(request)).timestamps_unix_nano.append(1)


@breaks(otlpcheck.values_count_something)
def a_value_of_zero(request: Request) -> None:
    first(samples(request)).values[0] = 0


@breaks(otlpcheck.samples_have_a_stack)
def a_sample_of_no_stack(request: Request) -> None:
    first(samples(request)).stack_index = 0


@breaks(otlpcheck.equal_samples_are_one)
def a_sample_twice(request: Request) -> None:
    rows = first(profiles(request)).samples
    rows.append(rows[0])
    rows[1].attribute_indices[:] = reversed(rows[0].attribute_indices)


@breaks(otlpcheck.requests_are_small_enough)
def an_original_of_four_megabytes(request: Request) -> None:
    first(profiles(request)).original_payload = bytes(otlpcheck.MAX_BYTES)
    first(profiles(request)).original_payload_format = "pprof"


def test_a_valid_request_passes_all_rules() -> None:
    assert check(valid()) == []


def test_every_rule_has_an_example_that_breaks_it() -> None:
    assert {rule.__name__ for rule in otlpcheck.RULES} == set(CHANGES)


@pytest.mark.parametrize(
    ("rule", "change"),
    [pytest.param(rule, change, id=change.__name__) for rule, changes in CHANGES.items() for change in changes],
)
def test_the_rule_complains_and_no_other(rule: str, change: Change) -> None:
    request = valid()
    change(request)
    complaints = check(request)
    assert {sentence.partition(":")[0] for sentence in complaints} == {rule}, complaints
