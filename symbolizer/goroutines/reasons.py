"""The texts of `runtime.waitReason`, read from the process: their numbers change with nearly every version of Go."""

import struct

from symbolizer.elf.file import PF_W, ElfFile
from symbolizer.goroutines.memory import Memory, UnreadableError

_FIRST, _SECOND = b"GC assist marking", b"IO wait"
"""Numbers 1 and 2 in all versions; 0 is the empty text."""
_HEADERS = struct.Struct("<6Q")
_STRING = struct.Struct("<QQ")
_MAX_SEGMENT = 64 << 20
_CHUNK = 1 << 20
_MAX_REASONS, _MAX_LENGTH = 128, 63


def read_reasons(elf: ElfFile, bias: int, memory: Memory) -> tuple[str, ...]:
    """By number; empty where they are not found. Searches the variables of the program, at most 64 MiB."""
    pattern = struct.pack("<Q", len(_FIRST))
    for load in elf.loads:
        if not load.flags & PF_W:
            continue
        start = (load.vaddr + bias + 7) & ~7
        size = min(load.filesz, _MAX_SEGMENT)
        for chunk in range(0, size, _CHUNK):
            try:
                data = memory.read(start + chunk, min(_CHUNK + 64, size - chunk))
            except UnreadableError:
                break
            at = data.find(pattern)
            while at >= 0:
                if at % 8 == 0 and at >= 24 and _begins(data, at - 24, memory):
                    return ("", *_texts(memory, start + chunk + at - 8))
                at = data.find(pattern, at + 1)
    return ()


def _begins(data: bytes, at: int, memory: Memory) -> bool:
    """Whether the array of strings begins at an offset."""
    if at + _HEADERS.size > len(data):
        return False
    _, empty, first, _, second, length = _HEADERS.unpack_from(data, at)
    if empty or length != len(_SECOND):
        return False
    try:
        return memory.read(first, len(_FIRST)) == _FIRST and memory.read(second, length) == _SECOND
    except UnreadableError:
        return False


def _texts(memory: Memory, at: int) -> list[str]:
    """The strings from an address on, up to the first thing that is no short text."""
    found: list[str] = []
    while len(found) < _MAX_REASONS:
        try:
            address, length = _STRING.unpack(memory.read(at + 16 * len(found), 16))
            text = memory.read(address, length) if 0 < length <= _MAX_LENGTH else b""
        except UnreadableError:
            break
        if not text or not all(32 <= character < 127 for character in text):
            break
        found.append(text.decode("ascii"))
    return found
