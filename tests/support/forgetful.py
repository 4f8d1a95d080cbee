"""Disks for the spool's tests: one that knows what a power loss would leave, and that can be full."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

from exporters.delivery.disk import Disk


class ForgetfulDisk(Disk):
    """Real files, and an account of what was synced. `fail` is the errno that writes fail with, after a few bytes."""

    def __init__(self) -> None:
        self.fail: int | None = None
        self.cut_fails = False
        self.names: dict[int, Path] = {}
        self.synced: dict[Path, int] = {}  # bytes that stay, of files whose names may not
        self.durable: set[Path] = set()  # names that stay
        self.removed: dict[Path, bytes] = {}  # names that may come back
        self.position: bytes | None = None  # what the position file goes back to

    def create(self, path: Path) -> int:
        if self.fail == errno.EROFS:
            raise OSError(self.fail, os.strerror(self.fail))
        descriptor = super().create(path)
        self.names[descriptor] = path
        self.synced[path] = 0
        self.durable.discard(path)
        return descriptor

    def write(self, descriptor: int, data: bytes) -> None:
        if self.fail is not None:
            super().write(descriptor, data[: len(data) // 2])
            raise OSError(self.fail, os.strerror(self.fail))
        super().write(descriptor, data)

    def cut(self, descriptor: int, size: int) -> None:
        if self.cut_fails:
            raise OSError(errno.EIO, "cut")
        super().cut(descriptor, size)

    def sync(self, descriptor: int) -> None:
        path = self.names[descriptor]
        self.synced[path] = os.fstat(descriptor).st_size

    def sync_folder(self, path: Path) -> None:
        self.durable = {inside for inside in path.iterdir() if inside.suffix == ".seg"}
        self.removed.clear()
        position = path / "position"
        self.position = position.read_bytes() if position.exists() else None

    def remove(self, path: Path) -> None:
        if path.suffix == ".seg" and path in self.durable:
            self.removed[path] = path.read_bytes()
        super().remove(path)

    def lose_power(self, folder: Path, choose: Callable[[int, int], int]) -> None:
        """Leave what a power loss could: `choose(low, high)` picks within both."""
        for path, data in self.removed.items():
            if choose(0, 1):
                path.write_bytes(data)
                path.chmod(0o600)
                self.synced[path] = len(data)
        for path in sorted(folder.glob("*.seg")):
            size = path.stat().st_size
            keep = choose(min(self.synced.get(path, size), size), size)
            if path not in self.durable and choose(0, 1):
                path.unlink()
                continue
            os.truncate(path, keep)
        position = folder / "position"
        current = position.read_bytes() if position.exists() else None
        if current != self.position and choose(0, 1):
            if self.position is None:
                position.unlink(missing_ok=True)
            else:
                position.write_bytes(self.position)
        (folder / "position.tmp").unlink(missing_ok=True)
        self.removed.clear()
