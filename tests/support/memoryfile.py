"""A file in memory under a name of choice, for tests that rewrite one thousands of times."""

import os
from pathlib import Path


class MemoryFile:
    """`path` becomes a symbolic link to a memfd of this process."""

    def __init__(self, path: Path) -> None:
        self._fd = os.memfd_create(path.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(f"/proc/self/fd/{self._fd}")

    def write(self, data: bytes) -> None:
        """Replace the contents."""
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, data, 0)
