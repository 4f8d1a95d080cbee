"""Keeps this process alive when a file that it has mapped is truncated by another.

Touching a mapped page that no longer has a file behind it raises SIGBUS, which ends the process; `cp` over a
library in use is enough. Python cannot recover from it (a Python signal handler runs only after the instruction
that fails again and again), so the handler is installed through the C library: it puts zeros where the file was.
Parsers then see a damaged file, which they know how to refuse. Reading instead of mapping would hold whole tables
in memory.

Source of the layouts: x86-64 Linux, glibc and musl: `struct sigaction`, `siginfo_t` (si_addr at offset 16).
"""

import ctypes
import mmap
import signal
from pathlib import Path

_SA_SIGINFO = 4
_MAP_FIXED = 0x10
_SI_ADDR = 16
_FAILED = ctypes.c_void_p(-1).value
_HANDLER = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_size_t, ctypes.c_size_t)


class _SigAction(ctypes.Structure):
    _fields_ = (
        ("handler", _HANDLER),
        ("mask", ctypes.c_ubyte * 128),
        ("flags", ctypes.c_int),
        ("restorer", ctypes.c_void_p),
    )


def survive_truncation() -> None:
    """Install the handler for this process; further calls change nothing. Raises OSError."""
    global _installed  # noqa: PLW0603 - the kernel keeps the address of the handler: it must never be freed
    if _installed is not None:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = (
        ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long,
    )  # fmt: skip

    def on_sigbus(_signal: int, info: int, _context: int) -> None:
        address = ctypes.c_size_t.from_address(info + _SI_ADDR).value
        try:
            replaced = _put_zeros(libc, address)
        except Exception:  # whatever it is, returning without a page would repeat the fault for ever
            replaced = False
        if not replaced:
            libc.signal(signal.SIGBUS, 0)  # SIG_DFL: the fault repeats and ends the process as it should

    action = _SigAction(_HANDLER(on_sigbus), flags=_SA_SIGINFO)
    if libc.sigaction(signal.SIGBUS, ctypes.byref(action), None):
        raise OSError(ctypes.get_errno(), "sigaction failed")
    _installed = action


_installed: _SigAction | None = None


def _put_zeros(libc: ctypes.CDLL, address: int) -> bool:
    """Map zeros from the page of an address to the end of its mapping, if it is one that mmap.mmap made to read."""
    for line in Path("/proc/self/maps").read_bytes().splitlines():
        fields = line.split(maxsplit=5)
        start, end = (int(word, 16) for word in fields[0].split(b"-"))
        if start <= address < end and fields[1] == b"r--s":
            page = address & -mmap.PAGESIZE
            flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_FIXED
            return bool(libc.mmap(page, end - page, mmap.PROT_READ, flags, -1, 0) != _FAILED)
    return False
