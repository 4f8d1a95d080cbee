"""`goroscope doctor`: what this machine lacks for profiling, or what profiles of one process will lack."""

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

    With PID it says instead, for each file that the process has mapped for execution, how its stacks will be
    unwound and its functions named, and why not. The exit status is then 1 where some code has no unwind
    tables, so that its stacks depend on frame pointers.
    """

    def prepare_parser(self, parser: argparse.ArgumentParser) -> None:
        """Add the process and --json."""
        parser.add_argument("pid", metavar="PID", nargs="?", type=_pid, help="look at this process, not at the machine")
        parser.add_argument("--json", action="store_true", help="print the findings as JSON")

    def run(self, args: argparse.Namespace) -> int:
        """Check this machine, or a process, and print the findings."""
        columns = shutil.get_terminal_size((100, 24)).columns
        if args.pid is not None:
            from agent.cli import doctor_process  # reading binaries takes imports that the machine's checks do without

            report = doctor_process.look_at(args.pid)
            emit(doctor_process.as_json(report) if args.json else doctor_process.as_text(report, columns))
            return 0 if report.unwindable else 1
        results = examine(Machine())
        emit(as_json(results) if args.json else as_text(results, columns))
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


def _pid(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 2**22):
        raise argparse.ArgumentTypeError(f"{text} is not a process id")
    return int(text)
