"""Everything that is open in the kernel while a recording runs."""

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

from agent.errors import MachineError, TargetError
from agent.processes.rowkeeper import RowKeeper
from agent.processes.rows import RowBuilder
from agent.processes.spaces import SpaceReader
from agent.processes.standing import Stander, Standing
from agent.processes.table import Processes
from agent.recording.aim import Aim
from agent.recording.wanted import Wanted
from bpf.attach import PROCESS_TRACEPOINTS, WAIT_TRACEPOINTS, WAKER_TRACEPOINTS, CpuTimers, Tracepoints
from bpf.capture import Capture
from bpf.processes import ProcessTable
from bpf.programs import Programs
from bpf.rows import RowTables
from bpf.tracefs import TracefsError
from symbolizer.kernel import KernelSymbols

_ROWS_PATIENCE = 5.0
"""How long the start of sampling may wait for the unwind rows of processes named on the command line."""


class RawTracepointsError(Exception):
    """The kernel has none; programs for plain ones are to be loaded instead."""


@dataclass(slots=True)
class Attached:
    """Programs, maps, and what runs them. `timers` and `waits` are None where CPU time or waits are not wanted."""

    programs: Programs
    capture: Capture
    processes: Processes
    rows: RowKeeper
    tracepoints: Tracepoints
    timers: CpuTimers | None
    waits: Tracepoints | None
    aim: Aim

    @classmethod
    def open(
        cls,
        programs: Programs,
        wanted: Wanted,
        reader: SpaceReader,
        builder: RowBuilder,
        cpus: int,
    ) -> Self:
        """Prepare all, with the tables of the target processes in place; sampling begins with `enable()`.

        Raises TargetError, MachineError, and RawTracepointsError where the programs are for raw tracepoints and there
        are none; then the programs are closed.
        """
        try:
            aim = Aim(wanted, programs)
            tracepoints = Tracepoints(programs.programs, PROCESS_TRACEPOINTS, plain=programs.plain)
        except (OSError, TracefsError) as error:
            programs.close()
            raise (_cannot_attach(error) if programs.plain else RawTracepointsError()) from error
        except TargetError:
            programs.close()
            raise
        try:
            capture = Capture(programs, aim.mode, wanted.flags, wanted.hertz, cpus, wanted.waits)
            rows = RowKeeper(builder, RowTables(programs.maps))
            processes = Processes(reader, ProcessTable(programs.maps), rows)
            _read(wanted, processes)
            rows.place(timeout=_ROWS_PATIENCE)
            timers = None
            if wanted.on_cpu:
                timers = CpuTimers(programs.programs["on_tick"], wanted.hertz)
                timers.follow()
        except TargetError:
            tracepoints.close()
            programs.close()
            raise
        except OSError as error:
            tracepoints.close()
            programs.close()
            raise _cannot_attach(error) from error
        return cls(programs, capture, processes, rows, tracepoints, timers, None, aim)

    def enable(self, wanted: Wanted, kernel: KernelSymbols) -> None:
        """Begin. Raises MachineError."""
        if wanted.waits is not None:
            standing = Standing(self.rows.rows_of, kernel.address_of, wanted.proc_root)
            assumed = self._assume(standing, wanted)
            hooks = WAIT_TRACEPOINTS | (WAKER_TRACEPOINTS if wanted.waits.wakers else {})
            try:
                self.waits = Tracepoints(self.programs.programs, hooks, plain=self.programs.plain)
            except (OSError, TracefsError) as error:
                raise _cannot_attach(error) from error
            for one, since in assumed:
                if not standing.still_waits(one):  # its arrival may have been before there was anybody to see it
                    self.capture.retract(one.tid, since)
        self.rows.forget_rows()
        if self.timers is not None:
            self.timers.enable()

    def _assume(self, standing: Standing, wanted: Wanted) -> list[tuple[Stander, int]]:
        """Tell of the threads of the named processes that wait already, as from now; each with that time (ns)."""
        looked_at = [
            one
            for pid in wanted.pids
            for one in standing.of_process(self.processes.latest[pid], user=wanted.user, kernel=wanted.kernel)
        ]
        found = []
        for one in looked_at:  # looking took a while
            since = time.monotonic_ns()
            if self.aim.targets.expects(one.tid) and standing.still_waits(one):
                with suppress(OSError):  # the table of waiting threads is full: then it is seen when it comes back
                    self.capture.assume(one.tid, one.tgid, one.state, one.record, since)
                    found.append((one, since))
        return found

    def disable(self) -> int:
        """End, so that nothing more is counted; the monotonic time (ns) at which that was so."""
        if self.timers is not None:
            self.timers.disable()
        if self.waits is not None:
            self.waits.close()
        return time.monotonic_ns()

    def close(self) -> None:
        """Detach and unload."""
        for one in (self.timers, self.waits):
            if one is not None:
                one.close()
        self.tracepoints.close()
        self.capture.close()
        self.programs.close()


def _cannot_attach(error: OSError | TracefsError) -> MachineError:
    cause = error.strerror if isinstance(error, OSError) else str(error).rstrip(".")
    return MachineError(
        f"The BPF programs could not be attached: {cause}.",
        "Run `goroscope doctor` to see what this machine lacks.",
    )


def _read(wanted: Wanted, processes: Processes) -> None:
    """Read the processes that are named. Raises TargetError and OSError."""
    for pid in wanted.pids:
        if not processes.add(pid, time.monotonic_ns()).regions and not (wanted.proc_root / str(pid)).exists():
            raise TargetError(f"There is no process {pid}.", "Give the id of a running process.")
