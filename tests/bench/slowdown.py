"""How much slower the load is while it is sampled.

The recorder runs throughout, and its timers are switched off (A) and on (B) in the order A B B A, so that slow drifts
of the machine cancel out. What is compared is the load's iterations for each second of its own CPU time, so what other
processes take does not count. The control does everything but switch the timers on.

Whose samples are taken is a choice of its own: with a target that sleeps, what is left is the cost of the timer
interrupts, which no profiler by timers can avoid.
"""

import time

from agent.recorder import Recorder, Wanted
from tests.bench.load import Load, Progress
from tests.bench.stats import Estimate, estimate

SEGMENT_SECONDS = 2.0
_ORDER = (False, True, True, False)


def measure(load: Load, hertz: int, pairs: int, target: int, *, control: bool = False) -> Estimate:
    """Speed of the load while the process `target` is sampled, as a ratio to its speed while none is."""
    segments: list[tuple[int, int]] = []
    wanted = max(4, pairs // 2 * 4)  # two pairs make one value
    with Recorder(Wanted(hertz=hertz, pids=(target,))) as recorder:
        recorder.start()
        assert recorder._attached is not None
        timers = recorder._attached.timers
        timers.disable()
        recorder.run(SEGMENT_SECONDS, lambda _elapsed: True)
        begun = time.time_ns()

        def tick(_elapsed: float) -> bool:
            nonlocal begun
            if time.time_ns() - begun < SEGMENT_SECONDS * 1e9:
                return True
            segments.append((begun, time.time_ns()))
            if _ORDER[len(segments) % 4] and not control:
                timers.enable()
            else:
                timers.disable()
            begun = time.time_ns()
            return len(segments) < wanted

        timers.disable()
        recorder.run(None, tick)
    lines = load.progress()
    speeds = [_speed(lines, *segment) for segment in segments]
    ratios = []
    for first in range(0, len(speeds) - 3, 4):
        off, on = speeds[first] + speeds[first + 3], speeds[first + 1] + speeds[first + 2]
        ratios.append(on / off)
    return estimate(ratios)


def _speed(lines: list[Progress], start_ns: int, end_ns: int) -> float:
    """Iterations for each CPU second between the first and the last line within a time."""
    inside = [line for line in lines if start_ns <= line.time_ns <= end_ns]
    first, last = inside[0], inside[-1]
    return (last.iterations - first.iterations) / ((last.cpu_us - first.cpu_us) / 1e6)
