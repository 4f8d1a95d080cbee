"""What Goroscope costs and how well it counts, measured on a load of ours: `python -m tests.bench --help`.

Nothing here asserts a time. Every figure is the median of repeated measurements, and the report says what else
the machine was doing. Needs root, BPF and about 15 minutes; `--quick` shows that it works.
"""

import argparse
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.bench import (
    goroutines,
    native,
    noise,
    offcpu,
    report,
    report_goroutines,
    report_native,
    report_offcpu,
    slowdown,
)
from tests.bench.load import Load, default_load
from tests.bench.lookups import measure_binary
from tests.bench.recording import BARELY_WARM_SECONDS, WARM_SECONDS, measure_recording, measure_starts
from tests.bench.report import Rate, Results
from tests.bench.stats import Estimate
from tests.bench.windows import idle_tick_ns, measure_windows
from tests.go import toolchains

WINDOW_SECONDS = 10
FEW_STACKS_PATHS = 220
"""With `-spin` nearly every sample lies in one loop, on two or three of its instructions: 500 stacks in all."""
FEW_STACKS_RATES = (20, 499)


@dataclass(frozen=True, slots=True)
class Effort:
    """How often each thing is measured."""

    windows: int
    slowdown: int
    warm: float = WARM_SECONDS
    idle_seconds: int = 10
    counted_windows: int = 3
    starts: int = 5


QUICK = Effort(windows=1, slowdown=0, warm=BARELY_WARM_SECONDS, idle_seconds=2, counted_windows=1, starts=1)


def main() -> int:
    """Measure, print, and write the report where it was asked for."""
    args = parse_arguments()
    if args.native:
        return native_only(args)
    if args.off_cpu:
        return off_cpu_only(args)
    if args.goroutines:
        return goroutines_only(args)
    if os.geteuid() != 0:
        print("The bench needs root: it loads BPF programs.", file=sys.stderr)
        return 3
    effort = QUICK if args.quick else Effort(max(1, args.seconds // WINDOW_SECONDS), args.slowdown)
    program = args.load or default_load()
    binaries = args.binary or toolchain_programs()
    before = noise.now()
    with Load(program) as load:
        rates = [measure_rate(load, hertz, effort) for hertz in args.hertz]
        timers, control = (
            measure_floor(load, args.hertz[-1], effort.slowdown) if effort.slowdown and load.counted else (None, None)
        )
    few = measure_few_stacks(effort) if not args.load else []
    tables = [measure_binary(path) for path in binaries]
    text = report.render(Results(rates, timers, control, few, tables, before, noise.now(), own_load=not args.load))
    print(text)
    if args.write:
        args.write.write_text(text, encoding="utf-8")
    return 0


def native_only(args: argparse.Namespace) -> int:
    """The part on native code alone: the rest does not concern it."""
    windows, warm = (1, BARELY_WARM_SECONDS) if args.quick else (max(1, args.seconds // WINDOW_SECONDS), WARM_SECONDS)
    tell("native code: rows of files")
    files = native.measure_files()
    tell("native code: 20 calls deep")
    depths = native.measure_depth([97, 499], windows, warm, idle_seconds=2 if args.quick else 10)
    tell(f"native code: {native.MANY} binaries")
    many = native.measure_many(97, windows, warm + native.MAKING_SECONDS)
    text = report_native.render_native(depths, files, many)
    print(text)
    if args.write:
        args.write.write_text(text, encoding="utf-8")
    return 0


def off_cpu_only(args: argparse.Namespace) -> int:
    """The part on time off the CPU alone."""
    seconds = 4 if args.quick else max(4, args.seconds)
    found = []
    for pinned in (True, False):
        tell(f"time off the CPU: two processes that switch, {'on one CPU' if pinned else 'anywhere'}")
        found += offcpu.measure_switching(seconds, pinned=pinned)
    tell("time off the CPU: perf bench sched pipe, where it is installed")
    text = report_offcpu.render_offcpu(found, offcpu.measure_perf(1 if args.quick else 5))
    print(text)
    if args.write:
        args.write.write_text(text, encoding="utf-8")
    return 0


def goroutines_only(args: argparse.Namespace) -> int:
    """The part on goroutines alone."""
    fleets = []
    for one in goroutines.measure_fleets(3 if args.quick else 15):
        tell(f"goroutines: {one.what}")
        fleets.append(one)
    tell("goroutines: in a storm")
    storm = goroutines.measure_storm(5 if args.quick else 50)
    tell("goroutines: how much slower the load is")
    speed = None if args.quick else goroutines.measure_slowdown(args.slowdown)
    text = report_goroutines.render_goroutines(fleets, storm, speed)
    print(text)
    if args.write:
        args.write.write_text(text, encoding="utf-8")
    return 0


def measure_rate(load: Load, hertz: int, effort: Effort) -> Rate:
    """Everything about one rate."""
    tell(f"{hertz} Hz: one recording, {effort.windows} windows")
    idle = idle_tick_ns(hertz, effort.idle_seconds)
    recording = measure_recording(load, hertz, effort.windows, idle, effort.warm)
    tell(f"{hertz} Hz: stacks in a window")
    stacks = measure_windows(load, hertz, effort.counted_windows)
    tell(f"{hertz} Hz: from start to first sample")
    starts = measure_starts(load, hertz, effort.starts)
    slower = None
    if effort.slowdown and load.counted:
        tell(f"{hertz} Hz: slowdown, {effort.slowdown} s")
        slower = slowdown.measure(load, hertz, effort.slowdown, load.pid)
    return Rate(hertz, idle, recording, stacks, starts, slower)


def measure_floor(load: Load, hertz: int, seconds: int) -> tuple[Estimate, Estimate]:
    """Speed of the load with timers that take none of its samples, and with nothing switched on."""
    tell(f"{hertz} Hz: the timers alone, and the control, {seconds} s each")
    with subprocess.Popen(["sleep", "infinity"]) as sleeper:
        try:
            timers = slowdown.measure(load, hertz, seconds, sleeper.pid)
            return timers, slowdown.measure(load, hertz, seconds, sleeper.pid, control=True)
        finally:
            sleeper.kill()


def measure_few_stacks(effort: Effort) -> list[Rate]:
    """The same load with few distinct stacks, at a low and a high rate."""
    found = []
    with Load(default_load(), ("-spin", "-paths", str(FEW_STACKS_PATHS))) as load:
        for hertz in FEW_STACKS_RATES:
            tell(f"{hertz} Hz, few stacks")
            idle = idle_tick_ns(hertz, effort.idle_seconds)
            recording = measure_recording(load, hertz, effort.windows, idle, effort.warm)
            found.append(Rate(hertz, idle, recording, measure_windows(load, hertz, 1), [], None))
    return found


def toolchain_programs() -> list[Path]:
    """Large Go programs that are at hand: those of the toolchain that builds the load."""
    root = toolchains.go(toolchains.VERSIONS[-1]).parents[1]
    return [root / "bin/go", root / "pkg/tool/linux_amd64/compile"]


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__.splitlines()[0])
    parser.add_argument("--hertz", type=numbers, default=[20, 97, 499], help="rates, separated by commas")
    parser.add_argument("--seconds", type=int, default=60, help="steady time of each recording (default 60)")
    parser.add_argument("--slowdown", type=int, default=120, metavar="SECONDS", help="of each slowdown; 0: none")
    parser.add_argument("--load", type=Path, help="another program than ours that keeps all CPUs busy")
    parser.add_argument("--binary", type=Path, action="append", help="Go program for the rows and names; repeatable")
    parser.add_argument("--write", type=Path, help="write the report here too")
    parser.add_argument("--off-cpu", action="store_true", help="the part on time off the CPU alone (about 10 min)")
    parser.add_argument("--goroutines", action="store_true", help="the part on goroutines alone (about 5 min)")
    parser.add_argument("--native", action="store_true", help="the part on native code alone (about 6 min)")
    parser.add_argument("--quick", action="store_true", help="one short window of everything, no slowdown")
    return parser.parse_args()


def numbers(text: str) -> list[int]:
    """Whole numbers separated by commas."""
    return [int(word) for word in text.split(",")]


def tell(text: str) -> None:
    """Say what is being measured now."""
    print(f"bench: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
