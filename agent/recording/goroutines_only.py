"""A recording of goroutines and nothing else: no BPF program is loaded, only memory is read."""

import os
import time
from collections.abc import Callable
from typing import Self

from agent.errors import TargetError
from agent.recording.goroutines import GoroutineSampler
from agent.recording.wanted import Wanted
from profiles.model import GOROUTINE_WAIT, Metadata, Profile, ProfileBuilder


class GoroutineRecorder:
    """Records from `start()` to `stop()`, as a `Recorder` does. Use as a context manager."""

    def __init__(self, wanted: Wanted) -> None:
        """Nothing is read yet."""
        self._wanted = wanted
        self._builder = ProfileBuilder((GOROUTINE_WAIT,))
        self._sampler = GoroutineSampler(
            self._builder,
            wanted.pids,
            wanted.goroutines_hertz,
            per_goroutine=wanted.per_goroutine,
            proc_root=wanted.proc_root,
        )
        self._started_ns = 0
        self._started = self._elapsed = 0.0
        self.samples = 0

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Give everything back."""
        self.close()

    def start(self) -> None:
        """Begin."""
        self._started_ns, self._started = time.time_ns(), time.monotonic()

    def run(self, seconds: float | None, tick: Callable[[float], bool]) -> None:
        """Look for a time, or until `tick(elapsed)`, called at each look, says False."""
        end = None if seconds is None else time.monotonic() + seconds
        while tick(time.monotonic() - self._started) and (end is None or time.monotonic() < end):
            if time.monotonic() >= self._sampler.due:
                self.samples += self._sampler.look(time.monotonic)
            until = self._sampler.due if end is None else min(end, self._sampler.due)
            time.sleep(max(0.0, until - time.monotonic()))

    def stop(self) -> None:
        """End. The time since the last look is nobody's."""
        if not self._elapsed:
            self._elapsed = time.monotonic() - self._started

    def profile(self, version: str, target: str) -> Profile:
        """The profile of everything seen. Raises TargetError where no process could be read."""
        refused = self._sampler.refused
        if refused and len(refused) == len(self._wanted.pids):
            pid, cause = next(iter(refused.items()))
            raise TargetError(f"The goroutines of process {pid} could not be read: {cause}", "Give a Go process.")
        return self._builder.build(
            Metadata(
                start_ns=self._started_ns,
                duration_ns=int(self._elapsed * 1e9),
                version=version,
                kernel=os.uname().release,
                target=target,
                notes=self._sampler.notes,
            )
        )

    def close(self) -> None:
        """Give everything back."""
        self._sampler.close()
