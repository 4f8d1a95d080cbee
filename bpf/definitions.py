"""What the programs are compiled with that only the running kernel knows: offsets in its structures and records.

Runs in the loader process too: standard library only.
"""

import re
from pathlib import Path

from bpf.btf import Btf, BtfError

KERNEL_STACK_SIZE = 16384
TRACEFS = (Path("/sys/kernel/tracing"), Path("/sys/kernel/debug/tracing"))
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
    """The kernel does not say where it keeps something; the text is one sentence."""


def of_this_kernel(*, plain: bool) -> dict[str, int]:
    """Names and values. `plain`: tracepoints are plain ones. Raises DefinitionError."""
    try:
        btf = Btf()
        values = {name: btf.offset(*field) for name, field in _FIELDS.items()}
        values |= {} if plain else _state_of_waits(btf)
        values |= {"HAVE_TASK_PT_REGS": 1} if btf.has_function("bpf_task_pt_regs") else {}
    except BtfError as error:
        raise DefinitionError(f"{error}.") from error
    if plain:
        values |= {"PLAIN_TRACEPOINTS": 1}
        values |= {name: record_offset(event, field) for name, (event, field) in _RECORDS.items()}
    return {**values, "KERNEL_STACK_SIZE": KERNEL_STACK_SIZE}


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


def event_file(event: str, name: str) -> Path:
    """A file of a scheduler event in tracefs. Raises DefinitionError where that is not mounted."""
    for root in TRACEFS:
        path = root / "events/sched" / event / name
        if path.exists():
            return path
    raise DefinitionError(f"tracefs has no event {event}: mount -t tracefs tracefs {TRACEFS[0]}.")


def record_offset(event: str, field: str) -> int:
    """The offset of a field in the record of a plain tracepoint, by its format file. Raises DefinitionError."""
    for name, offset in _FORMAT.findall(event_file(event, "format").read_text(encoding="ascii")):
        if name == field:
            return int(offset)
    raise DefinitionError(f"the event {event} of this kernel has no field {field}.")
