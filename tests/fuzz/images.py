"""Memory of real Go processes, kept by the page, and served again with edits, as a hostile process may show it.

Images are kept in the cache beside the programs they are of, so that an input means the same in a later run.
"""

import os
import signal
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agent.procfs.memory import ProcessMemory
from symbolizer.elf.file import ElfFile
from symbolizer.go.binary import GoBinary
from symbolizer.goroutines.attach import Runtime, attach, listed
from symbolizer.goroutines.kinds import Namer
from symbolizer.goroutines.memory import USER_LIMIT, Flags, Memory, U64s, UnreadableError
from symbolizer.goroutines.snapshot import Reader, Snapshot
from symbolizer.goroutines.steps import Steps
from symbolizer.goroutines.threads import threads_of
from symbolizer.goroutines.unwind import Unwinder
from symbolizer.goroutines.waiting import WaitReader
from tests.go import toolchains

PAGE = 4096
MAX_ASKED = 512 << 20
"""Bytes that the readers of one image may ask for."""
GARBLED = (b"\0runtime.allgadd\0", b"\0runtime.allgarb\0")
"""A name, and another in its place, so that what leads to the list of goroutines is not found by it."""
_PROGRAMS = Path(__file__).parents[1] / "go" / "programs"
_DEEPEST, _OF_A_KIND = 64, 2
"""Deeper stacks, and more goroutines alike, make inputs slow and find nothing more."""

Pages = dict[int, bytes | None]
"""By number. None for those that cannot be read."""


@dataclass(frozen=True, slots=True)
class Area:
    """Memory that one reader reads: (address, size) of each piece, and who that is."""

    reader: str
    pieces: tuple[tuple[int, int], ...]


@dataclass(slots=True)
class Edited:
    """A Memory that shows the pages of an image, or others in their place: one set at first sight, one from then on.

    With `turns`, the two sets take turns.
    """

    pages: Pages
    first: Pages = field(default_factory=dict)
    later: Pages = field(default_factory=dict)
    turns: bool = False
    asked: int = 0
    log: list[tuple[str, int, int]] = field(default_factory=list)
    reader: str = ""
    """Where this is set, what is read is logged under it."""
    missed: bool = False
    """Whether something was asked for that is not in the image."""
    _seen: dict[int, int] = field(default_factory=dict)

    def read(self, address: int, size: int) -> bytes:
        found = self._piece(address, size)
        if found is None:
            raise UnreadableError(f"{address:#x}")
        return found

    def gather(self, addresses: U64s, sizes: U64s, into: NDArray[np.uint8]) -> Flags:
        assert int(sizes.sum()) == len(into)
        ok = np.ones(len(addresses), bool)
        at = 0
        for index, (address, size) in enumerate(zip(addresses.tolist(), sizes.tolist(), strict=True)):
            found = self._piece(address, size)
            ok[index] = found is not None
            into[at : at + size] = np.frombuffer(found, np.uint8) if found is not None else 0
            at += size
        return ok

    def _piece(self, address: int, size: int) -> bytes | None:
        self.asked += size
        assert self.asked <= MAX_ASKED, f"asked for {size} bytes at {address:#x}, {self.asked} in all"
        if self.reader:
            self.log.append((self.reader, address, size))
        if not 0 <= address <= address + size <= USER_LIMIT:
            return None
        found = bytearray()
        for number in range(address // PAGE, -(-(address + size) // PAGE)):
            page = self._page(number)
            if page is None:
                return None
            found += page
        return bytes(found[address % PAGE : address % PAGE + size])

    def _page(self, number: int) -> bytes | None:
        before = self._seen.get(number, 0)
        self._seen[number] = before + 1
        shown = self.later if (before % 2 if self.turns else before) else self.first
        if number in shown:
            return shown[number]
        self.missed |= number not in self.pages
        return self.pages.get(number)

    def word(self, address: int) -> int:
        """As it is without edits; 0 where there is none."""
        page = self.pages.get(address // PAGE) if address >= 0 else None
        return int.from_bytes(page[address % PAGE : address % PAGE + 8], "little") if page else 0

    def write(self, address: int, data: bytes, layers: Iterable[Pages]) -> None:
        """Into pages that exist."""
        for layer in layers:
            at, left = address, data
            while left:
                number, offset = divmod(at, PAGE)
                piece, left = left[: PAGE - offset], left[PAGE - offset :]
                page = layer.get(number, self.pages.get(number))
                if page is not None:
                    layer[number] = page[:offset] + piece + page[offset + len(piece) :]
                at += len(piece)


@dataclass(frozen=True, slots=True)
class Image:
    """Of one program: its file, its pages, and what is read of them by whom."""

    path: Path
    pages: Pages
    areas: tuple[Area, ...]
    goroutines: tuple[int, ...]
    """Addresses of the g that are not dead."""
    runtime: Runtime


@dataclass(frozen=True, slots=True)
class Readers:
    """All that read goroutines of one process."""

    reader: Reader
    namer: Namer
    waits: WaitReader

    @classmethod
    def of(cls, runtime: Runtime, memory: Memory) -> "Readers":
        steps = Steps(runtime)
        return cls(
            Reader(runtime, memory, Unwinder(steps, memory, 1)),
            Namer(runtime, memory),
            WaitReader(runtime, memory, steps),
        )


def image(version: str, program: str, *arguments: str) -> Image:
    """Of a program of tests/go/programs; from the cache, unless the readers want more by now than was kept."""
    path = toolchains.build(version, "plain", _PROGRAMS / program)
    kept = toolchains.cache_folder() / "images" / f"{path.name}.npz"
    if kept.exists():
        pages = _load(kept)
        found = _read_through(path, pages)
        if found:
            return found
    pages = _record(path, arguments)
    kept.parent.mkdir(exist_ok=True)
    _save(kept, pages)
    found = _read_through(path, pages)
    assert found, "the readers are not of one mind about what they read"
    return found


def renamed(path: Path, before: bytes, after: bytes) -> GoBinary:
    """The program of a file with some bytes changed to as many others, in all places."""
    data = path.read_bytes()
    assert len(before) == len(after)
    assert before in data
    return opened(ElfFile(data.replace(before, after)))


def opened(elf: ElfFile) -> GoBinary:
    binary = GoBinary.open(elf)
    assert binary is not None
    return binary


def _read_through(path: Path, pages: Pages) -> Image | None:
    """Read all, and note what is read; None where not all of it is in the image."""
    memory = Edited(pages)
    _read_all(_garbled(path), memory)
    memory.log.clear()
    runtime, snapshot = _read_all(opened(ElfFile.open(str(path))), memory)
    if memory.missed:
        return None
    by_reader: dict[str, dict[tuple[int, int], None]] = {}
    for reader, address, size in memory.log:
        by_reader.setdefault(reader, {})[address, size] = None
    areas = tuple(Area(reader, tuple(pieces)) for reader, pieces in by_reader.items())
    return Image(path, pages, areas, tuple(snapshot.addresses.tolist()), runtime)


def _read_all(binary: GoBinary, memory: "Edited | _Recorder") -> tuple[Runtime, Snapshot]:
    memory.reader = "attach"
    runtime = attach(binary, 0, memory)
    readers = Readers.of(runtime, memory)
    memory.reader = "take"
    snapshot = readers.reader.take()
    memory.reader = "names"
    readers.namer.kinds(snapshot)
    memory.reader = "threads"
    threads_of(snapshot, runtime.layout, memory)
    memory.reader = "waits"
    readers.waits.read(snapshot)
    return runtime, snapshot


def _garbled(path: Path) -> GoBinary:
    return renamed(path, *GARBLED)


class _Recorder:
    """A Memory that keeps the pages that are read of another."""

    def __init__(self, memory: ProcessMemory) -> None:
        self._memory = memory
        self.pages: Pages = {}
        self.reader = ""

    def read(self, address: int, size: int) -> bytes:
        self._keep(address, size)
        return Edited(self.pages).read(address, size)

    def gather(self, addresses: U64s, sizes: U64s, into: NDArray[np.uint8]) -> Flags:
        for address, size in zip(addresses.tolist(), sizes.tolist(), strict=True):
            self._keep(address, size)
        return Edited(self.pages).gather(addresses, sizes, into)

    def _keep(self, address: int, size: int) -> None:
        for number in range(address // PAGE, -(-(address + size) // PAGE)):
            if number not in self.pages:
                try:
                    self.pages[number] = self._memory.read(number * PAGE, PAGE)
                except UnreadableError:
                    self.pages[number] = None


def _record(path: Path, arguments: tuple[str, ...]) -> Pages:
    """Start a program, wait for its second line, stop it, read its goroutines and end it."""
    pipe = subprocess.PIPE
    with subprocess.Popen([path, *arguments], stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL) as process:
        try:
            assert process.stdout
            process.stdout.readline()
            process.stdout.readline()
            process.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
            recorder = _Recorder(ProcessMemory(process.pid))
            _thin_out(path, recorder)
            for binary in (_garbled(path), opened(ElfFile.open(str(path)))):
                _read_all(binary, recorder)
            return recorder.pages
        finally:
            process.kill()


def _thin_out(path: Path, recorder: _Recorder) -> None:
    """Leave a few goroutines of each kind, and forget what was read of the others."""
    runtime = attach(opened(ElfFile.open(str(path))), 0, recorder)
    snapshot = Reader(runtime, recorder, Unwinder(Steps(runtime), recorder, 1)).take()
    _, kind = Namer(runtime, recorder).kinds(snapshot)
    seen: dict[int, int] = {}
    left: set[int] = set()
    for address, own, stack in zip(snapshot.addresses.tolist(), kind.tolist(), snapshot.stack.tolist(), strict=True):
        seen[own] = seen.get(own, 0) + 1
        if seen[own] <= _OF_A_KIND and len(snapshot.stacks[stack]) <= _DEEPEST:
            left.add(address)
    start, length = listed(runtime, recorder)
    pointers = np.frombuffer(recorder.read(start, 8 * length), np.uint64)
    wanted = pointers[np.isin(pointers, np.array(sorted(left), np.uint64))]
    recorder.pages.clear()
    recorder.read(start, 8 * length)
    recorder.read(runtime.allgs, 24)
    edited = Edited(recorder.pages)
    for address, data in ((start, wanted.tobytes()), (runtime.allgs + 8, len(wanted).to_bytes(8, "little"))):
        edited.write(address, data, (recorder.pages,))


def _save(path: Path, pages: Pages) -> None:
    there = {number: page for number, page in pages.items() if page is not None}
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("wb") as file:
        np.savez_compressed(
            file,
            numbers=np.array(list(there), np.uint64),
            contents=np.frombuffer(b"".join(there.values()), np.uint8),
            absent=np.array([number for number, page in pages.items() if page is None], np.uint64),
        )
    partial.rename(path)


def _load(path: Path) -> Pages:
    with np.load(path) as kept:
        contents = kept["contents"].tobytes()
        pages: Pages = {
            number: contents[index * PAGE : (index + 1) * PAGE] for index, number in enumerate(kept["numbers"].tolist())
        }
        pages.update(dict.fromkeys(kept["absent"].tolist()))
    return pages
