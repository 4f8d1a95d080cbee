"""Goroutines, groups of them and changes between takes as one JSON object, in pieces where it may be large.

The text of what goroutines share is made once a kind and joined: a hundred thousand of them are some hundred MB.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import compress
from typing import Any

from agent.goroutines.changes import Changes
from profiles.goroutines import Channel, Goroutines, Kind, Member
from profiles.grouping import By, Group, Groups, plain, statuses

_PIECE = 2000


def process_facts(goroutines: Goroutines) -> dict[str, Any]:
    """What every object begins with."""
    taken = datetime.fromtimestamp(goroutines.taken_ns / 10**9, UTC)
    return {
        "process": goroutines.process,
        "pid": goroutines.pid,
        "go": goroutines.version,
        "taken": taken.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "unsettled": goroutines.unsettled,
        "partial": goroutines.partial or None,
    }


def all_json(goroutines: Goroutines, *, system: bool) -> Iterator[str]:
    """Every goroutine, or all but the runtime's own, one a line."""
    of = plain(goroutines.kind)
    kept = [system or not kind.system for kind in goroutines.kinds]
    bodies: list[_Body | None] = [None] * len(goroutines.kinds)
    columns = (goroutines.ids, goroutines.creators, goroutines.waiting_ns, goroutines.at_most_ns)
    rows = zip(of, *map(plain, (*columns, goroutines.waits_for, goroutines.threads)), strict=True)
    yield f'{json.dumps(process_facts(goroutines))[:-1]}, "goroutines": ['
    texts, comma = [], ""
    for index, *own in compress(rows, [kept[kind] for kind in of]):
        body = bodies[index]
        if body is None:
            body = bodies[index] = _Body(goroutines.kinds[index])
        texts.append(body.text(Member(*own)))
        if len(texts) == _PIECE:
            yield f"{comma}\n" + ",\n".join(texts)
            texts.clear()
            comma = ","
    yield (f"{comma}\n" + ",\n".join(texts) if texts else "") + "\n]}\n"


def one_json(goroutines: Goroutines, kind: Kind, member: Member) -> str:
    """The same of one goroutine."""
    text = f'{json.dumps(process_facts(goroutines))[:-1]}, "goroutines": [\n{_Body(kind).text(member)}\n]'
    channel = goroutines.channels.get(member.waits_for)
    return text + (f', "channel": {json.dumps(_channel(channel))}' if channel else "") + "}\n"


def groups_json(goroutines: Goroutines, groups: Groups) -> str:
    """The groups; numbers of what is in none of them stand beside."""
    return _line(
        {
            **process_facts(goroutines),
            "by": groups.grouping.by.value,
            "total": groups.total,
            "system_left_out": groups.system,
            "others": {"groups": groups.small, "goroutines": groups.in_small, "in_no_group": groups.in_none},
            "groups": [_group(goroutines, groups, one) for one in groups.groups],
        }
    )


def changes_json(changes: Changes) -> str:
    """What changed since the take before."""
    return _line(
        {
            **process_facts(changes.goroutines),
            "total": changes.groups.total,
            "came": changes.came,
            "went": changes.went,
            "others": {"groups": changes.small},
            "changes": [
                {
                    "before": change.before,
                    "after": change.after,
                    "group": _group(change.goroutines, changes.groups, change.group),
                }
                for change in changes.changes
            ],
        }
    )


def _line(document: dict[str, Any]) -> str:
    return json.dumps(document) + "\n"


def _group(goroutines: Goroutines, groups: Groups, one: Group) -> dict[str, Any]:
    """A group; where its members differ, stack, state and creation are those of most."""
    kind = goroutines.kinds[one.kinds[0][0]]
    about: dict[str, Any] = {
        "name": one.name,
        "count": one.count,
        "share": round(one.count / groups.total, 4) if groups.total else 0,
        "waiting_ns": one.waiting_ns,
        "waiting_at_most_ns": one.at_most_ns or None,
        "example": one.example,
        "members": list(one.members),
        "statuses": dict(statuses(goroutines.kinds, one)),
        "kinds": len(one.kinds),
    }
    if groups.grouping.by is By.ADDRESS and isinstance(one.key, int):
        about["waits_for"] = f"{one.key:#x}"
        about["channel"] = _channel(goroutines.channels.get(one.key))
    made = kind.created_by
    return about | _shared(kind) | {"created_by": made._asdict() if made else None}


def _shared(kind: Kind) -> dict[str, Any]:
    return {
        "state": kind.state.value,
        "wait_reason": kind.wait_reason or None,
        "start_function": kind.start_function,
        "labels": dict(kind.labels),
        "system": kind.system,
        "locked": kind.locked,
        "note": kind.why_not or None,
        "frames": [frame._asdict() for frame in kind.frames],
    }


def _channel(channel: Channel | None) -> dict[str, Any] | None:
    if channel is None:
        return None
    return {name: getattr(channel, name) for name in ("buffered", "capacity", "closed", "senders", "receivers")}


class _Body:
    """The text that goroutines of a kind share."""

    def __init__(self, kind: Kind) -> None:
        self._shared = json.dumps(_shared(kind))[1:]
        self._creation = json.dumps(kind.created_by._asdict())[:-1] if kind.created_by else ""

    def text(self, own: Member) -> str:
        created = f'{self._creation}, "goroutine": {own.creator or "null"}}}' if self._creation else "null"
        waits_for = f'"{own.waits_for:#x}"' if own.waits_for else "null"
        return (
            f'{{"id": {own.id}, "waiting_ns": {own.waiting_ns}, "waiting_at_most_ns": {own.at_most_ns or "null"}, '
            f'"waits_for": {waits_for}, "thread": {own.thread or "null"}, "created_by": {created}, {self._shared}'
        )
