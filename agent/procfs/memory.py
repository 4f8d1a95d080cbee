"""The memory of another process: single reads by /proc/PID/mem, many at once by process_vm_readv(2)."""

import ctypes
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from symbolizer.goroutines.memory import USER_LIMIT, Flags, U64s, UnreadableError

_IOV_MAX = 1024
"""UIO_MAXIOV, include/uapi/linux/uio.h."""
_libc = ctypes.CDLL(None, use_errno=True)
_libc.process_vm_readv.restype = ctypes.c_ssize_t
_libc.process_vm_readv.argtypes = [
    ctypes.c_int,
    ctypes.c_void_p,
    ctypes.c_ulong,
    ctypes.c_void_p,
    ctypes.c_ulong,
    ctypes.c_ulong,
]


class ProcessMemory:
    """Of one process, by its id and the descriptor of its memory: after an exec it reads nothing any more."""

    def __init__(self, pid: int, proc_root: Path = Path("/proc")) -> None:
        """Raises OSError where the process may not be read (ptrace_scope, another user's), or is not there."""
        self._pid = pid
        self._descriptor = os.open(proc_root / str(pid) / "mem", os.O_RDONLY | os.O_CLOEXEC)

    def read(self, address: int, size: int) -> bytes:
        """Exactly `size` bytes. Raises UnreadableError."""
        if not 0 <= address < USER_LIMIT:
            raise UnreadableError(f"no address of a process: {address:#x}")
        try:
            data = os.pread(self._descriptor, size, address)
        except OSError as error:
            raise UnreadableError(f"{address:#x}: {error.strerror}") from error
        if len(data) != size:
            raise UnreadableError(f"{address:#x}: not all of {size} bytes are there")
        return data

    def gather(self, addresses: U64s, sizes: U64s, into: NDArray[np.uint8]) -> Flags:
        """Read many pieces, one behind the other, into `into`; which of them could be read. What could not is zero."""
        remote = np.empty((len(addresses), 2), np.uint64)
        remote[:, 0], remote[:, 1] = addresses, sizes
        ends = np.cumsum(sizes).astype(np.int64)
        ok = np.ones(len(addresses), bool)
        first = 0
        while first < len(addresses):
            last = min(first + _IOV_MAX, len(addresses))
            begin = int(ends[first - 1]) if first else 0
            wanted = int(ends[last - 1]) - begin
            local = (ctypes.c_uint64 * 2)(into.ctypes.data + begin, wanted)
            there = ctypes.c_void_p(remote.ctypes.data + 16 * first)
            read = int(_libc.process_vm_readv(self._pid, local, 1, there, last - first, 0))
            if read == wanted:
                first = last
                continue
            # It stops at the first piece that is not all there, which may have been read in part.
            failed = int(np.searchsorted(ends, begin + max(read, 0), side="right"))
            ok[failed] = False
            into[int(ends[failed - 1]) if failed else 0 : int(ends[failed])] = 0
            first = failed + 1
        return ok

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._descriptor)
