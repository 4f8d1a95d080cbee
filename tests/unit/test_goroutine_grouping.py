"""Groups of goroutines: what has which in common, who is an example, what is left out, and that nothing is lost."""

from array import array
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiles.gonames import Rank, package_of, rank, telling
from profiles.goroutines import GoState, Member
from profiles.grouping import MEMBERS, By, Grouping, Sort, group, plain, statuses, wanted_ids
from tests.support.goroutines import (
    LOCK,
    MAIN,
    MUTEX,
    PUT,
    QUEUE,
    READ,
    RUNNING,
    SECOND,
    SWEEP,
    frame,
    goroutines,
    many,
    shop,
)


def names(by: By, **more) -> list[tuple[str, int]]:
    return [(one.name, one.count) for one in group(shop(), Grouping(by, **more)).groups]


def test_alike_are_those_of_the_same_stack_status_and_labels() -> None:
    other = replace(PUT, labels=(("request", "refund"),))
    here = goroutines(
        [(PUT, Member(1)), (PUT, Member(2)), (other, Member(3)), (replace(PUT, wait_reason="x"), Member(4))]
    )
    assert [one.members for one in group(here).groups] == [(1, 2), (3,), (4,)]


def test_kinds_that_are_equal_are_one_group_also_where_they_are_told_twice() -> None:
    here = replace(goroutines([(PUT, Member(1)), (READ, Member(2))]), kinds=(PUT, replace(PUT, frames=(*PUT.frames,))))
    (one,) = group(here).groups
    assert (one.count, one.kinds) == (2, ((0, 1), (1, 1)))


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        (By.STATE, [("waiting", 53), ("syscall", 1), ("running", 1)]),
        (By.REASON, [("chan send", 37), ("IO wait", 12), ("sync.Mutex.Lock", 3), ("select (no cases)", 1)]),
        (By.FUNCTION, [("shop.push[...]", 37), ("net/http.(*conn).serve", 12), ("shop.(*Stock).reserve", 3)]),
        (By.ADDRESS, [(f"{QUEUE:#x}", 37), (f"{MUTEX:#x}", 3)]),
    ],
)
def test_groups_are_named_by_what_their_members_have_in_common(by: By, expected: list[tuple[str, int]]) -> None:
    assert names(by)[: len(expected)] == expected


def test_groups_by_creation_tell_places_apart_and_those_that_nobody_made() -> None:
    found = names(By.CREATED_BY)
    assert found[0] == ("shop.(*Server).Serve /home/dev/shop/server.go:88", 40)
    assert ("not by a go statement", 1) in found
    assert [name for name, _ in found if name.startswith("main.main ")] == [
        "main.main /home/dev/shop/main.go:10",
        "main.main /home/dev/shop/main.go:9",
    ]


def test_groups_by_label_have_one_of_those_without_it() -> None:
    assert names(By.LABEL, label="request") == [("checkout", 37), ("no label request", 18)]


def test_the_example_is_the_lowest_id_of_those_seen_waiting_longest() -> None:
    first = group(shop()).groups[0]
    assert (first.example, first.waiting_ns, first.at_most_ns) == (104, 192 * SECOND, 300 * SECOND)
    assert first.members == tuple(range(100, 137))
    assert group(many(1000, 1)).groups[0].members == tuple(range(1, MEMBERS + 1))


def test_a_bound_holds_for_a_group_only_where_it_is_known_of_all() -> None:
    read = next(one for one in group(shop()).groups if one.name == "net/http.(*conn).serve")
    assert (read.waiting_ns, read.at_most_ns, read.example) == (0, 0, 20)


def test_goroutines_of_the_runtime_are_left_out_and_counted_unless_asked_for() -> None:
    usual, all_of_them = group(shop()), group(shop(), Grouping(system=True))
    assert (usual.total, usual.system, all_of_them.total, all_of_them.system) == (55, 2, 57, 0)
    assert wanted_ids(shop(), system=False)[:3] == [1, 8, 9]
    assert wanted_ids(shop(), system=True)[:3] == [1, 3, 4]


def test_small_groups_are_counted_not_dropped() -> None:
    found = group(shop(), Grouping(at_least=12))
    assert [one.count for one in found.groups] == [37, 12]
    assert (found.small, found.in_small, found.in_none, found.total) == (4, 6, 0, 55)


def test_what_waits_for_nothing_known_is_in_no_group_by_address() -> None:
    found = group(shop(), Grouping(By.ADDRESS))
    assert (found.in_none, found.total) == (15, 55)


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        (Sort.COUNT, ["shop.push[...]", "net/http.(*conn).serve", "shop.(*Stock).reserve", "main.main"]),
        (Sort.WAIT, ["main.main", "shop.push[...]", "shop.cgoCall", "shop.(*Stock).reserve"]),
        (Sort.ID, ["main.main", "shop.(*Pricer).loop", "shop.cgoCall", "net/http.(*conn).serve"]),
        (Sort.NAME, ["main.main", "net/http.(*conn).serve", "shop.(*Pricer).loop", "shop.(*Stock).reserve"]),
    ],
)
def test_groups_come_in_the_order_asked_for(sort: Sort, expected: list[str]) -> None:
    assert [name for name, _ in names(By.ALIKE, sort=sort)][:4] == expected


def test_statuses_of_a_group_are_counted() -> None:
    (waiting, *_) = group(shop(), Grouping(By.STATE)).groups
    assert statuses(shop().kinds, waiting)[:2] == (("chan send", 37), ("IO wait", 12))


def test_columns_may_be_arrays_of_any_sort() -> None:
    whole = shop()
    columns = ("kind", "ids", "waiting_ns", "at_most_ns", "waits_for")
    other = replace(whole, **{name: array("q", getattr(whole, name)) for name in columns})
    for by in (By.ALIKE, By.ADDRESS):
        assert group(other, Grouping(by)) == group(whole, Grouping(by))
    assert plain(range(3)) == plain(array("q", [0, 1, 2])) == [0, 1, 2]


def test_nothing_is_a_group_of_nothing() -> None:
    found = group(goroutines([]))
    assert (found.groups, found.total) == ((), 0)
    assert group(replace(goroutines([]), kinds=(PUT,))).groups == ()


_members = st.lists(
    st.tuples(st.sampled_from((PUT, READ, LOCK, MAIN, RUNNING, SWEEP)), st.integers(0, 9), st.integers(0, 3)),
    max_size=30,
)


@given(_members, st.sampled_from(By), st.sampled_from(Sort), st.integers(1, 4), st.booleans())
def test_every_goroutine_is_counted_once(members, by: By, sort: Sort, at_least: int, system: bool) -> None:
    here = goroutines((kind, Member(n + 1, 0, wait, wait * 2, at)) for n, (kind, wait, at) in enumerate(members))
    found = group(here, Grouping(by, "request", sort, at_least, system))
    listed = sum(one.count for one in found.groups)
    assert listed + found.in_small + found.in_none + found.system == len(here)
    assert len({one.key for one in found.groups}) == len(found.groups)
    for one in found.groups:
        assert one.count == sum(count for _, count in one.kinds) == len(one.members) >= at_least
        assert one.example in one.members
    if by is By.STATE and at_least == 1:
        wanted = Counter(kind.state for kind, _, _ in members if system or not kind.system)
        assert {GoState(one.name): one.count for one in found.groups} == wanted


@pytest.mark.parametrize(
    ("function", "package", "whose"),
    [
        ("main.main.func1", "main", Rank.PROGRAM),
        ("shop.(*Queue[...]).Put", "shop", Rank.PROGRAM),
        ("github.com/x/y/internal/z.(*T).F-fm", "github.com/x/y/internal/z", Rank.PROGRAM),
        ("gopkg.in/yaml%2ev3.unmarshal", "gopkg.in/yaml%2ev3", Rank.PROGRAM),
        ("example.com/a.F[...]", "example.com/a", Rank.PROGRAM),
        ("net/http.(*conn).serve", "net/http", Rank.LIBRARY),
        ("database/sql.(*DB).conn", "database/sql", Rank.LIBRARY),
        ("golang.org/x/net/http2.(*ClientConn).RoundTrip", "golang.org/x/net/http2", Rank.LIBRARY),
        ("golang.org/x/sync/errgroup.(*Group).Wait", "golang.org/x/sync/errgroup", Rank.PLUMBING),
        ("runtime.gopark", "runtime", Rank.PLUMBING),
        ("internal/poll.(*FD).Read", "internal/poll", Rank.PLUMBING),
        ("net.(*conn).Read", "net", Rank.PLUMBING),
        ("sync.(*Mutex).Lock", "sync", Rank.PLUMBING),
        ("time.Sleep", "time", Rank.PLUMBING),
        ("panic", "", Rank.PLUMBING),
        ("", "", Rank.PLUMBING),
    ],
)
def test_a_name_tells_its_package_and_whose_it_is(function: str, package: str, whose: Rank) -> None:
    assert (package_of(function), rank(function)) == (package, whose)


@pytest.mark.parametrize(
    ("functions", "started", "expected"),
    [
        (["runtime.gopark", "database/sql.(*DB).conn", "shop.load", "main.main"], "", "shop.load"),
        (["net.(*conn).Read", "net/http.(*conn).serve", "runtime.goexit"], "", "net/http.(*conn).serve"),
        (["runtime.gopark", "runtime.bgsweep", "runtime.goexit"], "runtime.bgsweep", "runtime.bgsweep"),
        (["runtime.gopark", "runtime.chansend1", "runtime.goexit"], "main.main.gowrap1", "main.main.gowrap1"),
        ([], "shop.loop", "shop.loop"),
        ([], "", ""),
    ],
)
def test_a_stack_is_told_by_the_innermost_function_that_says_something(functions, started, expected) -> None:
    assert telling(functions, started) == expected


def test_a_stack_without_any_name_is_unknown() -> None:
    (one,) = group(goroutines([(replace(RUNNING, frames=(frame(""),), start_function=""), Member(1))])).groups
    assert one.name == "[unknown]"
