"""From raw windows to a profile: addresses become locations, counts become samples. Pure: no clock, no /proc."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from agent.spaces import AddressSpace
from bpf import abi, causes
from bpf.abi import RawStack
from bpf.capture import Count, RawWindow
from profiles.model import Frame, Kind, Labels, Location, Mapping, ProfileBuilder

_SCHEDULER, _MORESTACK = "runtime.schedule", "runtime.morestack"
"""Once the scheduler has begun to look for other work, the goroutine above morestack may be another one."""
_NOTED = frozenset({_SCHEDULER, _MORESTACK})
_STACK_MISSING = next(cause.id for cause in causes.losses() if cause.name == "stack_ring_full")
"""What a counted stack is taken for whose record did not arrive."""
_MAX_CACHED = 200_000
"""Addresses remembered for one address space, and for the kernel."""
_MAX_KNOWN = 32_768
"""Stacks remembered, so that those that come again in later windows need not be resolved again."""


class KernelNames(Protocol):
    """What the pipeline asks of kernel symbols."""

    def symbolize(self, address: int) -> tuple[Frame, ...]:
        """The frames of a kernel address."""

    def module_of(self, address: int) -> str:
        """The module that holds it, in brackets."""


class SpaceLookup(Protocol):
    """What the pipeline asks of the process table."""

    @property
    def spaces(self) -> dict[int, AddressSpace]:
        """Address spaces by id."""

    @property
    def latest(self) -> dict[int, AddressSpace]:
        """The current address space of a process."""

    @property
    def refreshes(self) -> int:
        """How often mappings were read again: stacks resolved before may have more names now."""


def marker(text: str) -> Location:
    """A location that stands for what is missing."""
    return Location(Kind.MARKER, None, 0, (Frame(f"[{text}]"),))


KERNEL_CODE = marker("kernel code")
"""With user stacks only: a kernel thread, or a process that is exiting."""
USER_CODE = marker("user code")
"""With kernel stacks only: what ran in user mode."""


@dataclass(frozen=True, slots=True)
class _Known:
    """A stack that was resolved: its index in the builder, and where its addresses belong."""

    index: int
    space: int
    comm: str


class Pipeline:
    """Turns windows into samples of a profile builder, whose one value column is samples."""

    def __init__(
        self,
        builder: ProfileBuilder,
        processes: SpaceLookup,
        kernel: KernelNames,
        process_name: Callable[[int], str],
        elsewhere: Location = KERNEL_CODE,
    ) -> None:
        """`process_name(pid)` names processes without an address space (kernel threads).

        `elsewhere` stands for stacks of which nothing was asked for, so that their samples stay visible.
        """
        self._builder = builder
        self._processes = processes
        self._kernel = kernel
        self._process_name = process_name
        self._known: dict[int, _Known] = {}
        self._refreshes = 0
        self._labels: dict[tuple[int, int, int], int] = {}
        self._kernel_locations: dict[int, int] = {}
        self._noted: dict[int, str] = {}
        self._elsewhere = elsewhere
        self._stops = [marker(cause.sentence) for cause in causes.stops()]
        self._losses = {cause.id: marker(cause.sentence) for cause in causes.losses()}
        self.losses = {cause.name: 0 for cause in causes.losses()}

    def add(self, window: RawWindow) -> int:
        """Count one window; returns its samples."""
        total = 0
        if self._refreshes != self._processes.refreshes or len(self._known) > _MAX_KNOWN:
            self._refreshes = self._processes.refreshes
            self._known = {}
        resolved = self._known
        for count in window.counts:
            known = resolved.get(count.stack)
            if known is None:
                known = self._resolve(count, window)
                if count.stack in window.stacks:  # else its record may still come
                    resolved[count.stack] = known
            self._builder.add(known.index, self._label(count, known), count.samples)
            total += count.samples
        for name, samples in window.losses.items():
            self.losses[name] += samples
        return total

    def _label(self, count: Count, known: _Known) -> int:
        key = (known.space, count.tgid, count.tid)
        index = self._labels.get(key)
        if index is None:
            space = self._processes.spaces.get(known.space) or self._processes.latest.get(count.tgid)
            index = self._labels[key] = self._builder.labels(
                Labels(
                    pid=count.tgid,
                    process=space.command if space else self._process_name(count.tgid) or known.comm,
                    tid=count.tid,
                    thread=known.comm if count.tid else "",
                    container=space.container if space else "",
                )
            )
        return index

    def _resolve(self, count: Count, window: RawWindow) -> _Known:
        record = window.stacks.get(count.stack)
        if record is None:
            missing = self._losses.get(count.stack, self._losses[_STACK_MISSING])
            return _Known(self._builder.stack((self._builder.location(missing),)), 0, "")
        raw = abi.parse_stack(record)
        locations = [self._kernel_location(address, leaf=index == 0) for index, address in enumerate(raw.kernel)]
        space = self._processes.spaces.get(raw.space)
        if raw.user:
            self._add_user(locations, raw, space)
        if raw.stop:
            locations.append(self._builder.location(self._stops[raw.stop]))
        elif not locations:
            locations.append(self._builder.location(self._elsewhere))
        return _Known(self._builder.stack(tuple(locations)), raw.space, raw.comm)

    def _add_user(self, locations: list[int], raw: RawStack, space: AddressSpace | None) -> None:
        if space is None:
            space = AddressSpace(raw.space, raw.tgid, raw.comm, "")
        cache = space.locations
        scheduling = False
        for raw_address in raw.user:
            index = cache.get(raw_address)
            if index is None:
                if len(cache) > _MAX_CACHED:
                    cache.clear()
                index = cache[raw_address] = self._user_location(space, raw_address)
            locations.append(index)
            noted = self._noted.get(index)
            if noted is not None:
                if noted == _MORESTACK and scheduling:
                    break
                scheduling |= noted == _SCHEDULER

    def _user_location(self, space: AddressSpace, raw_address: int) -> int:
        lookup = raw_address ^ abi.EXACT if raw_address & abi.EXACT else raw_address - 1
        region = space.find(lookup)
        if region is None:
            location = Location(Kind.NATIVE, None, lookup)
        elif region.binary is not None:
            kind, frames = region.binary.symbolize(lookup - region.bias)
            location = Location(kind, region.mapping, lookup - region.bias, frames)
        else:
            frames = space.perf_map.symbolize(lookup) if space.perf_map is not None else ()
            name = region.path or "//anon"
            location = Location(Kind.JIT, Mapping(region.start, region.end, 0, name), lookup, frames)
        index = self._builder.location(location)
        if location.frames and location.frames[-1].function in _NOTED:
            self._noted[index] = location.frames[-1].function
        return index

    def _kernel_location(self, address: int, leaf: bool) -> int:
        lookup = address if leaf else address - 1
        index = self._kernel_locations.get(lookup)
        if index is None:
            if len(self._kernel_locations) > _MAX_CACHED:
                self._kernel_locations.clear()
            mapping = Mapping(0, 0, 0, self._kernel.module_of(lookup))
            location = Location(Kind.KERNEL, mapping, lookup, self._kernel.symbolize(lookup))
            index = self._kernel_locations[lookup] = self._builder.location(location)
        return index
