"""Go's pc-value tables: for one function, which value holds from which code offset to which.

Source: `runtime.pcvalue` and `runtime.step`. Pairs of varints: the change of the value (zigzag) and the code
bytes, in instruction quanta, that it holds for. The value begins at -1; a change of 0 ends the table, except
in the first pair.
"""

import mmap
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from operator import length_hint

from symbolizer.go.errors import GoError

MAX_PAIRS = 1 << 20
"""Of one table. The largest functions of the Go compiler itself have some 50,000."""
_FIRST_CHUNK, _CHUNK = 256, 4096
"""Bytes decoded at once: most tables fit in the first."""
_EVERYTHING = 1 << 64
_CONTINUED = bytes(range(0x80, 0x100))
_ZIGZAG = tuple(-(number >> 1) - 1 if number & 1 else number >> 1 for number in range(0x80))


class PcValues:
    """One table, decoded as far as it was asked for: most questions about giant functions come early in them."""

    __slots__ = ("_data", "_ended", "_ends", "_limit", "_position", "_quantum", "_values")

    def __init__(self, data: "mmap.mmap | bytes", position: int, limit: int, quantum: int) -> None:
        """Of the table at a file offset, which ends before `limit`. Nothing is read yet."""
        self._data = data
        self._position = position
        self._limit = min(limit, len(data))
        self._quantum = quantum
        self._ended = False
        self._ends = array("I")
        self._values = array("i")

    def __len__(self) -> int:
        """Pairs decoded so far."""
        return len(self._ends)

    def at(self, pc: int) -> int:
        """The value at a code offset from the function's entry, -1 behind the end of the table. Raises GoError."""
        while not self._ended and (not self._ends or self._ends[-1] <= pc):
            self._decode(pc)
        index = bisect_right(self._ends, pc)
        return self._values[index] if index < len(self._values) else -1

    def _decode(self, target: int) -> None:
        """Decode pairs up to the one that covers the code offset `target`, at most a chunk of bytes."""
        size = _CHUNK if self._ends else _FIRST_CHUNK
        chunk = self._data[self._position : min(self._position + size, self._limit)]
        last = (self._ends[-1], self._values[-1]) if self._ends else None
        ends, values, used, self._ended = _decode(chunk, last, target, self._quantum)
        try:
            self._ends.extend(ends)
            self._values.extend(values)
        except OverflowError:
            used = 0
        self._position += used
        if not used or len(self._ends) > MAX_PAIRS:
            self._ended = True
            del self._ends[:], self._values[:]
            raise GoError("A Go pc-value table is damaged.")

    def rest(self) -> tuple[Sequence[int], Sequence[int]]:
        """All of the table: the code offsets at which values end, and the values. Raises GoError."""
        while not self._ended:
            self._decode(_EVERYTHING)
        return self._ends, self._values


def whole_table(
    data: "mmap.mmap | bytes", position: int, limit: int, quantum: int
) -> tuple[Sequence[int], Sequence[int]]:
    """All of the table at a file offset: the code offsets at which values end, and the values. Raises GoError."""
    chunk = data[position : min(position + _FIRST_CHUNK, limit)]
    ends, values, _, ended = _decode(chunk, None, _EVERYTHING, quantum)
    return (ends, values) if ended else PcValues(data, position, limit, quantum).rest()


def _decode(
    chunk: bytes, last: tuple[int, int] | None, target: int, quantum: int
) -> tuple[list[int], list[int], int, bool]:
    """Decode the pairs at the beginning of a chunk that follow the pair `last` (its end, its value).

    Stops behind the pair that covers the code offset `target`, at the end of the table, or of the chunk.
    Returns the ends, the values, how many bytes were used (0: damaged), and whether the table ended.
    """
    ends: list[int] = []
    values: list[int] = []
    add_end, add_value = ends.append, values.append
    pc, value = last or (0, -1)
    may_be_zero = last is None
    varints = iter(chunk)
    try:
        for delta in varints:
            if delta < 0x80:
                if not delta and not may_be_zero:
                    return ends, values, len(chunk) - length_hint(varints), True
                value += _ZIGZAG[delta]
            else:
                delta = _longer(delta, varints)  # noqa: PLW2901 -- this loop is where time is spent
                value += -(delta >> 1) - 1 if delta & 1 else delta >> 1
            length = next(varints)
            pc += (length if length < 0x80 else _longer(length, varints)) * quantum
            may_be_zero = False
            add_end(pc)
            add_value(value)
            if pc > target:
                break
        used = len(chunk) - length_hint(varints)
    except StopIteration:
        used = _whole_pairs(chunk)
    return ends, values, used, False


def _whole_pairs(chunk: bytes) -> int:
    """How many bytes of a chunk, which begins with a pair, hold whole pairs of varints."""
    end = len(chunk)
    while end and chunk[end - 1] >= 0x80:
        end -= 1
    if end and len(chunk.translate(None, _CONTINUED)) % 2:
        end -= 1
        while end and chunk[end - 1] >= 0x80:
            end -= 1
    return end


def _longer(low: int, rest: Iterator[int]) -> int:
    """The varint whose first byte is `low`, its further bytes taken from `rest`; cut to 35 bits."""
    value = low & 0x7F
    for shift in (7, 14, 21, 28):
        byte = next(rest)
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
    return value
