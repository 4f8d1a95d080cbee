"""What the programs are compiled with that only the running kernel knows: offsets in its structures and records.

A kernel without BTF, or one whose lockdown forbids BPF programs to read its memory, tells nothing of the kind: the
programs are then compiled BLIND, which costs exactness where a sample meets a thread in the kernel.

Runs in the loader process too: standard library only.
"""

import re
from dataclasses import dataclass

from bpf import syscalls
from bpf.btf import Btf, BtfError
from bpf.tracefs import TracefsError, event_file

KERNEL_STACK_SIZE = 16384
_FIELDS = {
    "TASK_PID": ("task_struct", "pid"),
    "TASK_TGID": ("task_struct", "tgid"),
    "TASK_MM": ("task_struct", "mm"),
    "TASK_STACK": ("task_struct", "stack"),
    "TASK_FLAGS": ("task_struct", "flags"),
    "TASK_SIGNAL": ("task_struct", "signal"),
    "TASK_FSBASE": ("task_struct", "thread.fsbase"),
    "SIGNAL_LIVE": ("signal_struct", "live"),
}
_RECORDS = {
    "FORK_CHILD_PID": ("sched_process_fork", "child_pid"),
    "WAKEUP_PID": ("sched_wakeup", "pid"),
    "SWITCH_NEXT_PID": ("sched_switch", "next_pid"),
    "SWITCH_PREV_STATE": ("sched_switch", "prev_state"),
}
_FORMAT = re.compile(r"field:[^;]*?(\w+)(?:\[\w*\])?;\s*offset:(\d+);")


class DefinitionError(Exception):
    """The kernel does not say what is needed; the text is one sentence."""


@dataclass(frozen=True, slots=True)
class Definitions:
    """What to compile with: `values` by name; whether tracepoints are plain ones; why the programs are blind, or ""."""

    values: dict[str, int]
    plain: bool
    blind: str


def of_this_kernel(*, plain: bool, off_cpu: bool) -> Definitions:
    """What this kernel tells. `plain`: tracepoints have to be plain ones. Raises DefinitionError."""
    values = {"KERNEL_STACK_SIZE": KERNEL_STACK_SIZE}
    blind = "" if syscalls.may_read_kernel() else "its lockdown forbids BPF programs to read kernel memory"
    if not blind:
        try:
            values |= _by_btf(plain=plain)
        except BtfError as error:
            blind = str(error)
    if blind:
        values |= {"BLIND": 1}
        plain = plain or _records_are_told()  # what a raw tracepoint hands over are pointers
        if off_cpu and not plain:
            raise DefinitionError(f"Waits cannot be followed on this kernel: {blind}, and tracefs cannot be read.")
    if plain:
        values |= {"PLAIN_TRACEPOINTS": 1}
        values |= {name: record_offset(event, field) for name, (event, field) in _RECORDS.items()}
    return Definitions(values, plain, blind)


def _by_btf(*, plain: bool) -> dict[str, int]:
    """Offsets of fields, and what helpers there are. Raises BtfError."""
    btf = Btf()
    values = {name: btf.offset(*field) for name, field in _FIELDS.items()}
    values |= {} if plain else _state_of_waits(btf)
    return values | ({"HAVE_TASK_PT_REGS": 1} if btf.has_function("bpf_task_pt_regs") else {})


def _state_of_waits(btf: Btf) -> dict[str, int]:
    """How sched_switch tells why a thread leaves the CPU: by an argument since 5.18, else by the task itself.

    The argument is of kernel commit fa2c3254d7cf; the field was renamed by 2f064a59a11f (5.14). Raises BtfError.
    """
    if (btf.parameters("btf_trace_sched_switch") or 0) >= 5:
        return {"HAVE_PREV_STATE": 1}
    try:
        return {"TASK_STATE": btf.offset("task_struct", "__state")}
    except BtfError:
        return {"TASK_STATE": btf.offset("task_struct", "state")}


def _records_are_told() -> bool:
    try:
        record_offset("sched_switch", "next_pid")
    except DefinitionError:
        return False
    return True


def record_offset(event: str, field: str) -> int:
    """The offset of a field in the record of a plain tracepoint, by its format file. Raises DefinitionError."""
    try:
        text = event_file(event, "format").read_text(encoding="ascii")
    except TracefsError as error:
        raise DefinitionError(str(error)) from error
    except OSError as error:
        raise DefinitionError(f"tracefs does not show the event {event}: {error.strerror}.") from error
    for name, offset in _FORMAT.findall(text):
        if name == field:
            return int(offset)
    raise DefinitionError(f"the event {event} of this kernel has no field {field}.")
