"""Tries of system calls: each returns the errno, 0 where it worked, and leaves nothing behind.

Features are tried rather than read off the kernel's release, because distributions port them back.
Layouts: `union bpf_attr` of include/uapi/linux/bpf.h, `struct perf_event_attr` of
include/uapi/linux/perf_event.h; numbers of system calls from asm/unistd_64.h and asm-generic/unistd.h.
"""

import ctypes
import errno
import os
import platform
import resource
import struct

_SYSCALLS = {"x86_64": (321, 298), "aarch64": (280, 241)}  # machine: bpf, perf_event_open

_BPF_MAP_CREATE, _BPF_PROG_LOAD = 0, 5
_MAP_TYPE_ARRAY, _MAP_TYPE_RINGBUF = 2, 27
_PROG_TYPE_PERF_EVENT = 7

_PERF_TYPE_SOFTWARE, _PERF_COUNT_SW_CPU_CLOCK = 1, 0
_PERF_FLAG_FD_CLOEXEC = 8


def try_bpf_map() -> int:
    """Create the smallest array map: is bpf() there, and are we allowed to use it?"""
    return _try_map(_MAP_TYPE_ARRAY, key_size=4, value_size=4, entries=1)


def try_ring_buffer() -> int:
    """Create a one-page ring buffer map (commit 457f44363a88, Linux 5.8)."""
    return _try_map(_MAP_TYPE_RINGBUF, key_size=0, value_size=0, entries=os.sysconf("SC_PAGE_SIZE"))


def try_unlocked_map() -> int:
    """Create the smallest array map while no memory may be locked: EPERM where maps count by that limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, hard))
    try:
        return try_bpf_map()
    finally:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (soft, hard))


def try_perf_program() -> int:
    """Load a program for perf events that does nothing."""
    exit_zero = struct.pack("<BBhi", 0xB7, 0, 0, 0) + struct.pack("<BBhi", 0x95, 0, 0, 0)  # r0 = 0; exit
    instructions = ctypes.create_string_buffer(exit_zero, len(exit_zero))
    licence = ctypes.create_string_buffer(b"GPL")
    # prog_type, insn_cnt, insns, license, log_level, log_size, log_buf, kern_version, prog_flags
    attr = struct.pack(
        "<IIQQIIQII",
        _PROG_TYPE_PERF_EVENT,
        len(exit_zero) // 8,
        ctypes.addressof(instructions),
        ctypes.addressof(licence),
        0,
        0,
        0,
        0,
        0,
    )
    return _try_bpf(_BPF_PROG_LOAD, attr)


def try_perf_event() -> int:
    """Open the software CPU clock of every process on CPU 0, disabled."""
    size = 112  # PERF_ATTR_SIZE_VER5
    attr = bytearray(size)
    disabled = 1
    struct.pack_into(
        "<IIQQQQQ", attr, 0, _PERF_TYPE_SOFTWARE, size, _PERF_COUNT_SW_CPU_CLOCK, 1_000_000, 0, 0, disabled
    )
    buffer = (ctypes.c_char * size).from_buffer(attr)
    return _try_syscall(1, buffer, -1, 0, -1, _PERF_FLAG_FD_CLOEXEC)


def _try_map(map_type: int, *, key_size: int, value_size: int, entries: int) -> int:
    return _try_bpf(_BPF_MAP_CREATE, struct.pack("<IIIII", map_type, key_size, value_size, entries, 0))


def _try_bpf(command: int, attr: bytes) -> int:
    buffer = ctypes.create_string_buffer(attr, 128)  # the kernel wants what it does not know to be zero
    return _try_syscall(0, command, buffer, len(buffer))


def _try_syscall(which: int, *arguments: object) -> int:
    """Call bpf (0) or perf_event_open (1), close the descriptor it returns, and give its errno."""
    numbers = _SYSCALLS.get(platform.machine())
    if numbers is None:
        return errno.ENOSYS
    libc = ctypes.CDLL(None, use_errno=True)
    words = [ctypes.c_long(word) if isinstance(word, int) else word for word in arguments]
    descriptor = libc.syscall(ctypes.c_long(numbers[which]), *words)
    if descriptor < 0:
        return ctypes.get_errno()
    os.close(descriptor)
    return 0
