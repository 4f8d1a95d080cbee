"""Where Go's runtime keeps what a stack walker needs, by version (linux/amd64).

Offsets are those of `runtime.g`, `runtime.gobuf` and `runtime.m`, read from the DWARF of built programs of
Go 1.21 to 1.27. The place of the current g in thread-local storage is decoded from the code of
`runtime.stackcheck`, which is right for every link mode.
"""

import struct
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from symbolizer.elf.file import ElfFile
from symbolizer.go.buildinfo import Version

OLDEST_KNOWN = (1, 21)
NEWEST_KNOWN = (1, 27)

Range = tuple[int, int]

_STACKCHECK = "runtime.stackcheck"
_CODE_SIZE = 64


@dataclass(frozen=True, slots=True)
class GoRuntimeLayout:
    """Offsets in bytes; functions as (start, end) in file virtual addresses, None where the program has none.

    The g of the running thread is the word at fs base + `tls_offset`. Shared libraries know that offset at
    run time only: then `tls_offset` is None and `tls_got` the file virtual address of the 8-byte slot that
    holds it (signed) in the process. `g_syscallbp` is None before Go 1.23, which does not keep it. All
    fields from `m_curg` to `g_labels` are None where the version is not known.
    """

    tls_offset: int | None
    tls_got: int | None
    g_stack_lo: int
    g_stack_hi: int
    g_m: int
    m_g0: int
    m_curg: int | None
    m_gsignal: int | None
    g_sched_sp: int | None
    g_sched_pc: int | None
    g_sched_bp: int | None
    g_syscallsp: int | None
    g_syscallpc: int | None
    g_syscallbp: int | None
    g_goid: int | None
    g_startpc: int | None
    g_labels: int | None
    labels_are_map: bool
    mcall: Range | None
    morestack: Range | None
    mstart: Range | None
    async_preempt: Range | None
    sigpanic: Range | None
    goexit: Range | None
    sigtramp: Range | None
    systemstack: Range | None
    asmcgocall: Range | None


class _Program(Protocol):
    elf: ElfFile
    version: Version | None

    def function_ranges(self, names: tuple[str, ...]) -> dict[str, Range]: ...


_FUNCTIONS = (
    "mcall",
    "morestack",
    "morestack_noctxt",
    "mstart",
    "asyncPreempt",
    "sigpanic",
    "goexit",
    "sigtramp",
    "systemstack",
    "asmcgocall",
)


class Offsets(NamedTuple):
    """Of `runtime.g` (the first three) and `runtime.m`, from which those of their neighbours follow."""

    goid: int
    startpc: int
    syscallsp: int
    procid: int
    curg: int


def offsets_of(minor: int) -> Offsets:
    """Those of Go 1.`minor`."""
    shift = 8 if minor < 25 else 0  # gobuf.ret, and a field of m, went in 1.25
    goid = 152 + (8 if minor in {23, 24} else 0)  # g.syscallbp came in 1.23
    startpc = goid + 144 + (8 if minor >= 26 else 0)
    return Offsets(goid, startpc, 104 + shift, 64 + shift, 184 + shift)


def runtime_layout(program: _Program) -> GoRuntimeLayout:
    """The layout of one program's runtime."""
    ranges = program.function_ranges((_STACKCHECK, *(f"runtime.{name}" for name in _FUNCTIONS)))
    tls_offset, tls_got = _thread_local_g(program.elf, ranges.get(_STACKCHECK))
    version = program.version
    known = version is not None and OLDEST_KNOWN <= version[:2] <= NEWEST_KNOWN
    minor = version[1] if version and known else 0
    goid, startpc, syscallsp, procid, curg = offsets_of(minor)
    syscallbp = syscallsp + 16 if minor >= 23 else None
    return GoRuntimeLayout(
        tls_offset=tls_offset,
        tls_got=tls_got,
        g_stack_lo=0,
        g_stack_hi=8,
        g_m=48,
        m_g0=0,
        m_curg=curg if known else None,
        m_gsignal=procid + 8 if known else None,
        g_sched_sp=56 if known else None,
        g_sched_pc=64 if known else None,
        g_sched_bp=syscallsp - 8 if known else None,
        g_syscallsp=syscallsp if known else None,
        g_syscallpc=syscallsp + 8 if known else None,
        g_syscallbp=syscallbp if known else None,
        g_goid=goid if known else None,
        g_startpc=startpc if known else None,
        g_labels=startpc + 48 if known else None,
        labels_are_map=minor < 24,
        mcall=ranges.get("runtime.mcall"),
        morestack=_joined(ranges.get("runtime.morestack"), ranges.get("runtime.morestack_noctxt")),
        mstart=ranges.get("runtime.mstart"),
        async_preempt=ranges.get("runtime.asyncPreempt"),
        sigpanic=ranges.get("runtime.sigpanic"),
        goexit=ranges.get("runtime.goexit"),
        sigtramp=ranges.get("runtime.sigtramp"),
        systemstack=ranges.get("runtime.systemstack"),
        asmcgocall=ranges.get("runtime.asmcgocall"),
    )


def _joined(first: Range | None, second: Range | None) -> Range | None:
    """Both functions where the second follows the first, else the first: morestack_noctxt jumps to morestack."""
    return (first[0], second[1]) if first and second and first[1] == second[0] else first


def _thread_local_g(elf: ElfFile, function: Range | None) -> tuple[int | None, int | None]:
    """(offset of g from fs base, address of the slot that holds that offset) by the first load of stackcheck.

    MOVQ off, AX with a segment prefix; or MOVQ $off, CX, MOVQ FS:(CX), AX; or MOVQ slot(IP), CX, MOVQ FS:(CX), AX.
    """
    start = elf.offset_of(function[0]) if function else None
    if function is None or start is None:
        return None, None
    code = elf.data[start : start + min(_CODE_SIZE, function[1] - function[0])]
    if len(code) >= 9 and code.startswith(b"\x64\x48\x8b\x04\x25"):
        return struct.unpack_from("<i", code, 5)[0], None
    if code[7:11] != b"\x64\x48\x8b\x01":
        return None, None
    (operand,) = struct.unpack_from("<i", code, 3)
    if code.startswith(b"\x48\xc7\xc1"):
        return operand, None
    if code.startswith(b"\x48\x8b\x0d"):
        return None, function[0] + 7 + operand
    return None, None
