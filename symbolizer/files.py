"""Opens the files that processes have mapped, each once for all processes, and keeps a bounded number open."""

import os
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from symbolizer.binary import Binary, FileKey
from symbolizer.elf.file import ElfError
from symbolizer.regular import open_regular

__all__ = ["Candidate", "FileCache", "FileKey", "FileUnavailableError", "candidates"]

MAX_FILES = 512
MAX_MAPS = 640
"""Each holds a file descriptor, and the usual limit of those is 1024."""
MAX_FOOTPRINT = 64 << 20
MAX_REFUSED = 4096


class FileUnavailableError(Exception):
    """A mapped file cannot be read; str() is the reason, in a few words."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A name under which a mapped file may be found.

    `exact`: the kernel itself leads to the file that is mapped, whatever has become of its name (map_files).
    `root` is the root under which the file's own path holds, empty for this process's.
    """

    path: str
    exact: bool = False
    root: str = ""


def candidates(proc_root: str, pid: int, start: int, end: int, path: str) -> tuple[Candidate, ...]:
    """Where to look for the file of one line of /proc/PID/maps: `start` and `end` are its addresses.

    map_files needs CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE; with it deleted files and memfds are found too.
    """
    root = f"{proc_root}/{pid}/root"
    exact = Candidate(f"{proc_root}/{pid}/map_files/{start:x}-{end:x}", exact=True, root=root)
    if not path.startswith("/") or path.endswith(" (deleted)"):
        return (exact,)
    return exact, Candidate(root + path, root=root)


class FileCache:
    """Binaries by FileKey, the longest unused of them dropped first. For use by one thread at a time."""

    def __init__(
        self, max_files: int = MAX_FILES, max_maps: int = MAX_MAPS, max_footprint: int = MAX_FOOTPRINT
    ) -> None:
        """Bounds: files, memory maps (a file with its debug file has two), and bytes of what was read from them."""
        self._max_files = max_files
        self._max_maps = max_maps
        self._max_footprint = max_footprint
        self._binaries: OrderedDict[FileKey, Binary] = OrderedDict()
        self._refused: dict[FileKey, str] = {}

    def __len__(self) -> int:
        return len(self._binaries)

    def open(self, where: Sequence[Candidate], path: str, device: int = 0, inode: int = 0) -> Binary:
        """The first candidate that is the mapped file. `path`, `device` and `inode` are those of the maps line.

        A file that was replaced has another inode and is passed over, except where the candidate is exact. The
        device must be equal too, unless the file's has major number 0 (overlayfs, btrfs): there the kernel
        shows another device in maps than stat does. An inode of 0 is not compared. Raises FileUnavailableError
        with the reason of the last candidate.
        """
        reason = "no name to open it by"
        for candidate in where:
            try:
                fd = open_regular(candidate.path)
            except OSError as error:
                reason = error.strerror or str(error)
                continue
            try:
                status = os.fstat(fd)
                if not candidate.exact and not _same(status, device, inode):
                    reason = "the file was replaced"
                    continue
                return self._of(fd, status, path, candidate.root)
            finally:
                os.close(fd)
        raise FileUnavailableError(reason)

    def trim(self) -> None:
        """Keep within the bounds; call it once in a while, since what was read grows with use.

        Of binaries that were not used for long the tables are forgotten first; only the count drops them.
        """
        while self._binaries and (len(self._binaries) > self._max_files or self._maps() > self._max_maps):
            self._binaries.popitem(last=False)
        excess = sum(binary.footprint for binary in self._binaries.values()) - self._max_footprint
        for binary in self._binaries.values():
            if excess <= 0:
                break
            excess -= binary.footprint
            binary.shrink()

    def _maps(self) -> int:
        return sum(binary.open_maps for binary in self._binaries.values())

    def _of(self, fd: int, status: os.stat_result, path: str, root: str) -> Binary:
        key = FileKey(status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
        binary = self._binaries.get(key)
        if binary is not None:
            self._binaries.move_to_end(key)
            return binary
        if key in self._refused:
            raise FileUnavailableError(self._refused[key])
        try:
            binary = Binary.open(fd, path.removesuffix(" (deleted)"), key, root)
        except OSError as error:
            raise FileUnavailableError(error.strerror or str(error)) from error
        except ElfError as error:
            if len(self._refused) >= MAX_REFUSED:
                self._refused.clear()
            self._refused[key] = str(error)
            raise FileUnavailableError(str(error)) from error
        self._binaries[key] = binary
        self.trim()
        return binary


def _same(status: os.stat_result, device: int, inode: int) -> bool:
    if not inode:
        return True
    return status.st_ino == inode and (status.st_dev == device or os.major(status.st_dev) == 0)
