"""`goroscope record`: profile a process, a container, a command or the whole node, and write the profile."""

import argparse
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path

from agent import __version__
from agent.cli import arguments, waits
from agent.cli.limits import raise_file_limit
from agent.cli.outputs import Output, checked, how_to_open, write
from agent.cli.progress import progress
from agent.errors import NoSamplesError, TargetError, UsageError
from agent.launch import HeldCommand
from agent.procfs.process import command_name, process_of
from agent.recording.wanted import Wanted
from agent.summary import summarize
from profiles.model import Profile

DEFAULT_HERTZ = 49
DEFAULT_LOOK_HERTZ, MAX_LOOK_HERTZ = 10, 20
DEMO_SECONDS = 10.0


class Record:
    """Sample stacks of CPU time, of waits (--off-cpu), or of both, and write them as a profile.

    Without a target the whole node is sampled. Stops after SECONDS, at Ctrl-C, or when COMMAND ends;
    what was gathered by then is written in every case.

    Examples:
      goroscope record 10                     the whole node for ten seconds
      goroscope record -p 4217 -d 30          one process and its later children
      goroscope record -o cpu.html -- ./server   a command, from its start to its end
      goroscope record -p 4217 --off-cpu 10   where it waits, and how long
      goroscope record --demo                 a small Go service of ours, to see what it looks like
    """

    def prepare_parser(self, parser: argparse.ArgumentParser) -> None:
        """Add targets, rate, duration and outputs."""
        parser.add_argument(
            "seconds", metavar="SECONDS", nargs="?", type=arguments.seconds, help="how long (default: Ctrl-C)"
        )
        parser.add_argument("-d", "--duration", metavar="SECONDS", type=arguments.seconds, help="the same as an option")
        target = parser.add_mutually_exclusive_group()
        target.add_argument(
            "-p", "--pid", metavar="PID,..", type=arguments.pids, help="processes and their later children"
        )
        target.add_argument("--cgroup", metavar="PATH", type=Path, help="a cgroup and those below it")
        target.add_argument("--demo", action="store_true", help="build and profile a small Go service for 10 s")
        parser.add_argument(
            *("-F", "--frequency"),
            metavar="HZ",
            type=arguments.hertz,
            help=f"samples a second and CPU (default {DEFAULT_HERTZ}), looks a second at goroutines (default 10)",
        )
        stacks = parser.add_mutually_exclusive_group()
        stacks.add_argument("-U", "--user", action="store_true", help="user stacks only")
        stacks.add_argument("-K", "--kernel", action="store_true", help="kernel stacks only")
        parser.add_argument("--per-thread", action="store_true", help="keep threads apart")
        parser.add_argument("--per-goroutine", action="store_true", help="keep goroutines of Go apart")
        parser.add_argument(
            *("-o", "--output"),
            metavar="FILE",
            action="append",
            default=[],
            help="where to: .pb.gz, .html, .folded or .speedscope.json; several may be given; - is folded on "
            "standard output (default: a .pb.gz and an .html named after target and time)",
        )
        waits.add_options(parser)
        goroutines = parser.add_argument_group("goroutines")
        goroutines.add_argument(
            "--goroutines", action="store_true", help="where goroutines of Go are while they do not run, and what for"
        )
        parser.add_argument("--force", action="store_true", help="write over files that exist")
        parser.add_argument("-q", "--quiet", action="store_true", help="no progress, only the summary")

    def run(self, args: argparse.Namespace) -> int:
        """Record and write; the command's exit status where one was profiled, else 0."""
        _check(args)
        outputs = _outputs(args)
        args.waits = waits.settings_of(args)
        args.look_hertz = min(args.frequency or DEFAULT_LOOK_HERTZ, MAX_LOOK_HERTZ) if args.goroutines else 0
        args.sample_cpu = args.on_cpu or (args.waits is None and not args.goroutines)
        with ExitStack() as stack:
            command, service_pid = None, 0
            if args.demo:
                service_pid = stack.enter_context(_demo())
            elif args.program:
                command = HeldCommand(args.program)
                stack.callback(command.wait)
            pids = args.pid or tuple(pid for pid in (service_pid, command.pid if command else 0) if pid)
            profile = _record(args, pids, command)
            write(profile, outputs, force=args.force)
            _tell(summarize(profile))
            _tell(how_to_open(outputs))
            if command is not None:
                return command.wait()
        if not profile.samples:
            waited = args.waits is not None or args.goroutines
            did_nothing = "did not wait" if waited else "used no CPU time"
            raise NoSamplesError(
                f"No sample was taken: the target {did_nothing}.", "Record for longer, or while it has work to do."
            )
        return 0


def _check(args: argparse.Namespace) -> None:
    """What argparse cannot say. Raises UsageError."""
    if args.seconds is not None and args.duration is not None:
        raise UsageError("The duration is given twice.", "Give SECONDS or -d, not both.")
    args.duration = args.seconds if args.seconds is not None else args.duration
    if args.program and (args.pid or args.cgroup or args.demo):
        raise UsageError("A command and another target were given.", "Give one of -p, --cgroup, --demo or -- COMMAND.")
    if args.goroutines and not (args.program or args.pid or args.demo):
        raise UsageError("Goroutines are those of named processes.", "Add -p PID, --demo or -- COMMAND.")
    if args.demo and args.duration is None:
        args.duration = DEMO_SECONDS
    for pid in args.pid or ():
        process = process_of(pid)
        if process is None:
            raise TargetError(f"There is no process {pid}.", "Give the id of a running process.")
        if process != pid:
            raise TargetError(f"{pid} is a thread of process {process}.", f"Give -p {process}, with --per-thread.")


def _outputs(args: argparse.Namespace) -> list[Output]:
    """Where the profile goes, each with its format. Raises UsageError and OutputError before anything is sampled."""
    names = args.output
    if not names:
        stem = f"goroscope-{_target_word(args)}-{datetime.now().astimezone():%Y%m%d-%H%M%S}"
        names = [f"{stem}.pb.gz", f"{stem}.html"]
    return checked(names, force=args.force)


def _target_word(args: argparse.Namespace) -> str:
    """A word for file names."""
    if args.demo:
        return "demo"
    if args.program:
        word = Path(args.program[0]).name
    elif args.pid:
        word = f"{command_name(args.pid[0])}-{args.pid[0]}"
    else:
        word = args.cgroup.name if args.cgroup else "node"
    return "".join(letter if letter.isalnum() or letter in "._-" else "_" for letter in word)[:60]


@contextmanager
def _demo() -> Iterator[int]:
    """The demo service, built and running: its process id."""
    from agent.demo.build import build_demo, default_cache
    from agent.demo.service import DemoService

    with DemoService(build_demo(default_cache(), lambda text: _tell([text]))) as service:
        yield service.pid


def _record(args: argparse.Namespace, pids: tuple[int, ...], command: HeldCommand | None) -> Profile:
    from agent.doctor.checks import preflight
    from agent.doctor.machine import Machine
    from agent.recording.recorder import recorder_for
    from symbolizer.elf.truncation import survive_truncation

    if args.sample_cpu or args.waits is not None:
        preflight(Machine())
    survive_truncation()
    raise_file_limit()
    target = _target_text(args, pids)
    wanted = Wanted(
        hertz=args.frequency or DEFAULT_HERTZ,
        pids=pids,
        cgroup=args.cgroup,
        user=not args.kernel,
        kernel=not args.user,
        per_thread=args.per_thread,
        per_goroutine=args.per_goroutine,
        goroutines_hertz=args.look_hertz,
        on_cpu=args.sample_cpu,
        waits=args.waits,
        program=(shutil.which(args.program[0]) or "") if args.program else "",
    )
    with recorder_for(wanted) as recorder, _interruptible() as interrupted:
        recorder.start()
        if command is not None:
            command.release()
        for_how_long = f"for {args.duration:g} s" if args.duration else "until Ctrl-C"
        if not args.quiet:
            _tell([f"{_what(wanted, target)} {for_how_long}."])
        finished = _ending(args, pids, command, interrupted)
        try:
            with progress(args.duration, show=not args.quiet and sys.stderr.isatty()) as show:

                def tick(elapsed: float) -> bool:
                    show(elapsed, recorder.samples)
                    return not finished()

                recorder.run(args.duration, tick)
        finally:
            recorder.stop()
            if command is not None and interrupted():
                command.terminate()  # at a terminal Ctrl-C has reached it already; sent to us alone it has not
        return recorder.profile(__version__, target)


def _what(wanted: Wanted, target: str) -> str:
    """What is done to whom: `Sampling PID 7 at 49 Hz, following its waits`."""
    often = f"{wanted.goroutines_hertz} times a second"
    doing = [f"Sampling {target} at {wanted.hertz} Hz"] if wanted.on_cpu else []
    if wanted.waits is not None:
        doing.append("following its waits" if doing else f"Following the waits of {target}")
    if wanted.goroutines_hertz:
        doing.append(
            f"looking at its goroutines {often}" if doing else f"Looking at the goroutines of {target} {often}"
        )
    return ", ".join(doing) + ("," if len(doing) > 1 else "")


def _ending(
    args: argparse.Namespace, pids: tuple[int, ...], command: HeldCommand | None, interrupted: Callable[[], bool]
) -> Callable[[], bool]:
    """What ends a recording besides its time: Ctrl-C, the end of the command, the end of all named processes."""

    def finished() -> bool:
        if interrupted() or (command is not None and not command.running):
            return True
        return bool(args.pid) and not any(Path(f"/proc/{pid}").exists() for pid in pids)

    return finished


def _target_text(args: argparse.Namespace, pids: tuple[int, ...]) -> str:
    if args.cgroup:
        return f"cgroup {args.cgroup}"
    if args.program:
        return f"command {' '.join(args.program)}"
    if pids:
        return ", ".join(f"PID {pid} ({command_name(pid) or '?'})" for pid in pids)
    return "the whole node"


@contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    """Ctrl-C and SIGTERM end sampling in the ordinary way; more of them do not disturb the writing of results."""
    asked = False

    def note(_number: int, _frame: object) -> None:
        nonlocal asked
        asked = True

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        # Once asked they are ignored for good: a handler of Python's is taken away before the interpreter has ended.
        for number, handler in before.items():
            signal.signal(number, signal.SIG_IGN if asked else handler)


def _tell(lines: list[str]) -> None:
    """Say something to the person, on standard error."""
    for line in lines:
        print(line, file=sys.stderr)
