"""Folded stacks and speedscope: exact output for a known profile, and rules that hold for hostile ones."""

import json
from dataclasses import replace

from hypothesis import given, settings

from exporters import folded, speedscope
from exporters.describe import comments, facts
from exporters.text import printable
from profiles.model import Frame, Kind, Labels, Location, Metadata, ProfileBuilder, ValueType
from tests.support.profiles import CPU_TYPES, SHOP, add, everything, hostile_profiles, hostile_text
from tests.support.textformats import check_folded, check_speedscope


def test_folded_stacks_are_as_they_should_be(golden) -> None:
    made = folded.encode(everything())
    assert check_folded(made) == everything().total()
    assert made == golden("everything.folded", made)


def test_stacks_that_read_the_same_are_one_line() -> None:
    builder = ProfileBuilder(CPU_TYPES)
    for address in (0x401010, 0x401020):
        add(builder, Labels(1, "a"), (Location(Kind.GO, SHOP, address, (Frame("main"),)),), 2)
    add(builder, Labels(2, "a"), (Location(Kind.GO, SHOP, 0x401030, (Frame("main"),)),), 5)
    assert folded.encode(builder.build(Metadata())) == b"a;main 9\n"


def test_separators_in_names_cannot_make_frames_or_lines() -> None:
    builder = ProfileBuilder(CPU_TYPES)
    add(builder, Labels(1, "a;b"), (Location(Kind.GO, SHOP, 1, (Frame("f[struct { A int; B int }]\n"),)),), 3)
    assert folded.encode(builder.build(Metadata())) == b"a:b;f[struct { A int: B int }]\\x0a 3\n"


def test_speedscope_has_a_profile_a_process_heaviest_first(golden) -> None:
    made = speedscope.encode(everything())
    document = check_speedscope(made)
    assert [profile["name"] for profile in document["profiles"]] == ["shop (4121) in 8d1f0c2b7a9e", "node (977)"]
    assert sum(profile["endValue"] for profile in document["profiles"]) == everything().total(1)
    indented = json.dumps(document, indent=1) + "\n"
    assert indented == golden("everything.speedscope.txt", indented)


def test_speedscope_shows_what_was_lost_in_the_name() -> None:
    document = check_speedscope(speedscope.encode(everything()))
    assert "31 samples lost (map_full): The kernel's table of counts was full." in document["name"]
    assert document["goroscope"] == list(comments(everything().metadata))


def test_units_that_speedscope_does_not_know_are_plain_counts() -> None:
    profile = replace(everything(), value_types=(ValueType("samples", "count"), ValueType("events", "furlongs")))
    document = check_speedscope(speedscope.encode(profile))
    assert {profile["unit"] for profile in document["profiles"]} == {"none"}


@settings(deadline=None)
@given(hostile_profiles())
def test_hostile_profiles_keep_their_totals_in_every_text_format(profile) -> None:
    assert check_folded(folded.encode(profile)) == profile.total()
    document = check_speedscope(speedscope.encode(profile))
    assert sum(entry["endValue"] for entry in document["profiles"]) == profile.total(1)


@settings(deadline=None)
@given(hostile_text)
def test_printable_text_steers_no_terminal_and_is_utf8(text: str) -> None:
    shown = printable(text)
    shown.encode()
    assert not any(ord(letter) < 32 or 0x7F <= ord(letter) < 0xA0 for letter in shown)
    assert printable(shown) == shown


def test_a_start_beyond_the_calendar_is_left_out() -> None:
    assert "start" not in dict(facts(Metadata(start_ns=2**63 - 1 + 10**30)))
    assert dict(facts(Metadata(start_ns=1_785_600_000_000_000_000)))["start"] == "2026-08-01 16:00:00 UTC"
