"""Feeds broken inputs to the parsers: `python -m tests.fuzz.run [--target NAME] [--inputs N] [--seconds S] [--seed N]`.

A target is a module of tests/fuzz/targets with NAME, seeds() -> intact inputs, and run(data), which parses one
input and returns where it is refused properly. What run() lets through (any exception), takes longer than the
time limit or needs more memory than the headroom fails; the input is then kept in .cache/fuzz, to be run again
with --input FILE. The same seed gives the same inputs.
"""

import argparse
import importlib
import os
import pkgutil
import random
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from tests.fuzz.mutate import mutate

ROOT = Path(__file__).parents[2]
FAILURES = ROOT / ".cache" / "fuzz"
TIME_LIMIT_S = 2.0
HEADROOM_BYTES = 512 << 20
_RECENT = 64


class TooSlow(BaseException):
    """An input took longer than the limit. No Exception, so that no parser can swallow it."""


@dataclass(frozen=True, slots=True)
class Target:
    """A parser under test."""

    name: str
    seeds: tuple[bytes, ...]
    run: Callable[[bytes], None]


@dataclass(frozen=True, slots=True)
class Failure:
    """An input that a target did not survive."""

    data: bytes
    reason: str


def targets(wanted: Collection[str] | None) -> list[Target]:
    """Those of some names, or all, by name. The seeds of others are not made, which may take long."""
    folder = Path(__file__).parent / "targets"
    names = sorted(module.name for module in pkgutil.iter_modules([str(folder)]))
    modules = [importlib.import_module(f"tests.fuzz.targets.{name}") for name in names]
    return [
        Target(module.NAME, tuple(module.seeds()), module.run)
        for module in modules
        if not wanted or module.NAME in wanted
    ]


def inputs(target: Target, seed: int) -> Iterator[bytes]:
    """The seeds themselves, then mutations of them and of earlier mutations, without end."""
    chance = random.Random(f"{target.name}/{seed}")
    yield from target.seeds
    recent: list[bytes] = []
    while True:
        base = chance.choice(recent) if recent and chance.random() < 0.2 else chance.choice(target.seeds)
        made = mutate(base, target.seeds, chance)
        if chance.random() < 0.1:
            recent = [*recent, made][-_RECENT:]
        yield made


def attempt(target: Target, data: bytes, time_limit: float = TIME_LIMIT_S) -> Failure | None:
    """Run one input within the limits; what went wrong, if anything."""
    signal.setitimer(signal.ITIMER_REAL, time_limit)
    try:
        target.run(data)
    except TooSlow:
        return Failure(data, f"took longer than {time_limit:g} s\n{traceback.format_exc()}")
    except (Exception, RecursionError, MemoryError):
        return Failure(data, traceback.format_exc())
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return None


def fuzz(target: Target, *, seed: int, count: int, seconds: float) -> tuple[int, Failure | None]:
    """Run up to `count` inputs for up to `seconds`, until one fails: how many ran, and the failure."""
    end = time.monotonic() + seconds
    ran = 0
    for data in inputs(target, seed):
        failure = attempt(target, data)
        ran += 1
        if failure is not None:
            return ran, failure
        if ran >= count or time.monotonic() >= end:
            break
    return ran, None


def limit_resources() -> None:
    """Bound the address space to what is used now and the headroom, and let the timer interrupt parsers."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * os.sysconf("SC_PAGE_SIZE") + HEADROOM_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))
    signal.signal(signal.SIGALRM, _out_of_time)


def _out_of_time(_signal: int, _frame: FrameType | None) -> None:
    raise TooSlow


def keep(target: Target, failure: Failure) -> Path:
    """Save a failing input and say where."""
    FAILURES.mkdir(parents=True, exist_ok=True)
    path = FAILURES / f"{target.name}-{time.strftime('%Y%m%d-%H%M%S')}.bin"
    path.write_bytes(failure.data)
    return path


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.run", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--target", action="append", metavar="NAME", help="only this one; may be given again")
    parser.add_argument("--inputs", type=int, default=100_000, metavar="N", help="inputs a target (default: 100000)")
    parser.add_argument("--seconds", type=float, default=600, metavar="S", help="at most, a target (default: 600)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of the random numbers (default: 1)")
    parser.add_argument("--input", type=Path, metavar="FILE", help="run this input alone, against --target")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run what was asked for; 0 where all inputs were survived, 1 where not, 2 where nothing was run."""
    args = arguments(argv)
    chosen = targets(args.target)
    if not chosen:
        print("no such target", file=sys.stderr)
        return 2
    limit_resources()
    failed = False
    for target in chosen:
        if args.input:
            ran, failure = 1, attempt(target, args.input.read_bytes())
        else:
            ran, failure = fuzz(target, seed=args.seed, count=args.inputs, seconds=args.seconds)
        print(f"{target.name:12} {ran:8} inputs  {'FAILED' if failure else 'clean'}", flush=True)
        if failure:
            failed = True
            print(f"{failure.reason}\nthe input is in {args.input or keep(target, failure)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
