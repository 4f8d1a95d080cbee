"""Deterministic mutations of byte strings, of the kinds that break parsers of binary formats."""

import random
from collections.abc import Callable, Sequence

MAX_SIZE = 1 << 20

# Sizes and counts that lie: zero, one, the edges of signed and unsigned words, page and gigabyte marks.
_INTERESTING = (0, 1, 0x7F, 0x80, 0xFF, 0xFFF, 0x1000, 0x7FFF, 0x8000, 0xFFFF, 1 << 20, 1 << 30, 0x7FFFFFFF, 1 << 31)
_INTERESTING_64 = (0xFFFFFFFF, 1 << 32, (1 << 47) - 1, (1 << 63) - 1, 1 << 63, (1 << 64) - 8, (1 << 64) - 1)
_TOKENS = (
    b"\0",
    b"\n",
    b" ",
    b";",
    b"/",
    b"%",
    b"\xff\xfe",
    b"0x",
    b"[",
    b"]",
    b"deadbeef",
    b"ffffffffffffffff",
    b"-1",
)


def mutate(data: bytes, others: Sequence[bytes], chance: random.Random) -> bytes:
    """`data` changed in one to eight places; `others` are what pieces may be taken from."""
    changed = bytearray(data)
    for _ in range(1 << chance.randrange(4)):
        chance.choice(_MUTATIONS)(changed, others, chance)
    return bytes(changed[:MAX_SIZE])


def _place(data: bytearray, chance: random.Random) -> int:
    """An offset, half of them among the first 512 bytes, where headers are."""
    end = len(data)
    return chance.randrange(min(end, 512) if chance.random() < 0.5 else end)


def _flip_bit(data: bytearray, _others: Sequence[bytes], chance: random.Random) -> None:
    if data:
        data[_place(data, chance)] ^= 1 << chance.randrange(8)


def _set_byte(data: bytearray, _others: Sequence[bytes], chance: random.Random) -> None:
    if data:
        data[_place(data, chance)] = chance.randrange(256)


def _set_integer(data: bytearray, _others: Sequence[bytes], chance: random.Random) -> None:
    """An interesting integer of 1 to 8 bytes at a place aligned to its size, little endian mostly."""
    size = chance.choice((1, 2, 4, 4, 8, 8))
    if len(data) < size:
        return
    values = _INTERESTING + _INTERESTING_64 if size == 8 else _INTERESTING
    value = (chance.choice((*values, len(data))) + chance.choice((0, 0, -1, 1))) % (1 << 8 * size)
    at = min(_place(data, chance) // size * size, len(data) - size)
    data[at : at + size] = value.to_bytes(size, "big" if chance.random() < 0.1 else "little")


def _copy_integer(data: bytearray, _others: Sequence[bytes], chance: random.Random) -> None:
    """One aligned word over another: offsets that point to each other or to themselves."""
    if len(data) >= 16:
        source, target = (_place(data, chance) // 8 * 8 for _ in range(2))
        data[target : target + 8] = data[source : source + 8]


def _truncate(data: bytearray, _others: Sequence[bytes], chance: random.Random) -> None:
    if data:
        del data[_place(data, chance) :]


def _remove(data: bytearray, _others: Sequence[bytes], chance: random.Random) -> None:
    if data:
        at = _place(data, chance)
        del data[at : at + chance.choice((1, 2, 4, 8, 64, 4096))]


def _insert(data: bytearray, _others: Sequence[bytes], chance: random.Random) -> None:
    at = _place(data, chance) if data else 0
    piece = chance.choice(_TOKENS) if chance.random() < 0.5 else chance.randbytes(chance.choice((1, 2, 4, 8, 64)))
    data[at:at] = piece


def _repeat(data: bytearray, _others: Sequence[bytes], chance: random.Random) -> None:
    """A piece many times over: long lines, deep nesting, large counts that are true."""
    if data and len(data) < MAX_SIZE:
        at = _place(data, chance)
        piece = bytes(data[at : at + chance.choice((1, 8, 64))])
        data[at:at] = piece * chance.choice((2, 16, 256))


def _splice(data: bytearray, others: Sequence[bytes], chance: random.Random) -> None:
    other = chance.choice(others)
    if data and other:
        start = chance.randrange(len(other))
        at = _place(data, chance)
        piece = other[start : start + chance.choice((8, 64, 1024, len(other)))]
        data[at : at + (len(piece) if chance.random() < 0.5 else 0)] = piece


_MUTATIONS: tuple[Callable[[bytearray, Sequence[bytes], random.Random], None], ...] = (
    _flip_bit,
    _set_byte,
    _set_integer,
    _set_integer,
    _copy_integer,
    _truncate,
    _remove,
    _insert,
    _repeat,
    _splice,
)
