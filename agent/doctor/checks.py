"""The checks: pure functions from a Machine to a result with cause and remedy.

`record` could not run where one of them fails; what is merely poorer is a warning.
"""

import errno
import os
from collections.abc import Callable

from agent.doctor.bcc import check_bcc
from agent.doctor.machine import Machine
from agent.doctor.result import Result, Status, fail, ok, warn
from agent.errors import MachineError
from bpf.tracefs import mounted

_INITIAL_PID_NAMESPACE = 4026531836  # PROC_PID_INIT_INO, include/linux/proc_ns.h
_BTF_MAGIC = b"\x9f\xeb"  # BTF_MAGIC 0xEB9F, include/uapi/linux/btf.h, on little-endian machines
_MIN_PYTHON = (3, 11)

# Bits of include/uapi/linux/capability.h. SYS_ADMIN stands in for BPF and PERFMON, which came with 5.8.
_SYS_PTRACE, _SYS_ADMIN, _SYS_RESOURCE, _SYSLOG, _PERFMON, _BPF = 19, 21, 24, 34, 38, 39


def check_privilege(machine: Machine) -> Result:
    """Root or the capabilities instead: bpf(), perf events of others, other processes' files."""
    name = "capabilities"
    held = _effective_capabilities(machine)
    if held is None:
        return fail(name, "/proc/self/status could not be read.", "Mount /proc.")
    missing = []
    if not held >> _SYS_ADMIN & 1:
        missing += [text for bit, text in ((_BPF, "CAP_BPF"), (_PERFMON, "CAP_PERFMON")) if not held >> bit & 1]
    if not held >> _SYS_PTRACE & 1:
        missing.append("CAP_SYS_PTRACE")
    if missing:
        who = "Root here lacks" if machine.effective_uid() == 0 else "You are not root and lack"
        return fail(
            name,
            f"{who} {', '.join(missing)}.",
            "Run with sudo, or give the container --privileged or these capabilities and CAP_SYSLOG.",
        )
    if not held >> _SYSLOG & 1:
        return warn(name, "CAP_SYSLOG is missing: kernel frames may have no names.", "Add CAP_SYSLOG or run as root.")
    return ok(name, "root" if machine.effective_uid() == 0 else "BPF, perf events and other processes are allowed")


def check_bpf(machine: Machine) -> Result:
    """Is the bpf() system call usable at all?"""
    name = "bpf()"
    code = machine.bpf_map()
    if code == 0:
        return ok(name, "maps can be made")
    if code == errno.ENOSYS:
        return fail(
            name,
            "The kernel has no bpf() system call, or this processor is neither x86-64 nor arm64.",
            "Use a kernel built with CONFIG_BPF_SYSCALL.",
        )
    if code == errno.EPERM:
        return fail(
            name,
            "The kernel refuses bpf() (EPERM): no privilege, a seccomp filter, a memlock limit or kernel lockdown.",
            "Run as root; in a container allow bpf() in its seccomp profile; see /sys/kernel/security/lockdown.",
        )
    return fail(name, f"A BPF map could not be made: {os.strerror(code)}.", "See dmesg.")


def check_kernel(machine: Machine) -> Result:
    """Are the kernel's features there (the floor is Linux 5.10)? Tried, because distributions port them back."""
    name = "kernel"
    release = (machine.text("proc/sys/kernel/osrelease") or "of unknown release").strip()
    tried = (("a BPF ring buffer", machine.ring_buffer()), ("a BPF program for perf events", machine.perf_program()))
    refused = [f"{what} ({os.strerror(code)})" for what, code in tried if code != 0]
    if not refused:
        return ok(name, f"Linux {release}: ring buffers and perf event programs load")
    if all(code in {0, errno.EPERM} for _, code in tried):
        return fail(name, f"Linux {release} refuses {' and '.join(refused)}.", "Run as root.")
    return fail(name, f"Linux {release} cannot make {' and '.join(refused)}.", "Use Linux 5.10 or newer.")


def check_perf_event(machine: Machine) -> Result:
    """Can the CPU clock be opened for all processes of a CPU?"""
    name = "perf_event_open()"
    code = machine.perf_event()
    if code == 0:
        return ok(name, "the software CPU clock opens")
    if code in {errno.EPERM, errno.EACCES}:
        return fail(
            name,
            f"The kernel refuses perf events of all processes ({os.strerror(code)}).",
            "Run as root; in a container allow perf_event_open() in its seccomp profile.",
        )
    return fail(
        name,
        f"The software CPU clock could not be opened: {os.strerror(code)}.",
        "Use a kernel built with CONFIG_PERF_EVENTS.",
    )


def check_btf(machine: Machine) -> Result:
    """The kernel's own types: where the offsets of its structures come from."""
    name = "BTF"
    path = "sys/kernel/btf/vmlinux"
    poorer = "stacks of threads that are in the kernel will go by frame pointers"
    try:
        with (machine.root / path).open("rb") as file:
            magic = file.read(2)
    except FileNotFoundError:
        return warn(
            name,
            f"/sys/kernel/btf/vmlinux is missing: {poorer}.",
            "Mount /sys if it is not mounted, or use a kernel built with CONFIG_DEBUG_INFO_BTF.",
        )
    except OSError as error:
        return warn(name, f"/sys/kernel/btf/vmlinux could not be read ({error.strerror}): {poorer}.", "Run as root.")
    if magic != _BTF_MAGIC:
        return warn(
            name, f"/sys/kernel/btf/vmlinux is no BTF of this byte order: {poorer}.", "Mount the machine's own /sys."
        )
    return ok(name, "the kernel describes its types")


def check_lockdown(machine: Machine) -> Result:
    """Lockdown (kernel_lockdown(7)): in confidentiality mode BPF programs may not read the kernel's memory."""
    name = "lockdown"
    modes = machine.text("sys/kernel/security/lockdown") or ""
    mode = next((word.strip("[]") for word in modes.split() if word.startswith("[")), "")
    if mode != "confidentiality":
        return ok(name, mode or "not told (securityfs is not mounted, or the kernel has no lockdown)")
    return warn(
        name,
        "It is in confidentiality mode: no waits, children of targets are not followed, and stacks of threads that are"
        " in the kernel will go by frame pointers.",
        "Boot with lockdown=integrity, or without lockdown.",
    )


def check_pid_namespace(machine: Machine) -> Result:
    """BPF sees the initial namespace's process ids; /proc must show the same ones."""
    name = "PID namespace"
    try:
        link = (machine.root / "proc/self/ns/pid").readlink().name
    except OSError:
        return fail(name, "/proc/self/ns/pid could not be read.", "Mount /proc.")
    if link == f"pid:[{_INITIAL_PID_NAMESPACE}]":
        return ok(name, "the initial one")
    return fail(
        name,
        f"This is a PID namespace of a container ({link}); the kernel counts by the host's process ids.",
        "Start the container with --pid=host (hostPID: true in Kubernetes).",
    )


def check_python(machine: Machine) -> Result:
    """The interpreter that runs goroscope."""
    name = "Python"
    version = ".".join(map(str, machine.python_version))
    if machine.python_version >= _MIN_PYTHON:
        return ok(name, f"{version} ({machine.python_path})")
    return fail(name, f"Python {version} is too old.", "Use Python 3.11 or newer.")


def check_tracefs(machine: Machine) -> Result:
    """Wanted where there are no raw tracepoints, or no BTF: then plain ones tell, whose records it describes."""
    name = "tracefs"
    places = [str(place).lstrip("/") for place in mounted(machine.root / "proc/self/mountinfo")]
    where = next((place for place in places if machine.has(f"{place}/events")), None)
    if where is not None:
        return ok(name, f"mounted at /{where}")
    return warn(
        name,
        "It is not mounted (or not readable); only kernels without raw tracepoints or BTF need it.",
        "Mount it: mount -t tracefs tracefs /sys/kernel/tracing.",
    )


def check_paranoid(machine: Machine) -> Result:
    """perf_event_paranoid: CAP_PERFMON and root pass it at every level."""
    name = "perf_event_paranoid"
    level = machine.number("proc/sys/kernel/perf_event_paranoid")
    if level is None:
        return warn(
            name, "/proc/sys/kernel/perf_event_paranoid could not be read.", "Use a kernel with CONFIG_PERF_EVENTS."
        )
    held = _effective_capabilities(machine) or 0
    if level <= 0 or held >> _SYS_ADMIN & 1 or held >> _PERFMON & 1:
        return ok(name, f"{level}" if level <= 0 else f"{level}, which your capabilities pass")
    return warn(
        name,
        f"It is {level}: without CAP_PERFMON events of all processes are refused.",
        "Run as root, or sysctl -w kernel.perf_event_paranoid=-1.",
    )


def check_kptr_restrict(machine: Machine) -> Result:
    """Does /proc/kallsyms show addresses? Looked at rather than concluded from the sysctl alone."""
    name = "kptr_restrict"
    level = machine.number("proc/sys/kernel/kptr_restrict")
    names = machine.text("proc/kallsyms")
    if not names:
        return warn(
            name,
            "/proc/kallsyms is missing or empty: kernel frames will have no names.",
            "Use a kernel built with CONFIG_KALLSYMS.",
        )
    if any(line.partition(" ")[0].strip("0") for line in names.splitlines()):
        return ok(name, f"{level}: kernel addresses are shown")
    return warn(
        name,
        f"It is {level} and /proc/kallsyms shows no addresses: kernel frames will have no names.",
        "Run as root and sysctl -w kernel.kptr_restrict=1.",
    )


def check_memlock(machine: Machine) -> Result:
    """The limit that BPF maps counted against before Linux 5.11 (merge commit 97306be45fbe)."""
    name = "memlock"
    code = machine.unlocked_map()
    if code == 0:
        return ok(name, "this kernel does not count BPF maps by it")
    if machine.bpf_map() != 0:
        return warn(name, "It cannot be told whether it matters while bpf() is refused.", "Put bpf() right first.")
    limit = next(
        (
            line.split()[3]
            for line in (machine.text("proc/self/limits") or "").splitlines()
            if line.startswith("Max locked memory") and len(line.split()) > 3
        ),
        "unknown",
    )
    if limit == "unlimited":
        return ok(name, limit)
    if (_effective_capabilities(machine) or 0) >> _SYS_RESOURCE & 1:
        return ok(name, f"{limit} bytes, which goroscope may raise")
    return warn(
        name,
        f"This kernel counts BPF maps by it, it is {limit} bytes, and CAP_SYS_RESOURCE is missing to raise it.",
        "Run ulimit -l unlimited first, or add CAP_SYS_RESOURCE.",
    )


def _effective_capabilities(machine: Machine) -> int | None:
    """The CapEff mask of /proc/self/status (proc_pid_status(5))."""
    for line in (machine.text("proc/self/status") or "").splitlines():
        key, _, value = line.partition(":")
        if key == "CapEff":
            try:
                return int(value, 16)
            except ValueError:
                return None
    return None


Check = Callable[[Machine], Result]

# Those that `record` cannot do without and that cost next to nothing, in the order in which to put things right.
PREFLIGHT: tuple[Check, ...] = (
    check_privilege,
    check_bpf,
    check_kernel,
    check_perf_event,
    check_pid_namespace,
)
CHECKS: tuple[Check, ...] = (
    *PREFLIGHT,
    check_btf,
    check_lockdown,
    check_bcc,
    check_python,
    check_tracefs,
    check_paranoid,
    check_kptr_restrict,
    check_memlock,
)


def examine(machine: Machine) -> list[Result]:
    """All checks, in a fixed order."""
    return [check(machine) for check in CHECKS]


def preflight(machine: Machine) -> None:
    """Raise MachineError for the first thing without which profiling cannot begin.

    bcc is left out: importing it takes longer than all the rest, and the loader finds out anyway. Explain its
    failure with `agent.doctor.bcc.check_bcc`.
    """
    for check in PREFLIGHT:
        result = check(machine)
        if result.status is Status.FAIL:
            raise MachineError(result.cause, result.remedy)
