"""The system calls behind BPF and perf events, by ctypes. x86-64.

Sources: include/uapi/linux/bpf.h (union bpf_attr), include/uapi/linux/perf_event.h (struct perf_event_attr).
"""

import ctypes
import errno
import os
import struct
from enum import IntEnum

_NR_BPF = 321
_NR_PERF_EVENT_OPEN = 298
_PERF_ATTR_SIZE = 128
_PERF_FLAG_FD_CLOEXEC = 8
_PERF_TYPE_SOFTWARE = 1
_PERF_TYPE_TRACEPOINT = 2
_PERF_COUNT_SW_CPU_CLOCK = 0
_PERF_ATTR_DISABLED = 1
_PERF_ATTR_FREQ = 1 << 10
_PROG_TYPE_PERF_EVENT = 7
_PROBE_READ_KERNEL = 113
_IOC_ENABLE = 0x2400
_IOC_DISABLE = 0x2401
_IOC_SET_BPF = 0x40042408

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


class Command(IntEnum):
    """enum bpf_cmd."""

    MAP_CREATE = 0
    MAP_LOOKUP = 1
    MAP_UPDATE = 2
    MAP_DELETE = 3
    PROG_LOAD = 5
    PROG_GET_INFO = 15
    RAW_TRACEPOINT_OPEN = 17
    MAP_LOOKUP_BATCH = 24
    MAP_LOOKUP_AND_DELETE_BATCH = 25
    MAP_UPDATE_BATCH = 26
    ENABLE_STATS = 32


def bpf(command: Command, attributes: bytes | ctypes.Array[ctypes.c_char]) -> int:
    """The system call of that name: its non-negative result. Raises OSError."""
    if isinstance(attributes, bytes):
        attributes = ctypes.create_string_buffer(attributes, len(attributes))
    result = int(_libc.syscall(_NR_BPF, int(command), attributes, len(attributes)))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def may_read_kernel() -> bool:
    """Whether a program may use bpf_probe_read_kernel: lockdown in confidentiality mode takes it away. It is tried."""
    program = struct.pack(
        "<" + "BBhi" * 7,
        *(0xBF, 0xA1, 0, 0),  # r1 = r10
        *(0x07, 0x01, 0, -8),  # r1 += -8
        *(0xB7, 0x02, 0, 8),  # r2 = 8
        *(0xB7, 0x03, 0, 0),  # r3 = 0
        *(0x85, 0x00, 0, _PROBE_READ_KERNEL),
        *(0xB7, 0x00, 0, 0),  # r0 = 0
        *(0x95, 0x00, 0, 0),  # exit
    )
    instructions, licence = ctypes.create_string_buffer(program, len(program)), ctypes.create_string_buffer(b"GPL")
    addresses = (ctypes.addressof(instructions), ctypes.addressof(licence))
    attributes = struct.pack("<IIQQ", _PROG_TYPE_PERF_EVENT, len(program) // 8, *addresses).ljust(128, b"\0")
    try:
        os.close(bpf(Command.PROG_LOAD, attributes))
    except OSError as error:  # of other errors the loading of the real programs tells
        return error.errno != errno.EINVAL
    return True


def open_cpu_clock(cpu: int, hertz: int) -> int:
    """A disabled cpu-clock sampling event on one CPU, any process: its descriptor. Raises OSError."""
    attributes = struct.pack(
        "<IIQQQQQ",
        *(_PERF_TYPE_SOFTWARE, _PERF_ATTR_SIZE, _PERF_COUNT_SW_CPU_CLOCK, hertz, 0, 0),
        _PERF_ATTR_DISABLED | _PERF_ATTR_FREQ,
    ).ljust(_PERF_ATTR_SIZE, b"\0")
    buffer = ctypes.create_string_buffer(attributes, _PERF_ATTR_SIZE)
    descriptor = int(_libc.syscall(_NR_PERF_EVENT_OPEN, buffer, -1, cpu, -1, _PERF_FLAG_FD_CLOEXEC))
    if descriptor < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return descriptor


def _ioctl(descriptor: int, request: int, argument: int) -> None:
    if _libc.ioctl(descriptor, ctypes.c_ulong(request), ctypes.c_ulong(argument)) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def perf_set_program(descriptor: int, program: int) -> None:
    """Run a BPF program at each sample of a perf event. Raises OSError."""
    _ioctl(descriptor, _IOC_SET_BPF, program)


def perf_enable(descriptor: int) -> None:
    """Start a perf event. Raises OSError."""
    _ioctl(descriptor, _IOC_ENABLE, 0)


def perf_disable(descriptor: int) -> None:
    """Stop a perf event. Raises OSError."""
    _ioctl(descriptor, _IOC_DISABLE, 0)


def open_raw_tracepoint(name: str, program: int) -> int:
    """Attach a program to a raw tracepoint; closing the descriptor detaches it. Raises OSError."""
    text = ctypes.create_string_buffer(name.encode())
    return bpf(Command.RAW_TRACEPOINT_OPEN, struct.pack("<QII", ctypes.addressof(text), program, 0))


def open_tracepoint(number: int, program: int) -> int:
    """Attach a program to a plain tracepoint by its id; closing the descriptor detaches it. Raises OSError.

    The event is of one CPU and records nothing; the program runs on all (kernel/trace/bpf_trace.c,
    perf_event_attach_bpf_prog).
    """
    attributes = struct.pack("<IIQQ", _PERF_TYPE_TRACEPOINT, _PERF_ATTR_SIZE, number, 0).ljust(_PERF_ATTR_SIZE, b"\0")
    buffer = ctypes.create_string_buffer(attributes, _PERF_ATTR_SIZE)
    descriptor = int(_libc.syscall(_NR_PERF_EVENT_OPEN, buffer, -1, 0, -1, _PERF_FLAG_FD_CLOEXEC))
    if descriptor < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    try:
        perf_set_program(descriptor, program)
        perf_enable(descriptor)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def enable_run_time_stats() -> int:
    """Have the kernel account time and runs of BPF programs while the descriptor is open. Raises OSError."""
    return bpf(Command.ENABLE_STATS, struct.pack("<I", 0))


def program_run_time(program: int) -> tuple[int, int]:
    """(nanoseconds, runs) of a program since it was loaded, while statistics were on. From its fdinfo."""
    fields = dict(line.split(":\t", 1) for line in fdinfo(program) if ":\t" in line)
    return int(fields.get("run_time_ns", 0)), int(fields.get("run_cnt", 0))


def fdinfo(descriptor: int) -> list[str]:
    """The lines the kernel tells about one of our descriptors."""
    with open(f"/proc/self/fdinfo/{descriptor}", encoding="ascii") as file:
        return file.read().splitlines()
