"""Writing a result to a file: all of it or nothing, and never over a file that somebody wants to keep."""

import errno
import os
import secrets
import stat
from pathlib import Path

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


def write_file(path: str, data: bytes, force: bool) -> None:
    """Write `data` to `path`, replacing a file that is there only with `force`.

    The bytes go to a temporary file beside it that takes the name in one step: a full disk or an
    interruption leaves what was there before. A pipe or a device (`/dev/stdout`, process substitution) is
    written to as it is. With `force` a symbolic link is replaced, not followed.

    Raises FileExistsError where the file exists and `force` is not given, else OSError as the system has it.
    """
    target = Path(path)
    if _is_stream(target):
        with target.open("wb", buffering=0) as stream:
            _write_all(stream.fileno(), data)
        return
    if not force and os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
    temporary = target.with_name(f".goroscope-{secrets.token_hex(8)}.tmp")
    try:
        descriptor = os.open(temporary, _CREATE, 0o666)
    except OSError as error:
        # The temporary name means nothing to the user.
        raise OSError(error.errno, error.strerror, path) from None
    try:
        try:
            _write_all(descriptor, data)
        finally:
            os.close(descriptor)
        if force:
            temporary.replace(target)
        else:
            _publish(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def _is_stream(path: Path) -> bool:
    """Whether the path is something other than a regular file or a folder, links followed."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def _write_all(descriptor: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]


def _publish(temporary: Path, target: Path) -> None:
    """Give the file its name unless somebody took it meanwhile; raises FileExistsError then."""
    try:
        os.link(temporary, target, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # File systems without hard links (FAT, some FUSE): claim the name with an empty file, then replace that.
        os.close(os.open(target, _CREATE, 0o666))
        temporary.replace(target)
