"""Runs other programs so that none outlives us, whether we end, fail or are interrupted."""

import contextlib
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType

from vagrant.booting.errors import MachineError

_POLL_S = 0.1
_END_S = 5.0


class InterruptedByUserError(Exception):
    """A signal asked us to end; `signum` is its number."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"interrupted by {signal.Signals(signum).name}")
        self.signum = signum


class ProgramError(Exception):
    """A program ended with a failure; `said` is the line of what it printed that tells most."""

    def __init__(self, program: str, said: str) -> None:
        super().__init__(f"{program}: {said}")
        self.said = said


class Stop:
    """Whether a signal has asked us to end. Handlers only note it; all that waits here looks ten times a second.

    So there is no exception at any odd place, and all threads of several boots at once hear of it.
    """

    def __init__(self) -> None:
        self._signum = 0

    @contextlib.contextmanager
    def on_signals(self) -> Iterator[None]:
        """Note SIGINT, SIGTERM and SIGHUP while inside. For the main thread."""

        def note(signum: int, _frame: FrameType | None) -> None:
            self._signum = self._signum or signum

        signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = [signal.signal(number, note) for number in signals]
        try:
            yield
        finally:
            for number, handler in zip(signals, before, strict=True):
                signal.signal(number, handler)

    def ask(self, signum: int) -> None:
        """As if the signal had come."""
        self._signum = signum

    def check(self) -> None:
        """Raise InterruptedByUserError when it has been asked."""
        if self._signum:
            raise InterruptedByUserError(self._signum)

    def wait(self, seconds: float = _POLL_S) -> None:
        """Sleep, then check()."""
        time.sleep(seconds)
        self.check()


@contextlib.contextmanager
def running(argv: Sequence[str | Path], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The program, started with its output in `log`; after the block it has ended. Raises MachineError.

    It gets a session of its own, so that Ctrl-C reaches us alone and we end it in our order. Should we be killed
    outright, the kernel kills it too.
    """
    program = shutil.which(argv[0])
    if program is None:
        raise MachineError(f"There is no program {argv[0]}.", "Install it and try again.")
    with log.open("ab") as out:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", program, *argv[1:]],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        _end(process)


def run(
    argv: Sequence[str | Path],
    stop: Stop,
    timeout_s: float,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> bytes:
    """What the program prints. Raises ProgramError where it fails, is missing or takes longer than that."""
    name = Path(argv[0]).name
    deadline = time.monotonic() + timeout_s
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=out, stderr=errors, env=env, cwd=cwd, start_new_session=True
            )
        except OSError as error:
            raise ProgramError(name, f"{name} cannot be run: {error.strerror}") from error
        try:
            while process.poll() is None:
                if time.monotonic() > deadline:
                    raise ProgramError(name, f"{name} took longer than {timeout_s:.0f} s")
                stop.wait(0.02)
        finally:
            _end(process)
        out.seek(0)
        if process.returncode:
            errors.seek(0)
            lines = [line.strip() for line in errors.read().decode(errors="replace").splitlines() if line.strip()]
            said = next((line for line in lines if "Failed to fetch" in line), lines[-1] if lines else "")
            raise ProgramError(name, said.lstrip("EW: ").rstrip(".") or f"exit status {process.returncode}")
        return out.read()


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask it to end, and make it after five seconds."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()
