"""The flame tree: what merges, what things are called, and that no value is lost on the way up."""

from collections import Counter

import pytest
from hypothesis import given, settings

from profiles.flame import FlameTree, build_flame_tree, group_names, shown_frames
from profiles.model import Frame, Kind, Labels, Location, Mapping, Metadata, ProfileBuilder
from tests.support.profiles import CPU_TYPES, PERIOD, SHOP, add, everything, hostile_profiles

PROCESS = Labels(7, "shop")


def tree_of(*stacks: tuple[tuple[Location, ...], int], labels: Labels = PROCESS) -> FlameTree:
    builder = ProfileBuilder(CPU_TYPES)
    for stack, count in stacks:
        add(builder, labels, stack, count)
    return build_flame_tree(builder.build(Metadata()))


def go(function: str, line: int = 1, address: int = 0x401000) -> Location:
    return Location(Kind.GO, SHOP, address + line, (Frame(function, "shop.go", line),))


def paths(tree: FlameTree) -> dict[str, tuple[int, int]]:
    """Own and total samples by path from the root."""
    names: list[str] = []
    for node in tree.nodes:
        names.append(node.name if node.parent < 0 else f"{names[node.parent]}/{node.name}")
    return {name: (node.own[0], node.total[0]) for name, node in zip(names, tree.nodes, strict=True)}


def test_stacks_merge_from_the_root_by_function_whatever_the_line() -> None:
    tree = tree_of(((go("leaf"), go("main", 10)), 3), ((go("main", 20),), 2), ((go("other"), go("main", 20)), 5))
    assert paths(tree) == {
        "all": (0, 10),
        "all/shop": (0, 10),
        "all/shop/main": (2, 10),
        "all/shop/main/leaf": (3, 3),
        "all/shop/main/other": (5, 5),
    }


def test_a_node_tells_the_line_with_most_value() -> None:
    tree = tree_of(((go("main", 10),), 3), ((go("main", 20),), 4), ((go("leaf"), go("main", 10)), 2))
    main = next(node for node in tree.nodes if node.name == "main")
    assert (main.file, main.line) == ("shop.go", 10)


def test_equal_names_of_different_kinds_stay_apart() -> None:
    native = Location(Kind.NATIVE, SHOP, 0x500000, (Frame("memcpy"),))
    kernel = Location(Kind.KERNEL, None, 0xFFFF800000000000, (Frame("memcpy"),))
    tree = tree_of(((native,), 1), ((kernel,), 1))
    assert [node.kind for node in tree.nodes if node.name == "memcpy"] == [Kind.NATIVE, Kind.KERNEL]


def test_inlined_calls_are_expanded_callers_first_and_marked() -> None:
    location = Location(Kind.GO, SHOP, 0x401000, (Frame("inner"), Frame("middle"), Frame("outer")))
    assert [(frame.name, frame.inlined) for frame in shown_frames(location)] == [
        ("outer", False),
        ("middle", True),
        ("inner", True),
    ]


def test_a_function_is_inlined_only_where_it_always_is() -> None:
    inlined = Location(Kind.GO, SHOP, 0x401000, (Frame("callee"), Frame("main")))
    tree = tree_of(((inlined,), 9))
    assert [node.inlined for node in tree.nodes if node.name == "callee"] == [True]
    tree = tree_of(((inlined,), 9), ((go("callee"), go("main")), 1))
    assert [node.inlined for node in tree.nodes if node.name == "callee"] == [False]


@pytest.mark.parametrize(
    ("location", "name"),
    [
        (Location(Kind.NATIVE, Mapping(0, 9, 0, "/usr/lib/libfoo.so"), 0x1234), "[unknown] libfoo.so+0x1234"),
        (Location(Kind.NATIVE, Mapping(0, 9, 0, ""), 0x1234), "[unknown]"),
        (Location(Kind.NATIVE, None, 0x7FFF12345678), "[unknown]"),
        (Location(Kind.KERNEL, None, 0xFFFFFFFF81000000), "[unknown kernel]"),
        (Location(Kind.NATIVE, None, 1, (Frame("", system_name="_Zsys"),)), "_Zsys"),
        (Location(Kind.NATIVE, None, 1, (Frame(""),)), "[unknown]"),
    ],
)
def test_code_without_a_symbol_has_a_name(location: Location, name: str) -> None:
    assert [frame.name for frame in shown_frames(location)] == [name]


def test_processes_and_threads_stand_above_the_stack() -> None:
    assert group_names(Labels(12, "shop")) == ("shop",)
    assert group_names(Labels(12)) == ("pid 12",)
    assert group_names(Labels(12, "shop", 14, "worker")) == ("shop", "worker (14)")
    assert group_names(Labels(12, "shop", 14)) == ("shop", "thread (14)")


def test_very_deep_stacks_need_no_recursion() -> None:
    tree = tree_of((tuple(go(f"f{depth}", depth) for depth in range(5000)), 1))
    assert len(tree.nodes) == 5002
    assert tree.nodes[-1].total == (1, PERIOD)


@settings(deadline=None)
@given(hostile_profiles())
def test_no_value_is_lost_and_parents_come_first(profile) -> None:
    tree = build_flame_tree(profile)
    columns = range(len(profile.value_types))
    assert tree.nodes[0].total == tuple(profile.total(column) for column in columns)
    assert [tuple(sum(node.own[column] for node in tree.nodes) for column in columns)] == [tree.nodes[0].total]
    assert all(node.parent < index for index, node in enumerate(tree.nodes))
    by_leaf: Counter[int | None] = Counter()
    for sample, leaf in zip(profile.samples, tree.leaves, strict=True):
        by_leaf[leaf] += sample.values[0]
    assert {index: node.own[0] for index, node in enumerate(tree.nodes) if node.own[0]} == dict(by_leaf)


def test_the_tree_is_the_same_each_time() -> None:
    assert build_flame_tree(everything()) == build_flame_tree(everything())
