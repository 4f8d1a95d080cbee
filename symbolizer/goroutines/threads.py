"""On which thread a goroutine is: `runtime.m.procid` of the m that has it as its current one."""

import numpy as np
from numpy.typing import NDArray

from symbolizer.goroutines.layout import RUNNING, SYSCALL, Layout
from symbolizer.goroutines.memory import Memory, read_pieces
from symbolizer.goroutines.snapshot import Field, Snapshot

_MAX_THREADS = 1 << 16
_MAX_ID = 1 << 22


def threads_of(snapshot: Snapshot, layout: Layout, memory: Memory) -> NDArray[np.int64]:
    """The id of the thread of each goroutine that runs or is in a system call; 0 for all others."""
    fields = snapshot.fields
    threads = np.zeros(len(fields), np.int64)
    machine = fields[:, Field.M]
    on_thread = np.isin(fields[:, Field.STATUS], np.array((RUNNING, SYSCALL), np.uint64))
    on_thread &= (machine >= 4096) & (machine < 1 << 47) & (machine & np.uint64(7) == 0)
    rows = np.nonzero(on_thread)[0][:_MAX_THREADS]
    if not len(rows):
        return threads
    extent = np.full(len(rows), max(layout.m_procid, layout.m_curg) + 8, np.uint64)
    pieces = read_pieces(memory, machine[rows], extent, 0)
    ids = pieces.words[pieces.index + layout.m_procid // 8]
    current = pieces.words[pieces.index + layout.m_curg // 8]
    good = pieces.ok & (current == snapshot.addresses[rows]) & (ids < _MAX_ID)
    threads[rows[good]] = ids[good].astype(np.int64)
    return threads
