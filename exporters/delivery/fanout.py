"""Several destinations at once. Each has its own queue, spool and threads: a slow one delays no other."""

import re
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from exporters.delivery.destination import Stats
from exporters.delivery.worker import Worker

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def spool_folder(root: Path, name: str) -> Path:
    """The folder of that destination's spool under `root`; raises ValueError for a name that is no folder's.

    Names are lower case, so that two never are one folder on any file system.
    """
    if _NAME.fullmatch(name) is None:
        raise ValueError(
            f"A destination's name is up to 64 of a-z, 0-9, '.', '_' and '-', and begins with one of the first two; "
            f"{name[:64]!r} is not."
        )
    return root / name


class Fanout:
    """The workers of all destinations, by name. Raises ValueError where two have one name."""

    def __init__(self, workers: Iterable[Worker], clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._workers: dict[str, Worker] = {}
        for worker in workers:
            name = worker.destination.name
            if name in self._workers:
                raise ValueError(f"Two destinations are named {name}.")
            self._workers[name] = worker

    @property
    def names(self) -> tuple[str, ...]:
        """The destinations, in the order they were given."""
        return tuple(self._workers)

    def start(self) -> None:
        """Start all workers."""
        for worker in self._workers.values():
            worker.start()

    def offer(self, name: str, payload: bytes, when: int | None = None) -> bool:
        """Offer a payload (`when` in UNIX ns, now if None) to one destination, in its own encoding; never blocks.

        False where it was dropped, which is counted. KeyError for a name that is none.
        """
        return self._workers[name].offer(payload, when)

    def offer_all(self, payload: bytes, when: int | None = None) -> int:
        """Offer one payload to all, which share its bytes; how many took it."""
        return sum(worker.offer(payload, when) for worker in self._workers.values())

    def stats(self) -> dict[str, Stats]:
        """The counters of each."""
        return {name: worker.stats() for name, worker in self._workers.items()}

    def stop(self, timeout: float) -> None:
        """End all within about `timeout` seconds together: each sends what it can meanwhile and spools the rest."""
        deadline = self._clock() + timeout
        for worker in self._workers.values():
            worker.begin_stop(deadline)
        for worker in self._workers.values():
            worker.finish_stop()
