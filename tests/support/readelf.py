"""What binutils says of a file's call frame information: `readelf --debug-dump=frames-interp`, row by row."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

needs_readelf = pytest.mark.skipif(not shutil.which("readelf"), reason="needs binutils")

_REGISTER_NAME = re.compile(r" \(\w+\)")


@dataclass(frozen=True)
class Told:
    """One row of a function [start, end): from `at` on.

    Columns as readelf prints them: "rsp+8", "c-16", "v+0" (the value itself), "r9", "exp", "s" (the same), and "u",
    which is undefined or not told.
    """

    start: int
    end: int
    at: int
    cfa: str
    rbp: str
    rsp: str
    ra: str
    signal: bool
    """Whether its CIE is of signal frames."""


def rows(path: Path | str, table: str = ".eh_frame", most: int = 1 << 62) -> Iterator[Told]:
    """The rows of the functions in a section; reading stops after `most` of them."""
    command = ["readelf", "-wNF", str(path)]  # N: not those of a separate debug file
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        for count, row in enumerate(_parse(process.stdout, table)):
            if count == most:
                process.kill()
                return
            yield row


def _parse(lines: Iterator[str], table: str) -> Iterator[Told]:
    initial: dict[str, tuple[dict[str, str], bool]] = {}
    wanted = False
    entry, columns, start, end, cie = "", [], 0, 0, ""
    told = True
    for line in lines:
        words = _REGISTER_NAME.sub("", line).split()
        if line.startswith("Contents of the "):
            wanted = words[3] == table
        elif not wanted or not words or "ZERO" in words[1:2]:
            continue
        elif words[3:4] in (["CIE"], ["FDE"]):
            if not told:
                yield _told(start, end, start, *initial[cie])
            entry, told, columns = words[3], words[3] == "CIE", []
            if entry == "CIE":
                cie = words[0]
                initial[cie] = ({}, "S" in words[4])
            else:
                cie = words[4].removeprefix("cie=")
                start, end = (int(word, 16) for word in words[5].removeprefix("pc=").split(".."))
        elif words[0] == "LOC":
            columns = words
        elif columns:
            row = dict(zip(columns, words, strict=True))
            if entry == "CIE":
                initial[cie] = (row, initial[cie][1])
            else:
                told = True
                yield _told(start, end, int(row["LOC"], 16), row, initial[cie][1])
    if not told:
        yield _told(start, end, start, *initial[cie])


def _told(start: int, end: int, at: int, row: dict[str, str], signal: bool) -> Told:
    saved = (row.get(name, "u") for name in ("rbp", "rsp", "ra"))
    return Told(start, end, at, row["CFA"], *saved, signal)
