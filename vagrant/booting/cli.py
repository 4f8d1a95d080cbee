"""The command `vagrant/run`."""

import argparse
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from vagrant.booting.errors import BootError, KernelsError, MachineError, UsageError
from vagrant.booting.listed import Entry, choose, read_list
from vagrant.booting.matrix import Boot, document, matrix, update
from vagrant.booting.processes import InterruptedByUserError, Stop
from vagrant.booting.session import Session, Wishes, not_booted

_CHECKOUT = Path(__file__).parents[2]
_DOCUMENT = _CHECKOUT / "docs/kernels.md"
_TESTS = ("tests/boot", "tests/kernel")
_EPILOG = """\
exit status: 0 all passed, 1 tests failed, 2 wrong usage, 3 this machine lacks something, 4 a kernel did not come up or
did not end in time. What follows -- goes to pytest as it is. GOROSCOPE_KERNELS names the cache (.cache/kernels),
GOROSCOPE_MIRROR a mirror of Debian.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; its exit status."""
    stop = Stop()
    try:
        with stop.on_signals():
            return _command(list(sys.argv[1:] if argv is None else argv), stop)
    except InterruptedByUserError as error:
        _say(f"vagrant/run: {error}; all that was started has ended")
        return 128 + error.signum
    except KernelsError as error:
        _say(f"vagrant/run: {error}")
        return error.exit_code
    except OSError as error:
        _say(f"vagrant/run: {error.filename or 'a file'}: {error.strerror}. Check the disk and its permissions.")
        return MachineError.exit_code


def _command(argv: list[str], stop: Stop) -> int:
    at = argv.index("--") if "--" in argv else len(argv)
    options = _parser().parse_intermixed_args(argv[:at])
    arguments = [*options.arguments, *argv[at + 1 :]]
    entries = read_list()
    wishes = Wishes(options.timeout, options.append, options.command, options.output, options.keep_log)
    session = Session(_CHECKOUT, wishes, stop, _say, _show)
    if options.what != "all" and options.update:
        raise UsageError("--update goes with all kernels only.", "Say: vagrant/run all --update")
    match options.what:
        case "list":
            return _list(entries)
        case "fetch":
            for entry in [choose(entries, name) for name in arguments] or entries:
                _show(f"{entry.name}: {session.fetch(entry)}")
            return 0
        case "all":
            return _all(session, entries, wishes, options, arguments)
    entry = choose(entries, options.what)
    tests = arguments or [test for test in _TESTS if (_CHECKOUT / test).exists()]
    session.check(tests)
    _, passed = session.run(entry, tests)
    return 0 if passed else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="vagrant/run",
        usage="vagrant/run [options] KERNEL [TEST..] [-- PYTEST..] | all | list | fetch [KERNEL..]",
        description="Run tests on another kernel, on this machine's files, which it cannot change.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", metavar="KERNEL", help="a kernel of vagrant/kernels.toml, or all, list, fetch")
    parser.add_argument("arguments", metavar="TEST", nargs="*", help=f"tests, as pytest has them ({' '.join(_TESTS)})")
    parser.add_argument(
        "--timeout", metavar="SECONDS", type=_seconds, default=1800.0, help="for each boot (%(default).0f)"
    )
    parser.add_argument("--append", metavar="ARGS", default="", help="more of the kernel's command line")
    parser.add_argument("--command", metavar="COMMAND", default="", help="run this in the shell, instead of tests")
    parser.add_argument("-o", "--output", metavar="DIR", type=Path, help="keep results and logs there")
    parser.add_argument("--keep-log", action="store_true", help="keep the console's log in the cache")
    parser.add_argument("--jobs", metavar="N", type=_jobs, default=2, help="kernels at a time, with all (%(default)s)")
    parser.add_argument("--update", action="store_true", help="with all: write the matrix into docs/kernels.md")
    return parser


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < 1e6:
        raise ValueError(text)
    return seconds


def _jobs(text: str) -> int:
    jobs = int(text)
    if not 0 < jobs < 100:
        raise ValueError(text)
    return jobs


def _list(entries: Sequence[Entry]) -> int:
    for entry in entries:
        _show(f"{entry.name:22} {entry.suite:18} {entry.package:26} {entry.append}".rstrip())
    return 0


def _all(
    session: Session, entries: Sequence[Entry], wishes: Wishes, options: argparse.Namespace, tests: Sequence[str]
) -> int:
    """Boots all kernels and tells of them together. One that cannot be had or hangs does not keep the others."""
    for entry in entries:
        session.check(tests or entry.tests)

    def one(entry: Entry) -> tuple[Boot, int]:
        keep = wishes.keep / entry.name if wishes.keep else None
        try:
            boot, passed = session.wishing(replace(wishes, keep=keep)).run(entry, tests or entry.tests)
        except (BootError, MachineError) as error:
            _say(f"{entry.name}: {error}")
            return not_booted(entry, error), error.exit_code
        return boot, 0 if passed else 1

    # The longest waits are inside programs that we watch, so threads do.
    with ThreadPoolExecutor(options.jobs) as pool:
        done = list(pool.map(one, entries))
    boots = [boot for boot, _ in done]
    _show(f"\n{matrix(boots)}")
    if options.update:
        update(_DOCUMENT, document(boots))
        _say(f"vagrant/run: the matrix is in {_DOCUMENT.relative_to(_CHECKOUT)}")
    return max(code for _, code in done)


def _say(text: str) -> None:
    """What goes on, apart from what guests print. One write: several boots talk at once."""
    sys.stderr.write(f"{text}\n")


def _show(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
