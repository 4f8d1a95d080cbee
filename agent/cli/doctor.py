"""`goroscope doctor`: what this machine lacks for profiling."""

import argparse
import json
import shutil
import textwrap

from agent import __version__
from agent.cli.output import emit
from agent.doctor.checks import examine
from agent.doctor.machine import Machine
from agent.doctor.result import Result, Status
from exporters.text import printable

_MARKS = {Status.OK: "✓", Status.WARN: "!", Status.FAIL: "✗"}


class Doctor:
    """Check what profiling needs on this machine, and say the cause and the remedy of what is missing.

    The exit status is 1 where `goroscope record` could not run, else 0; a line marked ! means that something
    will be missing from profiles. Put the output of --json into bug reports.
    """

    def prepare_parser(self, parser: argparse.ArgumentParser) -> None:
        """Add --json."""
        parser.add_argument("--json", action="store_true", help="print the findings as JSON")

    def run(self, args: argparse.Namespace) -> int:
        """Check this machine and print the findings."""
        results = examine(Machine())
        emit(as_json(results) if args.json else as_text(results, shutil.get_terminal_size((100, 24)).columns))
        return 0 if can_record(results) else 1


def can_record(results: list[Result]) -> bool:
    """Whether nothing failed."""
    return all(result.status is not Status.FAIL for result in results)


def as_json(results: list[Result]) -> str:
    """The findings as one JSON object: goroscope (version), can_record, checks (name, status, cause, remedy)."""
    checks = [
        {"name": result.name, "status": result.status.value, "cause": result.cause, "remedy": result.remedy}
        for result in results
    ]
    return json.dumps({"goroscope": __version__, "can_record": can_record(results), "checks": checks}, indent=2) + "\n"


def as_text(results: list[Result], columns: int) -> str:
    """The findings as aligned lines, the remedies below their causes, then a verdict."""
    width = max(len(result.name) for result in results)
    indent = " " * (width + 4)
    lines: list[str] = []
    for result in results:
        head = f"{_MARKS[result.status]} {result.name.ljust(width)}  "
        for index, text in enumerate(filter(None, (result.cause, result.remedy))):
            lines += textwrap.wrap(
                printable(text),
                max(columns, 60),
                initial_indent=indent if index else head,
                subsequent_indent=indent,
                break_on_hyphens=False,
            )
    verdict = "`goroscope record` can run here." if can_record(results) else "`goroscope record` cannot run here yet."
    return "\n".join([*lines, "", verdict]) + "\n"
