"""Address spaces: what is mapped where in one process between two execs, kept after the process has gone."""

import os
from bisect import bisect_right
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from agent.procfs.maps import MemoryMap, read_maps
from agent.procfs.process import command_name, container_id, namespace_pid
from profiles.model import Mapping
from symbolizer.binary import Binary
from symbolizer.files import Candidate, FileCache, FileUnavailableError, candidates
from symbolizer.perfmap import PerfMap

VDSO = "[vdso]"
_MAX_VDSO = 64 * 1024


@dataclass(frozen=True, slots=True)
class Region:
    """An executable mapping and the file behind it. Address - `bias` is the file virtual address.

    `binary` and `mapping` are None for code without a readable file (JIT, or a file that could not be opened).
    `cause` says in a few words why a file could not be opened, empty where there is none; `deleted` that its name
    does not lead to it any more.
    """

    start: int
    end: int
    bias: int
    path: str
    binary: Binary | None = None
    mapping: Mapping | None = None
    cause: str = ""
    deleted: bool = False


@dataclass(slots=True)
class AddressSpace:
    """One program image of a process, by the id the kernel side gave it."""

    id: int
    tgid: int
    command: str
    container: str
    regions: list[Region] = field(default_factory=list)
    perf_map: PerfMap | None = None
    locations: dict[int, int] = field(default_factory=dict)
    """Cache of the pipeline: location index by address as a stack has it."""

    def find(self, address: int) -> Region | None:
        """The region that holds an address, or None."""
        index = bisect_right(self.regions, address, key=lambda region: region.start) - 1
        if index >= 0 and address < self.regions[index].end:
            return self.regions[index]
        return None


class SpaceReader:
    """Reads address spaces from /proc, sharing what files say between processes."""

    def __init__(self, files: FileCache, proc_root: Path = Path("/proc")) -> None:
        """`files` opens and remembers binaries; `proc_root` is where processes are looked up."""
        self._files = files
        self._proc = proc_root
        self._vdso: Binary | None = None

    def read(self, space: int, tgid: int, command: str = "") -> AddressSpace:
        """The address space of a process now; without regions when the process has gone."""
        found = AddressSpace(
            id=space,
            tgid=tgid,
            command=command_name(tgid, self._proc) or command,
            container=container_id(tgid, self._proc),
        )
        self.refresh(found)
        return found

    def refresh(self, space: AddressSpace) -> None:
        """Read the mappings again: code was loaded or generated. Leaves the old ones when the process has gone."""
        try:
            maps = read_maps(space.tgid, self._proc)
        except OSError:
            return
        if not maps and space.regions:  # exiting: its memory is gone already
            return
        space.regions = [self._region(space.tgid, one) for one in maps]
        space.locations.clear()
        if space.perf_map is not None:
            space.perf_map.refresh()
        elif any(region.binary is None for region in space.regions):
            space.perf_map = PerfMap.read(str(self._proc), space.tgid, namespace_pid(space.tgid, self._proc))

    def program(self, path: str) -> Binary | None:
        """The binary of a program on our own disk, or None; it is the one found later in processes that run it."""
        with suppress(FileUnavailableError):
            return self._files.open((Candidate(path, exact=True),), path)
        return None

    def _region(self, tgid: int, one: MemoryMap) -> Region:
        cause = ""
        try:
            binary = self._open(tgid, one)
        except FileUnavailableError as error:
            binary, cause = None, str(error)
        vaddr = binary.vaddr_of(one.offset) if binary else None
        if binary is None or vaddr is None:
            cause = "the part that is mapped holds no code" if binary else cause
            return Region(one.start, one.end, 0, one.path, cause=cause, deleted=one.deleted)
        mapping = binary.mapping_for(one.offset)
        return Region(one.start, one.end, one.start - vaddr, one.path, binary, mapping, deleted=one.deleted)

    def _open(self, tgid: int, one: MemoryMap) -> Binary | None:
        """The file of a mapping, None where it has none. Raises FileUnavailableError."""
        if one.path == VDSO:
            return self._read_vdso(tgid, one)
        if not one.inode:
            return None
        where = candidates(str(self._proc), tgid, one.start, one.end, one.path)
        return self._files.open(where, one.path, one.device, one.inode)

    def _read_vdso(self, tgid: int, one: MemoryMap) -> Binary:
        """The vDSO is the same in every process: read once, from memory. Raises FileUnavailableError."""
        if self._vdso is None:
            try:
                descriptor = os.open(self._proc / str(tgid) / "mem", os.O_RDONLY | os.O_CLOEXEC)
                try:
                    image = os.pread(descriptor, min(one.end - one.start, _MAX_VDSO), one.start)
                finally:
                    os.close(descriptor)
                self._vdso = Binary.from_memory(image, VDSO)
            except OSError as error:
                raise FileUnavailableError(error.strerror or str(error)) from error
            except ValueError as error:
                raise FileUnavailableError(str(error)) from error
        return self._vdso
