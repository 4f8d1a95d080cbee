"""Profiles with several kinds of values: columns by name, sums, trees of some columns, merging."""

from dataclasses import replace

import pytest
from hypothesis import given, settings

from exporters.describe import human_time
from profiles.flame import build_flame_tree
from profiles.merge import MergeError, merge
from profiles.model import (
    OFF_CPU_TYPES,
    ON_CPU_TYPES,
    Frame,
    Kind,
    Labels,
    Location,
    Metadata,
    ProfileBuilder,
    State,
)
from profiles.offcpu import OffCpu, off_cpu_totals
from tests.support.offcpu import MS, both, mixed_profiles, waits_only
from tests.support.profiles import PERIOD, SHOP, everything


def test_columns_are_found_by_name() -> None:
    assert [both().column(known.type) for known in ON_CPU_TYPES + OFF_CPU_TYPES] == [0, 1, 2, 3, 4, 5]
    assert waits_only().column("off_cpu") == 3
    assert waits_only().column("cpu") is None


@pytest.mark.parametrize(
    ("profile", "default", "times"),
    [(everything(), "cpu", ["cpu"]), (waits_only(), "off_cpu", ["off_cpu"]), (both(), "cpu", ["cpu", "off_cpu"])],
)
def test_cpu_time_is_shown_first_and_every_kind_has_weight(profile, default: str, times: list[str]) -> None:
    assert profile.value_types[profile.default_column].type == default
    assert [profile.value_types[column].type for column in profile.time_columns] == times


def test_a_wrong_number_of_values_is_refused() -> None:
    builder = ProfileBuilder(OFF_CPU_TYPES)
    with pytest.raises(ValueError, match="1 values for 4 value types"):
        builder.add(builder.stack(()), builder.labels(Labels(1)), 5)


def test_go_idle_time_is_added_up_by_itself() -> None:
    expected = OffCpu(92, 6_600 * MS + 999, 86 * MS + 499, 6_686 * MS + 1498, 7_003 * MS)
    assert off_cpu_totals(waits_only()) == off_cpu_totals(both()) == expected
    assert off_cpu_totals(everything()) is None


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0 s"),
        (999, "999 ns"),
        (1000, "1.0 µs"),
        (3_140_000, "3.1 ms"),
        (83_200_000_000, "83.2 s"),
        (4 * 10**12, "4,000.0 s"),
    ],
)
def test_times_have_the_unit_that_people_would_choose(nanoseconds: int, text: str) -> None:
    assert human_time(nanoseconds) == text


def names(profile, *columns: str) -> set[str]:
    """The calls in a tree of some columns."""
    indexes = [column for column in map(profile.column, columns) if column is not None]
    return {node.name for node in build_flame_tree(profile, indexes).nodes}


def test_a_tree_of_some_columns_has_only_what_counts_in_them() -> None:
    assert "shop.(*Cart).Price[...]" in names(both(), "cpu")
    assert not {"schedule", "runtime.stopm", "[woken by]"} & names(both(), "cpu")
    assert {"schedule", "[woken by]"} <= names(both(), "off_cpu")
    assert "shop.(*Stock).reserve" not in names(both(threads=False), "cpu", "samples")
    tree = build_flame_tree(both(), [5, 2])
    assert [known.type for known in tree.value_types] == ["off_cpu", "waits"]
    assert tree.nodes[0].total == (both().total(5), both().total(2))
    assert [leaf is None for leaf in tree.leaves] == [not sample.values[5] for sample in both().samples]


@settings(deadline=None)
@given(mixed_profiles())
def test_no_value_of_any_column_is_lost_in_the_tree(profile) -> None:
    tree = build_flame_tree(profile)
    assert tree.nodes[0].total == tuple(profile.total(column) for column in range(6))
    assert all(any(node.total) for node in tree.nodes[1:])


def test_profiles_of_waits_add_up_and_keep_their_states_apart() -> None:
    merged = merge([both(), both()])
    assert [sample.values for sample in merged.samples] == [
        tuple(2 * value for value in sample.values) for sample in both().samples
    ]
    assert {labels.state for labels in merged.labels} == {"", *State} - {State.EXITED}
    assert merged.metadata.notes == both().metadata.notes


def test_notes_that_differ_are_all_kept() -> None:
    other = replace(waits_only(), metadata=replace(waits_only().metadata, notes=("others",)))
    assert merge([waits_only(), other]).metadata.notes == (*waits_only().metadata.notes, "others")


def test_kinds_are_not_mixed_up() -> None:
    for other in (everything(), both()):
        with pytest.raises(MergeError):
            merge([waits_only(), other])


def test_a_function_tells_the_line_with_most_time_of_either_kind() -> None:
    builder = ProfileBuilder(ON_CPU_TYPES + OFF_CPU_TYPES)
    labels = builder.labels(Labels(7, "shop"))
    for line, values in ((10, (3, 3 * PERIOD, 0, 0, 0, 0)), (20, (0, 0, 1, 900 * MS, 0, 900 * MS))):
        location = builder.location(Location(Kind.GO, SHOP, 0x401000 + line, (Frame("main", "main.go", line),)))
        builder.add(builder.stack((location,)), labels, *values)
    assert [node.line for node in build_flame_tree(builder.build(Metadata())).nodes] == [0, 0, 20]


def test_nothing_recorded_has_sums_of_nothing() -> None:
    empty = ProfileBuilder(OFF_CPU_TYPES).build(Metadata())
    assert off_cpu_totals(empty) == OffCpu(0, 0, 0, 0, 0)
    assert build_flame_tree(empty).nodes[0].total == (0, 0, 0, 0)
