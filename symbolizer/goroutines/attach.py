"""Finds, in a running Go program, what a reader of its goroutines needs; works on stripped programs too.

The list of all goroutines, `runtime.allgs`, has no symbol there: it is the slice that the code of `runtime.allgadd`,
whose name is never stripped, refers to. The offsets in a g are held against goroutines of the process itself.
"""

import struct
from dataclasses import dataclass

import numpy as np

from symbolizer.go.binary import GoBinary
from symbolizer.go.layout import NEWEST_KNOWN, OLDEST_KNOWN
from symbolizer.goroutines.layout import PROBED_SIZE, Layout, Words, agrees, known, probe
from symbolizer.goroutines.memory import USER_LIMIT, Memory, UnreadableError
from symbolizer.goroutines.reasons import read_reasons

MAX_LISTED = 1 << 24
"""Goroutines, dead ones included, that a list may have at all."""
_TEXT, _BSS, _EBSS = 22, 28, 29
_TEXT_SECTIONS = {27: 360, 26: 336, 0: 328}
"""Offset of `runtime.moduledata.textsectmap`, a slice, from a minor version on."""
_SLICE = struct.Struct("<QQQ")
_MAX_SECTIONS = 1 << 16
_MAX_CODE = 4096
_MAX_SCANNED = 64 << 20
_PROBED = 256
_TRIES = 3


class NotReadableError(Exception):
    """The goroutines of this program cannot be read; the text is one sentence with the cause."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """Go's runtime in a process. `bias` is the process's address less the file virtual address."""

    binary: GoBinary
    bias: int
    layout: Layout
    allgs: int
    reasons: tuple[str, ...]
    """What `runtime.waitReason` means, by number."""

    def offset(self, pc: int) -> int:
        """From the start of Go's text."""
        return pc - self.bias - self.binary.text


def attach(binary: GoBinary, bias: int, memory: Memory) -> Runtime:
    """Find all that is needed. Raises NotReadableError, and UnreadableError where the process has gone."""
    version = binary.version
    if version is None or version[:2] < OLDEST_KNOWN:
        shown = "an unknown version of Go" if version is None else f"Go {version[0]}.{version[1]}"
        raise NotReadableError(f"It was built by {shown}; goroutines are read from Go 1.21 on.")
    bss = _bss(binary, bias, memory)
    tried = [header for header in _headers(binary, bias, bss, memory) if _slice(header, memory)]
    for header in tried * _TRIES:  # they are read while the process runs: one look may be at the wrong moment
        layout = _layout(binary, bias, header, memory)
        if layout is not None:
            return Runtime(binary, bias, layout, header, read_reasons(binary.elf, bias, memory))
    if not tried:
        raise NotReadableError("The list of its goroutines cannot be found (garble renames what leads to it).")
    newer = version[:2] > NEWEST_KNOWN
    raise NotReadableError(
        f"Go {version[0]}.{version[1]} keeps goroutines in a way that is not known."
        if newer
        else "What its memory holds are no goroutines of the version of Go that it names."
    )


def _bss(binary: GoBinary, bias: int, memory: Memory) -> tuple[int, int]:
    """Start and end of the variables that begin as zero and hold pointers, by `runtime.moduledata`."""
    if binary.module_vaddr is None:
        raise NotReadableError("Go's module data was not found in it.")
    start = binary.module_vaddr + bias
    words = struct.unpack("<30Q", memory.read(start, 240))
    if words[_TEXT] != binary.text + bias:
        raise NotReadableError("Go's module data is of an unknown layout in it.")
    version = binary.version or OLDEST_KNOWN
    sections = next(offset for first, offset in _TEXT_SECTIONS.items() if version[1] >= first)
    _, length, capacity = _SLICE.unpack(memory.read(start + sections, _SLICE.size))
    # Of a version that is not known it may be anything, and of one that is not the one named it is no such slice.
    if version[:2] <= NEWEST_KNOWN and 1 < length == capacity < _MAX_SECTIONS:
        raise NotReadableError("Its code is so large that it was linked in several sections, which is not supported.")
    low, high = words[_BSS], words[_EBSS]
    if not 0 < low < high < USER_LIMIT:
        raise NotReadableError("Go's module data is of an unknown layout in it.")
    return low, high


def _headers(binary: GoBinary, bias: int, bss: tuple[int, int], memory: Memory) -> list[int]:
    """Where the slice `runtime.allgs` may be: what allgadd refers to by all three of its words, else every slice."""
    function = binary.function_range("runtime.allgadd")
    if function is not None:
        start, size = function[0] + bias, min(function[1] - function[0], _MAX_CODE)
        code = memory.read(start, size)
        targets = {
            start + at + 4 + int.from_bytes(code[at : at + 4], "little", signed=True) for at in range(len(code) - 3)
        }
        found = [one for one in targets if bss[0] <= one < bss[1] and {one + 8, one + 16} <= targets]
        if found:
            return found
    words = np.frombuffer(memory.read(bss[0], min(bss[1] - bss[0], _MAX_SCANNED) & ~7), np.uint64)
    first, length, capacity = words[:-2], words[1:-1], words[2:]
    plausible = (
        (first >= 4096)
        & (first < USER_LIMIT)
        & (first & np.uint64(7) == 0)
        & (length > 0)
        & (length <= capacity)
        & (capacity < MAX_LISTED)
    )
    at = np.nonzero(plausible)[0]
    # While the collector runs it has a copy of the header; the list itself has room to grow.
    order = np.lexsort((capacity[at], length[at]))[::-1]
    return [bss[0] + 8 * one for one in at[order[:_PROBED]].tolist()]


def _slice(header: int, memory: Memory) -> tuple[int, int] | None:
    """Address and length of a slice, None where it is none; as it grows it is seen torn now and then."""
    for _ in range(8):
        first, length, capacity = _SLICE.unpack(memory.read(header, _SLICE.size))
        if 0 < length <= capacity < MAX_LISTED and 0 < first < USER_LIMIT and first % 8 == 0:
            return first, length
    return None


def listed(runtime: Runtime, memory: Memory) -> tuple[int, int]:
    """Address and length of the array of pointers to every g, dead ones included. Raises UnreadableError."""
    found = _slice(runtime.allgs, memory)
    if found is None:
        raise UnreadableError("the list of goroutines is no slice any more")
    return found


def _layout(binary: GoBinary, bias: int, header: int, memory: Memory) -> Layout | None:
    """The layout that agrees with the first goroutines of a list: its version's, else what probing finds."""

    def is_code(address: int) -> bool:
        return bool(binary.text_range[0] < address - bias < binary.text_range[1])

    def is_entry(address: int) -> bool:
        return is_code(address) and binary.is_entry(address - bias)

    words = _some(header, memory)
    version = binary.version
    if words is None or version is None:
        return None
    layout = known(version)
    if layout is not None and agrees(layout, words, is_entry, is_code):
        return layout
    return probe(words, is_entry, is_code) if layout is None else None


def _some(header: int, memory: Memory) -> Words | None:
    """The first g of a list, a row of words each; None where it is a list of something else."""
    found = _slice(header, memory)
    if found is None:
        return None
    try:
        pointers = struct.unpack(f"<{min(found[1], _PROBED)}Q", memory.read(found[0], 8 * min(found[1], _PROBED)))
        rows = [np.frombuffer(memory.read(one, PROBED_SIZE), np.uint64) for one in pointers if one < USER_LIMIT]
    except UnreadableError:
        return None
    return np.array(rows, np.uint64) if len(rows) == len(pointers) else None
