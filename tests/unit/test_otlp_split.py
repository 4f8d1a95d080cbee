"""Profiles that are larger than a request may be: cut by samples, each part complete, nothing lost unsaid."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporters.otlp.encode import MAX_BYTES, Settings, requests
from profiles.model import CPU, SAMPLES, Frame, Kind, Labels, Location, Metadata, Profile, ProfileBuilder
from tests.support.offcpu import both
from tests.support.otlp import decode
from tests.support.otlpcheck import check
from tests.support.profiles import PERIOD, SHOP, everything, hostile_profiles


def large(stacks: int, name: int = 20) -> Profile:
    """As many stacks of functions of their own, with names of that length."""
    builder = ProfileBuilder((SAMPLES, CPU))
    root = builder.location(Location(Kind.GO, SHOP, 0x401000, (Frame("main", "main.go", 1),)))
    for number in range(stacks):
        frame = Frame(f"{number:0{name}}", "file.go", number)
        leaf = builder.location(Location(Kind.GO, SHOP, 0x401010 + number, (frame,)))
        builder.add(builder.stack((leaf, root)), builder.labels(Labels(number % 3 + 1, "shop")), 1, PERIOD)
    return builder.build(Metadata(period=PERIOD))


def test_what_fits_is_one_request() -> None:
    assert len(requests(large(100)).requests) == 1
    assert MAX_BYTES == 3 * 1024 * 1024


@pytest.mark.parametrize("max_bytes", [1_000, 4_000, 10_000])
@pytest.mark.parametrize("per_process", [True, False])
def test_each_part_is_complete_and_small_enough_and_nothing_is_missing(max_bytes: int, per_process: bool) -> None:
    profile = large(300)
    wanted = Settings(per_process=per_process)
    made = requests(profile, wanted, max_bytes=max_bytes)
    assert len(made.requests) > 1
    assert not made.losses
    assert max(len(request.SerializeToString()) for request in made.requests) <= max_bytes
    assert [sentence for request in made.requests for sentence in check(request)] == []
    assert decode(made.requests) == decode(requests(profile, wanted).requests)


def test_parts_are_not_much_smaller_than_they_may_be() -> None:
    whole = requests(large(2_000)).requests[0].ByteSize()
    assert len(requests(large(2_000), max_bytes=whole // 4).requests) <= 10


@pytest.mark.parametrize("profile", [everything(), both()], ids=["everything", "both"])
def test_a_sample_a_request_is_still_the_whole_profile(profile: Profile) -> None:
    smallest = max(request.ByteSize() for request in each_alone(profile))
    made = requests(profile, max_bytes=smallest)
    assert not made.losses
    assert decode(made.requests) == decode(requests(profile).requests)


def each_alone(profile: Profile):
    for sample in profile.samples:
        yield from requests(replace(profile, samples=(sample,))).requests


def test_a_sample_larger_than_any_request_is_dropped_and_told() -> None:
    builder = ProfileBuilder((SAMPLES,))
    for name, count in (("small", 1), ("x" * 5_000, 10), ("y" * 5_000, 100), ("little", 1_000)):
        location = builder.location(Location(Kind.GO, SHOP, 0x401000, (Frame(name),)))
        builder.add(builder.stack((location,)), builder.labels(Labels(7)), count)
    made = requests(builder.build(Metadata(period=1)), max_bytes=4_000)
    assert sum(decode(made.requests).values()) == 1_001
    (loss,) = made.losses
    assert (loss.name, loss.samples, loss.dropped) == ("otlp_too_large", 110, True)
    assert loss.sentence == "each is larger than the 4,000 bytes that a whole request may have"


def test_where_nothing_fits_there_is_no_request() -> None:
    made = requests(large(3), max_bytes=0)
    assert made.requests == ()
    assert [loss.samples for loss in made.losses] == [3]


def test_originals_are_cut_with_their_samples() -> None:
    profile = large(300)
    made = requests(profile, Settings(original=True), max_bytes=6_000)
    assert not made.losses
    assert sum(decode(made.requests).values()) == profile.total()
    assert [sentence for request in made.requests for sentence in check(request)] == []


@settings(deadline=None, max_examples=50)
@given(hostile_profiles(), st.integers(100, 2_000))
def test_hostile_profiles_are_cut_without_loss_or_told(profile, max_bytes) -> None:
    made = requests(profile, max_bytes=max_bytes)
    assert [sentence for request in made.requests for sentence in check(request)] == []
    assert all(request.ByteSize() <= max_bytes for request in made.requests)
    whole = decode(requests(profile).requests)
    assert Counter(decode(made.requests)) <= whole
    assert sum(decode(made.requests).values()) + sum(loss.samples for loss in made.losses) == sum(whole.values())
