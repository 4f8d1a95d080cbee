"""What became of the goroutines of a process from one take to the next: which groups came, grew, shrank and went."""

from collections.abc import Hashable
from dataclasses import dataclass, replace

from profiles.goroutines import Goroutines
from profiles.grouping import Group, Grouping, Groups, group, wanted_ids


@dataclass(frozen=True, slots=True)
class Change:
    """A group whose number is another than before; `group` is as it is now, or as it was where it went."""

    group: Group
    goroutines: Goroutines
    """Those that the group's indexes refer to."""
    before: int
    after: int

    @property
    def grown(self) -> int:
        """By how many; negative where it has shrunk."""
        return self.after - self.before


@dataclass(frozen=True, slots=True)
class Changes:
    """From one take to the next: `came` and `went` count goroutines, by their ids.

    `changes` are those of at least as many goroutines as the grouping asks for: what grew, then what
    shrank, most first. `small` are the others. Groups that are equal in number are neither, whoever is in them.
    """

    goroutines: Goroutines
    groups: Groups
    came: int
    went: int
    changes: tuple[Change, ...]
    small: int


def every_group(goroutines: Goroutines, grouping: Grouping) -> Groups:
    """The groups that takes are compared by: small ones too."""
    return group(goroutines, replace(grouping, at_least=1))


def compare(before: tuple[Goroutines, Groups], after: tuple[Goroutines, Groups], at_least: int = 1) -> Changes:
    """What changed between two takes of one process, grouped in the same way by `every_group`."""
    earlier, later = _by_key(before[1]), _by_key(after[1])
    found = [
        Change(one, after[0], earlier[key].count if key in earlier else 0, one.count)
        for key, one in later.items()
        if key not in earlier or earlier[key].count != one.count
    ]
    found += [Change(one, before[0], one.count, 0) for key, one in earlier.items() if key not in later]
    listed = [change for change in found if abs(change.grown) >= at_least]
    listed.sort(key=lambda change: (change.grown < 0, -abs(change.grown), change.group.members[0]))
    system = after[1].grouping.system
    ids = [set(wanted_ids(take[0], system=system)) for take in (before, after)]
    return Changes(
        goroutines=after[0],
        groups=after[1],
        came=len(ids[1] - ids[0]),
        went=len(ids[0] - ids[1]),
        changes=tuple(listed),
        small=len(found) - len(listed),
    )


def _by_key(groups: Groups) -> dict[Hashable, Group]:
    return {one.key: one for one in groups.groups}
