"""Standard output as a place that can fail."""

import os
import sys

from agent.errors import OutputError


def emit(text: str) -> None:
    """Write `text` to standard output now.

    Raises OutputError where it cannot be written (a full disk), BrokenPipeError where the reader has gone;
    after either nothing more is written.
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        _abandon_stdout()
        if isinstance(error, BrokenPipeError):
            raise
        raise OutputError(
            f"Standard output could not be written: {error.strerror}.", "Free space or send it elsewhere."
        ) from error


def _abandon_stdout() -> None:
    """Point standard output at nothing, so that the interpreter's own last flush cannot fail as well."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, sys.stdout.fileno())
    os.close(nothing)
