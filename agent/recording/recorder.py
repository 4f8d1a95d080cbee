"""One recording, from loading the programs to the profile, window by window; everything is given back."""

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from agent.doctor.bcc import check_bcc
from agent.doctor.machine import Machine
from agent.doctor.result import Status
from agent.errors import MachineError
from agent.processes.rows import RowBuilder
from agent.processes.spaces import SpaceReader
from agent.procfs.process import command_name
from agent.recording.attached import Attached, RawTracepointsError
from agent.recording.leftout import notes_of, notes_on_kernel
from agent.recording.pipeline import Pipeline
from agent.recording.stacks import KERNEL_CODE, USER_CODE
from agent.recording.wanted import Wanted
from bpf import causes
from bpf.attach import parse_cpu_list
from bpf.programs import LoadError, Loading, sizes_for
from bpf.waits import WaitSettings
from profiles.model import (
    GOROUTINE_WAIT,
    OFF_CPU_TYPES,
    ON_CPU_TYPES,
    Loss,
    Metadata,
    Profile,
    ProfileBuilder,
    ValueType,
)
from symbolizer.files import FileCache
from symbolizer.kernel import KernelSymbols

if TYPE_CHECKING:
    from agent.recording.goroutines import GoroutineSampler
    from agent.recording.goroutines_only import GoroutineRecorder

__all__ = ["Recorder", "Wanted", "load_error", "recorder_for"]

_POLL_SECONDS = 1.0
_FOLLOW_SECONDS = 2.0
"""How often it is looked whether CPUs, or members of a cgroup, came or went."""
_ROWS_POLL_SECONDS = 0.05
_NOT_MISSING = frozenset({"stack_ring_full", "event_ring_full", "processes_full", "missed_ticks"})
"""Losses that leave the counts right: the sample is there as a placeholder or in part, or, for ticks that the timer
missed, the time was not the target's: the kernel does not account it to any task (measured: counted samples equal
rate * CPU time with and without missed ticks)."""


class Recorder:
    """Records from `start()` to `stop()`; `run()` in between drains windows. Use as a context manager."""

    def __init__(self, wanted: Wanted) -> None:
        """Begin loading the programs; it goes on beside whatever the caller does next. Raises MachineError."""
        self._wanted = wanted
        self._cpus = len(parse_cpu_list(Path("/sys/devices/system/cpu/possible").read_text()))
        self._builder = ProfileBuilder(value_types(wanted))
        self._attached: Attached | None = None
        self._started_ns = 0
        self._started = 0.0
        self._elapsed = 0.0
        self.samples = 0
        self._cpus_sampled = 0
        try:
            self._loading = self._load(plain=wanted.plain_tracepoints)
        except LoadError as error:
            raise load_error(error) from error
        self._files = FileCache()
        self._reader = SpaceReader(self._files, wanted.proc_root)
        self._sampler = sampler_of(wanted, self._builder)
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
        wanted = self._wanted
        attached = self._attached = self._open()
        kernel = KernelSymbols.read(str(wanted.proc_root))
        self._pipeline = Pipeline(
            self._builder,
            attached.processes,
            kernel,
            process_name=lambda pid: command_name(pid, wanted.proc_root),
            elsewhere=KERNEL_CODE if wanted.user else USER_CODE,
            period_ns=wanted.period_ns,
        )
        self._cpus_sampled = attached.timers.cpus if attached.timers is not None else self._cpus
        self._started_ns = time.time_ns()
        self._started = time.monotonic()
        attached.enable(wanted, kernel)

    def _load(self, *, plain: bool) -> Loading:
        """Raises LoadError."""
        wanted = self._wanted
        sizes = sizes_for(wanted.hertz, self._cpus, wanted.window_seconds)
        return Loading(sizes, self._cpus, off_cpu=wanted.waits is not None, plain=plain)

    def _open(self) -> Attached:
        """Attach what has been loaded; without raw tracepoints, load for plain ones. Raises GoroscopeError."""
        more = (self._wanted, self._reader, self._row_builder, self._cpus)
        try:
            try:
                return Attached.open(self._loading.finish(), *more)
            except RawTracepointsError:
                self._loading = self._load(plain=True)
                return Attached.open(self._loading.finish(), *more)
        except LoadError as error:
            raise load_error(error) from error

    def run(self, seconds: float | None, tick: Callable[[float], bool]) -> None:
        """Sample for a time, or until `tick(elapsed)`, called about once a second, says False. May be called again."""
        attached = self._attached
        assert attached is not None, "start() comes first"
        end = None if seconds is None else time.monotonic() + seconds
        window_end = time.monotonic() + self._wanted.window_seconds
        follow = 0.0
        while True:
            now = time.monotonic()
            if (end is not None and now >= end) or not tick(now - self._started):
                return  # what is left is taken by stop(), after sampling has ended
            if now >= window_end or attached.capture.filling_up:
                self._drain()
                window_end = time.monotonic() + self._wanted.window_seconds
            pause = _ROWS_POLL_SECONDS if self._row_builder.pending else _POLL_SECONDS
            until = min(window_end, end or window_end, now + pause, self._sampler.due if self._sampler else window_end)
            for event in attached.capture.wait(until - now):
                attached.processes.handle(event)
            if self._sampler is not None and time.monotonic() >= self._sampler.due:
                self._sampler.look(time.monotonic)
            attached.rows.place()
            if now >= follow:
                follow = now + _FOLLOW_SECONDS
                attached.aim.follow()
                if attached.timers is not None:
                    attached.timers.follow()
                    self._cpus_sampled = max(self._cpus_sampled, attached.timers.cpus)

    def change_waits(self, settings: WaitSettings) -> None:
        """Keep other waits from now on, while recording."""
        assert self._attached is not None, "start() comes first"
        self._attached.capture.change_waits(settings)

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
        end_ns = attached.disable()
        self._elapsed = time.monotonic() - self._started
        for _ in range(2):
            self._take(attached, end_ns)

    def _take(self, attached: Attached, end_ns: int | None = None) -> None:
        """One window into the profile, once the processes that appeared in it are known."""
        window = attached.capture.rotate(end_ns)
        for event in attached.capture.wait(0):
            attached.processes.handle(event)
        self.samples += self._pipeline.add(window)

    def profile(self, version: str, target: str) -> Profile:
        """The profile of everything recorded."""
        wanted, lost, attached = self._wanted, self._pipeline.losses, self._attached
        assert attached is not None, "start() comes first"
        losses = tuple(
            Loss(cause.name, cause.sentence, lost[cause.name], cause.name not in _NOT_MISSING)
            for cause in causes.losses()
            if lost[cause.name]
        )
        on_cpu = wanted.on_cpu
        profile = self._builder.build(
            Metadata(
                start_ns=self._started_ns,
                duration_ns=int(self._elapsed * 1e9),
                period=wanted.period_ns if on_cpu else 0,
                rate_hz=wanted.hertz if on_cpu else 0,
                cpus=self._cpus_sampled,
                version=version,
                kernel=os.uname().release,
                target=target,
                losses=losses,
            )
        )
        notes = notes_on_kernel(attached.programs.blind) + (self._sampler.notes if self._sampler else ())
        if wanted.waits is not None:
            notes += notes_of(wanted.waits, self._pipeline.left_out, self._pipeline.longest, profile)
        return replace(profile, metadata=replace(profile.metadata, notes=notes))

    def close(self) -> None:
        """Detach and unload."""
        self._row_builder.close()
        if self._sampler is not None:
            self._sampler.close()
        attached, self._attached = self._attached, None
        if attached is None:
            self._loading.cancel()
            return
        attached.close()


def recorder_for(wanted: Wanted) -> "Recorder | GoroutineRecorder":
    """What records what is wanted. Raises MachineError."""
    if wanted.on_cpu or wanted.waits is not None:
        return Recorder(wanted)
    from agent.recording.goroutines_only import GoroutineRecorder  # it needs numpy, which others do without

    return GoroutineRecorder(wanted)


def value_types(wanted: Wanted) -> tuple[ValueType, ...]:
    """The columns of a recording."""
    types = (ON_CPU_TYPES if wanted.on_cpu else ()) + (OFF_CPU_TYPES if wanted.waits is not None else ())
    return types + ((GOROUTINE_WAIT,) if wanted.goroutines_hertz else ())


def sampler_of(wanted: Wanted, builder: ProfileBuilder) -> "GoroutineSampler | None":
    """What looks at goroutines; None where that is not wanted."""
    if not wanted.goroutines_hertz:
        return None
    from agent.recording.goroutines import GoroutineSampler  # it needs numpy, which others do without

    return GoroutineSampler(
        builder,
        wanted.pids,
        wanted.goroutines_hertz,
        per_goroutine=wanted.per_goroutine,
        proc_root=wanted.proc_root,
    )


def load_error(error: LoadError) -> MachineError:
    """Why the programs could not be loaded: bcc itself where that is the cause, else what the loader said."""
    result = check_bcc(Machine())
    if result.status is Status.FAIL:
        return MachineError(result.cause, result.remedy)
    last = next((line for line in reversed(error.log.splitlines()) if line.strip()), "")
    detail = f" ({last.strip()[:200]})" if last else ""
    sentence = f"{str(error)[:1].upper()}{str(error)[1:]}".rstrip(".")
    return MachineError(f"{sentence}{detail}.", "Run `goroscope doctor`, and report this with its output.")
