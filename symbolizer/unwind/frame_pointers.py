"""The numbers in call frame information: LEB128, and addresses in one of the encodings DW_EH_PE_*.

Sources: DWARF 5, section 7.6 (LEB128); Linux Standard Base Core, "DWARF Exception Header Encoding".
"""

import struct

FORMAT = 0x0F
RELATION = 0x70
ABSOLUTE = 0x00
PC_RELATIVE = 0x10
INDIRECT = 0x80

_MAX_LEB128 = 10
"""Bytes of a 64-bit number."""
_ULEB128, _SLEB128 = 0x01, 0x09
_FIXED = {
    0x00: struct.Struct("<Q"),
    0x02: struct.Struct("<H"),
    0x03: struct.Struct("<I"),
    0x04: struct.Struct("<Q"),
    0x0A: struct.Struct("<h"),
    0x0B: struct.Struct("<i"),
    0x0C: struct.Struct("<q"),
}


class FrameError(ValueError):
    """A table of call frame information, or an entry of one, is damaged or of a kind that is not supported."""


def uleb128(data: bytes, at: int) -> tuple[int, int]:
    """The unsigned number at a position, and the position after it. Raises FrameError."""
    value = 0
    for count, byte in enumerate(data[at : at + _MAX_LEB128]):
        value |= (byte & 0x7F) << 7 * count
        if byte < 0x80:
            return value, at + count + 1
    raise FrameError("a LEB128 number without end")


def sleb128(data: bytes, at: int) -> tuple[int, int]:
    """The signed number at a position, and the position after it. Raises FrameError."""
    value, after = uleb128(data, at)
    bits = 7 * (after - at)
    return value - ((value >> bits - 1) << bits), after


def pointer_size(encoding: int) -> int | None:
    """Bytes of an encoded address; None where that depends on its value, or the encoding is unknown."""
    fixed = _FIXED.get(encoding & FORMAT)
    return fixed.size if fixed else None


def pointer(data: bytes, at: int, encoding: int, address: int) -> tuple[int, int]:
    """The address encoded at a position of `data`, and the position after it. `address` is where it lies itself.

    Raises FrameError, also where the address is relative to something that only a process has (text, data,
    function), or is that of the address.
    """
    if encoding & (RELATION | INDIRECT) not in {ABSOLUTE, PC_RELATIVE}:
        raise FrameError(f"addresses of the encoding {encoding:#x} are not supported")
    value, after = number(data, at, encoding)
    if encoding & RELATION == PC_RELATIVE:
        value += address
    return value % 2**64, after


def number(data: bytes, at: int, encoding: int) -> tuple[int, int]:
    """The number in the format of an encoding, relative to nothing, and the position after it. Raises FrameError."""
    fixed = _FIXED.get(encoding & FORMAT)
    if fixed is not None:
        if not 0 <= at <= len(data) - fixed.size:
            raise FrameError("an address behind the end of its table")
        return fixed.unpack_from(data, at)[0], at + fixed.size
    if encoding & FORMAT == _ULEB128:
        return uleb128(data, at)
    if encoding & FORMAT == _SLEB128:
        return sleb128(data, at)
    raise FrameError(f"unknown encoding {encoding:#x}")
