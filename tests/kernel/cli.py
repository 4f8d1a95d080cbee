"""Runs the goroscope command as people do, bounded in time."""

import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "agent.cli.main")
TIMEOUT = 600.0  # on emulated machines loading takes minutes


@dataclass(frozen=True)
class Ended:
    """How a run of the command ended."""

    status: int
    output: str
    error: str

    @property
    def sentence(self) -> str:
        """The last line of standard error."""
        lines = self.error.strip().splitlines()
        return lines[-1] if lines else ""


def goroscope(*arguments: object, **options: object) -> Ended:
    """Run to the end."""
    process = start(*arguments, **options)
    try:
        output, error = process.communicate(timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    assert "Traceback" not in error, error
    return Ended(process.returncode, output, error)


def start(*arguments: object, **options: object) -> subprocess.Popen:
    """Start it; standard output and error are pipes."""
    words = [*COMMAND, *(str(argument) for argument in arguments)]
    settings = {"cwd": ROOT, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
    return subprocess.Popen(words, **settings)


def say_when_sampling(process: subprocess.Popen) -> str:
    """Wait until it says that it samples; what it has said until then."""
    said = ""
    while "Sampling" not in said:
        line = process.stderr.readline()
        assert line, f"it ended: {said}"
        said += line
    return said


def folded(text: str) -> dict[tuple[str, ...], int]:
    """Folded stacks, root first, the process's name included."""
    stacks: dict[tuple[str, ...], int] = {}
    for line in text.splitlines():
        stack, _, count = line.rpartition(" ")
        stacks[tuple(stack.split(";"))] = stacks.get(tuple(stack.split(";")), 0) + int(count)
    return stacks


def interrupt(process: subprocess.Popen, number: int, times: int = 1) -> Ended:
    """Send a signal once or more often, then wait for the end."""
    for _ in range(times):
        process.send_signal(number)
        time.sleep(0.1)
    try:
        output, error = process.communicate(timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    assert "Traceback" not in error, error
    return Ended(process.returncode, output, error)


Words = Sequence[object]
