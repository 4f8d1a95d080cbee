"""Compiles and loads the BPF programs with bcc, hands their descriptors over, and exits.

Runs as its own short process under the distribution's Python, which is what the distribution's bcc is bound to:
bcc and its compiler cost 120 MB, which this way are gone again after a second. Standard library and bcc only.

    python3 loader.py SOCKET_FD < request

The request is JSON: {"sizes": {NAME: int, ...}, "off_cpu": bool, "plain": bool}: the map sizes that bpf/maps.h and
bpf/offcpu.bpf.c leave open, whether the programs of the latter are wanted, and whether tracepoints are plain ones
instead of raw ones. The answer is one
message on the socket: JSON {"names": [...], "plain": bool, "blind": why} with the descriptors in the same order, or
{"error": sentence}. `plain` may have become true, and `blind` says what the kernel does not tell (definitions.py).
Where the request has "statistics": true, the answer has "verified": {PROGRAM: instructions the verifier went through}.
What the compiler and the verifier say goes to standard error.
"""

import ctypes
import json
import os
import re
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bpf.definitions import Definitions

HERE = Path(__file__).resolve().parent
SOURCES = (
    *("causes.h", "abi.h", "maps.h", "hooks.h", "process.bpf.c", "sample.h"),
    *("walk.bpf.c", "labels.bpf.c", "oncpu.bpf.c"),
)
PERF_PROGRAMS = ("on_tick", "walk", "count", "labels")
TRACEPOINT_PROGRAMS = ("on_fork", "on_exec", "on_exit")
CHAINS = {"programs": ("walk", "count", "labels")}
MAPS = (
    *("config", "targets", "maybe", "cgroups", "processes", "mappings", "tables", "pages", "slabs", "rules"),
    *("counts_a", "counts_b", "stacks", "events", "losses", "programs"),
)
OFF_CPU_SOURCE = "offcpu.bpf.c"
OFF_CPU_PROGRAMS = ("on_switch", "off_walk", "off_count", "on_wakeup", "on_wakeup_new", "on_waking", "waker_count")
OFF_CPU_CHAIN = ("off_walk", "off_count", "off_walk", "waker_count")
OFF_CPU_MAPS = (
    "off_config",
    "off_totals",
    "waiting",
    "reported",
    "waits_a",
    "waits_b",
    "off_programs",
)
FRAMES_PER_PASS = (32, 16, 8)
"""Tried in this order: older verifiers allow fewer instructions in one program."""
WARNINGS = ("-Wall", "-Wextra", "-Werror")
BCC_NOISE = ("-Wno-unused-function", "-Wno-unused-parameter", "-Wno-macro-redefined")


LOG_STATISTICS = 4
"""BPF_LOG_STATS of the kernel's include/linux/bpf_verifier.h (Linux 5.2): how much there was to verify, no more."""


class LoadError(Exception):
    """The programs could not be loaded; the text is one sentence."""


def source(off_cpu: bool) -> str:
    """All programs as one text: bcc rewrites map accesses only in the main file, not in what it includes."""
    names = (*SOURCES, OFF_CPU_SOURCE) if off_cpu else SOURCES
    return "".join(f'#line 1 "{name}"\n' + (HERE / name).read_text() for name in names)


def load(sizes: dict[str, int], off_cpu: bool, kernel: "Definitions") -> dict[str, int]:
    """Compile, load and chain the programs; descriptors by name. Raises LoadError."""
    os.environ["BCC_KERNEL_SOURCE"] = str(HERE)
    try:
        from bcc import BPF
    except ImportError as error:
        raise LoadError(f"bcc could not be imported: {error}.") from error
    if not hasattr(BPF, "PERF_EVENT"):
        raise LoadError("the Python package bcc here is not the BPF Compiler Collection.")
    flags = [*WARNINGS, *BCC_NOISE, *(f"-D{name}={value}" for name, value in (sizes | kernel.values).items())]
    text = source(off_cpu)
    kind = BPF.TRACEPOINT if kernel.plain else BPF.RAW_TRACEPOINT
    problem: Exception | None = None
    for frames in FRAMES_PER_PASS:
        try:
            return attempt(BPF, text, [*flags, f"-DFRAMES_PER_PASS={frames}"], off_cpu, kind)
        except Exception as error:  # bcc raises bare Exception for compiler and verifier alike
            problem = error
    raise LoadError(f"the kernel or the compiler refused the BPF programs: {problem}.")


def attempt(bcc_class: Any, text: str, flags: list[str], off_cpu: bool, kind: int) -> dict[str, int]:
    """One try with these compiler flags; `kind` is that of tracepoint programs. Raises what bcc raises."""
    module = bcc_class(text=text, cflags=flags)
    descriptors = {}
    for name in PERF_PROGRAMS:
        descriptors[name] = module.load_func(name, bcc_class.PERF_EVENT).fd
    for name in (*TRACEPOINT_PROGRAMS, *(OFF_CPU_PROGRAMS if off_cpu else ())):
        descriptors[name] = module.load_func(name, kind).fd
    chains = {**CHAINS, "off_programs": OFF_CPU_CHAIN} if off_cpu else CHAINS
    for map_name, names in chains.items():
        chain = module[map_name]
        for index, name in enumerate(names):
            chain[chain.Key(index)] = chain.Leaf(descriptors[name])
    for name in (*MAPS, *(OFF_CPU_MAPS if off_cpu else ())):
        descriptors[name] = module[name].map_fd
    return descriptors


def count_verified() -> dict[str, int]:
    """Have bcc ask the verifier for its statistics from now on; by program, what it will have gone through.

    Since Linux 5.16 the fdinfo of a program has the same as `verified_insns`.
    """
    from bcc import lib

    verified: dict[str, int] = {}
    log = ctypes.create_string_buffer(1 << 16)
    load_program = lib.bcc_func_load

    def load_counted(module: Any, kind: int, name: bytes, *rest: Any) -> Any:
        """The same as bcc_func_load, with a log, of which bcc's Python knows nothing but its level."""
        *code, _level, _log, _size, device, attach_type = rest
        descriptor = load_program(module, kind, name, *code, LOG_STATISTICS, log, len(log), device, attach_type)
        if descriptor < 0:
            return load_program(module, kind, name, *rest)  # which then says why
        if found := re.search(rb"processed (\d+) insns", log.value):
            verified[name.decode()] = int(found[1])
        return descriptor

    lib.bcc_func_load = load_counted
    return verified


def main() -> int:
    """Answer the one request and exit: 0 when the descriptors were handed over."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    # Last, so that what the distribution installed wins over what lies beside our package.
    sys.path.append(str(HERE.parent))
    from bpf.definitions import DefinitionError, of_this_kernel

    try:
        request = json.load(sys.stdin)
        kernel = of_this_kernel(plain=request["plain"], off_cpu=request["off_cpu"])
        verified = count_verified() if request.get("statistics") else None
        descriptors = load(request["sizes"], request["off_cpu"], kernel)
    except (DefinitionError, LoadError) as error:
        channel.sendall(json.dumps({"error": str(error)}).encode())
        return 1
    answer = {"names": list(descriptors), "plain": kernel.plain, "blind": kernel.blind}
    if verified is not None:
        answer["verified"] = verified
    socket.send_fds(channel, [json.dumps(answer).encode()], list(descriptors.values()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
