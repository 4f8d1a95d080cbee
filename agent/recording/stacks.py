"""From raw stacks to stacks of the profile: addresses become locations, causes become markers. Pure."""

from dataclasses import dataclass
from itertools import dropwhile
from typing import Protocol

from agent.processes.spaces import AddressSpace
from bpf import abi, causes
from bpf.abi import RawStack
from profiles.model import Frame, Kind, Location, Mapping, ProfileBuilder

_SCHEDULER, _MORESTACK = "runtime.schedule", "runtime.morestack"
"""Once the scheduler has begun to look for other work, the goroutine above morestack may be another one."""
_GO_IDLE = frozenset(
    {"runtime.mPark", "runtime.stopm", "runtime.findRunnable", "runtime.findrunnable", "runtime.sysmon"}
)
"""Where Go's scheduler keeps a thread that has nothing to do, and its own clock: such a thread is idle, not waiting."""
_NOTED = _GO_IDLE | {_SCHEDULER, _MORESTACK}
_STACK_MISSING = next(cause.id for cause in causes.losses() if cause.name == "stack_ring_full")
"""What a counted stack is taken for whose record did not arrive."""
_OURS = ("bpf_prog_", "bpf_trace_run", "__bpf_trace_", "__traceiter_")
"""Kernel functions on the leaf's side that are there only because we look."""
_INTERRUPTS = ("asm_sysvec_", "asm_common_interrupt", "asm_exc_nmi", "__irqentry_text_start")
"""Kernel functions that an interrupt enters by: what is outside of them was interrupted, and has woken nobody."""
_OUR_OWN, _INTERRUPT = "ours", "interrupt"
_MAX_CACHED = 200_000
"""Addresses remembered for one address space, and for the kernel."""
_MAX_KNOWN = 32_768
"""Stacks remembered, so that those that come again in later windows need not be resolved again."""


class KernelNames(Protocol):
    """What is asked of kernel symbols."""

    def symbolize(self, address: int) -> tuple[Frame, ...]:
        """The frames of a kernel address."""

    def module_of(self, address: int) -> str:
        """The module that holds it, in brackets."""


class SpaceLookup(Protocol):
    """What is asked of the process table."""

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
class Known:
    """A stack that was resolved: its index in the builder, where its addresses belong, and the thread's name.

    `go_idle`: Go's scheduler had nothing for the thread to do. `goroutine` is what the sample was taken for.
    """

    index: int
    space: int
    comm: str
    go_idle: bool = False
    goroutine: "Goroutine | None" = None


@dataclass(frozen=True, slots=True)
class Goroutine:
    """Of a sample: its id and first function, 0 and empty where goroutines are not kept apart, and its labels."""

    id: int
    start_function: str
    labels: tuple[tuple[str, str], ...]


class Stacks:
    """Resolves raw stacks by their hashes, each once."""

    def __init__(
        self, builder: ProfileBuilder, processes: SpaceLookup, kernel: KernelNames, elsewhere: Location = KERNEL_CODE
    ) -> None:
        """`elsewhere` stands for stacks of which nothing was asked for, so that their samples stay visible."""
        self._builder = builder
        self._processes = processes
        self._kernel = kernel
        self._known: dict[tuple[int, int] | int, Known] = {}
        self._refreshes = 0
        self._kernel_locations: dict[int, int] = {}
        self._noted: dict[int, str] = {}
        self._elsewhere = elsewhere
        self._stops = [marker(cause.sentence) for cause in causes.stops()]
        self._losses = {cause.id: marker(cause.sentence) for cause in causes.losses()}
        self._losses[abi.STARTED_STACK] = marker("started, and not on a CPU yet")
        self._losses[abi.THINNED_STACK] = marker("waits that came too fast to walk any like them")

    def settle(self) -> None:
        """Before a window: forget stacks that may have more names now, or that are too many."""
        if self._refreshes != self._processes.refreshes or len(self._known) > _MAX_KNOWN:
            self._refreshes = self._processes.refreshes
            self._known = {}

    def resolve(self, stack: int, records: dict[int, bytes]) -> Known:
        """The stack of a hash, whose record is among `records` unless it was lost."""
        known = self._known.get(stack)
        if known is None:
            record = records.get(stack)
            if record is None:  # it may still come: not to be remembered
                return Known(self._builder.stack((self._lost(stack),)), 0, "")
            raw = abi.parse_stack(record)
            locations = self._locations(raw)
            index, idle = self._builder.stack(tuple(locations)), self._is_idle(locations)
            known = Known(index, raw.space, raw.comm, idle, self._goroutine(raw, records))
            self._known[stack] = known
        return known

    def _goroutine(self, raw: RawStack, records: dict[int, bytes]) -> Goroutine | None:
        """What the kernel side read of the goroutine that a thread worked for."""
        if not raw.goroutine and not raw.labels:
            return None
        record = records.get(raw.labels)
        space = self._processes.spaces.get(raw.space)
        region = space.find(raw.start) if space and raw.start else None
        frames = region.binary.symbolize(raw.start - region.bias)[1] if region and region.binary else ()
        start = frames[-1].function if frames else ""
        return Goroutine(raw.goroutine, start, abi.parse_labels(record) if record else ())

    def resolve_woken(self, stack: int, waker: int, records: dict[int, bytes]) -> Known:
        """The stack of a wait, and on its leaf's side, leaf first from there, that of the thread that ended it."""
        own, wakers = records.get(stack), records.get(waker)
        if not waker or own is None or wakers is None:
            return self.resolve(stack, records)
        known = self._known.get((stack, waker))
        if known is None:
            raw, woken_by = abi.parse_stack(own), abi.parse_stack(wakers)
            locations = self._locations(raw)
            name, frames = self._waker(woken_by)
            joined = (*reversed(frames), self._builder.location(marker(f"woken by {name}")), *locations)
            known = Known(self._builder.stack(joined), raw.space, raw.comm, self._is_idle(locations))
            self._known[stack, waker] = known
        return known

    def _waker(self, raw: RawStack) -> tuple[str, list[int]]:
        """Who ended a wait, and by what: a thread, or an interrupt, which only happened to interrupt a thread."""
        kernel = self._kernel_locations_of(raw)
        for depth, index in enumerate(kernel):
            if self._noted.get(index) == _INTERRUPT:
                return "an interrupt", kernel[: depth + 1]
        return raw.comm or "an idle CPU", self._locations(raw)

    def _lost(self, stack: int) -> int:
        return self._builder.location(self._losses.get(stack, self._losses[_STACK_MISSING]))

    def _is_idle(self, locations: list[int]) -> bool:
        noted = self._noted
        return any(noted.get(index) in _GO_IDLE for index in locations)

    def _locations(self, raw: RawStack) -> list[int]:
        locations = self._kernel_locations_of(raw)
        if raw.user:
            self._add_user(locations, raw, self._processes.spaces.get(raw.space))
        if raw.stop:
            locations.append(self._builder.location(self._stops[raw.stop]))
        elif not locations:
            locations.append(self._builder.location(self._elsewhere))
        return locations

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

    def _kernel_locations_of(self, raw: RawStack) -> list[int]:
        found = [self._kernel_location(address, leaf=index == 0) for index, address in enumerate(raw.kernel)]
        noted = self._noted
        return list(dropwhile(lambda index: noted.get(index) == _OUR_OWN, found))

    def _kernel_location(self, address: int, leaf: bool) -> int:
        lookup = address if leaf else address - 1
        index = self._kernel_locations.get(lookup)
        if index is None:
            if len(self._kernel_locations) > _MAX_CACHED:
                self._kernel_locations.clear()
            mapping = Mapping(0, 0, 0, self._kernel.module_of(lookup))
            frames = self._kernel.symbolize(lookup)
            index = self._builder.location(Location(Kind.KERNEL, mapping, lookup, frames))
            self._kernel_locations[lookup] = index
            name = frames[-1].function if frames else ""
            if name.startswith(_INTERRUPTS):
                self._noted[index] = _INTERRUPT
            elif name.startswith(_OURS):
                self._noted[index] = _OUR_OWN
        return index
