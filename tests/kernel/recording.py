"""Recordings for the kernel tests: our own recorder, with the raw windows kept beside the profile."""

import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from agent.processes.spaces import AddressSpace
from agent.recording.recorder import Recorder, Wanted
from bpf import abi
from bpf.abi import RawStack
from bpf.capture import RawWindow
from bpf.programs import Loading, Sizes
from profiles.model import Location, Profile

PATIENCE = 30.0
"""Seconds that anything in these tests may take to come about."""


class Tap:
    """Stands before a pipeline and keeps the windows that it is given."""

    def __init__(self, pipeline: object) -> None:
        self.pipeline = pipeline
        self.windows: list[RawWindow] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self.pipeline, name)

    def add(self, window: RawWindow) -> int:
        self.windows.append(window)
        return self.pipeline.add(window)


@dataclass(frozen=True)
class Walked:
    """One distinct stack as the kernel walked it, with the locations that the pipeline made of its user addresses."""

    raw: RawStack
    samples: int
    user: tuple[Location, ...]

    @property
    def addresses(self) -> tuple[int, ...]:
        """The user addresses, leaf first, without what is said of them."""
        return tuple(address & ~abi.EXACT for address in self.raw.user)

    @property
    def exact(self) -> tuple[bool, ...]:
        """Of each user address whether it is an instruction's own and no return address."""
        return tuple(bool(address & abi.EXACT) for address in self.raw.user)

    @property
    def names(self) -> list[str]:
        """The functions of the user part, leaf first, inlined ones expanded; an address where there is no name."""
        return [name for location in self.user for name in names_of(location)]


@dataclass
class Recording:
    """What a recorder gathered: the profile, and the raw windows behind it."""

    profile: Profile
    windows: list[RawWindow]
    spaces: dict[int, AddressSpace]
    pipeline: object = field(repr=False)

    def walked(self, tgid: int) -> list[Walked]:
        """The distinct stacks of a process that crossed to user space."""
        locations = tuple(self.pipeline._builder._locations)
        found = []
        for window in self.windows:
            samples: Counter[int] = Counter()
            for count in window.counts:
                if count.tgid == tgid:
                    samples[count.stack] += count.samples
            for stack, number in samples.items():
                record = window.stacks.get(stack)
                if record is None:
                    continue
                raw = abi.parse_stack(record)
                indexes: list[int] = []
                self.pipeline._stacks._add_user(indexes, raw, self.spaces.get(raw.space))
                found.append(Walked(raw, number, tuple(locations[index] for index in indexes)))
        return found

    def samples(self, tgid: int | None = None) -> int:
        """Samples counted, of one process or of all."""
        return sum(
            count.samples for window in self.windows for count in window.counts if tgid is None or count.tgid == tgid
        )

    def losses(self) -> Counter[str]:
        """Samples lost over all windows, by cause."""
        total: Counter[str] = Counter()
        for window in self.windows:
            total.update(window.losses)
        return total


def record(
    wanted: Wanted,
    seconds: float,
    during: Sequence[tuple[float, Callable[[], object]]] = (),
    before_stop: Callable[[], object] = lambda: None,
    sizes: Sizes | None = None,
) -> Recording:
    """Record for a time. `during` are (second, what to call then); `sizes` of the maps replace the usual ones."""
    with Recorder(wanted) as recorder:
        if sizes is not None:
            recorder._loading.cancel()
            recorder._loading = Loading(sizes, recorder._cpus, off_cpu=wanted.waits is not None)
        recorder.start()
        tap = recorder._pipeline = Tap(recorder._pipeline)
        processes = recorder._attached.processes
        start = time.monotonic()
        for second, call in (*sorted(during, key=lambda one: one[0]), (seconds, before_stop)):
            recorder.run(max(0.0, start + second - time.monotonic()), lambda _: True)
            call()
        recorder.stop()
        profile = recorder.profile("test", "test")
    return Recording(profile, tap.windows, processes.spaces, tap.pipeline)


def names_of(location: Location) -> list[str]:
    return [frame.function for frame in location.frames] or [f"{location.address:#x}"]


def stacks_by_process(profile: Profile) -> Counter[tuple[str, tuple[str, ...]]]:
    """Samples by process name and function names, leaf first."""
    found: Counter[tuple[str, tuple[str, ...]]] = Counter()
    for sample in profile.samples:
        names = [name for index in profile.stacks[sample.stack] for name in names_of(profile.locations[index])]
        found[profile.labels[sample.labels].process, tuple(names)] += sample.values[0]
    return found


@contextmanager
def running(command: Sequence[object], **options: object) -> Iterator[subprocess.Popen]:
    """A process in a session of its own; it and what it started are gone when the block ends."""
    process = subprocess.Popen([str(word) for word in command], start_new_session=True, **options)
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()
        process.wait(PATIENCE)


def cpu_seconds(pid: int) -> float:
    """CPU time that the threads of a process have used, to the nanosecond (/proc/PID/task/TID/schedstat)."""
    return sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Wait until a condition holds; the test fails after PATIENCE seconds."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"never happened: {what}"
        time.sleep(0.02)
