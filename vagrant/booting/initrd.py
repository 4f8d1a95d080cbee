"""Makes the small first file system of the guest: busybox, the modules that mount the host's files, and init.sh."""

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from vagrant.booting.errors import MachineError

_INIT = Path(__file__).with_name("init.sh")
_FOLDERS = ("bin", "proc", "sys", "dev", "modules", "lower", "upper", "new")
_APPLETS = ("sh", "mount", "mkdir", "insmod", "ip", "echo", "poweroff", "switch_root")
_FOLDER, _FILE, _LINK = 0o040755, 0o100755, 0o120777


def busybox() -> Path:
    """The static busybox of the host. Raises MachineError, naming the package, where there is none."""
    found = shutil.which("busybox")
    # The shared one has an interpreter, which is not in the initrd.
    if found is None or b"/ld-linux" in Path(found).read_bytes()[:4096]:
        raise MachineError("There is no static busybox, which the guest starts with.", "apt-get install busybox-static")
    return Path(found)


def make_initrd(shell: Path, modules: Iterable[Path]) -> bytes:
    """A cpio archive (format newc, see cpio(5)), not compressed: it is in memory before the guest runs."""
    return b"".join(_records(shell, modules))


def _records(shell: Path, modules: Iterable[Path]) -> Iterator[bytes]:
    for name in _FOLDERS:
        yield _record(name, _FOLDER, b"")
    yield _record("bin/busybox", _FILE, shell.read_bytes())
    for applet in _APPLETS:
        yield _record(f"bin/{applet}", _LINK, b"busybox")
    for module in modules:
        yield _record(f"modules/{module.name}", _FILE, module.read_bytes())
    yield _record("init", _FILE, _INIT.read_bytes())
    yield _record("TRAILER!!!", 0, b"")


def _record(name: str, mode: int, data: bytes) -> bytes:
    path = name.encode() + b"\0"
    # ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor, rdevminor, namesize, check
    numbers = (0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(path), 0)
    header = b"070701" + b"".join(b"%08X" % number for number in numbers)
    return _padded(header + path) + _padded(data)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
