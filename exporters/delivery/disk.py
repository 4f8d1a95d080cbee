"""The system calls of the spool, in one place: tests put a full, a failing or a forgetful disk in its stead.

All raise OSError. Files are 0600 and folders 0700; links are never followed, and only regular files are opened.
"""

import errno
import os
import stat
from pathlib import Path

_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # a FIFO in a file's place does not stop us
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def cause_of(error: OSError) -> str:
    """Why the disk refused, in the few words that counters are kept by."""
    if error.errno in _FULL:
        return "disk full"
    if error.errno == errno.EROFS:
        return "disk read-only"
    return "disk error"


class Disk:
    """The real one. Paths are absolute or relative as given; sizes and offsets are bytes."""

    def create(self, path: Path) -> int:
        """A new empty file, for writing and reading; FileExistsError where the name is taken."""
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _FLAGS, 0o600)

    def open(self, path: Path) -> int:
        """A regular file, for reading."""
        return _regular(os.open(path, os.O_RDONLY | _FLAGS))

    def size(self, descriptor: int) -> int:
        """The bytes of an open file."""
        return os.fstat(descriptor).st_size

    def read(self, descriptor: int, size: int, offset: int) -> bytes:
        """`size` bytes from there, fewer only at the end of the file."""
        data = os.pread(descriptor, size, offset)
        if len(data) in {0, size}:
            return data
        parts = [data]
        have = len(data)
        while have < size and (more := os.pread(descriptor, size - have, offset + have)):
            parts.append(more)
            have += len(more)
        return b"".join(parts)

    def write(self, descriptor: int, data: bytes) -> None:
        """All of it at the file's position; after an error some of it may be there."""
        left = memoryview(data)
        while left:
            left = left[os.write(descriptor, left) :]

    def cut(self, descriptor: int, size: int) -> None:
        """Shorten an open file, and write on from there."""
        os.ftruncate(descriptor, size)
        os.lseek(descriptor, size, os.SEEK_SET)

    def cut_file(self, path: Path, size: int) -> None:
        """Shorten a regular file."""
        descriptor = _regular(os.open(path, os.O_RDWR | _FLAGS))
        try:
            self.cut(descriptor, size)
        finally:
            os.close(descriptor)

    def sync(self, descriptor: int) -> None:
        """An open file's bytes and size to the medium."""
        os.fsync(descriptor)

    def sync_folder(self, path: Path) -> None:
        """A folder's names to the medium."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def replace(self, path: Path, target: Path) -> None:
        """Give a file another's name in one step."""
        path.replace(target)

    def remove(self, path: Path) -> None:
        """Remove a file; one that is not there is well."""
        path.unlink(missing_ok=True)


def _regular(descriptor: int) -> int:
    """The descriptor itself, when it is of a regular file; closed and OSError (EINVAL) otherwise."""
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "not a regular file")
