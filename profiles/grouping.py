"""Goroutines put into groups: how many are alike, for how long they have been seen waiting, and one to look at.

What is shared is looked at once a `Kind`, and the columns are walked as plain lists: a hundred thousand goroutines
take a few hundredths of a second.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import compress
from typing import NamedTuple

from profiles.gonames import telling
from profiles.goroutines import Goroutines, Kind

MEMBERS = 100
"""Ids that a group names at most."""


class By(StrEnum):
    """What the members of a group have in common."""

    ALIKE = "alike"
    """Stack, status and labels."""
    STATE = "state"
    REASON = "reason"
    """The wait reason, or the state of those that do not wait."""
    CREATED_BY = "created-by"
    FUNCTION = "function"
    """The one that `gonames.telling` chooses."""
    LABEL = "label"
    STACK = "stack"
    ADDRESS = "address"
    """Of what they wait for. Those of which it is not known, or that do not wait, are in no group."""


class Sort(StrEnum):
    """Which groups come first; ties go by number, then by id."""

    COUNT = "count"
    WAIT = "wait"
    ID = "id"
    NAME = "name"


@dataclass(frozen=True, slots=True)
class Grouping:
    """How goroutines are to be grouped: `label` is the key of By.LABEL, `system` keeps those of the runtime.

    Groups of fewer than `at_least` are not listed but counted.
    """

    by: By = By.ALIKE
    label: str = ""
    sort: Sort = Sort.COUNT
    at_least: int = 1
    system: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """Goroutines that have `key` in common, which is equal in takes of the same process at other times.

    `kinds` are pairs of an index of kinds and how many are of it, most first. `waiting_ns` is the longest that one
    was seen waiting, and `example` that one, of several the lowest id. None waits longer than `at_most_ns`; it is 0
    where that is not known of each of them. `members` are the lowest ids, MEMBERS at most.
    """

    key: Hashable
    name: str
    kinds: tuple[tuple[int, int], ...]
    count: int
    waiting_ns: int
    at_most_ns: int
    example: int
    members: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Groups:
    """All groups, in the order asked for. `total` counts goroutines, those of small groups and in none included.

    `small` groups with `in_small` goroutines are not listed; `in_none` have nothing to be grouped by; `system` ones
    were left out of everything.
    """

    grouping: Grouping
    groups: tuple[Group, ...]
    total: int
    small: int = 0
    in_small: int = 0
    in_none: int = 0
    system: int = 0

    def share(self, group: Group) -> float:
        """A group's part of all goroutines, 0 to 1."""
        return group.count / self.total if self.total else 0.0


def plain(column: Sequence[int]) -> list[int]:
    """A column as a list of Python's own numbers, whatever array it is."""
    convert: Callable[[], list[int]] | None = getattr(column, "tolist", None)
    return convert() if convert is not None else list(column)


def wanted_ids(goroutines: Goroutines, *, system: bool) -> list[int]:
    """The ids of all goroutines, or of all that are not the runtime's own."""
    ids = plain(goroutines.ids)
    if system:
        return ids
    kept = [not kind.system for kind in goroutines.kinds]
    return list(compress(ids, [kept[kind] for kind in plain(goroutines.kind)]))


def statuses(kinds: Sequence[Kind], group: Group) -> tuple[tuple[str, int], ...]:
    """What a group's members wait for, or their states, each with its number, most first."""
    counts: Counter[str] = Counter()
    for kind, count in group.kinds:
        counts[kinds[kind].status] += count
    return tuple(counts.most_common())


def group(goroutines: Goroutines, grouping: Grouping = Grouping()) -> Groups:
    """Put goroutines into groups."""
    columns = _Columns.of(goroutines)
    by_rows = _rows_by_address if grouping.by is By.ADDRESS else _rows_by_kind
    rows = by_rows(goroutines, columns, grouping)
    counts = Counter(columns.kind)
    total = sum(count for kind, count in counts.items() if grouping.system or not goroutines.kinds[kind].system)
    groups = [_group(goroutines, grouping, columns, key, positions) for key, positions in rows.items()]
    listed = [one for one in groups if one.count >= grouping.at_least]
    counted = sum(one.count for one in groups)
    return Groups(
        grouping=grouping,
        groups=tuple(sorted(listed, key=_ORDERS[grouping.sort])),
        total=total,
        small=len(groups) - len(listed),
        in_small=counted - sum(one.count for one in listed),
        in_none=total - counted,
        system=len(goroutines) - total,
    )


class _Columns(NamedTuple):
    """What is looked at of each goroutine, as lists."""

    kind: list[int]
    ids: list[int]
    waiting_ns: list[int]
    at_most_ns: list[int]

    @classmethod
    def of(cls, goroutines: Goroutines) -> "_Columns":
        return cls(*map(plain, (goroutines.kind, goroutines.ids, goroutines.waiting_ns, goroutines.at_most_ns)))


def _rows_by_kind(goroutines: Goroutines, columns: _Columns, grouping: Grouping) -> dict[Hashable, list[int]]:
    """Positions by key, for keys that all of a kind share."""
    rows: dict[Hashable, list[int]] = {}
    left_out: list[int] = []
    known: dict[Hashable, list[int]] = {}
    lists = []
    for kind in goroutines.kinds:
        if kind.system and not grouping.system:
            lists.append(left_out)
            continue
        alike = _alike(kind)
        if alike not in known:
            known[alike] = rows.setdefault(_KEYS[grouping.by](kind, grouping.label), [])
        lists.append(known[alike])
    for position, index in enumerate(columns.kind):
        lists[index].append(position)
    return {key: positions for key, positions in rows.items() if positions}


def _rows_by_address(goroutines: Goroutines, columns: _Columns, grouping: Grouping) -> dict[Hashable, list[int]]:
    kept = [grouping.system or not kind.system for kind in goroutines.kinds]
    rows: dict[Hashable, list[int]] = {}
    for position, (address, kind) in enumerate(zip(plain(goroutines.waits_for), columns.kind, strict=True)):
        if address and kept[kind]:
            rows.setdefault(address, []).append(position)
    return rows


def _group(goroutines: Goroutines, grouping: Grouping, columns: _Columns, key: Hashable, positions: list[int]) -> Group:
    waits = list(map(columns.waiting_ns.__getitem__, positions))
    bounds = list(map(columns.at_most_ns.__getitem__, positions))
    longest = max(waits)
    kinds = tuple(Counter(map(columns.kind.__getitem__, positions)).most_common())
    return Group(
        key=key,
        name=_name(grouping, key, goroutines.kinds[kinds[0][0]]),
        kinds=kinds,
        count=len(positions),
        waiting_ns=longest,
        at_most_ns=max(bounds) if all(bounds) else 0,
        example=columns.ids[positions[waits.index(longest)]],
        members=tuple(map(columns.ids.__getitem__, positions[:MEMBERS])),
    )


def function_of(kind: Kind) -> str:
    """The function that says most of what goroutines of this kind are about; never empty."""
    return telling((frame.function for frame in kind.frames), kind.start_function) or "[unknown]"


def _alike(kind: Kind) -> Hashable:
    """Kinds for which this is equal have every key in common. Stacks are told apart by where they are in memory.

    A process that labels each request has a kind for each: to compare their stacks would take longest.
    """
    where = (id(kind.frames), kind.why_not, kind.start_function, kind.created_by)
    return (*where, kind.state, kind.wait_reason, kind.labels)


_Key = Callable[[Kind, str], Hashable]
_KEYS: dict[By, _Key] = {
    By.ALIKE: lambda kind, _: (kind.frames, kind.status, kind.labels, kind.why_not),
    By.STATE: lambda kind, _: kind.state.value,
    By.REASON: lambda kind, _: kind.status,
    By.CREATED_BY: lambda kind, _: kind.created_by,
    By.FUNCTION: lambda kind, _: function_of(kind),
    By.LABEL: lambda kind, label: dict(kind.labels).get(label),
    By.STACK: lambda kind, _: (kind.frames, kind.why_not),
}


def _name(grouping: Grouping, key: Hashable, commonest: Kind) -> str:
    match grouping.by:
        case By.ADDRESS:
            return f"{key:#x}"
        case By.CREATED_BY:
            made = commonest.created_by
            return f"{made.function} {made.file}:{made.line}" if made else "not by a go statement"
        case By.LABEL:
            return f"no label {grouping.label}" if key is None else str(key)
        case By.STATE | By.REASON | By.FUNCTION:
            return str(key)
    return function_of(commonest)


_Order = Callable[[Group], tuple[int | str, ...]]
_ORDERS: dict[Sort, _Order] = {
    Sort.COUNT: lambda one: (-one.count, -one.waiting_ns, one.members[0]),
    Sort.WAIT: lambda one: (-one.waiting_ns, -one.count, one.members[0]),
    Sort.ID: lambda one: (one.members[0],),
    Sort.NAME: lambda one: (one.name, -one.count, one.members[0]),
}
