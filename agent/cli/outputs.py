"""Where a profile goes: the files of `-o`, checked before anything is read, then written, each as a whole."""

import tempfile
import time
from pathlib import Path

from agent.cli.output import emit
from agent.errors import OutputError, UsageError
from exporters.file import write_file
from exporters.formats import Format, UnknownFormat, format_for, format_named
from profiles.model import Profile

STDOUT = "-"
Output = tuple[str, Format]
"""A file's name, or `-` for folded stacks on standard output, and what is written there."""


def checked(names: list[str], *, force: bool) -> list[Output]:
    """The outputs of these names. Raises UsageError and OutputError where one could not be written."""
    outputs = []
    for name in names:
        try:
            outputs.append((name, format_named("folded") if name == STDOUT else format_for(name)))
        except UnknownFormat as error:
            raise UsageError(f"{error}.", "Name the file after the format it shall have.") from error
        path = Path(name)
        if name == STDOUT:
            continue
        if path.is_file() and not force:
            raise OutputError(f"{name} exists already.", "Give another name, or --force to write over it.")
        if not path.parent.is_dir():
            raise OutputError(f"The directory {path.parent} does not exist.", "Make it first.")
    return outputs


def write(profile: Profile, outputs: list[Output], *, force: bool) -> None:
    """Write every output; where one fails the others are still written, and the profile is kept somewhere."""
    failures = []
    for name, known in outputs:
        data = known.encode(profile)
        try:
            if name == STDOUT:
                emit(data.decode("utf-8"))
            else:
                write_file(name, data, force)
        except OSError as error:
            failures.append(f"{name} could not be written: {error.strerror}.")
    if failures:
        raise OutputError(" ".join(failures), _rescue(profile))


def _rescue(profile: Profile) -> str:
    """Keep the profile in the temporary directory: where it is now, as a sentence."""
    path = Path(tempfile.gettempdir()) / f"goroscope-rescued-{time.time_ns()}.pb.gz"
    try:
        write_file(str(path), format_named("pprof").encode(profile), force=False)
    except OSError as error:
        return f"It could not be kept in {path.parent} either: {error.strerror}."
    return f"The profile was kept as {path}."


def how_to_open(outputs: list[Output]) -> list[str]:
    """A line for each file: what opens it."""
    return [f"{name}: {known.viewer.format(path=name)}" for name, known in outputs if name != STDOUT]
