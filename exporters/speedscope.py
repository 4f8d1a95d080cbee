"""Profile to speedscope's JSON: shared frames and sampled profiles by process, heaviest process first.

Of a profile of CPU time there is one a process, whose weights are CPU time: samples would look the same. Where
there is time off the CPU, each process has one for every value, next to each other, so that speedscope's own
list of profiles (and its keys `n` and `p`) switches between them. Go's idle time is one of its own, so it is in
none of the others.

A frame's line is where its function starts: speedscope draws frames with different lines as different
functions. What was lost is said in the name, which the viewer shows, and in full under `goroscope`, which it
ignores.
"""

import json
from dataclasses import dataclass, field
from typing import Any

from exporters.describe import comments, loss_sentences
from exporters.text import printable
from profiles.flame import ShownFrame, group_names, shown_frames
from profiles.model import BLOCKED, CPU, OFF_CPU, RUNNABLE, WAITS, Labels, Profile
from profiles.offcpu import is_idle

SCHEMA = "https://www.speedscope.app/file-format-schema.json"

# What the format knows; anything else is "none", a plain count.
_UNITS = frozenset({"nanoseconds", "microseconds", "milliseconds", "seconds", "bytes"})


@dataclass(frozen=True, slots=True)
class _View:
    """One way to weigh the samples of a process: a value column, of idle threads or of the others."""

    title: str
    column: int
    idle: bool = False


def encode(profile: Profile) -> bytes:
    """The profile as one JSON document."""
    frames = _Frames()
    views = _views(profile)
    processes = _processes(profile, frames, views)
    processes.sort(key=lambda process: [-weights.total for weights in process.weights])
    document = {
        "$schema": SCHEMA,
        "exporter": f"goroscope {profile.metadata.version}".rstrip(),
        "name": _name(profile),
        "activeProfileIndex": 0,
        "goroscope": list(comments(profile.metadata)),
        "shared": {"frames": frames.table()},
        "profiles": [
            _sampled(process, view, weights, profile)
            for process in processes
            for view, weights in zip(views, process.weights, strict=True)
            if weights.total
        ],
    }
    return json.dumps(document, separators=(",", ":")).encode()


def _name(profile: Profile) -> str:
    target = printable(profile.metadata.target) or "goroscope"
    return "; ".join((target, *loss_sentences(profile.metadata)))


def _views(profile: Profile) -> list[_View]:
    off = profile.column(OFF_CPU.type)
    if off is None:
        return [_View("", profile.default_column)]
    titles = ((CPU, "on-CPU"), (OFF_CPU, "off-CPU"), (BLOCKED, "blocked"), (RUNNABLE, "runnable"), (WAITS, "waits"))
    columns = ((title, profile.column(known.type)) for known, title in titles)
    views = [_View(title, column) for title, column in columns if column is not None]
    return [*views, _View("Go idle", off, idle=True)]


def _sampled(process: "_Process", view: _View, weights: "_Weights", profile: Profile) -> dict[str, Any]:
    unit = profile.value_types[view.column].unit
    return {
        "type": "sampled",
        "name": f"{process.name} - {view.title}" if view.title else process.name,
        "unit": unit if unit in _UNITS else "none",
        "startValue": 0,
        "endValue": weights.total,
        "samples": weights.samples,
        "weights": weights.values,
    }


@dataclass(slots=True)
class _Frames:
    """The shared frame table: what speedscope merges by."""

    indexes: dict[tuple[str, str, int], int] = field(default_factory=dict)

    def add(self, frame: ShownFrame) -> int:
        return self.indexes.setdefault((frame.name, frame.file, frame.start_line), len(self.indexes))

    def table(self) -> list[dict[str, str | int]]:
        rows: list[dict[str, str | int]] = []
        for name, file, line in self.indexes:
            row: dict[str, str | int] = {"name": printable(name)}
            if file:
                row["file"] = printable(file)
            if line > 0:
                row["line"] = line
            rows.append(row)
        return rows


@dataclass(slots=True)
class _Weights:
    """The stacks that have a value in one view, with these values."""

    samples: list[list[int]] = field(default_factory=list)
    values: list[int] = field(default_factory=list)
    total: int = 0

    def add(self, stack: list[int], value: int) -> None:
        self.samples.append(stack)
        self.values.append(value)
        self.total += value


@dataclass(slots=True)
class _Process:
    """A process, with its weights by view."""

    name: str
    weights: list[_Weights]


def _processes(profile: Profile, frames: _Frames, views: list[_View]) -> list[_Process]:
    """Samples by process, in the order in which processes are first seen; threads become a root frame."""
    locations = [[frames.add(frame) for frame in shown_frames(location)] for location in profile.locations]
    stacks = [[frame for index in reversed(stack) for frame in locations[index]] for stack in profile.stacks]
    threads = [[frames.add(ShownFrame(name, None)) for name in group_names(labels)[1:]] for labels in profile.labels]
    idle = list(map(is_idle, profile.labels))
    processes: dict[tuple[int, str, str], _Process] = {}
    for sample in profile.samples:
        labels = profile.labels[sample.labels]
        key = (labels.pid, labels.process, labels.container)
        process = processes.get(key)
        if process is None:
            process = processes[key] = _Process(_process_name(labels), [_Weights() for _ in views])
        stack = threads[sample.labels] + stacks[sample.stack]
        for view, weights in zip(views, process.weights, strict=True):
            value = sample.values[view.column]
            if value and view.idle == idle[sample.labels]:
                weights.add(stack, value)
    return list(processes.values())


def _process_name(labels: Labels) -> str:
    name = f"{labels.process} ({labels.pid})" if labels.process else f"pid {labels.pid}"
    return printable(f"{name} in {labels.container}" if labels.container else name)
