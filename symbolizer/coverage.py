"""What a file's unwind rows can be made from, and how much of its code none of that speaks of."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from heapq import merge

from symbolizer.binary import Binary
from symbolizer.elf.file import EM_X86_64, PF_X, SHT_NOBITS, ElfFile
from symbolizer.elf.symbols import SHF_EXECINSTR
from symbolizer.unwind.frame_entries import FrameEntries
from symbolizer.unwind.frame_pointers import FrameError
from symbolizer.unwind.frame_sections import debug_frames, exception_frames

_PADDING = 16
"""Between functions there are fewer bytes than this, which never run."""
_ENTRY = (1 << 32) - 1
_MAX_STARTS = 64

Span = tuple[int, int]
"""First address and end."""


class RowSource(StrEnum):
    """A table that says how to unwind."""

    GO = "go"
    EH_FRAME = ".eh_frame"
    DEBUG_FRAME = ".debug_frame"


@dataclass(frozen=True, slots=True)
class Coverage:
    """What there is of one file, in the order in which it is asked. Sizes are in bytes.

    `native` is the code that is not Go's, `uncovered` that of which no source speaks; padding counts as covered.
    `starts` are the first functions outside Go's code that have call frame information.
    """

    sources: tuple[RowSource, ...]
    code: int
    native: int
    uncovered: int
    starts: tuple[int, ...]


def coverage(binary: Binary) -> Coverage:
    """Look at a file's tables, by the rules of symbolizer.unwind.table; what is damaged in them counts as missing."""
    elf, go = binary.elf, binary.go
    code = _code(elf)
    total = _length(code)
    of_go = [go.text_range] if go else []
    sources = [RowSource.GO] if go else []
    known = [of_go]
    starts: list[int] = []
    for source, functions in _call_frames(binary):
        if spans := list(_joined(functions, 0)):
            sources.append(source)
            known.append(spans)
            starts += [start for start, _ in spans[:_MAX_STARTS]]
    covered = list(_joined(merge(*known), _PADDING - 1))
    return Coverage(
        sources=tuple(sources),
        code=total,
        native=total - _length(_common(code, of_go)),
        uncovered=total - _length(_common(code, covered)),
        starts=tuple(starts),
    )


def _call_frames(binary: Binary) -> Iterator[tuple[RowSource, Iterator[Span]]]:
    """Each table of call frame information with those of its functions that no table before it has, ascending."""
    if binary.elf.machine != EM_X86_64:
        return
    low, high = binary.go.text_range if binary.go else (0, 0)
    loaded = FrameEntries(exception_frames(binary.elf))
    yield RowSource.EH_FRAME, ((start, end) for start, end in _functions(loaded) if not low <= start < high)
    if binary.go is None:
        debugging = FrameEntries(debug_frames(binary.elf, binary.debug))
        yield RowSource.DEBUG_FRAME, ((start, end) for start, end in _functions(debugging) if not _has(loaded, start))


def _functions(entries: FrameEntries) -> Iterator[Span]:
    for key in entries.keys:
        try:
            yield key >> 32, (key >> 32) + entries.body(key & _ENTRY)[0]
        except FrameError:
            continue


def _has(entries: FrameEntries, address: int) -> bool:
    try:
        return entries.covers(address)
    except FrameError:
        return False


def _code(elf: ElfFile) -> list[Span]:
    """The executable sections as far as they are loaded; without any, what the file has of executable segments."""
    segments = sorted(
        (load.vaddr, load.vaddr + min(load.filesz, max(0, len(elf.data) - load.offset)))
        for load in elf.loads
        if load.flags & PF_X
    )
    sections = sorted(
        (section.addr, section.addr + section.size)
        for section in elf.sections
        if section.flags & SHF_EXECINSTR and section.type != SHT_NOBITS
    )
    loaded = list(_joined(segments, 0))
    return list(_common(list(_joined(sections, 0)), loaded)) or loaded


def _joined(spans: Iterable[Span], gap: int) -> Iterator[Span]:
    """Spans in the order of their starts, made one where they overlap or are at most `gap` bytes apart."""
    first = last = -1
    for start, end in spans:
        if first >= 0 and start <= last + gap:
            last = max(last, end)
            continue
        if first < last:
            yield first, last
        first, last = start, end
    if first < last:
        yield first, last


def _common(some: list[Span], others: list[Span]) -> Iterator[Span]:
    """What is in both of two lists of spans, each ascending and apart."""
    left = right = 0
    while left < len(some) and right < len(others):
        start, end = max(some[left][0], others[right][0]), min(some[left][1], others[right][1])
        if start < end:
            yield start, end
        if some[left][1] < others[right][1]:
            left += 1
        else:
            right += 1


def _length(spans: Iterable[Span]) -> int:
    return sum(end - start for start, end in spans)
