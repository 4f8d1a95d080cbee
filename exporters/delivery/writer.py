"""The segment that is being written: records appended whole or not at all, synced by the policy."""

import os
from contextlib import suppress
from enum import Enum
from pathlib import Path

from exporters.delivery.disk import Disk
from exporters.delivery.folder import LAST_SEGMENT, segment_path
from exporters.delivery.segments import HEAD, Segment, pack_head, pack_record


class Sync(Enum):
    """When what was written is forced to the medium."""

    ALWAYS = "always"
    INTERVAL = "interval"
    NEVER = "never"


class Writer:
    """Appends to `active`, a new file of the folder where there is none or it has `limit` bytes.

    A file of an earlier process is never appended to: what it ends in is not ours to trust.
    """

    def __init__(self, disk: Disk, folder: Path, number: int, limit: int, policy: Sync) -> None:
        self._disk = disk
        self._folder = folder
        self._number = number  # of the next file
        self._limit = limit
        self._policy = policy
        self._descriptor = -1
        self._dirty = False
        self.active: Segment | None = None

    def append(self, sequence: int, when: int, payload: bytes) -> Segment:
        """Append one record (`when` in UNIX ns) and return its segment; nothing is appended if it raises OSError."""
        data = pack_record(sequence, when, payload)
        segment = self.active
        if segment is None or (segment.count and segment.size + len(data) > self._limit):
            self.seal()
            segment = self._begin(sequence)
        try:
            self._disk.write(self._descriptor, data)
            if self._policy is Sync.ALWAYS:
                self._disk.sync(self._descriptor)
        except OSError:
            self._take_back(segment, len(data))
            raise
        segment.size += len(data)
        segment.intact = segment.size
        segment.count += 1
        segment.newest = max(segment.newest, when)
        self._dirty = True
        return segment

    def sync(self) -> None:
        """Force what was appended to the medium; raises OSError, once for each time it fails."""
        if self._dirty and self._descriptor >= 0:
            self._dirty = False
            self._disk.sync(self._descriptor)

    def seal(self) -> None:
        """Write no more to the active segment; its last sync is best effort."""
        if self._policy is not Sync.NEVER:
            with suppress(OSError):
                self.sync()
        self.let_go()

    def let_go(self) -> None:
        """Close the active segment as it is."""
        if self._descriptor >= 0:
            with suppress(OSError):
                os.close(self._descriptor)
        self._descriptor = -1
        self._dirty = False
        self.active = None

    def _begin(self, sequence: int) -> Segment:
        """Make the next file, whose first record will have that number; raises OSError."""
        if self._number > LAST_SEGMENT:
            raise OSError("no names are left")
        number = self._number
        self._number += 1
        path = segment_path(self._folder, number)
        descriptor = self._disk.create(path)
        try:
            self._disk.write(descriptor, pack_head(sequence))
            if self._policy is not Sync.NEVER:
                self._disk.sync_folder(self._folder)
        except OSError:
            os.close(descriptor)
            with suppress(OSError):  # a file without a record is removed at the next start
                self._disk.remove(path)
            raise
        self._descriptor = descriptor
        self.active = Segment(number, sequence, 0, HEAD.size, HEAD.size, -(1 << 63))
        return self.active

    def _take_back(self, segment: Segment, size: int) -> None:
        """Undo a write of `size` bytes that failed; where that fails too, write no more behind it."""
        try:
            self._disk.cut(self._descriptor, segment.intact)
        except OSError:
            segment.size += size  # at most
            self.let_go()
        if segment.count == 0:  # it is known to nobody yet
            self.let_go()
            with suppress(OSError):
                self._disk.remove(segment_path(self._folder, segment.number))
