"""Unsigned varints as encoding/binary writes them: seven bits a byte, least significant first."""

import mmap

from symbolizer.go.errors import GoError

MAX_BYTES = 5
"""All numbers in Go's tables fit in 32 bits."""


def uvarint(data: "bytes | mmap.mmap", position: int) -> tuple[int, int]:
    """The number at a position and the position after it. Raises IndexError at the end of `data`, GoError if long."""
    value = 0
    for count in range(MAX_BYTES):
        byte = data[position + count]
        value |= (byte & 0x7F) << 7 * count
        if byte < 0x80:
            return value, position + count + 1
    raise GoError("A number in the Go tables is longer than 32 bits.")
