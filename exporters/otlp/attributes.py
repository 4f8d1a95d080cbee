"""What labels become in OTLP: attributes of a resource, attributes of samples, and links to spans.

Keys of OpenTelemetry's conventions where it has one:

- resource: `process.pid`, `process.executable.name`, `container.id`
- sample: `thread.name`, `thread.id`

and ours, on samples, where it has none:

- `goroscope.state`: why a thread was off the CPU (a `State`), or what a goroutine waits for ("chan receive")
- `goroscope.goroutine`: a goroutine's number, where they were kept apart
- `goroscope.start_function`: the function that a goroutine was started with

Labels that a program gives its goroutines have their own keys; one that is called as an attribute of ours is
`label.KEY`. Where a program labels with both a `trace_id` (32 hex digits) and a `span_id` (16), samples link to
that span instead; ids that are no such numbers, or zero, stay what they are: labels.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from exporters.otlp.dictionary import MAX_INT64, Value
from exporters.text import printable
from profiles.model import Labels

PID = "process.pid"
PROCESS = "process.executable.name"
CONTAINER = "container.id"
THREAD_NAME = "thread.name"
THREAD_ID = "thread.id"
STATE = "goroscope.state"
GOROUTINE = "goroscope.goroutine"
START_FUNCTION = "goroscope.start_function"
KEYS = frozenset((PID, PROCESS, CONTAINER, THREAD_NAME, THREAD_ID, STATE, GOROUTINE, START_FUNCTION))
"""All keys that samples or their resource may have from us."""

TRACE_ID = "trace_id"
SPAN_ID = "span_id"
_TRACE = re.compile("(?!0{32})[0-9a-fA-F]{32}")
_SPAN = re.compile("(?!0{16})[0-9a-fA-F]{16}")

Pairs = tuple[tuple[str, Value], ...]


@dataclass(frozen=True, slots=True)
class Told:
    """What is told of samples under one set of labels; pairs are in the order of their keys."""

    resource: Pairs
    sample: Pairs
    link: tuple[bytes, bytes] | None


def told(labels: Labels, *, per_process: bool, leave_out: Collection[str]) -> Told:
    """What labels become. Without `per_process` the process is told of samples; keys in `leave_out` are nowhere."""
    process: dict[str, Value] = {PID: labels.pid, PROCESS: labels.process, CONTAINER: labels.container}
    sample: dict[str, Value] = {
        THREAD_NAME: labels.thread,
        THREAD_ID: labels.tid,
        STATE: labels.state,
        GOROUTINE: labels.goroutine,
        START_FUNCTION: labels.start_function,
    }
    of_program = _own_keys(labels.more)
    link = _link(of_program)
    if link:
        del of_program[TRACE_ID], of_program[SPAN_ID]
    sample |= of_program
    if not per_process:
        sample |= process
        process = {}
    return Told(_pairs(process, leave_out), _pairs(sample, leave_out), link)


def resource_pairs(derived: Pairs, given: Mapping[str, str | int]) -> Pairs:
    """A resource's attributes: what is known of the process, and what was given, which wins where both have a key."""
    merged = dict(derived)
    for key, value in given.items():
        if isinstance(value, int):
            merged[printable(key)] = int(value) if -MAX_INT64 <= value <= MAX_INT64 else str(value)
        else:
            merged[printable(key)] = printable(value)
    return tuple((key, value) for key, value in merged.items() if key and value != "")


def _own_keys(more: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """A program's labels by keys that are neither empty, nor ours, nor there twice."""
    labels: dict[str, str] = {}
    for name, text in more:
        key = printable(name)
        while not key or key in KEYS or key in labels:
            key = f"label.{key}"
        labels[key] = text
    return labels


def _link(labels: dict[str, str]) -> tuple[bytes, bytes] | None:
    trace, span = labels.get(TRACE_ID, ""), labels.get(SPAN_ID, "")
    if _TRACE.fullmatch(trace) and _SPAN.fullmatch(span):
        return bytes.fromhex(trace), bytes.fromhex(span)
    return None


def _pairs(attributes: dict[str, Value], leave_out: Collection[str]) -> Pairs:
    """The attributes that say something: a number of 0 stands for "unknown", as an empty text does."""
    kept = ((key, _fitting(value)) for key, value in attributes.items() if value and key not in leave_out)
    return tuple(sorted(kept, key=lambda pair: pair[0]))


def _fitting(value: Value) -> Value:
    if isinstance(value, int):
        return value if -MAX_INT64 <= value <= MAX_INT64 else str(value)
    return printable(value) if isinstance(value, str) else value
