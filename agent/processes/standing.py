"""Threads that wait already when a recording begins: the kernel side has not seen them leave the CPU.

Their stacks are walked from outside, once, before the tracepoints are attached; of a process that hangs they are
all that there is to see.
"""

import os
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from agent.processes.spaces import AddressSpace
from agent.procfs.process import read_small, thread_name
from bpf import abi, causes
from bpf.waits import SLEEPERS, WaitState
from symbolizer.binary import Binary
from symbolizer.unwind.rows import FRAME_POINTER, Rule, UnwindTable
from symbolizer.unwind.walk import Walk

_MAX_THREADS = 4096
"""Of all processes together; further ones are not seen until they run."""
_MAX_STACK = 512 * 1024
"""Bytes of one stack that are read."""
_MAX_KERNEL_FRAMES = 127
_STOPS = {cause.name: cause.id for cause in causes.stops()}

Tables = Callable[[Binary], UnwindTable | None]
KernelAddress = Callable[[str], int | None]
"""The address of a kernel function with an offset, such as `do_syscall_64+0x71`."""


@dataclass(frozen=True, slots=True)
class Stander:
    """A thread that waits: its state, its record, and how often it had been on a CPU when it was looked at."""

    tgid: int
    tid: int
    state: WaitState
    record: bytes
    runs: str


class Standing:
    """Finds them, and makes for each a record as the kernel side would have sent it."""

    def __init__(self, tables: Tables, kernel_address: KernelAddress, proc_root: Path = Path("/proc")) -> None:
        """`tables` has the unwind rows of files."""
        self._tables = tables
        self._kernel_address = kernel_address
        self._proc = proc_root
        self._left = _MAX_THREADS

    def of_process(self, space: AddressSpace, *, user: bool, kernel: bool) -> Iterator[Stander]:
        """The threads of a process that wait now."""
        memory = _Memory(self._proc / str(space.tgid) / "mem")
        try:
            tids = [int(path.name) for path in (self._proc / str(space.tgid) / "task").iterdir()]
        except OSError:
            return
        with memory:
            for tid in tids[: self._left]:
                self._left -= 1
                runs, state = self._runs(space.tgid, tid), self._state(space.tgid, tid)
                if state is not None:
                    record = self._record(space, tid, memory, user=user, kernel=kernel)
                    yield Stander(space.tgid, tid, state, record, runs)

    def _state(self, tgid: int, tid: int) -> WaitState | None:
        """Why a thread is off the CPU, None where it is not, or about to run."""
        text = read_small(self._proc / str(tgid) / "task" / str(tid) / "stat")
        return SLEEPERS.get(text.rpartition(")")[2].strip()[:1])

    def _runs(self, tgid: int, tid: int) -> str:
        """How often a thread has come to a CPU (last field of schedstat): it waits on while that is the same."""
        return read_small(self._proc / str(tgid) / "task" / str(tid) / "schedstat").rpartition(" ")[2]

    def still_waits(self, one: Stander) -> bool:
        """Whether a thread has not been on a CPU since it was looked at."""
        return self._runs(one.tgid, one.tid) == one.runs and self._state(one.tgid, one.tid) is not None

    def _record(self, space: AddressSpace, tid: int, memory: "_Memory", *, user: bool, kernel: bool) -> bytes:
        folder = self._proc / str(space.tgid) / "task" / str(tid)
        words = read_small(folder / "syscall").split()
        addresses: list[int] = []
        stop = "no_registers"
        if not user:
            stop = "complete"
        elif len(words) >= 2 and words[0] != "running":
            with suppress(ValueError):
                walk = self._walk(space, int(words[-1], 16), int(words[-2], 16), memory)
                addresses = [one | abi.EXACT * exact for one, exact in zip(walk.addresses, walk.exact, strict=True)]
                stop = walk.stop
        kernel_frames = self._kernel_frames(read_small(folder / "stack")) if kernel else []
        frames = struct.pack(f"<{len(addresses) + len(kernel_frames)}Q", *addresses, *kernel_frames)
        name = thread_name(space.tgid, tid, self._proc).encode()[:15]
        identity = blake2b(frames + struct.pack("<QII", space.id, tid, _STOPS[stop]), digest_size=8).digest()
        return (
            abi.STACK_HEAD.pack(
                *(int.from_bytes(identity, "little") | abi.FIRST_STACK_HASH, space.id, space.tgid, tid),
                *(len(addresses), len(kernel_frames), _STOPS[stop], name, 0, 0, 0),
            )
            + frames
        )

    def _walk(self, space: AddressSpace, pc: int, sp: int, memory: "_Memory") -> Walk:
        memory.forget()
        return Walk(pc, sp, lambda address: self._rule(space, address), memory.word)

    def _rule(self, space: AddressSpace, address: int) -> Rule | None:
        region = space.find(address)
        if region is None:
            return None
        table = self._tables(region.binary) if region.binary is not None else None
        return (table.rule_at(address - region.bias) if table is not None else None) or FRAME_POINTER

    def _kernel_frames(self, text: str) -> list[int]:
        """Addresses of the lines of /proc/PID/stack, as far as their functions are known; all are return addresses."""
        found = []
        for line in text.splitlines()[:_MAX_KERNEL_FRAMES]:
            address = self._kernel_address(line.partition("] ")[2].partition("/")[0])
            if address is not None:
                found.append(address)
        return found


class _Memory:
    """Words of a process's memory, a page at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1
        self._pages: dict[int, bytes] = {}

    def __enter__(self) -> None:
        with suppress(OSError):
            self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)

    def __exit__(self, *_: object) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def forget(self) -> None:
        """Read anew from here on."""
        self._pages.clear()

    def word(self, address: int) -> int | None:
        """The u64 at an address, None where it cannot be read."""
        number, offset = divmod(address, 4096)
        page = self._pages.get(number)
        if page is None:
            if len(self._pages) * 4096 >= _MAX_STACK or self._descriptor < 0 or not 0 <= address < 1 << 47:
                return None
            try:
                page = os.pread(self._descriptor, 4096, number * 4096)
            except OSError:
                page = b""
            self._pages[number] = page
        if offset + 8 > len(page):
            return None
        return int.from_bytes(page[offset : offset + 8], "little")
