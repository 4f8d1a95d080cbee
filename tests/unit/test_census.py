"""The leak census, on goroutines made by hand."""

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiles import census
from profiles.census import Census, Confidence, Findings
from profiles.goroutines import Creation, Goroutines, GoState, Kind, Member
from tests.support.goroutines import LOCK, PUT, READ, RUNNING, SECOND, SWEEP, frame, goroutines

INTERVAL = 30 * SECOND
SELECT = replace(PUT, wait_reason="select")
RECEIVE = replace(PUT, wait_reason="chan receive")
SLEEP = replace(PUT, wait_reason="sleep")
SYSCALL = replace(PUT, wait_reason="", state=GoState.SYSCALL)

Rounds = list[dict[int, Kind]]
"""Who is there at each look, by id: whoever was there before in the same kind has not moved, but for `moving`."""


def looks(
    rounds: Rounds, moving: frozenset[int] = frozenset(), first: int = 1000 * SECOND, **options
) -> list[Findings]:
    found, since, before, one = [], {}, {}, Census(**options)
    for number, there in enumerate(rounds):
        now = first + number * INTERVAL
        since = {
            own: since[own] if before.get(own) == kind and own not in moving else now for own, kind in there.items()
        }
        found.append(one.look(goroutines((kind, Member(own, 1, now - since[own])) for own, kind in there.items()), now))
        before = there
    return found


def growing(kind: Kind, sizes: tuple[int, ...] = (10, 20, 30, 40), first: int = 100) -> Rounds:
    return [dict.fromkeys(range(first, first + size), kind) for size in sizes]


def together(*series: Rounds) -> Rounds:
    return [{own: kind for part in parts for own, kind in part.items()} for parts in zip(*series, strict=True)]


def test_what_only_grows_is_suspected_after_two_looks_and_a_leak_after_four() -> None:
    found = looks(growing(PUT))
    assert found[0] == Findings(1, sites=1)
    assert [[one.confidence for one in each.suspects] for each in found[1:]] == [
        [Confidence.SUSPECT],
        [Confidence.SUSPECT],
        [Confidence.LEAK],
    ]
    (leak,) = found[3].suspects
    assert leak.site.created_by == PUT.created_by
    assert (leak.site.blocked.function, leak.site.blocked.line) == ("shop.push[...]", 17)
    assert (leak.populations, leak.settled, leak.intervals) == ((10, 20, 30, 40), (0, 10, 20, 30), 3)
    assert (leak.grown, leak.per_minute, leak.before, leak.left) == (30, 20.0, 30, 0)
    assert (leak.example, leak.oldest_ns) == (100, 3 * INTERVAL)


def test_fifty_thousand_are_named_after_two_looks() -> None:
    found = looks(together(growing(PUT, (1000, 50_000)), growing(READ, (500, 500), first=10**6)))
    assert [one.populations for one in found[1].suspects] == [(1000, 50_000)]


def test_a_pool_is_none() -> None:
    assert [each.suspects for each in looks([dict.fromkeys(range(100, 300), LOCK)] * 4)] == [()] * 4


def test_a_burst_that_drains_is_none_however_it_drains() -> None:
    rise = growing(PUT, (100, 200, 300))
    for gone in (range(100, 150), range(350, 400), range(100, 400, 6)):
        fall = {own: kind for own, kind in rise[-1].items() if own not in gone}
        found = looks([*rise, fall])
        assert found[1].suspects
        assert found[3].suspects == ()


def test_those_that_are_seen_to_move_are_none() -> None:
    assert looks(growing(PUT), moving=frozenset(range(100, 200)))[3].suspects == ()


def test_one_in_a_hundred_may_leave_but_it_is_no_leak_then() -> None:
    rounds = growing(PUT, (200, 300, 400, 500))
    del rounds[2][100], rounds[3][100]
    assert [one.confidence for one in looks(rounds)[3].suspects] == [Confidence.SUSPECT]
    for own in (101, 102, 103):
        del rounds[2][own], rounds[3][own]
    assert looks(rounds)[3].suspects == ()


def test_a_leak_among_many_that_pass_is_seen_from_the_fourth_look_on() -> None:
    passing = [dict.fromkeys(range(1000 * n, 1000 * n + 300 - 20 * n), PUT) for n in range(1, 6)]
    found = looks(together(growing(PUT, (10, 30, 50, 70, 90), first=100), passing))
    assert [len(each.suspects) for each in found[:3]] == [0, 0, 0]
    assert not found[3].suspects  # fewer than at the first look: nothing says yet that it grows
    passing = [dict.fromkeys(range(1000 * n, 1000 * n + 300), PUT) for n in range(1, 6)]
    found = looks(together(growing(PUT, (10, 30, 50, 70, 90), first=100), passing))
    assert [len(each.suspects) for each in found] == [0, 0, 0, 1, 1]


def test_what_stops_growing_is_one_no_more() -> None:
    found = looks(growing(PUT, (10, 20, 30, 40, 40, 40)))
    assert found[3].suspects
    assert found[5].suspects == ()


@pytest.mark.parametrize("kind", [SELECT, RECEIVE, SLEEP, READ, SYSCALL])
def test_what_a_clock_may_wake_is_undecided_unless_each_waking_is_told(kind: Kind) -> None:
    last = looks(growing(kind))[3]
    assert (len(last.suspects), len(last.undecided)) == (0, 1)
    last = looks(growing(kind), exact=True)[3]
    assert (len(last.suspects), len(last.undecided)) == (1, 0)
    sure = kind in {SELECT, RECEIVE}
    assert last.suspects[0].confidence is (Confidence.LEAK if sure else Confidence.SUSPECT)


def marked(ages: list[dict[int, int]], kind: Kind = SELECT) -> Findings:
    """Looks at 20, 40.. that are marked by the garbage collector so long ago, by id."""
    one = Census()
    for number, by_id in enumerate(ages):
        size = 20 * (number + 1)
        members = [
            (kind, Member(own, 1, max(0, number - (own - 100) // 20) * INTERVAL, by_id.get(own, 0)))
            for own in range(100, 100 + size)
        ]
        found = one.look(goroutines([*members, (SWEEP, Member(3, at_most_ns=by_id.get(3, 0)))]), number * INTERVAL)
    return found


def test_marks_that_stay_prove_that_none_has_run() -> None:
    ages = [dict.fromkeys(range(100, 100 + 20 * n), SECOND + n * INTERVAL) for n in range(4)]
    found = marked(ages)
    assert [one.confidence for one in found.suspects] == [Confidence.LEAK]
    assert found.suspects[0].proven == 40


def test_marks_that_change_or_go_show_that_they_have_run() -> None:
    everyone = range(100, 180)
    for last in ({}, dict.fromkeys(everyone, SECOND)):
        found = marked([dict.fromkeys(everyone, SECOND)] * 3 + [last])
        assert (found.suspects, found.undecided) == ((), ())


def test_those_without_a_mark_after_a_collection_have_run() -> None:
    assert len(marked([{}] * 4).undecided) == 1
    recently = {100: 2 * SECOND, 3: SECOND}
    assert marked([{}, recently, recently, recently]).undecided == ()


def test_those_that_run_and_those_of_the_runtime_are_no_suspects() -> None:
    assert looks(growing(RUNNING))[3] == Findings(4)
    assert looks(growing(SWEEP), exact=True)[3] == Findings(4)


def test_what_go_itself_calls_leaked_is_a_leak_at_once() -> None:
    found = looks(growing(replace(SELECT, state=GoState.LEAKED)), exact=True)
    assert found[1].suspects[0].confidence is Confidence.LEAK


def test_the_surest_come_first_then_what_grows_most() -> None:
    rounds = together(
        growing(PUT, first=100),
        growing(LOCK, (10, 30, 50, 70), first=1000),
        growing(READ, (10, 90, 180, 270), first=2000),
    )
    found = looks(rounds, exact=True)[3]
    assert [one.site.status for one in found.suspects] == ["sync.Mutex.Lock", "chan send", "IO wait"]


def test_few_are_not_worth_telling_of() -> None:
    assert looks(growing(PUT, (1, 2, 3, 4)))[3].suspects == ()
    assert looks(growing(PUT, (1, 2, 3, 4)), at_least=3)[3].suspects != ()


def test_memory_is_bounded_in_sites_and_in_goroutines(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = [replace(PUT, created_by=Creation(f"shop.f{n}", "f.go", n)) for n in range(50)]
    many = together(*(growing(kind, first=1000 * n) for n, kind in enumerate(kinds, 1)))
    found = looks(together(many, growing(LOCK, (20, 40, 60, 80))), max_sites=10)[3]
    assert (found.sites, found.not_followed, len(found.suspects)) == (10, 41 * 40, 10)
    monkeypatch.setattr(census, "MAX_FOLLOWED", 100)
    found = looks(together(many, growing(LOCK, (20, 40, 60, 80))))[3]
    assert (found.sites, found.not_followed, found.suspects[0].site.status) == (1, 50 * 40, "sync.Mutex.Lock")


def test_history_is_bounded() -> None:
    found = looks(growing(PUT, tuple(range(10, 60))))[-1].suspects[0]
    assert len(found.populations) == len(found.settled) == census.MAX_HISTORY
    assert found.intervals == 49


def test_a_goroutine_without_a_stack_is_counted_by_what_it_began_as() -> None:
    bare = replace(PUT, frames=(), why_not="the stack could not be read")
    assert looks(growing(bare))[3].suspects[0].site.blocked == frame("shop.(*Server).handle")


KINDS = (PUT, LOCK, SELECT, SLEEP, READ, RUNNING, SYSCALL)
ROUNDS = st.lists(st.dictionaries(st.integers(1, 40), st.sampled_from(KINDS), max_size=30), min_size=1, max_size=6)


@given(ROUNDS, st.booleans())
def test_a_process_that_never_grows_has_no_suspects(rounds: Rounds, exact: bool) -> None:
    largest = {kind: list(rounds[0].values()).count(kind) for kind in KINDS}
    for number, there in enumerate(rounds):
        kept: dict[int, Kind] = {}
        for own, kind in there.items():
            if list(kept.values()).count(kind) < largest[kind]:
                kept[own] = kind
        rounds[number] = kept
        largest = {kind: list(kept.values()).count(kind) for kind in KINDS}
    assert all(each.suspects == each.undecided == () for each in looks(rounds, exact=exact, at_least=1))


@given(ROUNDS, st.integers(0, 2**32), st.booleans())
def test_the_order_of_goroutines_does_not_matter(rounds: Rounds, seed: int, exact: bool) -> None:
    def shuffled(taken: Goroutines) -> Goroutines:
        order = list(range(len(taken)))
        random.Random(seed).shuffle(order)
        columns = ("kind", "ids", "creators", "waiting_ns", "at_most_ns", "waits_for", "threads")
        return replace(taken, **{name: [getattr(taken, name)[at] for at in order] for name in columns})

    ones, others = (Census(exact=exact, at_least=1, max_sites=3) for _ in range(2))
    for number, there in enumerate(rounds):
        taken = goroutines((kind, Member(own, 1, number * INTERVAL)) for own, kind in there.items())
        assert ones.look(taken, number * INTERVAL) == others.look(shuffled(taken), number * INTERVAL)


@given(ROUNDS, st.booleans())
def test_whatever_comes_a_suspect_has_grown_and_is_there(rounds: Rounds, exact: bool) -> None:
    for number, found in enumerate(looks(rounds, exact=exact, at_least=1)):
        for one in found.suspects:
            assert one.populations[-1] == sum(kind.status == one.site.status for kind in rounds[number].values())
            assert one.grown > 0
            assert one.example in rounds[number]
            assert one.left <= 0.01 * one.before
