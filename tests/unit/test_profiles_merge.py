"""Merging profiles: values add up, metadata stays true, and what cannot be added is refused."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporters import folded
from profiles.merge import MergeError, merge, merge_metadata
from profiles.model import Loss, Metadata, ValueType
from tests.support.profiles import everything, hostile_profiles


def test_one_profile_stays_as_it_is() -> None:
    assert merge([everything()]) == replace(everything(), metadata=merge_metadata([everything().metadata]))


def test_values_of_equal_stacks_add_up_and_nothing_is_stored_twice() -> None:
    one = everything()
    both = merge([one, one])
    assert both.locations == one.locations
    assert both.stacks == one.stacks
    assert [sample.values for sample in both.samples] == [
        tuple(2 * value for value in sample.values) for sample in one.samples
    ]


@settings(deadline=None)
@given(st.lists(hostile_profiles(), min_size=1, max_size=3))
def test_merging_adds_up_what_each_profile_shows(profiles) -> None:
    merged = merge(profiles)
    for column in range(2):
        assert merged.total(column) == sum(profile.total(column) for profile in profiles)
    lines: dict[str, int] = {}
    for profile in profiles:
        for line in folded.encode(profile).decode().splitlines():
            stack, count = line.rsplit(" ", 1)
            lines[stack] = lines.get(stack, 0) + int(count)
    assert folded.encode(merged).decode() == "".join(f"{stack} {count}\n" for stack, count in sorted(lines.items()))


def test_metadata_of_two_windows_is_that_of_both() -> None:
    first = Metadata(
        start_ns=100,
        duration_ns=10,
        period=5,
        rate_hz=49,
        cpus=2,
        kernel="6.1",
        target="pid 1",
        losses=(Loss("full", "It was full", 3, dropped=True), Loss("cut", "It was cut", 1, dropped=False)),
        comments=("a", "b"),
    )
    second = replace(
        first,
        start_ns=110,
        cpus=4,
        kernel="6.12",
        losses=(Loss("full", "It was full", 4, dropped=True),),
        comments=("b", "c"),
    )
    assert merge_metadata([second, first]) == Metadata(
        start_ns=100,
        duration_ns=20,
        period=5,
        rate_hz=49,
        cpus=4,
        kernel="6.12, 6.1",
        target="pid 1",
        losses=(Loss("full", "It was full", 7, dropped=True), Loss("cut", "It was cut", 1, dropped=False)),
        comments=("b", "c", "a"),
    )


def test_an_unknown_start_does_not_become_the_earliest() -> None:
    assert merge_metadata([Metadata(start_ns=0), Metadata(start_ns=7)]).start_ns == 7


def test_a_rate_that_differs_is_not_claimed() -> None:
    assert merge_metadata([Metadata(rate_hz=49), Metadata(rate_hz=99)]).rate_hz == 0


def test_profiles_of_different_things_are_refused() -> None:
    other_values = replace(everything(), value_types=(ValueType("off_cpu", "nanoseconds"),) * 2)
    other_period = replace(everything(), metadata=replace(everything().metadata, period_type=ValueType("x", "y")))
    for profiles in ([], [everything(), other_values], [everything(), other_period]):
        with pytest.raises(MergeError):
            merge(profiles)
