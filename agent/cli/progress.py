"""The progress bar of a recording, on standard error."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Show = Callable[[float, int], None]
"""Called with the seconds gone by and the samples counted so far."""

_REDRAW_SECONDS = 0.5


def _nothing(_elapsed: float, _samples: int) -> None:
    pass


@contextmanager
def progress(duration: float | None, *, show: bool) -> Iterator[Show]:
    """A bar towards `duration` seconds (a clock without one); a function that does nothing unless `show`."""
    if not show:
        yield _nothing
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), BarColumn(), TimeElapsedColumn(), TextColumn("{task.fields[samples]}"))
    with Progress(*columns, console=Console(stderr=True), auto_refresh=False, transient=True) as bar:
        task = bar.add_task("sampling", total=duration, samples="")
        drawn = -1.0

        def update(elapsed: float, samples: int) -> None:
            nonlocal drawn
            if elapsed - drawn < _REDRAW_SECONDS:
                return
            drawn = elapsed
            bar.update(task, completed=elapsed, samples=f"{samples:,} samples" if samples else "")
            bar.refresh()

        yield update
