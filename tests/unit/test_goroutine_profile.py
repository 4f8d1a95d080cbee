"""Goroutines as a profile: exact output, markers for what is not known, and labels of the program's own."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporters import folded, html, pprof, speedscope
from profiles.goroutine_profile import goroutine_profile
from profiles.goroutines import Member
from profiles.merge import merge
from profiles.model import GOROUTINES, Kind, Labels, Metadata, Profile, ProfileBuilder
from tests.support import pprof as reader
from tests.support.goroutines import CUT, LOCK, PUT, RUNNING, frame, goroutines, many, shop
from tests.support.pagedata import Parsed, check_page_data
from tests.support.profiles import hostile_text
from tests.support.textformats import check_folded, check_speedscope


def labels_of(profile: Profile) -> list[dict[str, str | int]]:
    """Each sample's labels as pprof has them."""
    message = reader.read(pprof.encode(profile))
    text = message.string_table
    return [{text[label.key]: text[label.str] or label.num for label in sample.label} for sample in message.sample]


def test_pprof_of_goroutines_is_as_it_should_be(golden) -> None:
    made = reader.render(reader.read(pprof.encode(goroutine_profile(shop(), version="0.1.0"))))
    assert made == golden("goroutines.pprof.txt", made)


def test_folded_goroutines_are_counts_without_labels(golden) -> None:
    made = folded.encode(goroutine_profile(shop()))
    check_folded(made)
    assert made == golden("goroutines.folded", made)


def test_the_page_tells_goroutines_by_their_status() -> None:
    page = html.page_data(goroutine_profile(shop()))
    check_page_data(page)
    assert page["columns"] == [{"type": "goroutines", "unit": "count"}]
    assert page["summary"] == ["55 goroutines", "2026-08-01 16:00:00 UTC"]
    assert {"chan send", "IO wait", "running"} < set(page["states"])
    assert "2 goroutines that the runtime runs for itself are left out" in page["comments"]


def test_speedscope_has_one_profile_of_the_process() -> None:
    document = speedscope.encode(goroutine_profile(shop()))
    check_speedscope(document)
    assert b'"endValue":55' in document


def test_goroutines_of_the_runtime_are_counted_or_kept() -> None:
    assert goroutine_profile(shop()).total() == 55
    kept = goroutine_profile(shop(), system=True)
    assert kept.total() == 57
    assert not any("runtime" in note for note in kept.metadata.notes)


def test_goroutines_are_kept_apart_by_their_ids_where_asked_for() -> None:
    apart = goroutine_profile(shop(), apart=True)
    assert len(apart.samples) == apart.total() == 55
    assert {labels["goroutine"] for labels in labels_of(apart)} == {
        1,
        8,
        9,
        *range(20, 32),
        50,
        51,
        52,
        *range(100, 137),
    }
    assert all("goroutine" not in labels for labels in labels_of(goroutine_profile(shop())))
    assert html.encode(apart)
    assert folded.encode(apart) == folded.encode(goroutine_profile(shop()))


def test_inlined_calls_share_the_location_of_the_call_that_holds_them() -> None:
    profile = goroutine_profile(goroutines([(PUT, Member(1))]))
    (stack,) = profile.stacks
    names = [[call.function for call in profile.locations[index].frames] for index in stack]
    assert names[3] == ["shop.push[...]", "shop.(*Queue).Put"]
    assert [len(calls) for calls in names] == [1, 1, 1, 2, 1, 1]


def test_a_chain_of_inlined_calls_without_an_end_is_kept() -> None:
    profile = goroutine_profile(goroutines([(replace(PUT, frames=(frame("a.b", inlined=True),)), Member(1))]))
    assert [call.function for _, call in profile.frames_of(0)] == ["a.b"]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (RUNNING, ["[running]", "shop.(*Pricer).loop"]),
        (replace(RUNNING, start_function=""), ["[running]"]),
        (replace(RUNNING, why_not=""), ["[no stack]", "shop.(*Pricer).loop"]),
        (CUT, ["shop.cgoCall", "shop.(*Image).Scale", "[stack could not be followed further]"]),
    ],
)
def test_what_is_not_known_of_a_stack_is_a_marker_where_it_would_be(kind, expected: list[str]) -> None:
    profile = goroutine_profile(goroutines([(kind, Member(1))]))
    frames = list(profile.frames_of(0))
    assert [call.function for _, call in frames] == expected
    assert [location.kind for location, call in frames if call.function.startswith("[")] == [Kind.MARKER]


def test_a_running_goroutine_and_one_that_waits_at_the_same_place_are_two_samples() -> None:
    here = goroutines([(LOCK, Member(1)), (replace(LOCK, wait_reason="semacquire"), Member(2))])
    assert [labels["state"] for labels in labels_of(goroutine_profile(here))] == ["sync.Mutex.Lock", "semacquire"]


def test_what_was_not_read_is_told_in_the_file() -> None:
    notes = goroutine_profile(replace(shop(), partial="The list is cut off.")).metadata.notes
    assert notes[1:] == (
        "2 goroutines changed while they were read: their stacks are not known",
        "The list is cut off.",
    )


def test_labels_of_the_program_have_their_own_keys_and_never_ours() -> None:
    own = (("trace_id", "4bf9"), ("state", "CA"), ("pid", "x"), ("label.pid", "y"), ("", "z"), ("empty", ""))
    (labels,) = labels_of(goroutine_profile(goroutines([(replace(PUT, labels=own), Member(1))])))
    assert {key: value for key, value in labels.items() if key in {"trace_id", "state", "pid"}} == {
        "trace_id": "4bf9",
        "state": "chan send",
        "pid": 4217,
    }
    assert (labels["label.state"], labels["label.pid"], labels["label.label.pid"]) == ("CA", "x", "y")
    assert labels["label."] == "z"
    assert "empty" not in labels


@settings(deadline=None)
@given(st.lists(st.lists(st.tuples(hostile_text, hostile_text), max_size=4).map(tuple), max_size=4))
def test_any_labels_make_a_file_that_readers_take(labels: list[tuple[tuple[str, str], ...]]) -> None:
    builder = ProfileBuilder((GOROUTINES,))
    for number, more in enumerate(labels):
        builder.add(builder.stack(()), builder.labels(Labels(1, "a", goroutine=number, more=more)), 1)
    reader.read(pprof.encode(builder.build(Metadata())))


def test_profiles_of_goroutines_merge_with_their_labels() -> None:
    both = merge([goroutine_profile(shop()), goroutine_profile(shop())])
    assert both.total() == 110
    assert both.labels == goroutine_profile(shop()).labels
    Parsed(html.encode(both))


def test_a_hundred_thousand_goroutines_are_as_many_samples_as_there_are_kinds() -> None:
    profile = goroutine_profile(many(100_000, 50))
    assert (len(profile.samples), profile.total()) == (50, 100_000)
