"""Profile to a flame graph page: one HTML file that needs no network and can be opened from anywhere.

The page's parts are in `assets/`, joined here. A content security policy with the hashes of our own script
and style forbids everything else, so that no name in a profile can become code even if an escape failed.

The profile is embedded as JSON:

    target, summary, facts, comments   texts for people
    losses       {text, samples, dropped} for each cause
    columns      {type, unit} for each value; `column` is the one shown first
    processes    a text for each process
    threads      arrays text and process (an index), for each thread that was kept apart
    states       a text for each state, of threads off the CPU or of goroutines; the first is "": on the CPU
    groups       arrays process, thread (-1: not kept apart) and state, for each place where samples were taken
    strings      what the frames refer to
    frames       arrays name, file (indexes of strings), kind (an index of KINDS), line, inlined (0 or 1)
    nodes        the call tree, a parent before its children: arrays frame, and up (own index - parent's)
    own          arrays node, group, and one array of values for each column
"""

import base64
import hashlib
import html
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from exporters.describe import facts, human_time, loss_sentence, off_cpu_words
from exporters.text import printable
from profiles.flame import FlameNode, FlameTree, build_flame_tree
from profiles.model import WAITS, Kind, Labels, Metadata, Profile
from profiles.offcpu import off_cpu_totals

# The page's numbers for what a frame is, in the order of KINDS in assets/draw.js; None is a process or thread.
KINDS: tuple[Kind | None, ...] = (Kind.GO, Kind.NATIVE, Kind.KERNEL, Kind.JIT, Kind.MARKER, None)

_ASSETS = Path(__file__).parent / "assets"
_SCRIPTS = ("data.js", "views.js", "layout.js", "draw.js", "page.js", "controls.js", "address.js", "main.js")
_CONTAINER_SHOWN = 12  # characters of a container's id, as container tools show it


def encode(profile: Profile) -> bytes:
    """The profile as one UTF-8 HTML page."""
    style = _asset("flamegraph.css")
    script = "\n".join(map(_asset, _SCRIPTS))
    document = page_data(profile)
    parts = {
        "policy": _policy(style, script),
        "title": html.escape(f"{document['target']} - goroscope"),
        "style": style,
        "script": script,
        "profile": _inert_json(document),
    }
    # One pass, so that a placeholder's text inside a part stays text.
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match.group(1)], _asset("flamegraph.html")).encode()


def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    """No source but ours: the page can load nothing, send nothing, and run this one script."""

    def digest(text: str) -> str:
        return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"

    sources = f"script-src {digest(script)}; style-src {digest(style)}"
    return f"default-src 'none'; {sources}; base-uri 'none'; form-action 'none'"


def _inert_json(document: dict[str, Any]) -> str:
    """JSON without a character that HTML could take for the end of the script element or the start of another."""
    text = json.dumps(document, separators=(",", ":"))  # ASCII: U+2028 and its like are escaped already
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def page_data(profile: Profile) -> dict[str, Any]:
    """The embedded document, described above."""
    tree = build_flame_tree(profile)
    groups = _Groups()
    own = _own_values(profile, tree, groups)
    strings: dict[str, int] = {}
    frames: dict[tuple[int, int, int, int, int], int] = {}
    node_frames = [frames.setdefault(_frame(node, strings), len(frames)) for node in tree.nodes]
    columns = ("name", "file", "kind", "line", "inlined")
    metadata = profile.metadata
    return {
        "target": printable(metadata.target) or "profile",
        "summary": _summary(profile),
        "facts": facts(metadata),
        "comments": [printable(comment) for comment in metadata.notes + metadata.comments],
        "losses": [
            {"text": loss_sentence(loss), "samples": loss.samples, "dropped": loss.dropped}
            for loss in metadata.losses
            if loss.samples
        ],
        "columns": [{"type": value_type.type, "unit": value_type.unit} for value_type in profile.value_types],
        "column": profile.default_column,
        "processes": groups.process_texts,
        "threads": groups.thread_table(),
        "states": list(groups.states),
        "groups": groups.table(),
        "strings": list(strings),
        "frames": {column: [frame[place] for frame in frames] for place, column in enumerate(columns)},
        "nodes": {"frame": node_frames, "up": [index - node.parent for index, node in enumerate(tree.nodes)]},
        "own": own,
    }


def _frame(node: FlameNode, strings: dict[str, int]) -> tuple[int, int, int, int, int]:
    name = strings.setdefault(printable(node.name), len(strings))
    file = strings.setdefault(printable(node.file), len(strings))
    return name, file, KINDS.index(node.kind), max(0, node.line), int(node.inlined)


def _summary(profile: Profile) -> list[str]:
    """The header's line: how much was seen, for how long, where."""
    metadata: Metadata = profile.metadata
    off = off_cpu_totals(profile)
    counts = [
        f"{profile.total(column):,} {value_type.type}"
        for column, value_type in enumerate(profile.value_types)
        if value_type.unit == "count" and value_type != WAITS
    ]
    if off is not None:
        counts += [f"{off.waits:,} {WAITS.type}", off_cpu_words(off)]
        counts += [f"Go idle {human_time(off.idle)}"] if off.idle else []
    known = dict(facts(metadata))
    wanted = ("duration", "start", "rate")
    cpus = f"{metadata.cpus} CPU{'s' if metadata.cpus > 1 else ''}" if metadata.cpus else ""
    return [text for text in (*counts, *(known.get(name, "") for name in wanted), cpus) if text]


@dataclass(slots=True)
class _Groups:
    """Where samples were taken, as the page tells it apart: process, thread and state."""

    processes: dict[tuple[int, str, str], int] = field(default_factory=dict)
    process_texts: list[str] = field(default_factory=list)
    threads: dict[tuple[int, int, str], int] = field(default_factory=dict)
    states: dict[str, int] = field(default_factory=lambda: {"": 0})
    indexes: dict[tuple[int, int, int], int] = field(default_factory=dict)

    def index(self, labels: Labels) -> int:
        process = self._process(labels)
        thread = -1
        if labels.tid:
            thread = self.threads.setdefault((process, labels.tid, labels.thread), len(self.threads))
        state = self.states.setdefault(printable(labels.state), len(self.states))
        return self.indexes.setdefault((process, thread, state), len(self.indexes))

    def _process(self, labels: Labels) -> int:
        key = (labels.pid, labels.process, labels.container)
        index = self.processes.setdefault(key, len(self.process_texts))
        if index == len(self.process_texts):
            container = f" in {labels.container[:_CONTAINER_SHOWN]}" if labels.container else ""
            self.process_texts.append(printable(f"{labels.pid} {labels.process}{container}"))
        return index

    def thread_table(self) -> dict[str, list[Any]]:
        return {
            "text": [printable(f"{tid} {name}".rstrip()) for _, tid, name in self.threads],
            "process": [process for process, _, _ in self.threads],
        }

    def table(self) -> dict[str, list[int]]:
        columns = ("process", "thread", "state")
        return {column: [key[place] for key in self.indexes] for place, column in enumerate(columns)}


def _own_values(profile: Profile, tree: FlameTree, groups: _Groups) -> dict[str, Any]:
    """Values added up by node and group, in the order in which these are first seen."""
    of_label = [groups.index(labels) for labels in profile.labels]
    rows: dict[tuple[int, int], list[int]] = {}
    for sample, leaf in zip(profile.samples, tree.leaves, strict=True):
        if leaf is None:
            continue
        key = (leaf, of_label[sample.labels])
        row = rows.get(key)
        rows[key] = list(sample.values) if row is None else list(map(sum, zip(row, sample.values, strict=True)))
    return {
        "node": [node for node, _ in rows],
        "group": [group for _, group in rows],
        "values": [[row[column] for row in rows.values()] for column in range(len(profile.value_types))],
    }
