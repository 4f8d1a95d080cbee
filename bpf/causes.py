"""Why samples are lost and why walks stop: the list of bpf/causes.h, which C and Python share."""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_ENTRY = re.compile(r'\b(LOSS|STOP)\((\d+), (\w+),[\s\\\\]+"([^"]*)"\)')


@dataclass(frozen=True, slots=True)
class Cause:
    """One cause: its id in the kernel's counters and records, its name, and a sentence for people."""

    id: int
    name: str
    sentence: str


@cache
def _entries() -> dict[str, tuple[Cause, ...]]:
    text = Path(__file__).with_name("causes.h").read_text(encoding="ascii")
    found: dict[str, list[Cause]] = {"LOSS": [], "STOP": []}
    for kind, number, name, sentence in _ENTRY.findall(text):
        found[kind].append(Cause(int(number), name, sentence))
    return {kind: tuple(causes) for kind, causes in found.items()}


def losses() -> tuple[Cause, ...]:
    """Causes for which samples are missing or have no stack; the id is the index in the map `losses`."""
    return _entries()["LOSS"]


def stops() -> tuple[Cause, ...]:
    """Why the walk of a user stack ended, by the id that a stack record carries."""
    return _entries()["STOP"]
