"""The labels that `runtime/pprof.Do` gives goroutines (`runtime/pprof.labelMap`): a slice since Go 1.24, a map before.

A set of labels is never changed once it is made, but may be freed: what looks impossible is left out.
"""

import struct
from collections.abc import Iterator

from symbolizer.go.buildinfo import Version
from symbolizer.goroutines.memory import USER_LIMIT, Memory, UnreadableError

MAX_LABELS = 64
MAX_TEXT = 4096
"""Bytes of one key or value that are kept."""
_SLICES_SINCE = (1, 24)
_SLICE, _LABEL, _WORD = struct.Struct("<QQQ"), struct.Struct("<4Q"), struct.Struct("<Q")
_MAP = struct.Struct("<QBBHIQQ")
"""`runtime.hmap`: count, flags, B, noverflow, hash0, buckets, oldbuckets."""
_SLOTS, _FIRST_USED = 8, 5
_BUCKET = struct.Struct("<8s16Q16QQ")
"""Of a map[string]string: top bytes of hashes, eight keys, eight values, the bucket to go on at."""
_MAX_BUCKETS = 64

LabelSet = tuple[tuple[str, str], ...]


def read_labels(address: int, version: Version, memory: Memory) -> LabelSet:
    """The set at an address, sorted by key, at most 64 labels; empty where it cannot be read."""
    if not 4096 <= address < USER_LIMIT:
        return ()
    try:
        found = _of_slice(address, memory) if version >= _SLICES_SINCE else _of_map(address, memory)
        return tuple(sorted(dict(found).items()))
    except UnreadableError:
        return ()


def _of_slice(address: int, memory: Memory) -> Iterator[tuple[str, str]]:
    first, length, capacity = _SLICE.unpack(memory.read(address, _SLICE.size))
    if length > capacity:
        return
    for key, key_size, value, value_size in _LABEL.iter_unpack(memory.read(first, 32 * min(length, MAX_LABELS))):
        yield _text(key, key_size, memory), _text(value, value_size, memory)


def _of_map(address: int, memory: Memory) -> Iterator[tuple[str, str]]:
    """While a map grows, part of it is still in the old buckets."""
    (header,) = _WORD.unpack(memory.read(address, 8))
    if not header:
        return
    _, _, power, _, _, buckets, old = _MAP.unpack(memory.read(header, _MAP.size))
    # A growing map has half as many old buckets, or as many where it only tidies up: those that do not exist are
    # looked for within what the memory behind holds, and what is no label there is passed over.
    left, count = MAX_LABELS, 0
    for first, number in ((buckets, 1 << min(power, 6)), (old, 1 << max(min(power, 6) - 1, 0))):
        for index in range(number if first else 0):
            at = first + index * _BUCKET.size
            while at and count < _MAX_BUCKETS:
                count += 1
                hashes, *words = _BUCKET.unpack(memory.read(at, _BUCKET.size))
                for slot in range(_SLOTS):
                    if hashes[slot] >= _FIRST_USED and left:
                        left -= 1
                        key = _text(words[2 * slot], words[2 * slot + 1], memory)
                        yield key, _text(words[2 * slot + 16], words[2 * slot + 17], memory)
                at = words[-1]


def _text(address: int, size: int, memory: Memory) -> str:
    return memory.read(address, min(size, MAX_TEXT)).decode("utf-8", "replace") if size else ""
