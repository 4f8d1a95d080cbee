"""What cannot be seen from outside the process: stacks per window, and what a tick of no target costs."""

import os
import subprocess
from statistics import median

from agent.recording.recorder import Recorder, Wanted
from bpf.capture import RawWindow
from bpf.syscalls import enable_run_time_stats, program_run_time
from tests.bench.load import Load


def measure_windows(load: Load, hertz: int, windows: int) -> list[int]:
    """Distinct stacks of the load in each window of 10 s."""
    found: list[int] = []
    with Recorder(Wanted(hertz=hertz, pids=(load.pid,))) as recorder:
        recorder.start()
        add = recorder._pipeline.add

        def count(window: RawWindow) -> int:
            found.append(len(window.counts))
            return add(window)

        recorder._pipeline.add = count
        recorder.run(None, lambda _elapsed: len(found) < windows)
    return found


def idle_tick_ns(hertz: int, seconds: int) -> float:
    """BPF nanoseconds of a tick that is not of a target, while the load runs: the median of one-second steps."""
    statistics = enable_run_time_stats()
    sleeper = subprocess.Popen(["sleep", "1000"])
    steps = []
    try:
        with Recorder(Wanted(hertz=hertz, pids=(sleeper.pid,))) as recorder:
            recorder.start()
            assert recorder._attached is not None
            program = recorder._attached.programs.programs["on_tick"]
            before = program_run_time(program)
            for _ in range(seconds):
                recorder.run(1.0, lambda _elapsed: True)
                after = program_run_time(program)
                if after[1] > before[1]:
                    steps.append((after[0] - before[0]) / (after[1] - before[1]))
                before = after
    finally:
        sleeper.kill()
        sleeper.wait()
        os.close(statistics)
    return median(steps)
