"""Runs the demo service for as long as it is looked at."""

import contextlib
import os
import select
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from agent.errors import MachineError

_LISTENING = b"listening on "
_START_TIMEOUT_S = 10.0
_STOP_TIMEOUT_S = 2.0
_MAX_LINE = 4096


class DemoService:
    """`with DemoService(program) as service:` starts it and waits until it serves; it is gone after the block.

    The service also ends by itself when its standard input closes, so it does not outlive a killed goroscope.
    """

    def __init__(self, program: Path) -> None:
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The service's process id. Only inside the block."""
        if self._process is None:
            raise RuntimeError("the demo service is not running")
        return self._process.pid

    def __enter__(self) -> Self:
        """Start it. Raises MachineError where it does not come up within ten seconds."""
        with tempfile.TemporaryFile() as errors:
            try:
                # Its own session: Ctrl-C ends the recording, which then stops the service.
                self._process = subprocess.Popen(
                    [self._program],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    start_new_session=True,
                )
            except OSError as error:
                raise MachineError(
                    f"The demo service {self._program} cannot be started: {error.strerror}.", "Remove it and try again."
                ) from error
            try:
                listening = self._wait_until_listening()
            except BaseException:
                self._stop()
                raise
            if not listening:
                self._stop()
                raise MachineError(
                    f"The demo service did not come up: {_last_line(errors)}.", "Is the loopback interface up?"
                )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it."""
        self._stop()

    def _wait_until_listening(self) -> bool:
        """Whether the line that says so came before the time was up or the output closed."""
        assert self._process is not None
        assert self._process.stdout is not None
        output = self._process.stdout.fileno()
        said = b""
        deadline = time.monotonic() + _START_TIMEOUT_S
        while b"\n" not in said and len(said) < _MAX_LINE:
            if not select.select([output], [], [], max(0.0, deadline - time.monotonic()))[0]:
                return False
            part = os.read(output, _MAX_LINE)
            if not part:
                return False
            said += part
        return said.startswith(_LISTENING)

    def _stop(self) -> None:
        """Ask by closing its input, insist by a signal to its very pid, and collect it."""
        process, self._process = self._process, None
        if process is None:
            return
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _last_line(errors: IO[bytes]) -> str:
    errors.seek(0)
    lines = errors.read(1 << 16).decode("utf-8", "replace").strip().splitlines()
    return lines[-1].rstrip(".")[:300] if lines else "it said nothing"
