"""Whether a chain of return addresses can be true, by the code of the process itself and by gdb."""

import subprocess
import tempfile
from collections.abc import Collection, Sequence
from enum import Enum
from pathlib import Path

from tests.kernel.livecode import Code

_GDB = """
import gdb
for command in ("pagination off", "backtrace past-main on", "backtrace past-entry on", "debuginfod enabled off"):
    try:
        gdb.execute("set " + command)
    except gdb.error:
        pass
for thread in gdb.selected_inferior().threads():
    thread.switch()
    frame, found = gdb.newest_frame(), []
    while frame is not None:
        if frame.type() not in (gdb.INLINE_FRAME, gdb.TAILCALL_FRAME):
            found.append(hex(frame.pc()))
        frame = frame.older()
    print("CHAIN", *found)
"""


class Step(Enum):
    """What the address of a frame is."""

    CALL = "a return address"
    EXACT = "an instruction: the leaf, or what a signal interrupted"
    SIGNAL = "where a signal handler returns to"
    GOEXIT = "the begin of a goroutine"


def steps(code: Code, user: Sequence[int], injected: Collection[int] = ()) -> list[Step]:
    """What the user addresses of a stack are, leaf first. Nothing called the frames at the positions `injected`."""
    found: list[Step] = []
    for position, address in enumerate(user):
        if position and (found[-1] is Step.SIGNAL or position - 1 in injected):
            found.append(Step.EXACT)
        elif code.is_signal_return(address) or (not position and code.in_signal_return(address)):
            found.append(Step.SIGNAL)
        elif position == len(user) - 1 and code.is_goexit(address):
            found.append(Step.GOEXIT)
        else:
            found.append(Step.CALL if position else Step.EXACT)
    return found


def without_call(code: Code, user: Sequence[int], kinds: Sequence[Step]) -> list[int]:
    """The return addresses of a stack that follow no call."""
    both = zip(user, kinds, strict=True)
    return [address for address, step in both if step is Step.CALL and not code.call_before(address)]


def fault_in(code: Code, user: Sequence[int], kinds: Sequence[Step], ended: bool = False) -> str:
    """What cannot be true of the user addresses of a complete stack, leaf first; empty where all can.

    `ended` says that the last frame is known to be outermost.
    """
    for position in range(1, len(user)):
        address, callee = user[position], user[position - 1]
        if kinds[position] is not Step.CALL:
            continue
        if not code.call_before(address):
            return f"no call before {described(code, address)}"
        if not code.called(address, callee - (kinds[position - 1] is Step.CALL)):
            return f"{described(code, address)} did not call {described(code, callee)}"
    return "" if ended or (user and code.is_outermost(user[-1])) else "the last frame is not outermost"


def described(code: Code, address: int) -> str:
    """An address as `file+offset (function begin+n)`, all file offsets but n."""
    one = code.mapping(address)
    if one is None:
        return f"{address:#x} (not code)"
    begin = one.start - one.offset
    function = code.function(address)
    place = f" ({function[0] - begin:#x}+{address - function[0]})" if function else ""
    return f"{Path(one.path).name or 'anonymous'}+{address - begin:#x}{place}"


def gdb_chains(pid: int) -> list[tuple[int, ...]]:
    """The addresses of all frames of each thread, leaf first, as gdb finds them. The process stops meanwhile."""
    with tempfile.NamedTemporaryFile("w", suffix=".py") as script:
        script.write(_GDB)
        script.flush()
        output = subprocess.run(
            ["gdb", "-nx", "-batch", "-p", str(pid), "-x", script.name],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            stdin=subprocess.DEVNULL,
        ).stdout
    lines = [line.split()[1:] for line in output.splitlines() if line.startswith("CHAIN")]
    return [tuple(int(address, 16) for address in line) for line in lines]
