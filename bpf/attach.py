"""Attaching the programs: a timer on every online CPU, and the tracepoints of process life."""

import os
from pathlib import Path

from bpf import syscalls
from bpf.tracefs import event_file

PROCESS_TRACEPOINTS = {
    "on_fork": "sched_process_fork",
    "on_exec": "sched_process_exec",
    "on_exit": "sched_process_exit",
}
WAIT_TRACEPOINTS = {"on_wakeup": "sched_wakeup", "on_wakeup_new": "sched_wakeup_new", "on_switch": "sched_switch"}
WAKER_TRACEPOINTS = {"on_waking": "sched_waking"}


def parse_cpu_list(text: str) -> list[int]:
    """The CPUs of a kernel list such as `0-3,8`. Raises ValueError."""
    cpus: list[int] = []
    for part in text.strip().split(","):
        if part:
            first, _, last = part.partition("-")
            cpus.extend(range(int(first), int(last or first) + 1))
    return cpus


class CpuTimers:
    """Sampling timers, one per online CPU; `follow()` opens and closes them as CPUs come and go."""

    def __init__(self, program: int, hertz: int, sys_root: Path = Path("/sys")) -> None:
        """Nothing is opened yet."""
        self._program = program
        self._hertz = hertz
        self._online = sys_root / "devices/system/cpu/online"
        self._events: dict[int, int] = {}
        self._enabled = False

    @property
    def cpus(self) -> int:
        """How many CPUs are sampled now."""
        return len(self._events)

    def follow(self) -> None:
        """Open timers on CPUs that came online, close those of CPUs that went. Raises OSError."""
        online = set(parse_cpu_list(self._online.read_text()))
        for cpu in self._events.keys() - online:
            os.close(self._events.pop(cpu))
        for cpu in sorted(online - self._events.keys()):
            event = syscalls.open_cpu_clock(cpu, self._hertz)
            self._events[cpu] = event
            syscalls.perf_set_program(event, self._program)
            if self._enabled:
                syscalls.perf_enable(event)

    def enable(self) -> None:
        """Start sampling."""
        self._enabled = True
        for event in self._events.values():
            syscalls.perf_enable(event)

    def disable(self) -> None:
        """Stop sampling; the timers stay open."""
        self._enabled = False
        for event in self._events.values():
            syscalls.perf_disable(event)

    def close(self) -> None:
        """Stop and close all timers."""
        for event in self._events.values():
            os.close(event)
        self._events.clear()


class Tracepoints:
    """Programs on raw tracepoints, or on plain ones, while open."""

    def __init__(self, programs: dict[str, int], hooks: dict[str, str], *, plain: bool = False) -> None:
        """Attach them: `programs` are descriptors by name, `hooks` tracepoints by the same names. Raises OSError."""
        self._links: list[int] = []
        try:
            for name, tracepoint in hooks.items():
                if plain:
                    number = int(event_file(tracepoint, "id").read_text(encoding="ascii"))
                    self._links.append(syscalls.open_tracepoint(number, programs[name]))
                else:
                    self._links.append(syscalls.open_raw_tracepoint(tracepoint, programs[name]))
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """Detach them."""
        for link in self._links:
            os.close(link)
        self._links.clear()
