"""From raw windows to a profile: counts and waits of stacks become samples. Pure: no clock, no /proc."""

from collections.abc import Callable
from dataclasses import dataclass

from agent.recording.stacks import KERNEL_CODE, Goroutine, KernelNames, Known, SpaceLookup, Stacks
from bpf import causes
from bpf.capture import RawWindow
from bpf.waits import WaitState, WaitTotals
from profiles.model import GOROUTINE_WAIT, OFF_CPU, SAMPLES, Labels, Location, ProfileBuilder, State

_STATES = {
    WaitState.PREEMPTED: State.PREEMPTED,
    WaitState.SLEEPING: State.SLEEPING,
    WaitState.UNINTERRUPTIBLE: State.UNINTERRUPTIBLE,
    WaitState.STOPPED: State.STOPPED,
}


@dataclass(frozen=True, slots=True)
class LongestWait:
    """One wait: its length, the index of its stack, and its process; of length 0 where there was none."""

    ns: int = 0
    stack: int = 0
    tgid: int = 0


class Pipeline:
    """Turns windows into samples of a profile builder, whose columns are those of CPU time, of waits, or of both."""

    def __init__(
        self,
        builder: ProfileBuilder,
        processes: SpaceLookup,
        kernel: KernelNames,
        process_name: Callable[[int], str],
        elsewhere: Location = KERNEL_CODE,
        period_ns: int = 0,
    ) -> None:
        """`process_name(pid)` names processes without an address space (kernel threads).

        `elsewhere` stands for stacks of which nothing was asked for; a sample stands for `period_ns` of CPU time.
        """
        self._builder = builder
        self._processes = processes
        self._process_name = process_name
        self._stacks = Stacks(builder, processes, kernel, elsewhere)
        self._labels: dict[tuple[int, int, int, str, Goroutine | None], int] = {}
        self._period_ns = period_ns
        self._no_cpu_time = (0, 0) if SAMPLES in builder.value_types else ()
        looks = (0,) if GOROUTINE_WAIT in builder.value_types else ()
        self._no_waits = ((0, 0, 0, 0) if OFF_CPU in builder.value_types else ()) + looks
        self._no_look = looks
        self.losses = {cause.name: 0 for cause in causes.losses()}
        self.left_out = WaitTotals()
        self.longest = LongestWait()

    def add(self, window: RawWindow) -> int:
        """Count one window; returns its samples and waits."""
        self._stacks.settle()
        total = 0
        resolve, add, period, records = self._stacks.resolve, self._builder.add, self._period_ns, window.stacks
        for count in window.counts:
            known = resolve(count.stack, records)
            label = self._label(known, count.tgid, count.tid)
            add(known.index, label, count.samples, count.samples * period, *self._no_waits)
            total += count.samples
        total += self._add_waits(window)
        for name, samples in window.losses.items():
            self.losses[name] += samples
        self.left_out += window.left_out
        return total

    def _add_waits(self, window: RawWindow) -> int:
        total = 0
        for wait in window.waits:
            known = self._stacks.resolve_woken(wait.stack, wait.waker, window.stacks)
            idle = known.go_idle and wait.state is WaitState.SLEEPING
            label = self._label(known, wait.tgid, wait.tid, State.GO_IDLE if idle else _STATES[wait.state])
            blocked, runnable = wait.blocked_ns, wait.runnable_ns
            times = (blocked, runnable, blocked + runnable)
            self._builder.add(known.index, label, *self._no_cpu_time, wait.waits, *times, *self._no_look)
            total += wait.waits
            if wait.longest_ns > self.longest.ns and not idle:
                self.longest = LongestWait(wait.longest_ns, known.index, wait.tgid)
        return total

    def _label(self, known: Known, tgid: int, tid: int, state: str = "") -> int:
        goroutine = known.goroutine
        key = (known.space, tgid, tid, state, goroutine)
        index = self._labels.get(key)
        if index is None:
            space = self._processes.spaces.get(known.space) or self._processes.latest.get(tgid)
            index = self._labels[key] = self._builder.labels(
                Labels(
                    pid=tgid,
                    process=space.command if space else self._process_name(tgid) or known.comm,
                    tid=tid,
                    thread=known.comm if tid else "",
                    container=space.container if space else "",
                    state=state,
                    goroutine=goroutine.id if goroutine else 0,
                    start_function=goroutine.start_function if goroutine else "",
                    more=goroutine.labels if goroutine else (),
                )
            )
        return index
