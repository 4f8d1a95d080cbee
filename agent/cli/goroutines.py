"""`goroscope goroutines`: who the goroutines of a Go process are, what they wait for, and who made them."""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING

from agent import __version__
from agent.cli import goroutine_dump, goroutine_json, goroutine_text, outputs
from agent.cli.arguments import seconds
from agent.cli.goroutine_leaks import INTERVAL, ROUNDS, run_leaks
from agent.cli.goroutine_words import counted, left_out
from agent.cli.output import emit
from agent.cli.reading import reading
from agent.errors import TargetError, UsageError
from agent.goroutines.changes import compare, every_group
from agent.procfs.process import container_id, process_of
from exporters.text import printable
from profiles.goroutine_profile import goroutine_profile
from profiles.goroutines import Goroutines
from profiles.grouping import By, Grouping, Groups, Sort, group

if TYPE_CHECKING:
    from agent.goroutines.source import Source

_BY = (By.STATE, By.REASON, By.CREATED_BY, By.FUNCTION, By.LABEL, By.STACK)
_VIEWS = ("full", "id", "waits", "watch", "leaks", "output")
"""Options that each say what is to be shown: one of them at most."""
_GROUPED = {"by": ("watch",), "sort": ("waits",), "min": ("waits", "watch")}
"""Options about groups, and the views beside the default one that show groups so."""


class ShowGoroutines:
    """Show the goroutines of a running Go process, in groups of those that are alike, without stopping it.

    Nothing needs to be changed in the program. `seen` says for how long we have seen a goroutine wait: at the first
    look that is not at all, so --watch knows more. `by GC` is a bound that Go's garbage collector has left.

    Examples:
      goroscope goroutines -p 4217                    groups of goroutines with the same stack, state and labels
      goroscope goroutines -p 4217 --by created-by    who made them
      goroscope goroutines -p 4217 --watch 5          what comes, grows and goes
      goroscope goroutines -p 4217 --leaks            which pile up and will not be woken
      goroscope goroutines -p 4217 --waits            what they wait for, and who else does
      goroscope goroutines -p 4217 --full             all of them, as Go's own dump
      goroscope goroutines -p 4217 -o now.html        a flame graph of where they are
    """

    def prepare_parser(self, parser: argparse.ArgumentParser) -> None:
        """Add the process, the views and what they show."""
        parser.add_argument("-p", "--pid", metavar="PID", type=_pid, required=True, help="the process")
        parser.add_argument(
            "--by",
            metavar=("WHAT", "KEY"),
            nargs="+",
            help="group by state, reason, created-by, function, label KEY or stack (default: stack, state and labels)",
        )
        parser.add_argument("--sort", choices=[word.value for word in Sort], help="order of groups (default count)")
        parser.add_argument("--min", metavar="N", type=_count, help="list groups, or changes, of N goroutines and more")
        parser.add_argument("--all", action="store_true", help="also those that Go's runtime runs for itself")
        view = parser.add_argument_group("instead of groups")
        view.add_argument("--full", action="store_true", help="every goroutine, in the shape of Go's own dump")
        view.add_argument("--id", metavar="N", type=_count, help="this goroutine in full")
        view.add_argument("--waits", action="store_true", help="by the channel or lock that they wait for")
        view.add_argument("--watch", metavar="SECONDS", type=seconds, help="groups, then what changes, until Ctrl-C")
        view.add_argument("--leaks", action="store_true", help="which of them pile up and will not be woken, and why")
        view.add_argument(
            "--interval", metavar="SECONDS", type=seconds, help=f"with --leaks: between looks (default {INTERVAL:g})"
        )
        view.add_argument("--rounds", metavar="N", type=_count, help=f"with --leaks: looks (default {ROUNDS})")
        view.add_argument(
            *("-o", "--output"),
            metavar="FILE",
            action="append",
            help="a profile of them: .pb.gz, .html, .folded or .speedscope.json; several may be given; - is folded on "
            "standard output",
        )
        parser.add_argument("--json", action="store_true", help="print JSON: one object, with --watch one a round")
        parser.add_argument("--per-goroutine", action="store_true", help="with -o: keep goroutines apart, by their ids")
        parser.add_argument("--force", action="store_true", help="with -o: write over files that exist")

    def run(self, args: argparse.Namespace) -> int:
        """Read the process and show what was asked for."""
        grouping = _grouping(args)
        _check(args)
        files = outputs.checked(args.output or [], force=args.force)
        process = process_of(args.pid)
        if process is not None and process != args.pid:
            raise TargetError(f"{args.pid} is a thread of process {process}.", f"Give -p {process}.")
        from agent.goroutines.source import Source  # numpy and the reader of binaries: not for --help
        from symbolizer.elf.truncation import survive_truncation

        survive_truncation()
        with closing(Source(args.pid)) as source:
            if args.leaks:
                interval, rounds = args.interval or INTERVAL, args.rounds or ROUNDS
                return run_leaks(source, interval, rounds, as_json=args.json, exact=source.tells_of_waking)
            if args.watch is not None:
                return _watch(source, args, grouping)
            goroutines = _take(source)
        if files:
            _write(goroutines, files, args)
        elif args.id is not None:
            emit(_one(goroutines, args))
        elif args.full:
            for piece in _everyone(goroutines, args):
                emit(piece)
            _note(goroutines, group(goroutines, grouping))
        else:
            emit(_groups(goroutines, group(goroutines, grouping), args))
        return 0


def _check(args: argparse.Namespace) -> None:
    """What argparse cannot say. Raises UsageError."""
    views = [name for name in _VIEWS if getattr(args, name)]
    if len(views) > 1:
        words = " and ".join(f"--{name}" for name in views)
        raise UsageError(f"{words} cannot be had at once.", "Give one of them.")
    view = views[0] if views else ""
    for name, fitting in _GROUPED.items():
        if getattr(args, name) is not None and view and view not in fitting:
            raise UsageError(f"--{name} says nothing with --{view}.", f"Leave out --{name}.")
    if (args.interval is not None or args.rounds is not None) and not args.leaks:
        raise UsageError("--interval and --rounds without --leaks say nothing.", "Add --leaks.")
    if args.rounds is not None and args.rounds < 2:
        raise UsageError("One look shows no growth.", "Give --rounds 2 or more.")
    if args.json and args.output:
        raise UsageError("--json and --output cannot be had at once.", "Give one of them.")
    if (args.per_goroutine or args.force) and not args.output:
        raise UsageError("--per-goroutine and --force without -o say nothing.", "Add -o FILE.")


def _grouping(args: argparse.Namespace) -> Grouping:
    """How groups are made. Raises UsageError."""
    what, *keys = args.by or (By.ALIKE.value,)
    if args.by and what not in _BY:
        raise UsageError(f"--by {what} is not known.", f"Group by one of {', '.join(_BY)}.")
    if len(keys) != (what == By.LABEL):
        raise UsageError(
            "--by label takes a key, such as `--by label request`; the others take none.", "Give one with label only."
        )
    return Grouping(
        by=By.ADDRESS if args.waits else By(what),
        label=keys[0] if keys else "",
        sort=Sort(args.sort or Sort.COUNT),
        at_least=args.min or 1,
        system=args.all,
    )


def _take(source: "Source") -> Goroutines:
    """The goroutines now, with a bar on a terminal where it takes long."""
    with reading(show=sys.stderr.isatty()) as progress:
        return source.take(progress)


def _groups(goroutines: Goroutines, groups: Groups, args: argparse.Namespace) -> str:
    if args.json:
        return goroutine_json.groups_json(goroutines, groups)
    return goroutine_text.groups_text(goroutines, groups, whole_stacks=args.verbose)


def _everyone(goroutines: Goroutines, args: argparse.Namespace) -> Iterator[str]:
    made: Callable[..., Iterator[str]] = goroutine_json.all_json if args.json else goroutine_dump.dump
    return made(goroutines, system=args.all)


def _one(goroutines: Goroutines, args: argparse.Namespace) -> str:
    """One goroutine, of the runtime or not. Raises TargetError where there is none of that id."""
    for kind, member in goroutines.members():
        if member.id == args.id:
            return (goroutine_json.one_json if args.json else goroutine_dump.one)(goroutines, kind, member)
    raise TargetError(
        f"Process {args.pid} has no goroutine {args.id} now.", "`--full --all` lists all of them, with their ids."
    )


def _write(goroutines: Goroutines, files: list[outputs.Output], args: argparse.Namespace) -> None:
    """Write the profile, and say on standard error what is in it and how to open it."""
    profile = goroutine_profile(
        goroutines,
        system=args.all,
        apart=args.per_goroutine,
        version=__version__,
        container=container_id(args.pid),
    )
    outputs.write(profile, files, force=args.force)
    _tell(f"{counted(profile.total(), 'goroutine')} with {counted(len(profile.stacks), 'stack')}.")
    for line in (*profile.metadata.notes, *outputs.how_to_open(files)):
        _tell(line)


def _watch(source: "Source", args: argparse.Namespace, grouping: Grouping) -> int:
    """Groups, then what changes every so often. Ends at Ctrl-C, which is no failure."""
    try:
        before = None
        while True:
            started = time.monotonic()
            goroutines = _take(source)
            after = goroutines, every_group(goroutines, grouping)
            if before is None:
                emit(_groups(goroutines, group(goroutines, grouping), args))
            else:
                changes = compare(before, after, grouping.at_least)
                emit(goroutine_json.changes_json(changes) if args.json else goroutine_text.changes_text(changes))
            before = after
            took = time.monotonic() - started
            if args.verbose:
                _tell(f"{counted(len(goroutines), 'goroutine')} read and compared in {1e3 * took:.0f} ms")
            time.sleep(max(0.0, args.watch - took))
    except KeyboardInterrupt:
        return 0


def _note(goroutines: Goroutines, groups: Groups) -> None:
    """What a full listing does not say, on standard error."""
    note = left_out(goroutines, groups).removeprefix("; ")
    for sentence in filter(None, (note, goroutines.partial)):
        _tell(f"{sentence[:1].upper()}{sentence[1:].rstrip('.')}.")


def _tell(line: str) -> None:
    """Say something to the person, on standard error."""
    print(printable(line), file=sys.stderr)


def _pid(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 2**22):
        raise argparse.ArgumentTypeError(f"{text} is not a process id")
    return int(text)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 2**63):
        raise argparse.ArgumentTypeError(f"{text} is not a whole number above 0")
    return int(text)
