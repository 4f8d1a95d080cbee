"""The texts of goroutines: groups, what they wait for, Go's own shape, and JSON."""

import json
from dataclasses import replace

import pytest

from agent.cli.goroutine_dump import dump, one
from agent.cli.goroutine_json import all_json, groups_json, one_json
from agent.cli.goroutine_text import groups_text, stack_lines
from agent.cli.goroutine_words import channel_text, labels_text, lasting, quoted, waited
from profiles.goroutines import Channel, GoState, Member
from profiles.grouping import By, Grouping, Sort, group
from tests.support.goroutines import CUT, LOCK, MAIN, PUT, QUEUE, READ, RUNNING, SECOND, frame, goroutines, many, shop

GROUPINGS = {
    "alike": Grouping(at_least=2),
    "created-by": Grouping(By.CREATED_BY, sort=Sort.WAIT),
    "state": Grouping(By.STATE, system=True),
    "function": Grouping(By.FUNCTION, sort=Sort.ID),
    "label": Grouping(By.LABEL, label="request"),
    "stack": Grouping(By.STACK, at_least=12),
    "waits": Grouping(By.ADDRESS),
}


def text(grouping: Grouping, here=None, **more) -> str:
    here = here or shop()
    return groups_text(here, group(here, grouping), **more)


@pytest.mark.parametrize("name", GROUPINGS)
def test_groups_read_as_they_should(golden, name: str) -> None:
    made = text(GROUPINGS[name])
    assert made == golden(f"goroutines-{name}.txt", made)


def test_a_bound_is_never_said_to_be_the_time() -> None:
    assert waited(0, 0) == ""
    assert waited(SECOND - 1, 0) == ""
    assert waited(192 * SECOND, 0) == "seen ≥ 3m12s"
    assert waited(0, 90 * SECOND) == "≤ 1m30s by GC"
    assert waited(192 * SECOND, 300 * SECOND + 1) == "seen ≥ 3m12s, ≤ 5m01s by GC"


@pytest.mark.parametrize(
    ("seconds", "down", "up"),
    [
        (0, "0s", "0s"),
        (59.5, "59s", "1m00s"),
        (3599, "59m59s", "59m59s"),
        (3661, "1h01m", "1h02m"),
        (86399.5, "23h59m", "1d00h"),
        (90000.5, "1d01h", "1d02h"),
    ],
)
def test_times_are_rounded_to_the_side_where_they_stay_true(seconds: float, down: str, up: str) -> None:
    assert (lasting(int(seconds * SECOND)), lasting(int(seconds * SECOND), up=True)) == (down, up)


def test_long_stacks_are_cut_in_the_middle_unless_they_are_wanted_whole() -> None:
    calls = tuple(frame(f"shop.f{n}", f"f.go:{n + 1}") for n in range(40))
    short, whole = (stack_lines(replace(PUT, frames=calls), whole=whole) for whole in (False, True))
    assert (len(short), len(whole)) == (15, 40)
    assert (short[11].split()[0], short[12], short[13].split()[0]) == ("shop.f11", "... 26 more calls", "shop.f38")
    assert len(stack_lines(replace(PUT, frames=calls[:15]), whole=False)) == 15


def test_a_stack_of_plumbing_alone_is_shown() -> None:
    assert len(stack_lines(replace(PUT, frames=PUT.frames[:3]), whole=False)) == 3


def test_what_could_not_be_read_is_said_at_the_end() -> None:
    here = replace(shop(), partial="The list of goroutines is cut off at 57.")
    assert text(Grouping(), here).endswith("\n\nThe list of goroutines is cut off at 57.\n")


def test_names_cannot_command_the_terminal() -> None:
    evil = replace(
        PUT, frames=(frame("shop.\x1b[2J", "\x1b.go:3"),), wait_reason="\x1b[0m", labels=(("\x07", "\u202e"),)
    )
    here = replace(goroutines([(evil, Member(1))]), process="\x1b]0;")
    made = [text(Grouping(by, label="\x07"), here) for by in By if by is not By.ADDRESS] + list(
        dump(here, system=False)
    )
    assert "\x1b" not in "".join(made)
    assert "\x07" not in "".join(made)
    assert "\u202e" not in "".join(made)


@pytest.mark.parametrize(
    ("channel", "expected"),
    [
        (Channel(0, 10, closed=False, senders=37, receivers=0), "chan 0x10: buffered 0 of 10, 37 senders wait"),
        (Channel(0, 0, closed=False, senders=0, receivers=1), "chan 0x10: unbuffered, 1 receiver waits"),
        (Channel(1, 2, closed=True, senders=0, receivers=0), "chan 0x10: buffered 1 of 2, closed"),
        (None, "0x10"),
    ],
)
def test_a_channel_is_told_with_who_waits_in_it(channel: Channel | None, expected: str) -> None:
    assert channel_text(0x10, channel) == expected


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("a/b_c.9", "a/b_c.9"),
        ("", ""),
        ("two words", '"two words"'),
        ("a-b", '"a-b"'),
        ('"\\\n\r\t', r'"\"\\\n\r\t"'),
        ("\x01\x7f", r'"\x01\u007f"'),
        ("Zoë", r'"Zo\u00eb"'),
        ("\U0001f600", r'"\U0001f600"'),
        ("\udcff", r'"\xff"'),
    ],
)
def test_labels_are_quoted_as_go_quotes_them(label: str, expected: str) -> None:
    assert quoted(label) == expected


def test_labels_are_listed_as_go_lists_them() -> None:
    assert labels_text(PUT.labels) == r'{request: checkout, "user name": "Zo\u00eb"}'
    assert labels_text(()) == ""


def test_the_dump_has_the_shape_of_gos_own(golden) -> None:
    here = goroutines(
        [
            (MAIN, Member(1, 0, 65 * SECOND)),
            (RUNNING, Member(8, 1)),
            (replace(RUNNING, state=GoState.RUNNABLE, why_not="changing"), Member(7)),
            (CUT, Member(9, 1, 119 * SECOND)),
            (PUT, Member(100, 7, 59 * SECOND, 300 * SECOND, QUEUE)),
            (replace(LOCK, state=GoState.LEAKED), Member(101, 7, 200 * SECOND)),
        ]
    )
    made = "".join(dump(here, system=False))
    assert made == golden("goroutines-full.txt", made)


def test_a_dump_is_made_in_pieces_that_join() -> None:
    pieces = list(dump(many(4001, 3), system=False))
    assert len(pieces) == 3
    assert "".join(pieces).count("\n\ngoroutine ") == 4000


def test_goroutines_of_the_runtime_are_in_a_dump_only_where_asked_for() -> None:
    usual, all_of_them = ("".join(dump(shop(), system=system)).count("goroutine ") for system in (False, True))
    assert all_of_them - usual == 2
    assert list(dump(goroutines([]), system=True)) == []


def test_one_goroutine_comes_with_what_gos_dump_does_not_say() -> None:
    kind, member = next((kind, member) for kind, member in shop().members() if member.id == 104)
    text, facts = one(shop(), kind, member).split("\n\n")
    assert text.startswith('goroutine 104 [chan send, 3 minutes] {request: checkout, "user name": "Zo\\u00eb"}:\n')
    assert facts.splitlines() == [
        "seen so for at least 3m12s",
        "waits for at most 5m00s, by what garbage collection noted",
        "waits for chan 0xc000120000: buffered 10 of 10, 37 senders wait",
        "started as shop.(*Server).handle",
    ]
    assert "on thread 4219" in one(shop(), RUNNING, Member(8, thread=4219))


def test_json_of_all_is_one_object_with_names_as_go_prints_them() -> None:
    document = json.loads("".join(all_json(shop(), system=False)))
    assert (document["process"], document["pid"], document["go"]) == ("shop", 4217, "go1.27.3")
    assert document["taken"] == "2026-08-01T16:00:00.250Z"
    rows = {row["id"]: row for row in document["goroutines"]}
    assert len(rows) == 55
    assert rows[104] == {
        "id": 104,
        "state": "waiting",
        "wait_reason": "chan send",
        "waiting_ns": 192 * SECOND,
        "waiting_at_most_ns": 300 * SECOND,
        "waits_for": "0xc000120000",
        "thread": None,
        "start_function": "shop.(*Server).handle",
        "created_by": {
            "function": "shop.(*Server).Serve",
            "file": "/home/dev/shop/server.go",
            "line": 88,
            "goroutine": 7,
        },
        "labels": {"request": "checkout", "user name": "Zoë"},
        "system": False,
        "locked": False,
        "note": None,
        "frames": [call._asdict() for call in PUT.frames],
    }
    assert (rows[8]["wait_reason"], rows[8]["thread"], rows[8]["note"], rows[8]["frames"]) == (
        None,
        4219,
        "running",
        [],
    )
    assert rows[1]["created_by"] is None
    assert len(json.loads("".join(all_json(shop(), system=True)))["goroutines"]) == 57


@pytest.mark.parametrize("count", [0, 1, 2000, 4001])
def test_json_in_pieces_is_one_document(count: int) -> None:
    assert len(json.loads("".join(all_json(many(count, 3), system=True)))["goroutines"]) == count


def test_json_of_one_goroutine_has_its_channel() -> None:
    document = json.loads(one_json(shop(), PUT, Member(104, 7, waits_for=QUEUE)))
    assert [row["id"] for row in document["goroutines"]] == [104]
    assert document["channel"]["senders"] == 37
    assert "channel" not in json.loads(one_json(shop(), READ, Member(20)))


def test_json_of_groups_says_what_is_in_none() -> None:
    document = json.loads(groups_json(shop(), group(shop(), Grouping(at_least=12))))
    assert document["others"] == {"groups": 4, "goroutines": 6, "in_no_group": 0}
    assert (document["total"], document["system_left_out"], document["by"]) == (55, 2, "alike")
    first = document["groups"][0]
    assert (first["count"], first["example"], first["wait_reason"]) == (37, 104, "chan send")
    assert first["statuses"] == {"chan send": 37}
    assert first["created_by"]["line"] == 88
    waits = json.loads(groups_json(shop(), group(shop(), Grouping(By.ADDRESS))))["groups"]
    assert (waits[0]["waits_for"], waits[0]["channel"]["capacity"], waits[1]["channel"]) == ("0xc000120000", 10, None)
