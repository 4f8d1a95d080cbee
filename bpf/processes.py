"""Tells the walker of processes: what is mapped where, and what it needs of Go's runtime. Layouts: bpf/abi.h."""

import errno
from collections.abc import Sequence
from dataclasses import dataclass

from bpf import abi
from bpf.maps import Map
from bpf.runs import Runs


@dataclass(frozen=True, slots=True)
class ProcessMapping:
    """Executable memory: addresses [start, end), bias to file virtual addresses, index of its rows, Go code or not."""

    start: int
    end: int
    bias: int
    table: int = 0
    go: bool = False


def _packed(one: ProcessMapping) -> bytes:
    units = min((one.end - one.start) // abi.MAPPING_UNIT, 2**32 - 1)
    return abi.MAPPING.pack(one.start, one.bias % 2**64, units, one.table | one.go * abi.GO_CODE)


@dataclass(frozen=True, slots=True)
class GoThreads:
    """What the walker needs of a Go program: addresses in the process, offsets in runtime.g and runtime.m."""

    mcall: tuple[int, int] = (0, 0)
    morestack: tuple[int, int] = (0, 0)
    mstart: tuple[int, int] = (0, 0)
    async_preempt: tuple[int, int] = (0, 0)
    sigpanic: tuple[int, int] = (0, 0)
    tls: int = 0
    g_m: int = 0
    m_curg: int = 0
    sched_sp: int = 0
    sched_pc: int = 0
    sched_bp: int = 0
    g_labels: int = 0
    g_goid: int = 0
    g_startpc: int = 0
    labels_are_map: bool = False


class ProcessTable:
    """The mappings of processes, keyed by thread group id."""

    def __init__(self, maps: dict[str, Map]) -> None:
        """Nothing is known yet."""
        self._processes = maps["processes"]
        self._mappings = maps["mappings"]
        self._runs = Runs(self._mappings.max_entries)
        self._placed: dict[int, tuple[int, int]] = {}

    def space_of(self, tgid: int) -> int | None:
        """The address space the kernel side now knows this process by."""
        value = self._processes.lookup(tgid)
        return None if value is None else int(abi.PROCESS.unpack(value)[0])

    def set(self, tgid: int, space: int, mappings: Sequence[ProcessMapping], go: GoThreads | None) -> bool:
        """Tell the walker of a process; `mappings` sorted by start. False when there is no room: the old ones stay."""
        mappings = mappings[: abi.MAX_MAPPINGS]
        first = self._runs.take(len(mappings))
        if first is None:
            return False
        self._mappings.update_run(first, b"".join(map(_packed, mappings)))
        threads = go or GoThreads()
        ranges = (threads.mcall, threads.morestack, threads.mstart, threads.async_preempt, threads.sigpanic)
        value = abi.PROCESS.pack(
            *(space, 0, *(start for start, _ in ranges)),
            *(end - start for start, end in ranges),
            *(first, len(mappings), abi.MAPPINGS_KNOWN | threads.labels_are_map * abi.LABELS_ARE_MAP, threads.tls),
            *(threads.g_m, threads.m_curg, threads.sched_sp, threads.sched_pc, threads.sched_bp),
            *(threads.g_labels, threads.g_goid, threads.g_startpc, 0),
        )
        try:
            self._processes.update(tgid, value)
        except OSError as error:
            self._runs.give(first, len(mappings))
            if error.errno == errno.E2BIG:
                return False
            raise
        self.forget(tgid)
        self._placed[tgid] = (first, len(mappings))
        return True

    def exited(self, tgid: int, space: int) -> None:
        """Give back what the kernel side has removed; take it out where `set` came too late and put it back."""
        current = self.space_of(tgid)
        if current not in {None, space}:
            return  # another program runs in this process by now
        self.forget(tgid)
        if current == space:
            self._processes.delete(tgid)

    def forget(self, tgid: int) -> None:
        """Give back a process's run of mappings (its entry is removed by the kernel side, or replaced)."""
        run = self._placed.pop(tgid, None)
        if run is not None:
            self._runs.give(*run)

    def settle(self) -> None:
        """Allow reuse of what was given back before the last window."""
        self._runs.settle()
