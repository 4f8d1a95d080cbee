"""What changes between takes: groups that come, grow, shrink and go, and who is new."""

from agent.cli.goroutine_json import changes_json
from agent.cli.goroutine_text import changes_text
from agent.goroutines.changes import Changes, compare, every_group
from profiles.goroutines import Member
from profiles.grouping import By, Grouping
from tests.support.goroutines import LOCK, PUT, READ, RUNNING, SWEEP, goroutines

BEFORE = goroutines(
    [*((PUT, Member(n)) for n in range(1, 11)), *((LOCK, Member(n)) for n in (20, 21)), (SWEEP, Member(30))]
)
AFTER = goroutines(
    [*((PUT, Member(n)) for n in range(3, 31)), *((READ, Member(n)) for n in (40, 41)), (SWEEP, Member(50))]
)


def changes(before=BEFORE, after=AFTER, at_least: int = 1, **more) -> Changes:
    grouping = Grouping(at_least=at_least, **more)
    return compare((before, every_group(before, grouping)), (after, every_group(after, grouping)), at_least)


def numbers(found: Changes) -> list[tuple[str, int, int]]:
    return [(change.group.name, change.before, change.after) for change in found.changes]


def test_what_grew_comes_first_then_what_shrank() -> None:
    found = changes()
    assert numbers(found) == [
        ("shop.push[...]", 10, 28),
        ("net/http.(*conn).serve", 0, 2),
        ("shop.(*Stock).reserve", 2, 0),
    ]
    assert (found.came, found.went) == (20, 2)
    assert numbers(changes(AFTER, BEFORE))[0] == ("shop.(*Stock).reserve", 0, 2)


def test_goroutines_of_the_runtime_count_only_where_asked_for() -> None:
    with_them = changes(system=True)
    assert (with_them.came, with_them.went) == (20, 2)
    without = goroutines([(SWEEP, Member(60))])
    assert (changes(BEFORE, without).came, changes(BEFORE, without, system=True).came) == (0, 1)


def test_changes_below_the_least_number_are_counted() -> None:
    found = changes(at_least=3)
    assert [change.grown for change in found.changes] == [18]
    assert found.small == 2


def test_equal_takes_have_no_changes_and_an_equal_number_is_none() -> None:
    assert changes(BEFORE, BEFORE).changes == ()
    others = goroutines([(RUNNING, Member(7))])
    found = changes(others, goroutines([(RUNNING, Member(8))]))
    assert (found.changes, found.came, found.went) == ((), 1, 1)
    assert "1 goroutine: 1 came, 1 went\n" in changes_text(found)
    assert "13 goroutines: the same ones\n" in changes_text(changes(BEFORE, BEFORE, system=True))


def test_groups_of_any_grouping_are_compared() -> None:
    assert numbers(changes(by=By.STATE)) == [("waiting", 12, 30)]
    assert numbers(changes(by=By.LABEL, label="request"))[0] == ("checkout", 10, 28)


def test_the_text_of_a_round_has_a_line_a_group(golden) -> None:
    made = (
        changes_text(changes()).partition("  ")[2]
        + changes_text(changes(at_least=3, by=By.CREATED_BY)).partition("  ")[2]
    )
    assert made == golden("goroutines-changes.txt", made)


def test_the_json_of_a_round_is_one_line() -> None:
    import json

    (line,) = changes_json(changes()).splitlines()
    document = json.loads(line)
    assert (document["came"], document["went"], document["total"]) == (20, 2, 30)
    assert [(row["before"], row["after"], row["group"]["state"]) for row in document["changes"]] == [
        (10, 28, "waiting"),
        (0, 2, "waiting"),
        (2, 0, "waiting"),
    ]
