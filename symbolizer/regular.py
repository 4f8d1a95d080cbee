"""Opening files that other processes chose: regular files only, without ever blocking."""

import errno
import os
import stat


def open_regular(path: str) -> int:
    """A read-only descriptor of the regular file at `path`; symbolic links are followed.

    A FIFO or a device is never opened for reading, which could block or act on the device: the file is looked
    at through an O_PATH descriptor first, and that same file is then opened. Raises OSError.
    """
    handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.ENXIO, "not a regular file", path)
        return os.open(f"/proc/self/fd/{handle}", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    finally:
        os.close(handle)
