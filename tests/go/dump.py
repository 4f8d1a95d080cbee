"""Reads what Go prints about its goroutines: on SIGQUIT, with GOTRACEBACK=system, or as runtime.Stack."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from profiles.goroutines import Creation, GoFrame

# Go 1.26 shows labels, when asked to, within the brackets; 1.27 does unasked, after them.
_HEADER = re.compile(
    r"goroutine (?P<id>\d+)(?: gp=0x[0-9a-f]+ m=(?:nil|\d+ mp=0x[0-9a-f]+))? "
    r"\[(?P<state>[^]{]*?)(?: labels:\{(?P<inside>.*)\})?\](?: \{(?P<labels>.*)\})?:"
)
_PLACE = re.compile(
    r"\t(?P<file>.*):(?P<line>\d+)(?: \+0x[0-9a-f]+)?(?: fp=0x[0-9a-f]+ sp=0x[0-9a-f]+ pc=0x[0-9a-f]+)?"
)
_CREATED = re.compile(r"created by (?P<function>.*?)(?: in goroutine (?P<creator>\d+))?")
_ELIDED = re.compile(r"\.\.\.(?:additional|(?P<count>\d+)) frames elided\.\.\.")
_MARK = re.compile(r" \((scan|leaked|durable)\)$")
_LABEL_PART = r'"(?:[^"\\]|\\.)*"|[A-Za-z0-9./_]*'
_LABEL = re.compile(rf"({_LABEL_PART}): ({_LABEL_PART})(?:, |$)")
_RUNNING_ELSEWHERE = "\tgoroutine running on other thread; stack unavailable"


class DumpError(ValueError):
    """A line within a goroutine that is none of those known."""


@dataclass(frozen=True, slots=True)
class Dumped:
    """A goroutine in a dump.

    `labels` are None where the dump says none: there are none, or Go is older than 1.26.
    `elided` frames, -1 for an unknown number, are left out after the first `before_elided`.
    """

    id: int
    status: str
    minutes: int = 0
    locked: bool = False
    leaked: bool = False
    labels: tuple[tuple[str, str], ...] | None = None
    frames: tuple[GoFrame, ...] = ()
    created_by: Creation | None = None
    creator: int = 0
    elided: int = 0
    before_elided: int = 0


def parse_dump(text: str) -> dict[int, Dumped]:
    """The goroutines of a dump by id, without the schedulers' own (id 0). Raises DumpError."""
    blocks: list[list[str]] = []
    inside = False
    for line in text.splitlines():
        if _HEADER.fullmatch(line):
            inside = True
            blocks.append([])
        inside = inside and bool(line)
        if inside:
            blocks[-1].append(line)
    found = [_goroutine(block) for block in blocks]
    by_id = {one.id: one for one in found if one.id}
    if len(by_id) != sum(1 for one in found if one.id):
        raise DumpError("A goroutine is there twice.")
    return by_id


def _goroutine(block: list[str]) -> Dumped:
    header = _HEADER.fullmatch(block[0])
    assert header
    status, *details = header["state"].split(", ")
    marks = []
    while mark := _MARK.search(status):
        marks.append(mark[1])
        status = status[: mark.start()]
    minutes = next((int(one.split()[0]) for one in details if one.endswith(" minutes")), 0)
    frames: list[GoFrame] = []
    created_by, creator, elided, before_elided = None, 0, 0, 0
    for line, place in _pairs(block[1:]):
        if left_out := _ELIDED.fullmatch(line):
            elided, before_elided = int(left_out["count"] or -1), len(frames)
        elif created := _CREATED.fullmatch(line):
            created_by, creator = Creation(created["function"], *_place(place)), int(created["creator"] or 0)
        elif line != _RUNNING_ELSEWHERE:
            # The arguments hold no parenthesis, the name may: main.(*T).Method(0xc000012345).
            function, arguments = line.removesuffix(")").rsplit("(", 1)
            frames.append(GoFrame(function, *_place(place), arguments == "..."))
    return Dumped(
        id=int(header["id"]),
        status=status,
        minutes=minutes,
        locked="locked to thread" in details,
        leaked="leaked" in marks,
        labels=_labels(labels) if (labels := header["labels"] or header["inside"]) else None,
        frames=tuple(frames),
        created_by=created_by,
        creator=creator,
        elided=elided,
        before_elided=before_elided,
    )


def _pairs(lines: list[str]) -> Iterator[tuple[str, str]]:
    """Each line that tells something, with the line of its place, which is empty where it has none."""
    for line, following in pairwise([*lines, ""]):
        if line == _RUNNING_ELSEWHERE or _ELIDED.fullmatch(line):
            yield line, ""
        elif not line.startswith("\t"):
            if not line.endswith(")") and not _CREATED.fullmatch(line):
                raise DumpError(f"What is this? {line!r}")
            yield line, following


def _place(line: str) -> tuple[str, int]:
    match = _PLACE.fullmatch(line)
    if not match:
        raise DumpError(f"No place: {line!r}")
    return ("", 0) if match["file"] == "?" else (match["file"], int(match["line"]))


def _labels(text: str) -> tuple[tuple[str, str], ...]:
    pairs, position = [], 0
    while position < len(text):
        match = _LABEL.match(text, position)
        if not match:
            raise DumpError(f"No label: {text[position:]!r}")
        pairs.append((_unquoted(match[1]), _unquoted(match[2])))
        position = match.end()
    return tuple(pairs)


def _unquoted(text: str) -> str:
    """Go's escapes are among those of Python."""
    return str(ast.literal_eval(text)) if text.startswith('"') else text
