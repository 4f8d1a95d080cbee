"""The goroutines of one process, as often as they are asked for."""

import secrets
import time
from array import array
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from agent.errors import MachineError, TargetError
from agent.goroutines.seen import Seen
from agent.processes.spaces import AddressSpace, Region, SpaceReader
from agent.procfs.maps import read_maps
from agent.procfs.memory import ProcessMemory
from profiles.goroutines import Goroutines, Kind
from profiles.model import Kind as LocationKind
from profiles.model import Location
from symbolizer.files import FileCache
from symbolizer.go.binary import GoBinary
from symbolizer.goroutines.attach import NotReadableError, attach, listed
from symbolizer.goroutines.kinds import Namer
from symbolizer.goroutines.layout import known
from symbolizer.goroutines.memory import UnreadableError
from symbolizer.goroutines.snapshot import Field, Progress, Reader, Snapshot
from symbolizer.goroutines.steps import Steps, Stop
from symbolizer.goroutines.threads import threads_of
from symbolizer.goroutines.unwind import Unwinder
from symbolizer.goroutines.waiting import WaitReader


class Source:
    """Reads a Go process from outside, without stopping it. Use as a context manager, or close it."""

    def __init__(self, pid: int, proc_root: Path = Path("/proc")) -> None:
        """Find what is needed in the process. Raises TargetError and MachineError."""
        self._pid, self._proc = pid, proc_root
        try:
            self._memory = ProcessMemory(pid, proc_root)
        except (FileNotFoundError, ProcessLookupError) as error:
            raise TargetError(f"There is no process {pid}.", "Give the id of a running process.") from error
        except OSError as error:
            raise MachineError(
                f"The memory of process {pid} may not be read: {error.strerror}.",
                "Run as root, or with CAP_SYS_PTRACE (see also /proc/sys/kernel/yama/ptrace_scope).",
            ) from error
        try:
            space = SpaceReader(FileCache(), proc_root).read(0, pid)
            self.process = space.command
            binary, self._region = _go_of(space, pid, proc_root)
            self._runtime = attach(binary, self._region.bias, self._memory)
        except TargetError:
            self.close()
            raise
        except NotReadableError as error:
            self.close()
            raise TargetError(
                f"The goroutines of process {pid} cannot be read. {error}",
                "`goroscope record` shows what it does all the same.",
            ) from error
        except UnreadableError as error:
            self.close()
            raise _gone(pid, proc_root) from error
        steps = Steps(self._runtime)
        self._reader = Reader(self._runtime, self._memory, Unwinder(steps, self._memory, secrets.randbits(64)))
        self._waits = WaitReader(self._runtime, self._memory, steps)
        self._namer = Namer(self._runtime, self._memory)
        self._seen = Seen()

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Give everything back."""
        self.close()

    def close(self) -> None:
        """Give everything back."""
        self._memory.close()

    @property
    def tells_of_waking(self) -> bool:
        """Whether `waiting_ns` begins anew whenever a goroutine has run: where that count is, is known of versions."""
        version = self._runtime.binary.version
        return version is not None and known(version) is not None

    def take(self, progress: Progress = lambda _done, _all: None) -> Goroutines:
        """All goroutines now. Raises TargetError where the process has gone."""
        taken, now = time.time_ns(), time.monotonic_ns()
        found = self._named(*self.sample(progress), taken, now)
        self._check_it_lives()
        return found

    def sample(
        self, progress: Progress = lambda _done, _all: None
    ) -> tuple[Snapshot, tuple[Kind, ...], NDArray[np.int64]]:
        """What was read, the kinds of goroutines, and the index of each one's. Raises TargetError."""
        try:
            snapshot = self._reader.take(progress)
        except UnreadableError as error:
            raise _gone(self._pid, self._proc) from error
        kinds, kind = self._namer.kinds(snapshot)
        self._check_it_lives()
        return snapshot, kinds, kind

    def _check_it_lives(self) -> None:
        """Of a process that went meanwhile, goroutines look as if they had ended before. Raises TargetError."""
        try:
            listed(self._runtime, self._memory)
        except UnreadableError as error:
            raise _gone(self._pid, self._proc) from error

    def locations(self, addresses: tuple[int, ...]) -> Iterator[Location]:
        """The locations of a stack of a sample, leaf first, as those of samples of CPU time are."""
        binary, mapping = self._runtime.binary, self._region.mapping
        for inside in self._namer.insides(addresses):
            yield Location(LocationKind.GO, mapping, inside, binary.symbolize(inside))

    def _named(
        self, snapshot: Snapshot, kinds: tuple[Kind, ...], kind: NDArray[np.int64], taken: int, now: int
    ) -> Goroutines:
        fields = snapshot.fields
        waits = self._waits.read(snapshot)
        since = fields[:, Field.WAITSINCE].astype(np.int64)
        version = self._runtime.binary.version
        return Goroutines(
            pid=self._pid,
            process=self.process,
            version="go" + ".".join(map(str, version or ())),
            taken_ns=taken,
            kinds=kinds,
            kind=_column(kind),
            ids=_column(fields[:, Field.GOID]),
            creators=_column(fields[:, Field.PARENT]),
            waiting_ns=_column(self._seen.waiting_ns(fields, now)),
            at_most_ns=_column(np.where((since > 0) & (since < now), now - since, 0)),
            waits_for=_column(waits.waits_for),
            threads=_column(threads_of(snapshot, self._runtime.layout, self._memory)),
            dead=snapshot.dead,
            unsettled=int((snapshot.stops == Stop.CHANGING).sum()),
            partial=snapshot.partial,
            channels=waits.channels,
        )


def _column(values: NDArray[Any]) -> Sequence[int]:
    """The same numbers in as little memory, for those who know nothing of numpy."""
    return array("q", values.astype(np.int64).tobytes())


def _gone(pid: int, proc_root: Path) -> TargetError:
    """What became of a process whose memory cannot be read any more."""
    with suppress(OSError):
        if read_maps(pid, proc_root):
            return TargetError(f"Process {pid} runs another program now.", "Start again to see that one.")
    return TargetError(f"Process {pid} has gone.", "Give the id of a running process.")


def _go_of(space: AddressSpace, pid: int, proc_root: Path) -> tuple[GoBinary, Region]:
    """The Go program or library in a process. Raises TargetError where there is none."""
    if not space.regions and not (proc_root / str(pid)).exists():
        raise _gone(pid, proc_root)
    causes = []
    for region in space.regions:
        if region.binary is None:
            continue
        if region.binary.go is not None:
            return region.binary.go, region
        if region.binary.go_error:
            causes.append(region.binary.go_error)
    cause = f" {causes[0]}" if causes else " It maps no program with Go's function table (gccgo and TinyGo write none)."
    raise TargetError(f"Process {pid} has no goroutines that can be read.{cause}", "Give the id of a Go process.")
