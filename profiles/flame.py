"""The flame tree: a profile's stacks merged from the root down, as flame graphs and folded stacks show them.

Also the one place that decides what people see of a location: `shown_frames` names code that has no symbol,
`group_names` says which process (and thread) a stack hangs under.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import NamedTuple

from profiles.model import Kind, Labels, Location, Profile, ValueType

UNKNOWN = "[unknown]"
UNKNOWN_KERNEL = "[unknown kernel]"


class ShownFrame(NamedTuple):
    """A frame as people see it. `kind` is None for what is not code: the root, processes and threads.

    `inlined` says that the compiler put this call into the function that encloses it.
    """

    name: str
    kind: Kind | None
    file: str = ""
    line: int = 0
    start_line: int = 0
    inlined: bool = False


class FlameNode(NamedTuple):
    """A function as called along one path. Siblings differ in name or kind.

    `parent` indexes the tree's nodes, -1 for the root. `file` and `line` are where most of the value was
    seen (one function may appear with several lines); `inlined` only if it always was.
    """

    parent: int
    name: str
    kind: Kind | None
    file: str
    line: int
    inlined: bool
    own: tuple[int, ...]
    total: tuple[int, ...]


_ROOT = ShownFrame("all", None)


@dataclass(frozen=True, slots=True)
class FlameTree:
    """All stacks of a profile as one tree; `nodes[0]` is its root and every parent comes before its children.

    `leaves` has, for each sample of the profile in order, the node that the sample's values count as own; None
    for those left out.
    """

    value_types: tuple[ValueType, ...]
    nodes: tuple[FlameNode, ...]
    leaves: tuple[int | None, ...]


def shown_frames(location: Location) -> tuple[ShownFrame, ...]:
    """What to show of a location, outermost caller first; never empty.

    Code without a symbol is `[unknown] libfoo.so+0x1234` where its file is known (the address is the file's
    own, so it is the same in every process) and `[unknown]` where not, so that it merges and can be searched.
    """
    if not location.frames:
        return (ShownFrame(_unknown(location), location.kind),)
    last = len(location.frames) - 1
    return tuple(
        ShownFrame(
            frame.function or frame.system_name or UNKNOWN,
            location.kind,
            frame.file,
            frame.line,
            frame.start_line,
            inlined=position < last,
        )
        for position, frame in reversed(tuple(enumerate(location.frames)))
    )


def _unknown(location: Location) -> str:
    """A name for code without a symbol. Kernel addresses are not shown: they would tell the kernel's layout."""
    if location.kind is Kind.KERNEL:
        return UNKNOWN_KERNEL
    if location.mapping is None or not location.mapping.filename:
        return UNKNOWN
    return f"{UNKNOWN} {PurePosixPath(location.mapping.filename).name}+{location.address:#x}"


def group_names(labels: Labels) -> tuple[str, ...]:
    """What stands above a stack's own frames: the process, and the thread where threads were kept apart."""
    process = labels.process or f"pid {labels.pid}"
    if not labels.tid:
        return (process,)
    return (process, f"{labels.thread or 'thread'} ({labels.tid})")


def build_flame_tree(profile: Profile, columns: Sequence[int] | None = None) -> FlameTree:
    """Merge all stacks of a profile, each under its process (and thread), into one tree of these value columns.

    Samples without a value in any of the columns (all, unless given) are left out, so no subtree is all zeros.
    """
    chosen = range(len(profile.value_types)) if columns is None else columns
    tree = _TreeBuilder(len(chosen))
    locations = [tuple(map(tree.frame, shown_frames(location))) for location in profile.locations]
    groups = [tuple(tree.frame(ShownFrame(name, None)) for name in group_names(labels)) for labels in profile.labels]
    paths = [tuple(step for index in reversed(stack) for step in locations[index]) for stack in profile.stacks]
    times = profile.time_columns
    leaves: list[int | None] = []
    for sample in profile.samples:
        values = [sample.values[column] for column in chosen]
        weight = sum(sample.values[column] for column in times)
        path = groups[sample.labels] + paths[sample.stack]
        leaves.append(tree.add(path, values, weight) if any(values) else None)
    return FlameTree(tuple(profile.value_types[column] for column in chosen), tree.nodes(), tuple(leaves))


class _TreeBuilder:
    """Grows the tree. Frames are interned twice: as they are, and by what siblings are merged by (name, kind)."""

    def __init__(self, columns: int) -> None:
        self._frames: dict[ShownFrame, int] = {}
        self._identities: dict[tuple[str, Kind | None], int] = {}
        self._identity_of: list[int] = []
        self._children: dict[tuple[int, int], int] = {}
        # (parent, frame) -> [child, weight]: one look-up per step, and the tally that finds the hottest line.
        self._steps: dict[tuple[int, int], list[int]] = {}
        self._parents = [-1]
        self._own: list[list[int]] = [[0] for _ in range(columns)]

    def frame(self, frame: ShownFrame) -> int:
        """The index of a frame, added if new."""
        index = self._frames.setdefault(frame, len(self._frames))
        if index == len(self._identity_of):
            identity = self._identities.setdefault((frame.name, frame.kind), len(self._identities))
            self._identity_of.append(identity)
        return index

    def add(self, path: Sequence[int], values: Sequence[int], weight: int) -> int:
        """Count values at the end of a path of frame indexes, root first; returns the node there.

        `weight` decides between the lines of a function: the one with most is told.
        """
        node = 0
        for frame in path:
            step = self._steps.get((node, frame))
            if step is None:
                step = self._steps[node, frame] = [self._child(node, self._identity_of[frame]), 0]
            step[1] += weight
            node = step[0]
        for own, value in zip(self._own, values, strict=True):
            own[node] += value
        return node

    def _child(self, parent: int, identity: int) -> int:
        child = self._children.setdefault((parent, identity), len(self._parents))
        if child == len(self._parents):
            self._parents.append(parent)
            for own in self._own:
                own.append(0)
        return child

    def nodes(self) -> tuple[FlameNode, ...]:
        """The finished nodes, totals added up from the leaves."""
        totals = [own.copy() for own in self._own]
        for total in totals:
            for node in range(len(total) - 1, 0, -1):
                total[self._parents[node]] += total[node]
        return tuple(
            FlameNode(parent, frame.name, frame.kind, frame.file, frame.line, inlined, own, total)
            for parent, (frame, inlined), own, total in zip(
                self._parents,
                self._representatives(),
                zip(*self._own, strict=True),
                zip(*totals, strict=True),
                strict=True,
            )
        )

    def _representatives(self) -> list[tuple[ShownFrame, bool]]:
        """For each node the frame seen with most weight (the first of equals), and whether all were inlined."""
        frames = tuple(self._frames)
        found = [_ROOT] * len(self._parents)
        most = [-1] * len(self._parents)
        always_inlined = [True] * len(self._parents)
        always_inlined[0] = False
        for (_, frame), (child, weight) in self._steps.items():
            if weight > most[child]:
                most[child] = weight
                found[child] = frames[frame]
            if not frames[frame].inlined:
                always_inlined[child] = False
        return list(zip(found, always_inlined, strict=True))
