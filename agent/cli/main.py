"""The `goroscope` command: parse, run one command, turn failures into one sentence and an exit status.

Exit statuses: 0 done, 2 usage, 3 machine, 4 target, 5 output, 6 no samples (see agent/errors.py), 70 an error
of ours, 130 interrupted, 141 the reader of standard output has gone.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from agent import __version__
from agent.cli.command import COMMANDS, Command, Entry
from agent.cli.output import emit
from agent.errors import GoroscopeError, UsageError

EXIT_INTERNAL = 70
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141


class _Parser(argparse.ArgumentParser):
    """An argument parser whose mistakes are errors like all others: a cause, a remedy, status 2.

    Options cannot be abbreviated, so that a new one never changes what an old command line means.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message[:1].upper()}{message[1:]}.", f"Run `{self.prog} --help` for what is accepted.")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (default: the process's own) and return the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    # Names from binaries may hold anything: print what the terminal's encoding lacks as \x escapes, never fail.
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    verbose = _asked_verbose(arguments)
    try:
        status = _run(arguments)
        emit("")
    except BrokenPipeError:
        return EXIT_BROKEN_PIPE
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except GoroscopeError as error:
        _report(str(error), verbose=verbose)
        return error.exit_code
    except Exception as error:  # the last resort: whatever it is, the user gets one sentence
        _report(
            f"Unexpected {type(error).__name__}: {error}. Run with -v for the traceback, and please report it.",
            verbose=verbose,
        )
        return EXIT_INTERNAL
    return status


def parse(arguments: Sequence[str]) -> tuple[Command, argparse.Namespace]:
    """The chosen command and its options. Raises UsageError; exits by SystemExit for --help and --version."""
    chosen = _chosen(arguments)
    parser = _Parser(
        prog="goroscope",
        description="A continuous profiler for Linux nodes that understands Go from the outside.",
        epilog="`goroscope COMMAND --help` explains a command.",
    )
    parser.add_argument("--version", action="version", version=f"goroscope {__version__}")
    parser.add_argument("-v", "--verbose", action="store_true", help="show tracebacks of errors")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=_Parser)
    command: Command | None = None
    speaker = parser
    for entry in COMMANDS:
        subparser = commands.add_parser(
            entry.name, help=entry.summary, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        if entry is chosen:
            command = entry.load()
            subparser.description = _description(command)
            subparser.add_argument(
                "-v", "--verbose", action="store_true", default=argparse.SUPPRESS, help="show tracebacks of errors"
            )
            command.prepare_parser(subparser)
            speaker = subparser
    own, program = _split(arguments) if chosen and chosen.takes_program else (list(arguments), [])
    args, unknown = parser.parse_known_args(own)
    if unknown:  # parse_args would complain in the name of the whole, and point to its help
        speaker.error(f"unrecognized arguments: {' '.join(unknown)}")
    if command is None:  # argparse refuses every other name before
        parser.error("a command is needed")
    args.program = program
    return command, args


def _run(arguments: Sequence[str]) -> int:
    command, args = parse(arguments)
    return command.run(args)


def _chosen(arguments: Sequence[str]) -> Entry | None:
    """The entry of the first word that is no option; options before it take no value."""
    name = next((word for word in arguments if not word.startswith("-")), None)
    return next((entry for entry in COMMANDS if entry.name == name), None)


def _split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """What stands before and behind the first `--`.

    Done here because Python's releases differ in whether a subcommand's parser still sees the dashes.
    """
    words = list(arguments)
    if "--" not in words:
        return words, []
    at = words.index("--")
    if not words[at + 1 :]:
        raise UsageError("There is no command behind `--`.", "Name the program to run, such as `-- ./server -x`.")
    return words[:at], words[at + 1 :]


def _asked_verbose(arguments: Sequence[str]) -> bool:
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "-v" in own or "--verbose" in own


def _description(command: Command) -> str:
    """The command's docstring without its indentation."""
    lines = (type(command).__doc__ or "").strip().splitlines()
    return "\n".join(line.removeprefix("    ") for line in lines)


def _report(sentence: str, *, verbose: bool) -> None:
    if verbose:
        import traceback

        traceback.print_exc()
    one_line = " ".join(sentence.split())
    print(f"goroscope: {one_line}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
