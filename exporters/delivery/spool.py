"""A queue on disk: records appended to segment files, read in order, and forgotten when acknowledged.

What the caller may rely on, whatever the disk does:

- No method raises for it. What could not be written is None and counted in `refused`; what was written and lost is
  counted in `dropped`; both by cause ("disk full", "spool full", "expired", "corrupt", "torn"...).
- Records come in the order they were appended, and those acknowledged do not come again. A process that is killed
  loses at most the record it was writing; a machine that loses its power loses what was not synced:

      always     nothing whose append() returned; an acknowledgement that returned stands
      interval   what the last `sync_every` seconds appended; acknowledgements of that time may be forgotten
      never      what the kernel had not written yet

- Memory is bounded by one record and some 100 bytes a segment.

Not thread-safe. A process holds it alone, by a lock on the folder.
"""

import os
import time
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from exporters.delivery.disk import Disk, cause_of
from exporters.delivery.folder import POSITION, is_hopeless, lock_folder, recover, segment_path
from exporters.delivery.segments import (
    HEAD,
    LARGEST_RECORD,
    RECORD,
    Record,
    Segment,
    parse_record,
    write_position,
)
from exporters.delivery.writer import Sync, Writer


@dataclass(frozen=True, slots=True)
class SpoolSettings:
    """Bounds: `largest` (one payload), `segment` and `total` are bytes, `max_age` and `sync_every` seconds."""

    total: int = 256 << 20
    segment: int = 8 << 20
    largest: int = 16 << 20
    max_age: float = 24 * 3600.0
    sync: Sync = Sync.INTERVAL
    sync_every: float = 1.0

    def __post_init__(self) -> None:
        """Raise ValueError for bounds that leave no room."""
        if not 0 < self.largest <= LARGEST_RECORD:
            raise ValueError(f"The largest payload must be within 1..{LARGEST_RECORD} bytes.")
        if self.total < self.largest + HEAD.size + RECORD.size:
            raise ValueError(f"A spool of {self.total} bytes has no room for a payload of {self.largest}.")
        if self.segment < 1 or not self.max_age > 0 or not self.sync_every >= 0:
            raise ValueError("A spool's segment size and ages must be positive.")


class Spool:
    """The spool in one folder. Raises SpoolRefused when it is opened, and nothing afterwards."""

    def __init__(
        self,
        folder: Path,
        settings: SpoolSettings | None = None,
        disk: Disk | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self._settings = settings or SpoolSettings()
        self._disk = disk or Disk()
        self._clock = clock
        self._lock = lock_folder(folder)
        try:
            found = recover(self._disk, folder)
        except BaseException:
            os.close(self._lock)
            raise
        self._segments = found.segments
        self._position = found.position
        self._sequence = found.sequence
        self._written_position = -1  # what the file says; unknown so far
        self._durable_position = -1
        bounds = self._settings
        self._writer = Writer(self._disk, folder, found.next_segment, bounds.segment, bounds.sync)
        self._synced = clock()
        self._cursor = (0, 0, 0)  # segment, sequence, offset: where the head's next record begins
        self._held: int | None = None  # the record that is being sent
        self._held_lost = ""  # why it left the disk meanwhile
        self.dropped = found.dropped
        self.refused: Counter[str] = Counter()
        self.cause = ""  # why the disk last failed us
        self.recovered = self.pending + sum(self.dropped.values())  # found at the start, the lost ones too
        self.appended = 0

    @property
    def pending(self) -> int:
        """The records not acknowledged, those included that will turn out damaged."""
        return sum(max(segment.end - max(segment.first, self._position), 0) for segment in self._segments)

    @property
    def adrift(self) -> int:
        """1 while the record that is held has left the disk: neither pending nor dropped yet."""
        return 1 if self._held_lost else 0

    @property
    def largest(self) -> int:
        """The largest payload that is taken, in bytes."""
        return self._settings.largest

    @property
    def size(self) -> int:
        """The bytes of the segments on disk."""
        return sum(segment.size for segment in self._segments)

    def append(self, payload: bytes, when: int) -> int | None:
        """Append a payload of UNIX time `when` (ns) and return its number; None when refused, counted by cause.

        Makes room by giving up the oldest segments.
        """
        if len(payload) > self._settings.largest:
            self.refused["too large"] += 1
            return None
        while self._segments and self.size + len(payload) + RECORD.size + HEAD.size > self._settings.total:
            self._give_up_oldest("spool full")
        try:
            segment = self._writer.append(self._sequence, when, payload)
        except OSError as error:
            self.cause = cause_of(error)
            self.refused[self.cause] += 1
            return None
        if not self._segments or self._segments[-1] is not segment:
            self._segments.append(segment)
        self._sequence += 1
        self.appended += 1
        self.cause = ""
        self._sync_when_due()
        return self._sequence - 1

    def take(self, now: int) -> Record | None:
        """The first record not acknowledged, again at each call until it is; it is held as being sent.

        `now` is UNIX time in ns: what is older than `max_age` is dropped on the way, and so is what is damaged.
        None where there is none, or where it cannot be read now (`cause` says why).
        """
        while self._segments:
            segment = self._segments[0]
            if self._position >= segment.end:
                if segment is self._writer.active:
                    return None
                self._forget_finished()
                continue
            self._position = max(self._position, segment.first)
            try:
                found = self._read(segment)
            except OSError as error:
                self.cause = cause_of(error)
                if not is_hopeless(error):
                    return None
                found = segment.end - self._position
            if isinstance(found, int):
                self._skip(found, "corrupt")
            elif now - found.when > self._settings.max_age * 1e9:
                self._skip(1, "expired")
            else:
                self.hold(found.sequence)
                return found
        return None

    def hold(self, sequence: int) -> None:
        """That record is being sent: if it has to leave the disk meanwhile, it is not dropped yet."""
        self._held = sequence
        self._held_lost = ""

    def release(self) -> None:
        """What is held was not sent: it stays, or is dropped now if it left the disk meanwhile."""
        if self._held is not None and self._held_lost:
            self.dropped[self._held_lost] += 1
        self._held = None
        self._held_lost = ""

    def acknowledge(self, sequence: int) -> None:
        """All records up to that one are done with: they never come again, once the position is on disk."""
        self._held = None
        self._held_lost = ""
        if not self._position <= sequence < self._sequence:
            return
        self._position = sequence + 1
        if not self._forget_finished():
            self._save_position(durable=self._settings.sync is Sync.ALWAYS)

    def tick(self, now: int) -> None:
        """What time brings: the sync when it is due, and the end of segments past their age. `now`: UNIX ns."""
        self._sync_when_due()
        self._save_position(durable=self._settings.sync is Sync.ALWAYS)  # where the disk refused it before
        while self._segments and now - self._segments[0].newest > self._settings.max_age * 1e9:
            self._give_up_oldest("expired")

    def close(self) -> None:
        """Sync unless the policy is never, and let the folder go."""
        if self._lock < 0:
            return
        self.release()
        self._writer.seal()
        self._forget_finished()
        self._save_position(durable=self._settings.sync is not Sync.NEVER)
        os.close(self._lock)
        self._lock = -1

    def _read(self, segment: Segment) -> Record | int:
        """The record at the position, in the first segment; else how many are unreadable from there. Raises OSError."""
        descriptor = self._disk.open(segment_path(self._folder, segment.number))
        try:
            number, sequence, offset = self._cursor
            if number != segment.number or sequence > self._position:
                sequence, offset = segment.first, HEAD.size
            while head := parse_record(self._disk.read(descriptor, RECORD.size, offset), sequence):
                if sequence == self._position:
                    self._cursor = (segment.number, sequence, offset)
                    payload = self._disk.read(descriptor, head.size, offset + RECORD.size)
                    whole = len(payload) == head.size and zlib.crc32(payload) == head.crc
                    return Record(sequence, head.when, payload) if whole else 1
                sequence += 1
                offset += RECORD.size + head.size
            return segment.end - self._position
        finally:
            os.close(descriptor)

    def _skip(self, count: int, cause: str) -> None:
        if count:
            self.dropped[cause] += count
        self._position += count

    def _give_up_oldest(self, cause: str) -> None:
        """Drop the oldest segment; what was acknowledged of it, and what is held, is not counted."""
        segment = self._segments[0]
        begin = max(segment.first, self._position)
        lost = max(segment.end - begin, 0)
        if self._held is not None and begin <= self._held < segment.end:
            self._held_lost = cause
            lost -= 1
        if lost:
            self.dropped[cause] += lost
        self._position = max(self._position, segment.end)
        if segment is self._writer.active:
            self._writer.let_go()
        self._forget_finished()

    def _forget_finished(self) -> bool:
        """Remove the segments at the head that are done with, the position saved first; whether there were any."""
        done = False
        active = self._writer.active
        while self._segments and self._segments[0] is not active and self._segments[0].end <= self._position:
            if not done:  # before: else the gap would look like a loss after a crash
                self._save_position(durable=self._settings.sync is not Sync.NEVER)
                done = True
            path = segment_path(self._folder, self._segments.popleft().number)
            try:
                self._disk.remove(path)
            except OSError as error:
                self.cause = cause_of(error)  # found and removed at the next start
        return done

    def _save_position(self, *, durable: bool) -> None:
        written = self._durable_position if durable else self._written_position
        if self._position == written:
            return
        try:
            write_position(self._disk, self._folder / POSITION, self._position, durable)
        except OSError as error:
            self.cause = cause_of(error)  # in memory it stands; the next one is tried again
            return
        self._written_position = self._position
        if durable:
            self._durable_position = self._position

    def _sync_when_due(self) -> None:
        now = self._clock()
        if self._settings.sync is not Sync.INTERVAL or now - self._synced < self._settings.sync_every:
            return
        self._synced = now
        try:
            self._writer.sync()
        except OSError as error:
            self.cause = cause_of(error)
        if self._durable_position != self._position:
            self._save_position(durable=True)
