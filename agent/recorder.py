"""One recording: programs loaded, targets chosen, windows drained into a profile, everything given back."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from agent.doctor.bcc import check_bcc
from agent.doctor.machine import Machine
from agent.doctor.result import Status
from agent.errors import MachineError, TargetError
from agent.pipeline import KERNEL_CODE, USER_CODE, Pipeline
from agent.processes import Processes
from agent.procfs.process import command_name
from agent.rowkeeper import RowKeeper
from agent.rows import RowBuilder
from agent.spaces import SpaceReader
from bpf import causes
from bpf.abi import Target, Want
from bpf.attach import CpuTimers, ProcessTracepoints, parse_cpu_list
from bpf.capture import Capture
from bpf.processes import ProcessTable
from bpf.programs import LoadError, Loading, Programs, sizes_for
from bpf.rows import RowTables
from profiles.model import Loss, Metadata, Profile, ProfileBuilder, ValueType
from symbolizer.files import FileCache
from symbolizer.kernel import KernelSymbols

WINDOW_SECONDS = 10.0
_ROWS_PATIENCE = 5.0
"""How long the start of sampling may wait for the unwind rows of processes named on the command line."""
_POLL_SECONDS = 1.0
_HOTPLUG_SECONDS = 5.0
"""How often it is looked whether CPUs came or went."""
_ROWS_POLL_SECONDS = 0.05
_NOT_MISSING = frozenset({"stack_ring_full", "event_ring_full", "processes_full", "missed_ticks"})
"""Losses that leave the counts right: the sample is there as a placeholder or in part, or, for ticks that the timer
missed, the time was not the target's: the kernel does not account it to any task (measured: counted samples equal
rate * CPU time with and without missed ticks)."""
SAMPLES = ValueType("samples", "count")
CPU = ValueType("cpu", "nanoseconds")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to record. Of `pids` and `cgroup` at most one is given; neither means the whole node."""

    hertz: int = 49
    pids: tuple[int, ...] = ()
    cgroup: Path | None = None
    user: bool = True
    kernel: bool = True
    per_thread: bool = False
    window_seconds: float = WINDOW_SECONDS
    program: str = ""
    """A program that is about to be executed, so that its rows are ready when it begins."""
    proc_root: Path = field(default=Path("/proc"))

    @property
    def flags(self) -> Want:
        """What of a sample the kernel side keeps."""
        flags = Want.PER_THREAD if self.per_thread else Want(0)
        return flags | (Want.USER if self.user else Want(0)) | (Want.KERNEL if self.kernel else Want(0))

    @property
    def target(self) -> Target:
        """How the kernel side filters."""
        return Target.PIDS if self.pids else Target.CGROUP if self.cgroup else Target.ALL


@dataclass(slots=True)
class _Attached:
    """What is open while sampling."""

    programs: Programs
    capture: Capture
    processes: Processes
    rows: RowKeeper
    timers: CpuTimers
    tracepoints: ProcessTracepoints


class Recorder:
    """Records from `start()` to `stop()`; `run()` in between drains windows. Use as a context manager."""

    def __init__(self, wanted: Wanted) -> None:
        """Begin loading the programs; it goes on beside whatever the caller does next. Raises MachineError."""
        self._wanted = wanted
        self._cpus = len(parse_cpu_list(Path("/sys/devices/system/cpu/possible").read_text()))
        self._builder = ProfileBuilder((SAMPLES,))
        self._attached: _Attached | None = None
        self._started_ns = 0
        self._started = 0.0
        self._elapsed = 0.0
        self.samples = 0
        self._cpus_sampled = 0
        try:
            self._loading = Loading(sizes_for(wanted.hertz, self._cpus, wanted.window_seconds), self._cpus)
        except LoadError as error:
            raise load_error(error) from error
        self._files = FileCache()
        self._reader = SpaceReader(self._files, wanted.proc_root)
        self._row_builder = RowBuilder()
        self._prepare()

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Give everything back."""
        self.close()

    def _prepare(self) -> None:
        """Have the rows of what will be sampled made while the programs are being loaded."""
        for pid in self._wanted.pids:
            for region in self._reader.read(0, pid).regions:
                if region.binary is not None:
                    self._row_builder.want(region.binary)
        program = self._reader.program(self._wanted.program) if self._wanted.program else None
        if program is not None:
            self._row_builder.want(program)

    def start(self) -> None:
        """Attach, with the tables of the target processes in place, and begin sampling. Raises GoroscopeError."""
        try:
            programs = self._loading.finish()
        except LoadError as error:
            raise load_error(error) from error
        wanted = self._wanted
        try:
            capture = Capture(programs, wanted.target, wanted.flags, wanted.hertz, self._cpus)
            rows = RowKeeper(self._row_builder, RowTables(programs.maps))
            processes = Processes(self._reader, ProcessTable(programs.maps), rows)
            self._aim(programs, processes)
            rows.place(timeout=_ROWS_PATIENCE)
            tracepoints = ProcessTracepoints(programs.programs)
            timers = CpuTimers(programs.programs["on_tick"], wanted.hertz)
            timers.follow()
        except TargetError:
            programs.close()
            raise
        except OSError as error:
            programs.close()
            raise MachineError(
                f"The BPF programs could not be attached: {error.strerror}.",
                "Run `goroscope doctor` to see what this machine lacks.",
            ) from error
        self._attached = _Attached(programs, capture, processes, rows, timers, tracepoints)
        kernel = KernelSymbols.read(str(wanted.proc_root))
        self._pipeline = Pipeline(
            self._builder,
            processes,
            kernel,
            process_name=lambda pid: command_name(pid, wanted.proc_root),
            elsewhere=KERNEL_CODE if wanted.user else USER_CODE,
        )
        self._cpus_sampled = timers.cpus
        self._started_ns = time.time_ns()
        self._started = time.monotonic()
        timers.enable()

    def _aim(self, programs: Programs, processes: Processes) -> None:
        """Fill the target filter and read the processes it names. Raises TargetError and OSError."""
        wanted = self._wanted
        for pid in wanted.pids:
            programs.maps["targets"].update(pid, b"\1")
            if not processes.add(pid, time.monotonic_ns()).regions and not (wanted.proc_root / str(pid)).exists():
                raise TargetError(f"There is no process {pid}.", "Give the id of a running process.")
        if wanted.cgroup is not None:
            try:
                directory = os.open(wanted.cgroup, os.O_RDONLY | os.O_DIRECTORY)
            except OSError as error:
                raise TargetError(
                    f"The cgroup {wanted.cgroup} cannot be opened: {error.strerror}.",
                    "Give a directory of the cgroup v2 hierarchy.",
                ) from error
            try:
                programs.maps["cgroups"].update(0, directory.to_bytes(4, "little"))
            except OSError as error:
                raise TargetError(
                    f"{wanted.cgroup} is not a cgroup of the v2 hierarchy.", "Give a directory below its mount point."
                ) from error
            finally:
                os.close(directory)

    def run(self, seconds: float | None, tick: Callable[[float], bool]) -> None:
        """Sample for a time, or until `tick(elapsed)`, called about once a second, says False. May be called again."""
        attached = self._attached
        assert attached is not None, "start() comes first"
        end = None if seconds is None else time.monotonic() + seconds
        window_end = time.monotonic() + self._wanted.window_seconds
        hotplug = 0.0
        while True:
            now = time.monotonic()
            if (end is not None and now >= end) or not tick(now - self._started):
                return  # what is left is taken by stop(), after sampling has ended
            if now >= window_end or attached.capture.filling_up:
                self._drain()
                window_end = time.monotonic() + self._wanted.window_seconds
            pause = _ROWS_POLL_SECONDS if self._row_builder.pending else _POLL_SECONDS
            for event in attached.capture.wait(min(window_end, end or window_end, now + pause) - now):
                attached.processes.handle(event)
            attached.rows.place()
            if now >= hotplug:
                hotplug = now + _HOTPLUG_SECONDS
                attached.timers.follow()
                self._cpus_sampled = max(self._cpus_sampled, attached.timers.cpus)

    def _drain(self) -> None:
        attached = self._attached
        assert attached is not None
        self._take(attached)
        attached.processes.settle()
        attached.rows.settle(attached.capture.window, attached.processes.latest.values())
        self._files.trim()

    def stop(self) -> None:
        """End sampling and take what is left in both count maps."""
        attached = self._attached
        if attached is None or self._elapsed:
            return
        attached.timers.disable()
        self._elapsed = time.monotonic() - self._started
        for _ in range(2):
            self._take(attached)

    def _take(self, attached: _Attached) -> None:
        """One window into the profile, once the processes that appeared in it are known."""
        window = attached.capture.rotate()
        for event in attached.capture.wait(0):
            attached.processes.handle(event)
        self.samples += self._pipeline.add(window)

    def profile(self, version: str, target: str) -> Profile:
        """The profile of everything recorded, with CPU time beside the samples."""
        period = 1_000_000_000 // self._wanted.hertz
        lost = self._pipeline.losses
        losses = tuple(
            Loss(cause.name, cause.sentence, lost[cause.name], cause.name not in _NOT_MISSING)
            for cause in causes.losses()
            if lost[cause.name]
        )
        metadata = Metadata(
            start_ns=self._started_ns,
            duration_ns=int(self._elapsed * 1e9),
            period_type=CPU,
            period=period,
            rate_hz=self._wanted.hertz,
            cpus=self._cpus_sampled,
            version=version,
            kernel=os.uname().release,
            target=target,
            losses=losses,
        )
        return with_cpu_time(self._builder.build(metadata), period)

    def close(self) -> None:
        """Detach and unload."""
        self._row_builder.close()
        attached, self._attached = self._attached, None
        if attached is None:
            self._loading.cancel()
            return
        attached.timers.close()
        attached.tracepoints.close()
        attached.capture.close()
        attached.programs.close()


def with_cpu_time(profile: Profile, period: int) -> Profile:
    """The profile with a second value column: each sample stands for one period (ns) of CPU time."""
    samples = tuple(replace(sample, values=(sample.values[0], sample.values[0] * period)) for sample in profile.samples)
    return replace(profile, value_types=(SAMPLES, CPU), samples=samples)


def load_error(error: LoadError) -> MachineError:
    """Why the programs could not be loaded: bcc itself where that is the cause, else what the loader said."""
    result = check_bcc(Machine())
    if result.status is Status.FAIL:
        return MachineError(result.cause, result.remedy)
    last = next((line for line in reversed(error.log.splitlines()) if line.strip()), "")
    detail = f" ({last.strip()[:200]})" if last else ""
    sentence = f"{str(error)[:1].upper()}{str(error)[1:]}".rstrip(".")
    return MachineError(f"{sentence}{detail}.", "Run `goroscope doctor`, and report this with its output.")
