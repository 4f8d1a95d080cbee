"""What reading goroutines costs: time for each, memory, and what it does to the program that is read.

Times are of processes of their own, so that memory is told apart; the slowdown is the speed of our load while it is
read again and again against that while it is not, in the order A B B A, by its own CPU time.
"""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.load import Load, default_load
from tests.bench.noise import cpu_ns
from tests.bench.slowdown import ratios
from tests.bench.stats import Estimate, estimate
from tests.go import toolchains

PROGRAM = Path(toolchains.__file__).parent / "programs/goroutines"
FLEETS = (
    ("parked", "1000"),
    ("parked", "5000"),
    ("parked", "20000"),
    ("parked", "100000"),
    ("dead", "1000000", "10000"),
)
_SEGMENT_SECONDS = 0.2
_TAKES_A_SECOND = 5
_ORDER = (False, True, True, False)
_STORM_ROUNDS, _STORM_PARKED = 50, 3000


@dataclass(frozen=True, slots=True)
class Fleet:
    """Reading one process: its goroutines, and dead entries; seconds of the first take and of later ones, and bytes."""

    what: str
    goroutines: int
    dead: int
    attach: float
    first: float
    warm: Estimate
    cpu: float
    """Of a warm take."""
    memory: int
    """By which the resident set was larger at its largest than before the first take."""


@dataclass(frozen=True, slots=True)
class Storm:
    """Reading a process in which goroutines begin, end, move and grow all the time."""

    rounds: int
    read: int
    unsettled: int


@contextmanager
def _running(*arguments: str) -> Iterator[int]:
    """The program of fleets in a mode, once it is ready: its process id."""
    command = [toolchains.build(toolchains.VERSIONS[-1], "stripped", PROGRAM), *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            while process.stdout.readline() not in {"ready\n", ""}:
                pass
            yield process.pid
        finally:
            process.kill()


def measure_fleets(takes: int) -> Iterator[Fleet]:
    """One after the other."""
    for arguments in FLEETS:
        with _running(*arguments) as pid:
            command = [sys.executable, "-m", "tests.bench.goroutines", str(pid), str(takes)]
            told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        warm = estimate(told.pop("warm"))
        yield Fleet(what=" ".join(arguments), warm=warm, **told)


def measure_storm(rounds: int) -> Storm:
    """How many goroutines were in the middle of something, each of the times that they were looked at."""
    from agent.goroutines.source import Source

    with _running("storm", str(_STORM_PARKED)) as pid, Source(pid) as source:
        taken = [source.take() for _ in range(rounds)]
    return Storm(rounds, sum(map(len, taken)), sum(one.unsettled for one in taken))


def measure_slowdown(seconds: float) -> Estimate:
    """Speed of the load while its goroutines are read five times a second, as a ratio to that while they are not."""
    from agent.goroutines.source import Source

    fours = max(10, int(seconds / _SEGMENT_SECONDS / len(_ORDER)))
    done: list[tuple[int, int]] = []
    with Load(default_load()) as load, Source(load.pid) as source:
        source.take()
        for on in _ORDER * fours:
            ended = threading.Event()
            reading = threading.Thread(target=_read, args=(source, ended)) if on else None
            if reading is not None:
                reading.start()
            chains, used = load.finished(), cpu_ns(load.pid)
            time.sleep(_SEGMENT_SECONDS)
            done.append((load.finished() - chains, cpu_ns(load.pid) - used))
            ended.set()
            if reading is not None:
                reading.join()
    return estimate(ratios(done))


def _read(source: object, ended: threading.Event) -> None:
    while not ended.wait(1 / _TAKES_A_SECOND):
        source.take()


def _alone(pid: int, takes: int) -> None:
    """In a process of its own: read a process some times, and print what it took."""
    from agent.goroutines.source import Source

    started = time.perf_counter()
    source = Source(pid)
    attach = time.perf_counter() - started
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the largest resident set begins anew
    before = resident()
    times, used = [], []
    for _ in range(takes + 1):
        started, cpu = time.perf_counter(), time.process_time()
        taken = source.take()
        times.append(time.perf_counter() - started)
        used.append(time.process_time() - cpu)
    found = {
        "goroutines": len(taken),
        "dead": taken.dead,
        "attach": attach,
        "first": times[0],
        "warm": times[1:],
        "cpu": sorted(used[1:])[takes // 2],
        "memory": resident("VmHWM") - before,
    }
    print(json.dumps(found))


def resident(what: str = "VmRSS") -> int:
    """Bytes of our own resident set."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(what)) * 1024


if __name__ == "__main__":
    _alone(int(sys.argv[1]), int(sys.argv[2]))
