"""What time off the CPU costs: a pair of processes that do nothing but switch, as `perf bench sched pipe` has them.

The recorder runs throughout, and its tracepoints are detached (A) and attached (B) in the order A B B A, in short
segments, since the speed of a CPU wanders. On one CPU a round trip is the CPU time that the pair used for it, so that
what other processes take does not count; elsewhere it is the time that went by. Statistics of BPF programs cost time
themselves: they are off meanwhile, and what a program takes is measured in a run of its own.
"""

import mmap
import os
import re
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Self

from agent.recording.recorder import Recorder, Wanted
from bpf.attach import WAIT_TRACEPOINTS, Tracepoints
from bpf.capture import RawWindow
from bpf.syscalls import enable_run_time_stats, program_run_time
from bpf.waits import WaitSettings
from tests.bench.native import build
from tests.bench.noise import cpu_ns
from tests.bench.slowdown import ratios
from tests.bench.stats import Estimate, estimate

SEGMENT_SECONDS = 0.1
_ORDER = (False, True, True, False)
_NO_LIMIT = 2**32 - 1
_PERF_LOOPS = 100_000
_DEFAULT = WaitSettings()
SETTINGS = {
    "not a target": _DEFAULT,
    "target": _DEFAULT,
    "target, from 0 ns": replace(_DEFAULT, min_ns=0),
    "target, each walked": replace(_DEFAULT, min_ns=0, thread_walks=_NO_LIMIT, cpu_walks=_NO_LIMIT),
}


@dataclass(frozen=True, slots=True)
class Steady:
    """One run with statistics on. Times in ns; `kept_ns` was kept, `off_ns` is what the pair was off the CPU."""

    switches_per_second: float
    switch_ns: float
    wakeup_ns: float
    expected: int
    kept: int
    thinned: int
    short: int
    off_ns: int
    kept_ns: int
    losses: dict[str, int]


@dataclass(frozen=True, slots=True)
class Switching:
    """The pair under one of SETTINGS: round trips without tracepoints by those with them, and what was counted."""

    name: str
    pinned: bool
    longer: Estimate
    steady: Steady


@dataclass(frozen=True, slots=True)
class PerfPipe:
    """`perf bench sched pipe` under one of SETTINGS: seconds attached by seconds detached, and microseconds a loop."""

    name: str
    ratio: Estimate
    loop_us: float


class Pair:
    """The pair while it runs; a context manager. On one CPU where `pinned`."""

    def __init__(self, program: Path, *, pinned: bool) -> None:
        """Nothing runs yet."""
        self._program = program
        self.pinned = pinned

    def __enter__(self) -> Self:
        """Start both processes."""
        cpu = [str((os.cpu_count() or 1) - 1)] if self.pinned else []
        with tempfile.NamedTemporaryFile() as file:
            file.truncate(4096)
            self._shared = mmap.mmap(file.fileno(), 4096)
            self._process = subprocess.Popen([str(self._program), file.name, *cpu])
            self._wait_for_both()
        return self

    def _wait_for_both(self) -> None:
        while not self._word(1):
            time.sleep(0.01)
        self.pids = (self._process.pid, self._word(1))
        time.sleep(0.5)

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def _word(self, index: int) -> int:
        return int.from_bytes(self._shared[8 * index : 8 * index + 8], "little")

    def finished(self) -> int:
        """Round trips so far."""
        return self._word(0)

    def cpu_ns(self) -> int:
        """CPU time of both."""
        return sum(cpu_ns(pid) for pid in self.pids)

    def cost(self) -> int:
        """What round trips are counted by."""
        return self.cpu_ns() if self.pinned else time.monotonic_ns()

    def switches(self) -> int:
        """Switches of both, as the kernel counts them."""
        texts = [Path(f"/proc/{pid}/status").read_text() for pid in self.pids]
        return sum(int(one) for text in texts for one in re.findall(r"voluntary_ctxt_switches:\s+(\d+)", text))


def measure_switching(seconds: float, *, pinned: bool) -> list[Switching]:
    """The pair under all SETTINGS, `seconds` of A B B A for each."""
    found = []
    with tempfile.TemporaryDirectory() as folder, Pair(build("pipes", Path(folder)), pinned=pinned) as pair:
        for name, settings in SETTINGS.items():
            with Sleeper() as other:
                pids = (other,) if name == "not a target" else pair.pids
                wanted = Wanted(pids=pids, on_cpu=False, waits=settings, window_seconds=1.0)
                longer, steady = _longer(pair, wanted, seconds), _steady(pair, wanted, seconds / 4)
                found.append(Switching(name, pinned, longer, steady))
    return found


def _longer(pair: Pair, wanted: Wanted, seconds: float) -> Estimate:
    """The length of a round trip with the tracepoints attached, by that without."""
    fours = max(10, int(seconds / SEGMENT_SECONDS / len(_ORDER)))
    done: list[tuple[int, int]] = []
    with Recorder(wanted) as recorder:
        recorder.start()

        def switch() -> None:
            for on in _ORDER * fours:
                _attach(recorder, on=on)
                trips, used = pair.finished(), pair.cost()
                time.sleep(SEGMENT_SECONDS)
                done.append((pair.cost() - used, pair.finished() - trips))

        _beside(recorder, switch)
    return estimate(ratios(done))


def _attach(recorder: Recorder, *, on: bool) -> None:
    """Have the tracepoints of waits attached, or not."""
    attached = recorder._attached
    if attached.waits is not None:
        attached.waits.close()
    attached.waits = Tracepoints(attached.programs.programs, WAIT_TRACEPOINTS) if on else None


def _beside(recorder: Recorder, work: Callable[[], object]) -> None:
    """Do something in a thread while the recorder takes windows."""
    thread = threading.Thread(target=work)
    thread.start()
    recorder.run(None, lambda _elapsed: thread.is_alive())
    thread.join()


def _steady(pair: Pair, wanted: Wanted, seconds: float) -> Steady:
    """What is counted in some seconds, and what a program takes for each event."""
    windows: list[RawWindow] = []
    statistics = enable_run_time_stats()
    try:
        with Recorder(wanted) as recorder:
            recorder.start()
            add = recorder._pipeline.add
            recorder._pipeline.add = lambda window: (windows.append(window), add(window))[1]
            programs = recorder._attached.programs.programs
            before = _moment(pair, programs)
            recorder.run(seconds, lambda _elapsed: True)
            after = _moment(pair, programs)
            recorder.stop()
    finally:
        os.close(statistics)
    elapsed, cpu, switches, switch_ns, switched, wakeup_ns, woken = (
        end - begin for begin, end in zip(before, after, strict=True)
    )
    waits = [wait for window in windows for wait in window.waits if wait.tgid in pair.pids]
    losses = {name: sum(window.losses[name] for window in windows) for name in windows[0].losses}
    return Steady(
        switches_per_second=switches / elapsed * 1e9,
        switch_ns=switch_ns / max(1, switched),
        wakeup_ns=wakeup_ns / max(1, woken),
        expected=switches,
        kept=sum(wait.waits for wait in waits),
        thinned=sum(window.left_out.thinned_waits for window in windows),
        short=sum(window.left_out.short_waits for window in windows),
        off_ns=elapsed * len(pair.pids) - cpu,
        kept_ns=sum(wait.blocked_ns + wait.runnable_ns for wait in waits),
        losses={name: number for name, number in losses.items() if number},
    )


def _moment(pair: Pair, programs: dict[str, int]) -> tuple[int, ...]:
    runs = (*program_run_time(programs["on_switch"]), *program_run_time(programs["on_wakeup"]))
    return time.monotonic_ns(), pair.cpu_ns(), pair.switches(), *runs


def measure_perf(times: int) -> list[PerfPipe]:
    """`perf bench sched pipe`, where it is installed; as a target it is one of the whole node."""
    perf = shutil.which("perf")
    if perf is None:
        return []
    found = []
    for name, settings in SETTINGS.items():
        with Sleeper() as other:
            pids = (other,) if name == "not a target" else ()
            with Recorder(Wanted(pids=pids, on_cpu=False, waits=settings, window_seconds=1.0)) as recorder:
                recorder.start()
                seconds: dict[bool, list[float]] = {False: [], True: []}

                def switch(recorder: Recorder = recorder, seconds: dict[bool, list[float]] = seconds) -> None:
                    for on in _ORDER * times:
                        _attach(recorder, on=on)
                        seconds[on].append(_perf_seconds(perf))

                _beside(recorder, switch)
        shares = [on / off for on, off in zip(seconds[True], seconds[False], strict=True)]
        found.append(PerfPipe(name, estimate(shares), median(seconds[False]) / _PERF_LOOPS * 1e6))
    return found


def _perf_seconds(perf: str) -> float:
    command = [perf, "bench", "-f", "simple", "sched", "pipe", "-l", str(_PERF_LOOPS)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])


class Sleeper:
    """A process that is a target and does nothing: its id; a context manager."""

    def __enter__(self) -> int:
        """Start it."""
        self._process = subprocess.Popen(["sleep", "infinity"])
        return self._process.pid

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
