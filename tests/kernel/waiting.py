"""Recordings of time off the CPU, and programs/waits.c, whose threads keep an account of their own waits."""

import json
import re
import select
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

from agent.recording.recorder import Recorder, Wanted
from bpf import abi
from bpf.abi import RawStack
from bpf.maps import elements
from bpf.programs import Loading, Sizes
from bpf.waits import Wait, WaitState, WaitTotals
from profiles.model import Kind, Location
from tests.kernel.recording import Recording, Tap, names_of, running

DEADLINE = 60.0
"""Seconds that the threads may take for their rounds."""


@dataclass(frozen=True)
class Account:
    """What a thread of programs/waits.c says of itself (struct thread of waits.h); times in ns."""

    cause: str
    pid: int
    tid: int
    rounds: int
    waits: int
    """Of at least the threshold; `total`, `shortest`, `longest` are of these: time gone by less CPU time used."""
    total: int
    shortest: int
    longest: int
    near: int
    """Waits so near the threshold that the kernel may see it otherwise."""
    several: int
    disturbed: int
    moved: int
    begin: int
    end: int
    cpu: int
    """CPU time, time on the run queue, and switches between `begin` and `end`: the kernel's own figures."""
    delay: int
    voluntary: int
    involuntary: int

    @property
    def wall(self) -> int:
        return self.end - self.begin

    @property
    def off_cpu(self) -> int:
        return self.wall - self.cpu


@dataclass(frozen=True)
class Waited:
    """Waits of one stack in one window, with names leaf first; `stop` is 0 where the walk was complete."""

    wait: Wait
    kernel: tuple[str, ...]
    user: tuple[str, ...]
    stop: int
    comm: str

    @property
    def off_ns(self) -> int:
        return self.wait.blocked_ns + self.wait.runnable_ns


@dataclass(frozen=True)
class Waits:
    """The waits of a recording, to be narrowed down."""

    waits: tuple[Waited, ...]

    def of(self, tid: int | None = None, within: str = "", states: tuple[WaitState, ...] = tuple(WaitState)) -> Self:
        """Those of a thread, with a function in the user stack, in certain states."""
        return type(self)(
            tuple(
                one
                for one in self.waits
                if tid in {None, one.wait.tid} and (not within or within in one.user) and one.wait.state in states
            )
        )

    @property
    def count(self) -> int:
        return sum(one.wait.waits for one in self.waits)

    @property
    def blocked_ns(self) -> int:
        return sum(one.wait.blocked_ns for one in self.waits)

    @property
    def runnable_ns(self) -> int:
        return sum(one.wait.runnable_ns for one in self.waits)

    @property
    def off_ns(self) -> int:
        return self.blocked_ns + self.runnable_ns

    @property
    def states(self) -> Counter[WaitState]:
        found: Counter[WaitState] = Counter()
        for one in self.waits:
            found[one.wait.state] += one.wait.waits
        return found


class Truth:
    """A running programs/waits.c: `go()` has its threads begin, `done()` says whether they have ended."""

    def __init__(self, process: subprocess.Popen) -> None:
        self.process = process
        self.pid = process.pid
        self.accounts: tuple[Account, ...] = ()
        self._end = 0.0

    def go(self) -> None:
        self._end = time.monotonic() + DEADLINE
        self._say("go\n")

    def done(self) -> bool:
        assert time.monotonic() < self._end, "the threads did not end in time"
        if not self.accounts and select.select([self.process.stdout], [], [], 0)[0]:
            self.accounts = tuple(Account(**one) for one in json.loads(self.process.stdout.readline()))
        return bool(self.accounts)

    def of(self, *causes: str) -> list[Account]:
        return [account for account in self.accounts if account.cause in causes]

    def switches(self) -> int:
        """Context switches of all threads so far, by the kernel's counters, which it keeps where it makes them."""
        text = "".join(path.read_text() for path in Path(f"/proc/{self.pid}/task").glob("*/status"))
        return sum(int(number) for number in re.findall(r"voluntary_ctxt_switches:\s+(\d+)", text))

    def _say(self, text: str) -> None:
        self.process.stdin.write(text)
        self.process.stdin.flush()


@contextmanager
def waiters(path: Path, threshold_us: int, *causes: str, folder: str = "/var/tmp") -> Iterator[Truth]:
    """Runs programs/waits.c up to where its threads stand at the start. `folder` is for its file."""
    words = (path, threshold_us, *causes)
    with running(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=folder) as process:
        assert process.stdout.readline() == "ready\n"
        yield Truth(process)


@dataclass(frozen=True)
class Waiting:
    """A recording of waits. `held` is what was in the kernel's table `waiting` at its end: struct wait by thread."""

    recording: Recording
    held: dict[int, tuple[int, ...]]

    @cached_property
    def waits(self) -> Waits:
        pipeline = self.recording.pipeline
        found = []
        for window in self.recording.windows:
            for wait in window.waits:
                record = window.stacks.get(wait.stack)
                raw = abi.parse_stack(record) if record is not None else None
                found.append((wait, raw, pipeline._stacks._locations(raw) if raw is not None else []))
        every = tuple(pipeline._builder._locations)
        return Waits(tuple(_named(wait, raw, [every[index] for index in indexes]) for wait, raw, indexes in found))

    @property
    def left_out(self) -> WaitTotals:
        return sum((window.left_out for window in self.recording.windows), WaitTotals())

    @property
    def wall_ns(self) -> int:
        return self.recording.windows[-1].end_ns - self.recording.windows[0].start_ns

    def losses(self) -> Counter[str]:
        """What was lost. Missed ticks are no waits, and switches that the kernel does not tell of are its own doing."""
        lost = self.recording.losses()
        del lost["missed_ticks"], lost["switch_missed"]
        return +lost


def _named(wait: Wait, raw: RawStack | None, locations: list[Location]) -> Waited:
    kernel = tuple(name for one in locations if one.kind is Kind.KERNEL for name in names_of(one))
    user = tuple(name for one in locations if one.kind is Kind.NATIVE for name in names_of(one))
    return Waited(wait, kernel, user, raw.stop if raw else -1, raw.comm if raw else "")


def record_waits(
    wanted: Wanted,
    start: Callable[[], object],
    done: Callable[[], bool],
    sizes: Sizes | None = None,
    before_stop: Callable[[], object] = lambda: None,
) -> Waiting:
    """Record from before `start()` is called until `done()`, asked about once a second."""
    with Recorder(wanted) as recorder:
        if sizes is not None:
            recorder._loading.cancel()
            recorder._loading = Loading(sizes, recorder._cpus, off_cpu=True)
        recorder.start()
        tap = recorder._pipeline = Tap(recorder._pipeline)
        processes = recorder._attached.processes
        start()
        recorder.run(None, lambda _: not done())
        before_stop()
        waiting = recorder._attached.programs.maps["waiting"]
        recorder.stop()
        held = {int.from_bytes(key, "little"): abi.WAIT.unpack(value) for key, value in elements(waiting)}
        profile = recorder.profile("test", "test")
    return Waiting(Recording(profile, tap.windows, processes.spaces, tap.pipeline), held)


def after(seconds: float) -> Callable[[], bool]:
    """Done a time after it was asked for the first time."""
    end: list[float] = []

    def done() -> bool:
        end.append(time.monotonic() + seconds)
        return time.monotonic() >= end[0]

    return done
