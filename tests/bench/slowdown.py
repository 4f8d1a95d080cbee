"""How much slower the load is while it is sampled.

The recorder runs throughout, and its timers are switched off (A) and on (B) in the order A B B A. What is compared is
what the load gets done for each second of its own CPU time, so what other processes take does not count. Segments are
short: on a machine with neighbours the speed of a CPU wanders by several percent within seconds, and only what is close
together in time can be compared. The control does everything but switch the timers on.

Whose samples are taken is a choice of its own: with a target that sleeps, what is left is the cost of the timer
interrupts, which no profiler by timers can avoid.
"""

import threading
import time

from agent.recording.recorder import Recorder, Wanted
from bpf.attach import CpuTimers
from tests.bench.load import Load
from tests.bench.noise import cpu_ns
from tests.bench.stats import Estimate, estimate

SEGMENT_SECONDS = 0.1
_ORDER = (False, True, True, False)
_FOURS_IN_ONE_VALUE = 10


def measure(load: Load, hertz: int, seconds: float, target: int, *, control: bool = False) -> Estimate:
    """Speed of the load while the process `target` is sampled, as a ratio to its speed while none is."""
    fours = max(_FOURS_IN_ONE_VALUE, int(seconds / SEGMENT_SECONDS / len(_ORDER)))
    done: list[tuple[int, int]] = []
    with Recorder(Wanted(hertz=hertz, pids=(target,))) as recorder:
        recorder.start()
        assert recorder._attached is not None
        order = [on and not control for on in _ORDER] * fours
        switching = threading.Thread(target=_switch, args=(load, recorder._attached.timers, order, done))
        switching.start()
        recorder.run(None, lambda _elapsed: switching.is_alive())
        switching.join()
    return estimate(ratios(done))


def _switch(load: Load, timers: CpuTimers, order: list[bool], done: list[tuple[int, int]]) -> None:
    """Switch the timers, and note what the load got done and its CPU time (ns) in each segment."""
    for on in order:
        (timers.enable if on else timers.disable)()
        chains, used = load.finished(), cpu_ns(load.pid)
        time.sleep(SEGMENT_SECONDS)
        done.append((load.finished() - chains, cpu_ns(load.pid) - used))


def ratios(done: list[tuple[int, int]]) -> list[float]:
    """Speed on by speed off of consecutive groups of segments (work, CPU time) in the order A B B A."""
    size = _FOURS_IN_ONE_VALUE * len(_ORDER)
    found = []
    for first in range(0, len(done) - size + 1, size):
        work, used = {False: 0, True: 0}, {False: 0, True: 0}
        for index, (chains, cpu) in enumerate(done[first : first + size]):
            on = _ORDER[index % len(_ORDER)]
            work[on] += chains
            used[on] += cpu
        found.append((work[True] / used[True]) / (work[False] / used[False]))
    return found
