"""What names and unwind rows of one Go program cost to make."""

import random
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from symbolizer.binary import Binary
from symbolizer.unwind.gopclntab import go_unwind_table

_ADDRESSES = 2000
_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Lookups:
    """One program: its size, what opening takes (s), one name (us, cold and cached), and its rows (s and number)."""

    name: str
    size: int
    open_seconds: float
    cold_us: float
    slowest_us: float
    cached_us: float
    rows_seconds: float
    rows: int


def measure_binary(path: Path) -> Lookups:
    """Medians over three fresh openings; names at random addresses of the program's text."""
    rounds = [_measure(path, seed) for seed in range(_ROUNDS)]
    columns = [median(column) for column in zip(*rounds, strict=True)]
    return Lookups(path.name, path.stat().st_size, *columns[:5], int(columns[5]))


def _measure(path: Path, seed: int) -> tuple[float, float, float, float, float, int]:
    begin = time.perf_counter()
    binary = Binary.open(str(path), str(path))
    go = binary.go
    opened = time.perf_counter() - begin
    if go is None:
        raise ValueError(f"{path} is no Go program that we know: {binary.go_error}")
    low, high = go.text_range
    addresses = random.Random(seed).sample(range(low, high), _ADDRESSES)
    cold = []
    for address in addresses:
        begin = time.perf_counter_ns()
        binary.symbolize(address)
        cold.append((time.perf_counter_ns() - begin) / 1000)
    begin = time.perf_counter()
    for address in addresses:
        binary.symbolize(address)
    cached = (time.perf_counter() - begin) / _ADDRESSES * 1e6
    begin = time.perf_counter()
    table = go_unwind_table(go)
    return opened, sum(cold) / len(cold), max(cold), cached, time.perf_counter() - begin, len(table.rows)
