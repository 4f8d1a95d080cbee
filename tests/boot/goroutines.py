"""Goroutines of a Go program that stands still, read from outside: what this asks of a kernel is another's memory."""

import subprocess

from agent.goroutines.source import Source
from tests.boot.build import shares
from tests.kernel.recording import running, wait_for

GO_OUTERMOST = frozenset({"runtime.goexit", "runtime.mcall", "runtime.mstart", "runtime.morestack", "runtime.clone"})
"""Where the stacks of goroutines, of Go's scheduler, and of a thread that was just made end."""


def state_of_threads() -> str:
    """How many goroutines have a whole stack, as `7 of 7`, the one that runs aside; fails where one has not."""
    with running([shares()], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline()
        with Source(process.pid) as source:

            def waits() -> bool:
                return any(kind.status in {"syscall", "IO wait"} for kind, _ in source.take().members())

            wait_for(waits, "the main goroutine waits for a line")
            taken = source.take()
    others = [kind for kind, _ in taken.members() if kind.why_not != "running"]
    whole = [kind for kind in others if not kind.why_not and kind.frames[-1].function == "runtime.goexit"]
    main = [kind for kind in whole if kind.start_function == "runtime.main"]
    assert main
    assert any(frame.function == "main.main" for frame in main[0].frames)
    assert len(whole) == len(others)
    return f"{len(whole)} of {len(others)}"
