"""The part of the report on goroutines, in Markdown."""

from tests.bench.goroutines import Fleet, Storm
from tests.bench.noise import machine
from tests.bench.stats import Estimate

_METHOD = """
- **Each**: a take (read, unwind, look again, name, group by kind), by the number of goroutines that are not dead; the
  median of takes and its 95 % interval. **CPU** is that of ourselves, which other processes do not lengthen.
- **Memory**: the largest resident set during the takes less that before the first.
- **Unsettled**: goroutines that changed four times while they were read, and have no stack for it.
- **Slowdown**: what the load gets done for a second of its own CPU time, while all its goroutines are read five times a
  second, against while they are not.
"""


def render_goroutines(fleets: list[Fleet], storm: Storm, speed: Estimate | None) -> str:
    """The section."""
    lines = [
        "# Goroutines",
        f"\n{machine()}.\n",
        "| process | goroutines | dead | attach | first take | later ones | each | CPU each | memory |",
        "|---" * 9 + "|",
    ]
    lines += [_row(one) for one in fleets]
    share = 100 * storm.unsettled / storm.read
    lines.append(
        f"\nWhile goroutines begin, end, move and grow at full speed: {storm.unsettled:,} of {storm.read:,} readings "
        f"({share:.2f} %) in {storm.rounds} rounds were unsettled."
    )
    if speed is not None:
        interval = f"{speed.low:.4f} to {speed.high:.4f}"
        lines.append(f"\nThe load, read five times a second, has {speed.median:.4f} ({interval}) of its speed.")
    return "\n".join(lines) + "\n" + _METHOD


def _row(one: Fleet) -> str:
    each, low, high = (1e6 * seconds / one.goroutines for seconds in (one.warm.median, one.warm.low, one.warm.high))
    return (
        f"| {one.what} | {one.goroutines:,} | {one.dead:,} | {one.attach * 1e3:.0f} ms | {one.first * 1e3:.0f} ms | "
        f"{one.warm.median * 1e3:.1f} ms | {each:.1f} µs ({low:.1f} to {high:.1f}) | "
        f"{1e6 * one.cpu / one.goroutines:.1f} µs | {one.memory / 2**20:.0f} MiB |"
    )
