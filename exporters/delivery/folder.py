"""A spool's folder: made, locked against a second process, and read again after a restart."""

import errno
import fcntl
import os
import re
import stat
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path

from exporters.delivery.disk import Disk
from exporters.delivery.segments import HEAD, Segment, read_position, scan

POSITION = "position"
LOCK = "lock"
LAST_SEGMENT = 99_999_999  # eight digits, so that names sort

_NAME = re.compile(r"[0-9]{8}\.seg")
# The file is no segment that can be read, now or later; other errors (too many open files) may pass.
_HOPELESS = (errno.ENOENT, errno.EIO, errno.EINVAL, errno.ELOOP, errno.ENXIO, errno.EISDIR, errno.EUCLEAN)


class SpoolRefused(Exception):  # noqa: N818 - says what happened without the suffix
    """The folder cannot be a spool; str() is a sentence for people."""


@dataclass(slots=True)
class Recovered:
    """What a folder held. `segments` oldest first, none wholly acknowledged; `next_segment` names the next file.

    `position` is the first record not acknowledged, `sequence` the number of the next to be appended. `dropped`
    counts lost records by cause ("corrupt", "torn"): exact where a later segment tells, else at least.
    """

    segments: deque[Segment] = field(default_factory=deque)
    next_segment: int = 1
    position: int = 0
    sequence: int = 0
    dropped: Counter[str] = field(default_factory=Counter)


def segment_path(folder: Path, number: int) -> Path:
    """The file of that segment."""
    return folder / f"{number:08d}.seg"


def is_hopeless(error: OSError) -> bool:
    """Whether a segment that could not be read will never be."""
    return error.errno in _HOPELESS


def lock_folder(folder: Path) -> int:
    """Make the folder (0700) if need be and lock it; the descriptor holds the lock until it is closed.

    Raises SpoolRefused: another process has it, it is not ours, or it cannot be made.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.lstat()
        if not stat.S_ISDIR(status.st_mode):
            raise SpoolRefused(f"The spool {folder} is not a folder.")
        if status.st_uid != os.geteuid():
            raise SpoolRefused(f"The spool {folder} belongs to another user.")
        if status.st_mode & 0o077:
            folder.chmod(0o700)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(folder / LOCK, flags, 0o600)
    except OSError as error:
        raise SpoolRefused(f"The spool {folder} cannot be used: {error.strerror}.") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if error.errno in {errno.EWOULDBLOCK, errno.EACCES}:
            raise SpoolRefused(f"The spool {folder} is in use by another process.") from None
        raise SpoolRefused(f"The spool {folder} cannot be locked: {error.strerror}.") from error
    return descriptor


def recover(disk: Disk, folder: Path) -> Recovered:
    """Read a locked folder: segments by their headers, the position, and what is missing between them.

    A torn tail is cut off the last segment; segments that are damaged from their first byte or wholly acknowledged
    are removed. Other files are left alone. Raises SpoolRefused where the folder cannot be listed.
    """
    try:
        numbers = sorted(int(path.stem) for path in folder.iterdir() if _NAME.fullmatch(path.name))
    except OSError as error:
        raise SpoolRefused(f"The spool {folder} cannot be read: {error.strerror}.") from error
    position = read_position(disk, folder / POSITION)
    found = Recovered(next_segment=(numbers[-1] if numbers else 0) + 1, position=position or 0)
    expected = position  # the number that should come next; None while nothing tells
    last: Segment | None = None
    damaged = 0  # segments whose loss no later segment has told yet
    for number in numbers:
        try:
            segment = scan(disk, segment_path(folder, number), number)
        except OSError:
            damaged += 1
            continue
        if segment is None or (last is not None and segment.first < last.first):
            damaged += _may_hold_records(segment_path(folder, number))
            _remove(disk, segment_path(folder, number))
            continue
        if expected is None:
            found.dropped["corrupt"] += damaged
        elif segment.first > expected:
            found.dropped["corrupt"] += segment.first - expected
        damaged = 0
        if last is not None and segment.first < last.end:  # a write that failed, could not be taken back, and was whole
            last.count = segment.first - last.first
        expected = max(expected or 0, segment.end)
        last = segment
        found.segments.append(segment)
    found.dropped["corrupt"] += damaged
    found.sequence = expected or 0
    if last is not None:
        _cut_tail(disk, folder, last, found.dropped)
    while found.segments and found.segments[0].end <= found.position:
        _remove(disk, segment_path(folder, found.segments.popleft().number))
    if found.segments:
        found.position = max(found.position, found.segments[0].first)
    found.dropped += Counter()  # drops the zeros
    return found


def _cut_tail(disk: Disk, folder: Path, segment: Segment, dropped: Counter[str]) -> None:
    """Cut what is not whole off the last segment; it counts as one record, of which no more is known."""
    if segment.size == segment.intact:
        return
    dropped["torn"] += 1
    try:
        disk.cut_file(segment_path(folder, segment.number), segment.intact)
    except OSError:
        return  # a full or read-only disk: it is not read either way
    segment.size = segment.intact


def _may_hold_records(path: Path) -> bool:
    """Whether a damaged segment is longer than its header; one that was just being made is not."""
    try:
        return path.stat().st_size > HEAD.size
    except OSError:
        return True


def _remove(disk: Disk, path: Path) -> None:
    try:
        disk.remove(path)
    except OSError:
        return  # found again, and as useless, at the next start
