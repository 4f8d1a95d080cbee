"""How far the reading of a process is, on standard error, where it takes long enough to be asked."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Show = Callable[[int, int], None]
"""Called with how many goroutines were read, and how many there are."""

_PATIENCE_SECONDS = 0.5
_REDRAW_SECONDS = 0.1


def _nothing(_done: int, _all: int) -> None:
    pass


@contextmanager
def reading(*, show: bool, patience: float = _PATIENCE_SECONDS) -> Iterator[Show]:
    """A bar that appears after `patience` and goes with the block; a function that does nothing unless `show`."""
    if not show:
        yield _nothing
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("reading goroutines"), BarColumn(), MofNCompleteColumn())
    bar = Progress(*columns, console=Console(stderr=True), auto_refresh=False, transient=True)
    task = bar.add_task("reading")
    next_drawn = time.monotonic() + patience
    started = False

    def update(done: int, everything: int) -> None:
        nonlocal next_drawn, started
        now = time.monotonic()
        if now < next_drawn:
            return
        if not started:
            bar.start()
            started = True
        next_drawn = now + _REDRAW_SECONDS
        bar.update(task, completed=done, total=everything)
        bar.refresh()

    try:
        yield update
    finally:
        if started:
            bar.stop()
