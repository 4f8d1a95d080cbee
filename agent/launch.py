"""Starting the command that is to be profiled: held before its exec until sampling has begun."""

import os
import signal
import sys
from collections.abc import Sequence

from agent.errors import TargetError

_NOT_STARTED = 127


class HeldCommand:
    """A child process that waits; `release()` lets it become the command. Make it before any thread is started."""

    def __init__(self, command: Sequence[str]) -> None:
        """Fork. Raises OSError."""
        self._command = list(command)
        self._gate, self._gate_end = os.pipe2(os.O_CLOEXEC)
        self._failure, self._failure_end = os.pipe2(os.O_CLOEXEC)
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            self._become()
        os.close(self._gate)
        os.close(self._failure_end)
        self._status: int | None = None

    def _become(self) -> None:
        """In the child: wait for the gate, then exec. Never returns."""
        status = _NOT_STARTED
        try:
            os.close(self._gate_end)
            os.close(self._failure)
            if os.read(self._gate, 1):
                for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE):
                    signal.signal(number, signal.SIG_DFL)
                os.execvp(self._command[0], self._command)  # noqa: S606 - what the user asked for
        except OSError as error:
            os.write(self._failure_end, (error.strerror or str(error)).encode())
        finally:
            os._exit(status)

    def release(self) -> None:
        """Let the command begin. Raises TargetError when it cannot be executed."""
        os.write(self._gate_end, b"\n")
        self._close_gate()
        reason = os.read(self._failure, 1024).decode("utf-8", "replace")
        os.close(self._failure)
        if reason:
            self.wait()
            raise TargetError(
                f"The command {self._command[0]} cannot be started: {reason}.", "Check its path and permissions."
            )

    def _close_gate(self) -> None:
        if self._gate_end >= 0:
            os.close(self._gate_end)
            self._gate_end = -1

    @property
    def running(self) -> bool:
        """Whether the command has not ended yet."""
        if self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._status = os.waitstatus_to_exitcode(status)
        return self._status is None

    def terminate(self) -> None:
        """Ask the command to end, if it is still running."""
        if self.running:
            os.kill(self.pid, signal.SIGTERM)

    def wait(self) -> int:
        """Wait for the command to end: its exit status, 128 + the signal's number where one ended it."""
        self._close_gate()
        while self._status is None:
            _, status = os.waitpid(self.pid, 0)
            self._status = os.waitstatus_to_exitcode(status)
        return self._status if self._status >= 0 else 128 - self._status
