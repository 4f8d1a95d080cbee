"""The machine as the checks see it: a file tree and a few things to try. Tests hand in broken ones."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from agent.doctor import probes

_MAX_TEXT = 1 << 20


@dataclass(frozen=True, slots=True)
class Ran:
    """How a program ended: its exit status (-1 where it did not start or took too long) and what it wrote."""

    status: int
    output: str
    error: str


def run_program(command: Sequence[str], timeout: float) -> Ran:
    """Run `command` for at most `timeout` seconds. Never raises for what the program does."""
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            timeout=timeout,
            check=False,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
        )
    except subprocess.TimeoutExpired:
        return Ran(-1, "", f"it did not end within {timeout:g} s")
    except OSError as error:
        return Ran(-1, "", error.strerror or str(error))
    return Ran(done.returncode, done.stdout, done.stderr)


def installed_bcc() -> str | None:
    """The version of the distribution package called bcc in this interpreter's own environment, if any."""
    try:
        return metadata.version("bcc")
    except metadata.PackageNotFoundError:
        return None


@dataclass(frozen=True, slots=True)
class Machine:
    """Everything a check may look at. `root` is where proc, sys, etc and usr are found.

    The probes return an errno, 0 for success.
    """

    root: Path = Path("/")
    effective_uid: Callable[[], int] = os.geteuid
    python_version: tuple[int, ...] = tuple(sys.version_info[:3])
    python_path: str = sys.executable
    run: Callable[[Sequence[str], float], Ran] = run_program
    own_bcc: Callable[[], str | None] = installed_bcc
    bpf_map: Callable[[], int] = probes.try_bpf_map
    ring_buffer: Callable[[], int] = probes.try_ring_buffer
    perf_program: Callable[[], int] = probes.try_perf_program
    unlocked_map: Callable[[], int] = probes.try_unlocked_map
    perf_event: Callable[[], int] = probes.try_perf_event

    def text(self, path: str) -> str | None:
        """The first MiB of a file below the root, None where it cannot be read."""
        try:
            with (self.root / path).open("rb") as file:
                return file.read(_MAX_TEXT).decode("utf-8", "replace")
        except OSError:
            return None

    def has(self, path: str) -> bool:
        """Whether there is something at a path below the root, as far as we may see."""
        try:
            return (self.root / path).exists()
        except OSError:
            return False

    def number(self, path: str) -> int | None:
        """The whole number that a small file below the root holds, None without one."""
        try:
            return int(self.text(path) or "")
        except ValueError:
            return None

    def distribution_python(self) -> Path:
        """The interpreter that the distribution's Python packages belong to."""
        return self.root / "usr/bin/python3"

    def distribution(self) -> tuple[str, ...]:
        """ID and ID_LIKE of /etc/os-release: what this distribution is called and what it is like."""
        words: list[str] = []
        for line in (self.text("etc/os-release") or "").splitlines():
            key, _, value = line.partition("=")
            if key in {"ID", "ID_LIKE"}:
                words += value.strip("\"'").split()
        return tuple(words)
