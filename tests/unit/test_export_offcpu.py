"""Time off the CPU in the file formats: exact output for known profiles, and rules that hold for any."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings

from exporters import folded, html, pprof, speedscope
from profiles.model import OFF_CPU_TYPES, Labels, Location, Metadata, Profile, ProfileBuilder, State
from tests.support import pprof as reader
from tests.support.offcpu import FUTEX, MS, NOTES, both, mixed_profiles, waits_only
from tests.support.pagedata import Parsed, check_page_data
from tests.support.profiles import everything
from tests.support.textformats import check_folded, check_speedscope

IDLE_COMMENT = "off_cpu includes 7.0 s of threads that Go had nothing to do for: -tagignore=state=go_idle"


def not_idle(profile: Profile, column: int) -> int:
    rows = (sample for sample in profile.samples if profile.labels[sample.labels].state != State.GO_IDLE)
    return sum(sample.values[column] for sample in rows)


def waits_of(*blocked: int, state: str = State.SLEEPING, stack: tuple[Location, ...] = (FUTEX,)) -> Profile:
    """Waits in one process, each in a thread of the same name with another address space."""
    builder = ProfileBuilder(OFF_CPU_TYPES)
    for pid, value in enumerate(blocked):
        index = builder.stack(tuple(builder.location(location) for location in stack))
        builder.add(index, builder.labels(Labels(pid, "a", state=state)), 1, value, 0, value)
    return builder.build(Metadata())


def test_pprof_of_both_kinds_is_as_it_should_be(golden) -> None:
    made = reader.render(reader.read(pprof.encode(both())))
    assert made == golden("both.pprof.txt", made)


def test_pprof_of_waits_claims_no_period_and_shows_time_off_the_cpu() -> None:
    message = reader.read(pprof.encode(waits_only()))
    texts = message.string_table
    assert [texts[row.type] for row in message.sample_type] == ["waits", "blocked", "runnable", "off_cpu"]
    assert texts[message.default_sample_type] == "off_cpu"
    assert not message.HasField("period_type")
    assert [texts[index] for index in message.comment][-2:] == [*NOTES, IDLE_COMMENT]


def test_a_period_of_cpu_time_is_not_claimed_for_waits() -> None:
    message = reader.read(pprof.encode(replace(waits_of(5), metadata=Metadata(period=7))))
    assert (message.HasField("period_type"), message.period) == (False, 0)


def test_pprof_labels_waits_with_their_state_and_samples_with_none() -> None:
    message = reader.read(pprof.encode(both()))
    key = list(message.string_table).index("state")
    states = [[message.string_table[label.str] for label in row.label if label.key == key] for row in message.sample]
    assert states == [[], [], [], *([str(labels.state)] for labels in both().labels if labels.state)]


@settings(deadline=None)
@given(mixed_profiles())
def test_pprof_is_valid_and_keeps_every_total(profile) -> None:
    message = reader.read(pprof.encode(profile))
    totals = [sum(sample.value[column] for sample in message.sample) for column in range(6)]
    assert totals == [profile.total(column) for column in range(6)]


@pytest.mark.parametrize(("name", "profile"), [("waits", waits_only()), ("both", both())])
def test_folded_waits_are_microseconds_without_go_idle_time(golden, name: str, profile) -> None:
    made = folded.encode(profile)
    check_folded(made)
    assert b"runtime.stopm" not in made
    assert made == golden(f"{name}.folded", made)


@pytest.mark.parametrize(
    ("blocked", "line"),
    [
        ((499,), b""),
        ((500,), b"a;futex_wait 1\n"),
        ((1499,), b"a;futex_wait 1\n"),
        ((1500,), b"a;futex_wait 2\n"),
        ((300, 300), b"a;futex_wait 1\n"),  # the sum is rounded, not each part
    ],
)
def test_folded_microseconds_are_rounded_half_up_and_zeros_left_out(blocked: tuple[int, ...], line: bytes) -> None:
    assert folded.encode(waits_of(*blocked)) == line


def test_a_stack_with_both_kinds_is_two_lines() -> None:
    lines = folded.encode(both(threads=False)).decode().splitlines()
    assert "node;[off-cpu];futex_wait;schedule 2001000" in lines
    assert "node;[on-cpu];futex_wait 40816" in lines
    assert "shop;[on-cpu];runtime.goexit;net/http.(*conn).serve;filemap_read 408163" in lines


@settings(deadline=None)
@given(mixed_profiles())
def test_folded_lines_are_off_by_half_a_microsecond_at_most(profile) -> None:
    made = folded.encode(profile)
    check_folded(made)
    lines = [line.rsplit(" ", 1) for line in made.decode().splitlines()]
    for frame, column in (("[on-cpu]", 1), ("[off-cpu]", 5)):
        counts = [int(count) for stack, count in lines if f";{frame};" in f"{stack};"]
        assert abs(1000 * sum(counts) - not_idle(profile, column)) <= 500 * len(profile.samples)


def test_speedscope_has_a_profile_for_each_process_and_value(golden) -> None:
    document = check_speedscope(speedscope.encode(both()))
    indented = json.dumps(document, indent=1) + "\n"
    assert indented == golden("both.speedscope.txt", indented)
    shop = [entry["name"].removeprefix("shop (4121) - ") for entry in document["profiles"]][:6]
    assert shop == ["on-CPU", "off-CPU", "blocked", "runnable", "waits", "Go idle"]
    assert [entry["unit"] for entry in document["profiles"]][:6] == ["nanoseconds"] * 4 + ["none", "nanoseconds"]


@settings(deadline=None)
@given(mixed_profiles())
def test_speedscope_keeps_the_totals_of_every_value(profile) -> None:
    document = check_speedscope(speedscope.encode(profile))
    titles = {"on-CPU": 1, "off-CPU": 5, "blocked": 3, "runnable": 4, "waits": 2}
    found = dict.fromkeys((*titles, "Go idle"), 0)
    for entry in document["profiles"]:
        found[entry["name"].rsplit(" - ", 1)[1]] += entry["endValue"]
        assert all(entry["weights"])
    assert found.pop("Go idle") == profile.total(5) - not_idle(profile, 5)
    assert found == {title: not_idle(profile, column) for title, column in titles.items()}


def test_the_page_embeds_threads_states_and_all_columns(golden) -> None:
    document = Parsed(html.encode(both())).profile()
    check_page_data(document)
    assert document["states"] == ["", "sleeping", "uninterruptible", "preempted", "go_idle", "stopped"]
    assert document["threads"] == {"text": ["4121 shop", "4125 shop-worker", "981 libuv-worker"], "process": [0, 0, 1]}
    assert document["comments"] == list(NOTES)
    made = json.dumps(document, indent=1) + "\n"
    assert made == golden("both.html.txt", made)


def test_the_page_says_how_much_was_waited() -> None:
    summary = html.page_data(both())["summary"]
    assert summary[:4] == ["52 samples", "92 waits", "6.7 s off CPU (blocked 6.6 s, runnable 86.0 ms)", "Go idle 7.0 s"]
    assert html.page_data(everything())["summary"][:2] == ["100 samples", "30.0 s"]


@settings(deadline=None)
@given(mixed_profiles())
def test_the_totals_of_the_page_are_those_of_the_pprof_file(profile) -> None:
    document = Parsed(html.encode(profile)).profile()
    check_page_data(document)
    message = reader.read(pprof.encode(profile))
    totals = [sum(sample.value[column] for sample in message.sample) for column in range(6)]
    assert [sum(values) for values in document["own"]["values"]] == totals


def test_times_of_whole_nodes_stay_exact() -> None:
    """A hundred thousand threads that slept for a day: more nanoseconds than 53 bits hold."""
    day = 86_400 * 1000 * MS
    profile = waits_of(*[100_000 * day + 1] * 2)
    assert folded.encode(profile) == f"a;futex_wait {2 * 100_000 * day // 1000}\n".encode()
