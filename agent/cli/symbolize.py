"""`goroscope symbolize FILE ADDR..`: name the code at addresses of a binary."""

import argparse
import json
import string
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from agent.cli.output import emit
from agent.errors import TargetError, UsageError
from exporters.text import printable
from profiles.model import Frame, Kind
from symbolizer.binary import Binary
from symbolizer.elf.file import ElfError

_UNKNOWN = "[unknown]"
_MAX_WORD = 64
_MAX_ADDRESS = (1 << 64) - 1


class Symbolize:
    """Print the function, file and line at addresses of a binary, with the calls that were inlined there.

    Addresses are virtual addresses of the file, as `go tool nm` and `readelf` print them, in hexadecimal, with or
    without 0x. `-` reads them from standard input, separated by white space.
    """

    def prepare_parser(self, parser: argparse.ArgumentParser) -> None:
        """Add the file, the addresses and --json."""
        parser.add_argument("file", metavar="FILE", type=Path, help="an ELF file: a program, a library, a debug file")
        parser.add_argument("addresses", metavar="ADDR", nargs="+", help="hexadecimal address, or - for standard input")
        parser.add_argument("--json", action="store_true", help="print one JSON object a line")

    def run(self, args: argparse.Namespace) -> int:
        """Symbolize each address in the order given. Status 1 where none was known, else 0."""
        binary = _open(args.file)
        render = _as_json if args.json else _as_text
        known = 0
        for address in _addresses(args.addresses):
            kind, frames = binary.symbolize(address)
            known += bool(frames)
            emit(render(address, kind, frames))
        if binary.go_error:
            print(f"goroscope: {args.file}: Go's tables are not used: {printable(binary.go_error)}", file=sys.stderr)
        return 0 if known else 1


def _open(path: Path) -> Binary:
    try:
        return Binary.open(str(path), str(path.absolute()))
    except OSError as error:
        raise TargetError(
            f"{path} could not be read: {error.strerror}.", "Check the path and its permissions."
        ) from error
    except ElfError as error:
        raise TargetError(f"{path} is no usable ELF file: {error}.", "Name an intact program or library.") from error


def _addresses(words: Iterable[str]) -> Iterator[int]:
    for word in words:
        if word == "-":
            for line in sys.stdin:
                yield from (_address(part) for part in line.split())
        else:
            yield _address(word)


def _address(word: str) -> int:
    digits = word.removeprefix("0x").removeprefix("0X")
    if (
        not digits
        or len(word) > _MAX_WORD
        or not set(digits) <= set(string.hexdigits)
        or int(digits, 16) > _MAX_ADDRESS
    ):
        raise UsageError(
            f"{printable(word[:_MAX_WORD])!r} is no address.",
            "Write it in hexadecimal, such as 0x47f2a0, of at most 64 bits.",
        )
    return int(digits, 16)


def _as_text(address: int, _kind: Kind, frames: tuple[Frame, ...]) -> str:
    """`ADDR  function at file:line`, then the callers it was inlined into, innermost first."""
    lines = []
    for index, frame in enumerate(frames or (Frame(_UNKNOWN),)):
        head = f"{address:#x}  " if index == 0 else "    inlined by "
        lines.append(f"{head}{printable(frame.function)}{_place(frame)}\n")
    return "".join(lines)


def _place(frame: Frame) -> str:
    if not frame.file:
        return ""
    return f" at {printable(frame.file)}" + (f":{frame.line}" if frame.line else "")


def _as_json(address: int, kind: Kind, frames: tuple[Frame, ...]) -> str:
    """One object a line: address (hex), kind, frames innermost first."""
    return json.dumps({"address": f"{address:#x}", "kind": kind.value, "frames": [f._asdict() for f in frames]}) + "\n"
