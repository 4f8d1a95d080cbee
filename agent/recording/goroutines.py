"""Where the goroutines of processes are through a recording: all of them, looked at some times a second.

Each goroutine that is not running at a look stands for the time since the look before. So a stack has the time that
goroutines spent in it, by what they waited for: a lock, a channel, the network, a system call, or a CPU.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from agent.errors import GoroscopeError
from agent.goroutines.source import Source
from agent.procfs.process import container_id
from profiles.goroutines import GoState
from profiles.goroutines import Kind as GoroutineKind
from profiles.model import Frame, Kind, Labels, Location, ProfileBuilder
from symbolizer.goroutines.snapshot import Field, Snapshot

_MAX_SHARE = 0.5
"""Of the time: where looking takes longer than its period allows, it is done more seldom."""
_ATTACH_TRIES = 40
"""Looks at which a process that is no Go program yet, such as a command before its exec, is tried again."""


class _Followed:
    """One process: how it is read, and what of its stacks is in the profile already."""

    def __init__(self, source: Source, pid: int, proc_root: Path) -> None:
        self.source = source
        self.container = container_id(pid, proc_root)
        self.stacks: dict[tuple[tuple[int, ...], str], int] = {}


class GoroutineSampler:
    """Looks at the goroutines of some processes and adds what it sees to a profile whose last column is for it."""

    def __init__(
        self,
        builder: ProfileBuilder,
        pids: Iterable[int],
        hertz: int,
        *,
        per_goroutine: bool = False,
        proc_root: Path = Path("/proc"),
    ) -> None:
        """Nothing is read before the first `look`."""
        self._builder = builder
        self._pending = dict.fromkeys(pids, _ATTACH_TRIES)
        self._period = 1 / hertz
        self._per_goroutine = per_goroutine
        self._proc = proc_root
        self._followed: dict[int, _Followed] = {}
        self._padding = (0,) * (len(builder.value_types) - 1)
        self._last = 0.0
        self.due = 0.0
        """When to look next, by the clock of `look`."""
        self.looks = 0
        self.late = 0
        """Looks that were left out because one took too long."""
        self.refused: dict[int, str] = {}
        """Why a process's goroutines cannot be read."""

    def look(self, clock: Callable[[], float]) -> int:
        """Look once; goroutines seen. `clock` tells seconds."""
        now = clock()
        self._attach()
        passed = now - self._last if self.looks else 0.0
        self._last = now
        self.looks += 1
        seen = 0
        for pid, one in list(self._followed.items()):
            try:
                seen += self._add(one, pid, int(passed * 1e9))
            except GoroscopeError:  # it has gone
                one.source.close()
                del self._followed[pid]
        pause = max(self._period, (clock() - now) / _MAX_SHARE)
        self.late += int(pause / self._period) - 1
        self.due = now + pause
        return seen

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be said of it."""
        found = [f"the goroutines of process {pid} could not be read: {cause}" for pid, cause in self.refused.items()]
        if self.late:
            found.append(f"goroutines were looked at {self.looks} times; {self.late} looks were left out to spare time")
        return tuple(found)

    def _attach(self) -> None:
        for pid, tries in list(self._pending.items()):
            try:
                self._followed[pid] = _Followed(Source(pid, self._proc), pid, self._proc)
                del self._pending[pid]
                self.refused.pop(pid, None)
            except GoroscopeError as error:
                self.refused[pid] = error.cause
                self._pending[pid] = tries - 1
                if tries == 1:
                    del self._pending[pid]

    def _add(self, one: _Followed, pid: int, passed_ns: int) -> int:
        """Add one look at one process. Raises TargetError where it has gone."""
        snapshot, kinds, kind = one.source.sample()
        if not passed_ns:
            return len(kind)
        if self._per_goroutine:
            for row, index in enumerate(kind.tolist()):
                self._count(one, pid, snapshot, kinds[index], row, passed_ns, int(snapshot.fields[row, Field.GOID]))
            return len(kind)
        _, first, counts = np.unique(kind, return_index=True, return_counts=True)
        for row, count in zip(first.tolist(), counts.tolist(), strict=True):
            self._count(one, pid, snapshot, kinds[int(kind[row])], row, passed_ns * count, 0)
        return len(kind)

    def _count(
        self, one: _Followed, pid: int, snapshot: Snapshot, kind: GoroutineKind, row: int, waited_ns: int, number: int
    ) -> None:
        if kind.state is GoState.RUNNING or kind.system:
            return
        labels = self._builder.labels(
            Labels(
                pid=pid,
                process=one.source.process,
                container=one.container,
                state=kind.status,
                goroutine=number,
                start_function=kind.start_function if number else "",
                more=kind.labels,
            )
        )
        stack = self._stack(one, snapshot.stacks[int(snapshot.stack[row])], kind.why_not)
        self._builder.add(stack, labels, *self._padding, waited_ns)

    def _stack(self, one: _Followed, addresses: tuple[int, ...], why_not: str) -> int:
        """The index of a stack, with a marker at its root where it is not whole."""
        known = one.stacks.get((addresses, why_not))
        if known is None:
            locations = [self._builder.location(location) for location in one.source.locations(addresses)]
            if why_not:
                locations.append(self._builder.location(Location(Kind.MARKER, None, 0, (Frame(f"[{why_not}]"),))))
            known = one.stacks[addresses, why_not] = self._builder.stack(tuple(locations))
        return known

    def close(self) -> None:
        """Give everything back."""
        for one in self._followed.values():
            one.source.close()
        self._followed.clear()
