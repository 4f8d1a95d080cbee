"""The bytes of the spool's files: segments of records, and the position up to which all is acknowledged.

All numbers are little-endian, CRC is CRC-32 as zlib has it.

    segment   8 bytes  magic "GOROSPL1"
              u64      sequence number of its first record
              u32      CRC of these 16 bytes
              records, their numbers rising by one

    record    u32      bytes of payload
              u32      CRC of the payload
              u64      sequence number
              i64      UNIX time in nanoseconds
              u32      CRC of these 24 bytes
              payload

    position  8 bytes  magic "GOROPOS1"
              u64      sequence number of the first record that is not acknowledged
              u32      CRC of these 16 bytes

A header has a CRC of its own: where only the payload is damaged, the next record is found behind it. Where the header
is, nothing behind it in that segment is believed, and the next segment's first number tells how many were lost.
"""

import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

from exporters.delivery.disk import Disk

HEAD = struct.Struct("<8sQI")
RECORD = struct.Struct("<IIQqI")
LARGEST_RECORD = 64 << 20  # bytes of payload; the most that is ever read at once
LAST_NUMBER = (1 << 62) - 1  # of a sequence; beyond it a file is damaged

_SEGMENT = b"GOROSPL1"
_POSITION = b"GOROPOS1"


@dataclass(slots=True)
class Segment:
    """One file. `number` is its name's, `first`..`end` its records' numbers, `size` its bytes on disk."""

    number: int
    first: int
    count: int
    size: int
    intact: int  # bytes up to which headers are whole; less than `size` where the rest is damaged or torn
    newest: int  # the latest time of its records, UNIX nanoseconds

    @property
    def end(self) -> int:
        """The number after its last record's."""
        return self.first + self.count


@dataclass(frozen=True, slots=True)
class RecordHead:
    """A record's header, checked: `size` bytes of payload, whose CRC-32 is `crc`; `when` is UNIX nanoseconds."""

    size: int
    crc: int
    sequence: int
    when: int


@dataclass(frozen=True, slots=True)
class Record:
    """One payload as it was appended; `when` is UNIX time in nanoseconds."""

    sequence: int
    when: int
    payload: bytes


def pack_head(first: int) -> bytes:
    """A segment's header."""
    return _stamp(_SEGMENT, first)


def pack_record(sequence: int, when: int, payload: bytes) -> bytes:
    """A record, header and payload; `when` is kept within 64 bits."""
    when = min(max(when, -(1 << 63)), (1 << 63) - 1)
    head = RECORD.pack(len(payload), zlib.crc32(payload), sequence, when, 0)[:-4]
    return head + zlib.crc32(head).to_bytes(4, "little") + payload


def parse_head(data: bytes) -> int | None:
    """The first record's number, from a segment's header; None where it is damaged."""
    return _stamped(_SEGMENT, data)


def parse_record(data: bytes, sequence: int) -> RecordHead | None:
    """A record's header, which must bear that number; None where it is damaged, short or another's."""
    if len(data) != RECORD.size or zlib.crc32(data[:-4]) != int.from_bytes(data[-4:], "little"):
        return None
    size, crc, number, when, _ = RECORD.unpack(data)
    if number != sequence or size > LARGEST_RECORD:
        return None
    return RecordHead(size, crc, number, when)


def scan(disk: Disk, path: Path, number: int) -> Segment | None:
    """What a segment holds, by its headers; payloads are not read. None where its own header is damaged.

    Reads 28 bytes at a time and ends at the first header that is not whole or whose payload the file is too short
    for. Raises OSError.
    """
    descriptor = disk.open(path)
    try:
        size = disk.size(descriptor)
        first = parse_head(disk.read(descriptor, HEAD.size, 0))
        if first is None:
            return None
        segment = Segment(number, first, 0, size, HEAD.size, -(1 << 63))
        while head := parse_record(disk.read(descriptor, RECORD.size, segment.intact), segment.end):
            behind = segment.intact + RECORD.size + head.size
            if behind > size:
                break
            segment.count += 1
            segment.intact = behind
            segment.newest = max(segment.newest, head.when)
        return segment
    finally:
        os.close(descriptor)


def read_position(disk: Disk, path: Path) -> int | None:
    """The number of the first record not acknowledged; None where the file is missing or damaged."""
    try:
        descriptor = disk.open(path)
    except OSError:
        return None
    try:
        return _stamped(_POSITION, disk.read(descriptor, HEAD.size + 1, 0))
    except OSError:
        return None
    finally:
        os.close(descriptor)


def write_position(disk: Disk, path: Path, position: int, durable: bool) -> None:
    """Replace the position in one step: temporary file, fsync, rename, fsync of the folder; the syncs if `durable`.

    Raises OSError; the old position stays then, or, when only the last sync failed, the new one.
    """
    temporary = path.with_name(path.name + ".tmp")
    disk.remove(temporary)
    descriptor = disk.create(temporary)
    try:
        disk.write(descriptor, _stamp(_POSITION, position))
        if durable:
            disk.sync(descriptor)
    finally:
        os.close(descriptor)
    disk.replace(temporary, path)
    if durable:
        disk.sync_folder(path.parent)


def _stamp(magic: bytes, number: int) -> bytes:
    data = HEAD.pack(magic, number, 0)[:-4]
    return data + zlib.crc32(data).to_bytes(4, "little")


def _stamped(magic: bytes, data: bytes) -> int | None:
    if len(data) != HEAD.size:
        return None
    found, number, crc = HEAD.unpack(data)
    if found != magic or crc != zlib.crc32(data[:-4]) or number > LAST_NUMBER:
        return None
    return int(number)
