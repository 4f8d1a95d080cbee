"""Follows the processes being sampled: their address spaces for the symbolizer, their tables for the walker."""

import os

from agent.processes.rowkeeper import RowKeeper
from agent.processes.spaces import AddressSpace, Region, SpaceReader
from bpf.abi import Event, EventKind
from bpf.processes import GoThreads, ProcessMapping, ProcessTable
from symbolizer.go.layout import GoRuntimeLayout

_KEPT_EXITED = 4096
_REFRESH_BACKOFF = 64
"""How often at most a process that keeps naming unmapped addresses is read again (a power of two)."""


class Processes:
    """All processes seen. `spaces` has their address spaces, those that ended lately included."""

    def __init__(self, reader: SpaceReader, table: ProcessTable, rows: RowKeeper) -> None:
        """Nothing is known yet; the kernel side tells of processes by events."""
        self._reader = reader
        self._table = table
        self._rows = rows
        self._misses: dict[int, int] = {}
        self.spaces: dict[int, AddressSpace] = {}
        self.latest: dict[int, AddressSpace] = {}
        self._exited: list[int] = []
        self.refused = 0
        self.refreshes = 0

    def add(self, tgid: int, space: int, command: str = "") -> AddressSpace:
        """Read a process and tell the walker of it."""
        found = self._reader.read(space, tgid, command)
        self.spaces[space] = found
        self.latest[tgid] = found
        self._publish(found)
        return found

    def handle(self, event: Event) -> None:
        """React to what the kernel side noticed."""
        if event.kind is EventKind.NEW_SPACE:
            if event.space not in self.spaces:
                self.add(event.tgid, event.space, event.comm)
        elif event.kind is EventKind.STALE:
            self._refresh(event)
        elif event.kind is EventKind.ROWS and event.space in self.spaces:
            self._rows.asked(self.spaces[event.space], event.address)
        elif event.kind is EventKind.EXIT and event.space in self.spaces:
            self._table.exited(event.tgid, event.space)
            self._exited.append(event.space)

    def _refresh(self, event: Event) -> None:
        """Read mappings again, ever more seldom where that does not help: a broken chain names junk addresses."""
        space = self.spaces.get(event.space)
        if space is None or self.latest.get(event.tgid) is not space or space.find(event.address):
            return
        misses = self._misses.get(event.space, 0)
        self._misses[event.space] = misses + 1
        if misses & misses - 1 and misses % _REFRESH_BACKOFF:
            return
        self._reader.refresh(space)
        self.refreshes += 1
        self._publish(space)

    def _publish(self, space: AddressSpace) -> None:
        """Give the walker the mappings."""
        current = self._table.space_of(space.tgid)
        if current is not None and current != space.id:
            return  # it has been replaced by an exec meanwhile
        mappings: list[ProcessMapping] = []
        go = None
        for region in space.regions:
            mappings += self._rows.mappings(region)
            if go is None and region.binary is not None and region.binary.go is not None:
                go = go_threads(region.binary.go.runtime_layout(), region, space.tgid)
        if mappings and not self._table.set(space.tgid, space.id, mappings, go):
            self.refused += 1

    def settle(self) -> None:
        """After a window: allow reuse of table space, and forget processes that ended long ago."""
        self._table.settle()
        for space in self._exited[:-_KEPT_EXITED]:
            gone = self.spaces.pop(space, None)
            self._misses.pop(space, None)
            if gone is not None and self.latest.get(gone.tgid) is gone:
                del self.latest[gone.tgid]
        del self._exited[:-_KEPT_EXITED]


def go_threads(layout: GoRuntimeLayout | None, region: Region, tgid: int) -> GoThreads | None:
    """What the walker needs of a Go program in this process, or None where the version's layout is not known."""
    if layout is None:
        return None
    tls = layout.tls_offset
    if tls is None and layout.tls_got is not None:
        tls = _read_word(tgid, layout.tls_got + region.bias)
    known = None not in (layout.m_curg, layout.g_sched_sp, layout.g_sched_pc, layout.g_sched_bp)

    def placed(function: tuple[int, int] | None) -> tuple[int, int]:
        return (function[0] + region.bias, function[1] + region.bias) if function else (0, 0)

    return GoThreads(
        mcall=placed(layout.mcall),
        morestack=placed(layout.morestack),
        mstart=placed(layout.mstart),
        async_preempt=placed(layout.async_preempt),
        sigpanic=placed(layout.sigpanic),
        tls=tls if tls is not None and known else 0,
        g_m=layout.g_m or 0,
        m_curg=layout.m_curg or 0,
        sched_sp=layout.g_sched_sp or 0,
        sched_pc=layout.g_sched_pc or 0,
        sched_bp=layout.g_sched_bp or 0,
        g_labels=layout.g_labels or 0,
        g_goid=layout.g_goid or 0,
        g_startpc=layout.g_startpc or 0,
        labels_are_map=layout.labels_are_map,
    )


def _read_word(tgid: int, address: int) -> int | None:
    """A signed 64-bit word of a process's memory, or None. The walker takes an s32."""
    try:
        descriptor = os.open(f"/proc/{tgid}/mem", os.O_RDONLY | os.O_CLOEXEC)
        try:
            value = int.from_bytes(os.pread(descriptor, 8, address), "little", signed=True)
        finally:
            os.close(descriptor)
    except (OSError, OverflowError):
        return None
    return value if -(2**31) <= value < 2**31 else None
