"""OTLP requests: fit for the strictest reader whatever the profile holds, and all of it found in them again."""

from collections import Counter
from dataclasses import replace
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporters.otlp.encode import Settings, requests
from exporters.text import printable
from profiles.goroutine_profile import goroutine_profile
from profiles.model import (
    CPU,
    GOROUTINE_WAIT,
    GOROUTINES,
    OFF_CPU,
    SAMPLES,
    Frame,
    Kind,
    Labels,
    Location,
    Mapping,
    Metadata,
    Profile,
    ProfileBuilder,
    ValueType,
)
from tests.support import pprof as pprof_reader
from tests.support.goroutines import shop
from tests.support.offcpu import both, mixed_profiles, waits_only
from tests.support.otlp import Place, Row, decode, plain, render
from tests.support.otlpcheck import check
from tests.support.otlpparts import Request, attributes, profiles, samples, text, value_type
from tests.support.profiles import LIBC, PERIOD, SHOP, everything, hostile_profiles, hostile_text

MAIN = Location(Kind.GO, SHOP, 0x401010, (Frame("main", "main.go", 3, 1),))
KERNEL = (0xFFFF000000000000, 0xFFFFFFFFFFFFFFFF, 0, "[kernel.kallsyms]", frozenset())
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def encoded(profile: Profile, wanted: Settings | None = None) -> Request:
    """The one request of a profile, checked."""
    (request,) = requests(profile, wanted or Settings()).requests
    assert check(request) == []
    return request


def profile_of(*rows: tuple[Labels, int], types: tuple[ValueType, ...] = (SAMPLES,), **metadata) -> Profile:
    """One stack, with the same value in all columns."""
    builder = ProfileBuilder(types)
    stack = builder.stack((builder.location(MAIN),))
    for labels, value in rows:
        builder.add(stack, builder.labels(labels), *(value for _ in types))
    return builder.build(Metadata(**({"period": PERIOD} | metadata)))


def kinds(request: Request) -> list[tuple[str, str, int]]:
    return [
        (value_type(request, row.sample_type), value_type(request, row.period_type), row.period)
        for row in profiles(request)
    ]


def sample_attributes(request: Request) -> list[dict[str, object]]:
    return [
        {key: plain(value) for key, value in attributes(request, row.attribute_indices)} for row in samples(request)
    ]


def resources(request: Request) -> list[dict[str, object]]:
    return [{row.key: plain(row.value) for row in one.resource.attributes} for one in request.resource_profiles]


# What a receiver must find, told from the profile without the encoder's tables.


def expected_place(location: Location) -> Place:
    kind = frozenset({("profile.frame.type", str(location.kind))})
    mapping, known = None, location.mapping
    if location.kind is Kind.KERNEL:
        mapping = (*KERNEL[:3], printable(known.filename) if known and known.filename else KERNEL[3], frozenset())
    elif location.kind is not Kind.MARKER and known:
        hexadecimal = (
            known.build_id.isascii() and known.build_id.isalnum() and not known.build_id.strip("0123456789abcdefABCDEF")
        )
        build_id = {("process.executable.build_id.gnu", known.build_id)} if hexadecimal else set()
        mapping = (known.start, known.limit, known.offset, printable(known.filename), frozenset(build_id))
        if not any((known.start, known.limit, known.offset, known.filename, build_id)):
            mapping = None  # equal to the table's zero element, which stands for none
    frames = location.frames
    has_mapping = location.kind is not Kind.MARKER and (known or location.kind is Kind.KERNEL)
    if not frames and not (location.address and has_mapping):
        frames = (Frame("[unknown]"),)
    lines = tuple(
        (
            printable(frame.function or frame.system_name or "[unknown]"),
            printable(frame.system_name),
            printable(frame.file),
            frame.line if 0 <= frame.line < 2**63 else 0,
            frame.start_line if 0 <= frame.start_line < 2**63 else 0,
        )
        for frame in frames
    )
    return Place(kind, 0 if location.kind is Kind.MARKER else location.address, mapping, lines)


def expected(profile: Profile, columns: dict[int, str]) -> Counter[Row]:
    found: Counter[Row] = Counter()
    for sample in profile.samples:
        labels = profile.labels[sample.labels]
        of_process = {
            "process.pid": labels.pid,
            "process.executable.name": printable(labels.process),
            "container.id": printable(labels.container),
        }
        of_sample = {
            "thread.id": labels.tid,
            "thread.name": printable(labels.thread),
            "goroscope.state": printable(labels.state),
            "goroscope.goroutine": labels.goroutine,
            "goroscope.start_function": printable(labels.start_function),
        } | {printable(key): printable(value) for key, value in labels.more}
        stack = tuple(expected_place(profile.locations[index]) for index in profile.stacks[sample.stack])
        nowhere = (expected_place(Location(Kind.MARKER, None, 0)),)
        for column, kind in columns.items():
            if sample.values[column]:
                resource, told = (
                    frozenset((key, value) for key, value in pairs.items() if value)
                    for pairs in (of_process, of_sample)
                )
                found[Row(resource, kind, stack or nowhere, told, None)] += sample.values[column]
    return found


PROFILES = {
    "everything": (everything(), {0: "samples/count"}),
    "waits": (waits_only(threads=True), {3: "off_cpu/nanoseconds"}),
    "both": (both(), {0: "samples/count", 5: "off_cpu/nanoseconds"}),
    "both, threads together": (both(threads=False), {0: "samples/count", 5: "off_cpu/nanoseconds"}),
    "goroutines": (goroutine_profile(shop(), apart=True, container="8d1f"), {0: "goroutines/count"}),
    "waits of goroutines": (
        profile_of((Labels(7, state="chan receive", goroutine=18), 5), types=(GOROUTINE_WAIT,), period=0),
        {0: "goroutine_wait/nanoseconds"},
    ),
}


@pytest.mark.parametrize(("profile", "columns"), PROFILES.values(), ids=PROFILES)
def test_a_receiver_finds_what_the_profile_holds(profile, columns) -> None:
    assert decode([encoded(profile)]) == expected(profile, columns)


@settings(deadline=None, max_examples=50)
@given(hostile_profiles(), st.lists(st.tuples(hostile_text, hostile_text), max_size=3, unique_by=lambda pair: pair[0]))
def test_hostile_names_and_numbers_make_valid_requests(profile, more) -> None:
    labelled = replace(profile, labels=tuple(replace(labels, more=tuple(more)) for labels in profile.labels))
    made = requests(labelled).requests
    assert [sentence for request in made for sentence in check(request)] == []
    assert sum(decode(made).values()) == profile.total()


@settings(deadline=None)
@given(hostile_profiles())
def test_hostile_names_and_numbers_are_found_again(profile) -> None:
    assert decode(requests(profile).requests) == expected(profile, {0: "samples/count"})


@settings(deadline=None)
@given(mixed_profiles(), st.booleans(), st.sampled_from((frozenset(), frozenset({"process.pid", "thread.id"}))))
def test_both_kinds_are_valid_and_keep_their_totals(profile, per_process, leave_out) -> None:
    made = requests(profile, Settings(per_process=per_process, leave_out=leave_out, parts=True)).requests
    assert [sentence for request in made for sentence in check(request)] == []
    totals = Counter()
    for row, value in decode(made).items():
        totals[row.kind.partition("/")[0]] += value
    names = ("samples", "waits", "blocked", "runnable", "off_cpu")
    assert totals == +Counter({name: profile.total(profile.column(name)) for name in names})


def test_a_small_request_is_as_it_should_be(golden) -> None:
    builder = ProfileBuilder((SAMPLES, CPU, OFF_CPU))
    inlined = Location(
        Kind.GO, SHOP, 0x655120, (Frame("round", "price.go", 12, 10), Frame("Price", "price.go", 41, 30))
    )
    stack = builder.stack(tuple(map(builder.location, (Location(Kind.NATIVE, LIBC, 0x30000), inlined, MAIN))))
    traced = Labels(7, "shop", more=(("region", "eu"), ("span_id", SPAN), ("trace_id", TRACE)))
    builder.add(stack, builder.labels(traced), 3, 3 * PERIOD, 0)
    builder.add(stack, builder.labels(Labels(7, "shop", 8, "worker", "8d1f", "sleeping")), 0, 0, 500)
    metadata = Metadata(10**18, 10**9, period=PERIOD, version="0.1.0", notes=("a note",))
    number = count(1)
    (request,) = requests(
        builder.build(metadata),
        Settings({"service.name": "shop"}),
        new_id=lambda: next(number).to_bytes(16, "big"),
    ).requests
    made = render(request)
    assert check(request) == []
    assert made == golden("small.otlp.txt", made)


@pytest.mark.parametrize(
    ("types", "told"),
    [
        ((SAMPLES, CPU), ("samples/count", "cpu/nanoseconds", PERIOD)),
        ((OFF_CPU,), ("off_cpu/nanoseconds", "/", 0)),
        ((GOROUTINES,), ("goroutines/count", "goroutines/count", 1)),
        ((GOROUTINE_WAIT,), ("goroutine_wait/nanoseconds", "goroutine_wait/nanoseconds", 1)),
        ((CPU,), ("cpu/nanoseconds", "cpu/nanoseconds", 1)),
        ((ValueType("events", "count"),), ("events/count", "events/count", 1)),
    ],
)
def test_each_kind_has_the_period_that_readers_want(types, told) -> None:
    assert kinds(encoded(profile_of((Labels(7), 5), types=types))) == [told]


def test_samples_of_no_known_period_stand_for_what_they_were_on_average() -> None:
    builder = ProfileBuilder((SAMPLES, CPU))
    builder.add(builder.stack((builder.location(MAIN),)), builder.labels(Labels(7)), 4, 1000)
    assert kinds(encoded(builder.build(Metadata()))) == [("samples/count", "cpu/nanoseconds", 250)]


def test_parts_of_time_off_the_cpu_are_told_when_asked_for() -> None:
    names = {kind for kind, _, _ in kinds(encoded(waits_only(), Settings(parts=True)))}
    assert names == {"waits/count", "blocked/nanoseconds", "runnable/nanoseconds", "off_cpu/nanoseconds"}


def test_a_profile_of_nothing_makes_no_request() -> None:
    assert requests(ProfileBuilder((SAMPLES, CPU)).build(Metadata(period=1))).requests == ()
    assert requests(profile_of((Labels(7), 0))).requests == ()


def test_each_process_is_a_resource_and_what_is_given_wins() -> None:
    profile = profile_of((Labels(7, "shop", container="a1"), 1), (Labels(8, "node"), 2), (Labels(7, "shop"), 3))
    given_attributes = {"service.name": "front", "process.executable.name": "x", "host.name": "", "n": 2**70}
    assert resources(encoded(profile, Settings(given_attributes))) == [
        {"process.pid": 7, "process.executable.name": "x", "container.id": "a1"}
        | {"service.name": "front", "n": str(2**70)},
        {"process.pid": 8, "process.executable.name": "x", "service.name": "front", "n": str(2**70)},
        {"process.pid": 7, "process.executable.name": "x", "service.name": "front", "n": str(2**70)},
    ]


def test_one_resource_for_all_leaves_the_process_to_the_samples() -> None:
    profile = profile_of((Labels(7, "shop", container="a1"), 1), (Labels(8, "node"), 2))
    request = encoded(profile, Settings({"service.name": "front"}, per_process=False))
    assert resources(request) == [{"service.name": "front"}]
    assert sample_attributes(request) == [
        {"container.id": "a1", "process.executable.name": "shop", "process.pid": 7},
        {"process.executable.name": "node", "process.pid": 8},
    ]


def test_what_does_not_differ_without_the_attributes_left_out_is_one() -> None:
    profile = profile_of((Labels(7, "shop", 8), 1), (Labels(9, "shop", 10), 2), (Labels(11, "node"), 4))
    request = encoded(profile, Settings(leave_out=frozenset({"process.pid", "thread.id"})))
    assert resources(request) == [{"process.executable.name": "shop"}, {"process.executable.name": "node"}]
    assert [list(row.values) for row in samples(request)] == [[3], [4]]


def test_samples_of_a_trace_link_to_its_span() -> None:
    request = encoded(profile_of((Labels(7, more=(("trace_id", TRACE), ("span_id", SPAN), ("a", "b"))), 1)))
    assert [row.link for row in decode([request])] == [(TRACE, SPAN)]
    assert sample_attributes(request) == [{"a": "b"}]


@pytest.mark.parametrize(
    "ids",
    [
        {"trace_id": TRACE},
        {"span_id": SPAN},
        {"trace_id": TRACE, "span_id": "0" * 16},
        {"trace_id": "0" * 32, "span_id": SPAN},
        {"trace_id": TRACE[:-1] + "g", "span_id": SPAN},
        {"trace_id": TRACE + "\n", "span_id": SPAN},
        {"trace_id": TRACE, "span_id": SPAN + "00"},
    ],
)
def test_ids_that_are_none_stay_labels(ids) -> None:
    request = encoded(profile_of((Labels(7, more=tuple(ids.items())), 1)))
    assert [row.link for row in decode([request])] == [None]
    assert sample_attributes(request) == [{key: printable(value) for key, value in ids.items()}]


def test_labels_of_a_program_are_not_taken_for_ours() -> None:
    more = (("thread.name", "mine"), ("label.thread.name", "too"), ("", "nameless"), ("empty", ""))
    assert sample_attributes(encoded(profile_of((Labels(7, thread="t", more=more), 1)))) == [
        {
            "thread.name": "t",
            "label.thread.name": "mine",
            "label.label.thread.name": "too",
            "label.": "nameless",
        }
    ]


def test_losses_and_notes_are_comments_of_each_profile() -> None:
    request = encoded(both())
    for profile in profiles(request):
        ((key, value),) = attributes(request, profile.attribute_indices)
        assert key == "pprof.profile.comment"
        assert plain(value)[-2:] == (
            "14 samples lost (waits_full): the map of waits was full.",
            "waits shorter than 1 ms: 120,000, 3.2 s in all, not kept",
        )


def test_a_build_id_that_is_none_is_left_out() -> None:
    hostile = Location(Kind.NATIVE, Mapping(1, 2, 3, "/x", "not hex"), 1)
    builder = ProfileBuilder((SAMPLES,))
    builder.add(builder.stack((builder.location(hostile),)), builder.labels(Labels(7)), 1)
    request = encoded(builder.build(Metadata(period=1)))
    assert "not hex" not in request.dictionary.string_table


def test_ids_are_random_unless_given_and_may_be_left_out() -> None:
    profile = profile_of((Labels(7), 1))
    first, second = (next(profiles(encoded(profile))).profile_id for _ in range(2))
    assert first != second
    (request,) = requests(profile, new_id=None).requests
    assert next(profiles(request)).profile_id == b""
    assert check(request) == []


def test_the_same_profile_and_ids_are_the_same_bytes() -> None:
    first, second = (requests(both(), new_id=None).requests[0].SerializeToString() for _ in range(2))
    assert first == second


def test_the_original_of_each_profile_has_its_samples_and_nothing_else() -> None:
    request = encoded(both(threads=False), Settings(original=True))
    for profile in profiles(request):
        original = pprof_reader.read(profile.original_payload)
        shown = original.string_table
        column = [shown[row.type] for row in original.sample_type].index(
            text(request, profile.sample_type.type_strindex)
        )
        assert [row.value[column] for row in original.sample] == [row.values[0] for row in profile.samples]
        assert {index for row in original.sample for index in row.location_id} == {row.id for row in original.location}


def test_values_that_do_not_fit_are_as_large_as_can_be() -> None:
    (sample,) = samples(encoded(profile_of((Labels(7), 2**70))))
    assert list(sample.values) == [2**63 - 1]


def test_a_mapping_that_says_nothing_is_none() -> None:
    builder = ProfileBuilder((SAMPLES,))
    for mapping in (None, Mapping(0, 0, 0, "")):
        location = Location(Kind.NATIVE, mapping, 7, (Frame("f"),))
        builder.add(builder.stack((builder.location(location),)), builder.labels(Labels(7)), 1)
    request = encoded(builder.build(Metadata(period=1)))
    assert [len(request.dictionary.location_table), len(request.dictionary.mapping_table)] == [2, 1]
    assert [list(row.values) for row in samples(request)] == [[2]]
