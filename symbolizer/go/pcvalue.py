"""Go's pc-value tables: for one function, which value holds from which code offset to which.

Source: `runtime.pcvalue` and `runtime.step`. Pairs of varints: the change of the value (zigzag) and the code
bytes, in instruction quanta, that it holds for. The value begins at -1; a change of 0 ends the table, except
in the first pair.
"""

import mmap
from array import array
from bisect import bisect_right

from symbolizer.go.errors import GoError
from symbolizer.go.varint import uvarint

MAX_PAIRS = 1 << 20
"""Of one table. The largest functions of the Go compiler itself have some 50,000."""
_CHUNK = 4096
_LONGEST_PAIR = 10


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

    def pairs(self) -> tuple["array[int]", "array[int]"]:
        """All of the table: the code offsets at which values end, and the values. Raises GoError."""
        while not self._ended:
            self._decode(1 << 32)
        return self._ends, self._values

    def _decode(self, target: int) -> None:
        """Decode pairs up to the one that covers the code offset `target`, at most a chunk of bytes."""
        chunk = self._data[self._position : min(self._position + _CHUNK, self._limit)]
        ends, values = [], []
        pc, value = (self._ends[-1], self._values[-1]) if self._ends else (0, -1)
        first, position, quantum = not self._ends, 0, self._quantum
        # What is near the end of a chunk is left to the next; at the end of the table area it must fit.
        safe = len(chunk) - _LONGEST_PAIR if self._position + len(chunk) < self._limit else len(chunk)
        try:
            while pc <= target and position < safe:
                delta = chunk[position]
                if delta == 0 and not first:
                    self._ended = True
                    break
                position += 1
                if delta >= 0x80:
                    delta, position = uvarint(chunk, position - 1)
                length = chunk[position]
                position += 1
                if length >= 0x80:
                    length, position = uvarint(chunk, position - 1)
                value += -(delta >> 1) - 1 if delta & 1 else delta >> 1
                pc += length * quantum
                first = False
                ends.append(pc)
                values.append(value)
            self._ends.extend(ends)
            self._values.extend(values)
        except (IndexError, OverflowError, GoError) as error:
            self._ended = True
            del self._ends[:], self._values[:]
            raise GoError("A Go pc-value table is damaged.") from error
        if (not position and not self._ended) or len(self._ends) > MAX_PAIRS:
            self._ended = True
            raise GoError("A Go pc-value table has no end.")
        self._position += position
