"""`goroscope record` as a user would start it, watched from outside: its CPU time, memory, samples and losses."""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Self

from bpf.syscalls import enable_run_time_stats, program_run_time
from tests.bench import observe
from tests.bench.load import Load
from tests.bench.noise import cpu_ns, now
from tests.bench.pprof import Counted, read_counted
from tests.bench.stats import interpolate

WINDOW_SECONDS = 10.0
WARM_SECONDS = 25.0
"""Measuring begins in the middle of the third window, so that each 10 s hold one hand-over."""
BARELY_WARM_SECONDS = 5.0
_AFTER_SECONDS = 4.0
_POLL_SECONDS = 0.1
_START_POLL_SECONDS = 0.01
_START_LIMIT = 60.0


@dataclass(frozen=True, slots=True)
class Step:
    """What one steady window of 10 s took: shares of one core, and BPF nanoseconds for a sample of the load."""

    user_share: float
    bpf_share: float
    sample_ns: float
    others_share: float
    """CPU time of everything but the load and the recording."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes: resident, of that private, resident at most so far, and kernel memory of BPF maps."""

    resident: int
    private: int
    peak: int
    maps: int


@dataclass(frozen=True, slots=True)
class Recording:
    """One recording, from start to end."""

    steps: list[Step]
    memory: Memory
    loader_gone: bool
    expected: float
    """Rate times CPU time of the target while sampling was on."""
    counted: Counted
    start_cpu: float
    """CPU seconds up to the first sample, the loader's included."""
    finish_cpu: float
    """CPU seconds for the last window and for the output, after the steady windows."""
    finish_seconds: float
    """From the end of sampling to the end of the process."""

    def median(self, field: str) -> float:
        """The median of a field of Step."""
        return float(median(getattr(step, field) for step in self.steps))


class Command:
    """A running `goroscope record`, killed at the end of the block if it is still there."""

    def __init__(self, load: Load, hertz: int, seconds: float, output: Path) -> None:
        """Start it."""
        program = Path(sys.executable).with_name("goroscope")
        self.started = time.monotonic()
        self._process = subprocess.Popen(
            [program, "record", "-p", str(load.pid), "-F", str(hertz), "-d", f"{seconds:g}", "-o", output, "-q"],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,  # a few lines: the summary, or what went wrong
        )
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._process.stderr.close()

    def first_sample(self, meanwhile: Callable[[], None] = lambda: None) -> float:
        """Seconds from start until a count map has an entry; `meanwhile` is called now and then until it has.

        Raises RuntimeError if that does not happen.
        """
        maps: list[int] = []
        try:
            while time.monotonic() < self.started + _START_LIMIT and self._process.poll() is None:
                maps = maps if len(maps) == 2 else observe.count_maps_of(self.pid)
                if maps and not all(observe.is_empty(one) for one in maps):
                    return time.monotonic() - self.started
                meanwhile()
                time.sleep(_START_POLL_SECONDS)
        finally:
            for one in maps:
                os.close(one)
        raise RuntimeError(f"goroscope record took no sample: {self._said()}")

    def wait(self) -> float:
        """Wait for its end: all CPU seconds it and its children used."""
        _, status, usage = os.wait4(self.pid, 0)
        self._process.returncode = os.waitstatus_to_exitcode(status)
        if self._process.returncode:
            raise RuntimeError(f"goroscope record ended with status {self._process.returncode}: {self._said()}")
        return usage.ru_utime + usage.ru_stime

    def _said(self) -> str:
        self._process.kill()
        return self._process.stderr.read().decode()


def measure_starts(load: Load, hertz: int, times: int) -> list[float]:
    """Seconds from the start of the command to its first sample, each time anew."""
    found = []
    for _ in range(times):
        with tempfile.TemporaryDirectory() as folder, Command(load, hertz, 1.0, Path(folder) / "out.pb.gz") as command:
            found.append(command.first_sample())
            command.wait()
    return found


def measure_recording(load: Load, hertz: int, windows: int, idle_ns: float, warm: float) -> Recording:
    """Record the load for some steady windows after `warm` seconds. `idle_ns`: BPF time of a tick of no target."""
    statistics = enable_run_time_stats()
    seconds = warm + windows * WINDOW_SECONDS + _AFTER_SECONDS
    try:
        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder) / "out.pb.gz"
            with Command(load, hertz, seconds, output) as command:
                return _watch(command, load, _Plan(hertz, windows, idle_ns, warm, seconds), output)
    finally:
        os.close(statistics)


@dataclass(frozen=True, slots=True)
class _Plan:
    hertz: int
    windows: int
    idle_ns: float
    warm: float
    seconds: float


def _watch(command: Command, load: Load, plan: _Plan, output: Path) -> Recording:
    target: list[tuple[float, float]] = []
    began = command.started + command.first_sample(lambda: target.append((time.time(), float(cpu_ns(load.pid)))))
    start_cpu = _with_children(command.pid)
    programs = observe.programs_of(command.pid)
    try:
        edges = [began + plan.warm + WINDOW_SECONDS * number for number in range(plan.windows + 1)]
        readings = []
        for edge in edges:
            _sleep_until(edge, load, target)
            readings.append(_Reading.take(command.pid, load.pid, programs["on_tick"]))
        memory, gone = _memory(command.pid), not _children(command.pid)
        steady_cpu = _with_children(command.pid)
        _sleep_until(began + plan.seconds + 0.5, load, target)
    finally:
        for descriptor in programs.values():
            os.close(descriptor)
    all_cpu = command.wait()
    ended = time.time()
    target.append((ended, float(cpu_ns(load.pid))))
    counted = read_counted(output)
    first, last = counted.start, counted.start + counted.seconds
    used = (interpolate(target, last) - interpolate(target, first)) / 1e9
    steps = [before.step(after, plan) for before, after in pairwise(readings)]
    return Recording(steps, memory, gone, plan.hertz * used, counted, start_cpu, all_cpu - steady_cpu, ended - last)


@dataclass(frozen=True, slots=True)
class _Reading:
    time: float
    own_ns: int
    target_ns: int
    busy: float
    bpf_ns: int
    runs: int

    @classmethod
    def take(cls, pid: int, target: int, program: int) -> "_Reading":
        return cls(time.monotonic(), cpu_ns(pid), cpu_ns(target), now().busy, *program_run_time(program))

    def step(self, after: "_Reading", plan: _Plan) -> Step:
        """Time of tail-called programs is accounted to the one the event runs."""
        elapsed = (after.time - self.time) * 1e9
        bpf_ns = after.bpf_ns - self.bpf_ns
        samples = plan.hertz * (after.target_ns - self.target_ns) / 1e9
        others = max(0.0, after.runs - self.runs - samples)
        own_ns, target_ns = after.own_ns - self.own_ns, after.target_ns - self.target_ns
        return Step(
            own_ns / elapsed,
            bpf_ns / elapsed,
            (bpf_ns - others * plan.idle_ns) / samples,
            max(0.0, (after.busy - self.busy) * 1e9 - own_ns - target_ns) / elapsed,
        )


def _sleep_until(moment: float, load: Load, target: list[tuple[float, float]]) -> None:
    """Sleep, noting the CPU time of the target on the way."""
    while (left := moment - time.monotonic()) > 0:
        time.sleep(min(left, _POLL_SECONDS))
        target.append((time.time(), float(cpu_ns(load.pid))))


def _with_children(pid: int) -> float:
    """CPU seconds of a process and of its children that have ended (cutime and cstime of /proc/PID/stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return cpu_ns(pid) / 1e9 + (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")


def _children(pid: int) -> list[str]:
    return [child for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()]


def _memory(pid: int) -> Memory:
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    status = Path(f"/proc/{pid}/status").read_text()

    def kilobytes(text: str, name: str) -> int:
        found = re.search(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE)
        return int(found[1]) * 1024 if found else 0

    private = kilobytes(rollup, "Private_Clean") + kilobytes(rollup, "Private_Dirty")
    return Memory(kilobytes(rollup, "Rss"), private, kilobytes(status, "VmHWM"), observe.map_memory_of(pid))
