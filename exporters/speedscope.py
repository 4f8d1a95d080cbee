"""Profile to speedscope's JSON: shared frames and one sampled profile a process, heaviest first.

Weights are the profile's default column (CPU time if there is any). A frame's line is where its function
starts: speedscope draws frames with different lines as different functions. What was lost is said in the
name, which the viewer shows, and in full under `goroscope`, which it ignores.
"""

import json
from dataclasses import dataclass, field

from exporters.describe import comments, loss_sentences
from exporters.text import printable
from profiles.flame import ShownFrame, group_names, shown_frames
from profiles.model import Labels, Profile

SCHEMA = "https://www.speedscope.app/file-format-schema.json"

# What the format knows; anything else is "none", a plain count.
_UNITS = frozenset({"nanoseconds", "microseconds", "milliseconds", "seconds", "bytes"})


def encode(profile: Profile) -> bytes:
    """The profile as one JSON document."""
    frames = _Frames()
    processes = _processes(profile, frames)
    processes.sort(key=lambda process: -process.total)
    unit = profile.value_types[profile.default_column].unit
    document = {
        "$schema": SCHEMA,
        "exporter": f"goroscope {profile.metadata.version}".rstrip(),
        "name": _name(profile),
        "activeProfileIndex": 0,
        "goroscope": list(comments(profile.metadata)),
        "shared": {"frames": frames.table()},
        "profiles": [
            {
                "type": "sampled",
                "name": process.name,
                "unit": unit if unit in _UNITS else "none",
                "startValue": 0,
                "endValue": process.total,
                "samples": process.samples,
                "weights": process.weights,
            }
            for process in processes
        ],
    }
    return json.dumps(document, separators=(",", ":")).encode()


def _name(profile: Profile) -> str:
    target = printable(profile.metadata.target) or "goroscope"
    return "; ".join((target, *loss_sentences(profile.metadata)))


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
class _Process:
    name: str
    samples: list[list[int]] = field(default_factory=list)
    weights: list[int] = field(default_factory=list)
    total: int = 0


def _processes(profile: Profile, frames: _Frames) -> list[_Process]:
    """Samples by process, in the order in which processes are first seen; threads become a root frame."""
    column = profile.default_column
    locations = [[frames.add(frame) for frame in shown_frames(location)] for location in profile.locations]
    stacks = [[frame for index in reversed(stack) for frame in locations[index]] for stack in profile.stacks]
    threads = [[frames.add(ShownFrame(name, None)) for name in group_names(labels)[1:]] for labels in profile.labels]
    processes: dict[tuple[int, str, str], _Process] = {}
    for sample in profile.samples:
        labels = profile.labels[sample.labels]
        key = (labels.pid, labels.process, labels.container)
        process = processes.get(key)
        if process is None:
            process = processes[key] = _Process(_process_name(labels))
        process.samples.append(threads[sample.labels] + stacks[sample.stack])
        process.weights.append(sample.values[column])
        process.total += sample.values[column]
    return list(processes.values())


def _process_name(labels: Labels) -> str:
    name = f"{labels.process} ({labels.pid})" if labels.process else f"pid {labels.pid}"
    return printable(f"{name} in {labels.container}" if labels.container else name)
