"""Unwind tables as bytes, and a directory of them, so that the rows of a file are made once on a machine.

Layout, little-endian: magic, u32 CRC-32 of all that follows, u32 pages, u32 rows, u32 rules, u64 first page; then
u32 starts[pages + 1], u32 rows[], and the rules as {s32 cfa, s16 rbp, u8 kind, u8 register}.
"""

import os
import stat
import struct
import zlib
from array import array
from contextlib import suppress
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path

from symbolizer.binary import Binary
from symbolizer.unwind.rows import MAX_ROWS_IN_PAGE, Rule, RuleKind, UnwindTable

MAX_BYTES = 256 << 20
"""Bytes that the directory may take; what was not used for longest goes first."""
MAX_ENTRY = 80 << 20
MIN_TABLES = 32 * 1024
"""Bytes of a file's tables below which making its rows takes no longer than finding them."""

_MAGIC = b"GSROWS\x00\x04"  # the last byte counts versions, of the layout and of how rows are made
_HEAD = struct.Struct("<8sIIIIQ")
_CHECKED = 12
"""Where what the checksum covers begins."""
_RULE = struct.Struct("<ihBB")
_TABLES = (".eh_frame", ".debug_frame", ".gopclntab", ".data.rel.ro.gopclntab")
_FIRST_BYTES = 4096
_SUFFIX = ".rows"


class StoreError(ValueError):
    """These bytes are no unwind table."""


def encode(table: UnwindTable) -> bytes:
    """A table as bytes."""
    rules = b"".join(_RULE.pack(rule.cfa, rule.rbp, rule.kind, rule.register) for rule in table.rules)
    sizes = (len(table.starts) - 1, len(table.rows), len(table.rules))
    head = _HEAD.pack(_MAGIC, 0, *sizes, table.first_page)[_CHECKED:]
    checked = b"".join((head, table.starts.tobytes(), table.rows.tobytes(), rules))
    return _MAGIC + zlib.crc32(checked).to_bytes(4, "little") + checked


def decode(data: bytes) -> UnwindTable:
    """The table that `encode` made these bytes of. Raises StoreError."""
    if len(data) < _HEAD.size:
        raise StoreError("too short")
    magic, checksum, pages, rows, rules, first_page = _HEAD.unpack_from(data)
    view = memoryview(data)[_HEAD.size :]
    rows_at, rules_at = 4 * (pages + 1), 4 * (pages + 1 + rows)
    if magic != _MAGIC or len(view) != rules_at + _RULE.size * rules:
        raise StoreError("of another version, or cut")
    if zlib.crc32(memoryview(data)[_CHECKED:]) != checksum:
        raise StoreError("damaged")
    starts, all_rows = array("I"), array("I")
    starts.frombytes(view[:rows_at])
    all_rows.frombytes(view[rows_at:rules_at])
    lengths = [end - start for start, end in pairwise(starts)]
    if starts[0] or starts[-1] != rows or not all(0 <= length <= MAX_ROWS_IN_PAGE for length in lengths):
        raise StoreError("pages that do not fit their rows")
    try:
        unpacked = _RULE.iter_unpack(view[rules_at:])
        return UnwindTable(
            first_page,
            starts,
            all_rows,
            tuple(Rule(RuleKind(kind), cfa, rbp, register) for cfa, rbp, kind, register in unpacked),
        )
    except ValueError as error:
        raise StoreError(str(error)) from error


def identity(binary: Binary) -> str:
    """A name for what the rows of a file are made from: its build id, and a digest of its tables.

    Empty where that is too little to be worth keeping, or lies in no section. The build id alone would let any
    program pass its rows off as those of libc.
    """
    elf = binary.elf
    tables = [section for section in elf.sections if section.name in _TABLES]
    if sum(section.size for section in tables) < MIN_TABLES:
        return ""
    digest = blake2b(elf.data[:_FIRST_BYTES], digest_size=16)
    for section in tables:
        digest.update(struct.pack("<QQ", section.addr, section.size))
        digest.update(elf.contents(section))
    return f"{binary.build_id[:40] or 'none'}-{len(elf.data):x}-{digest.hexdigest()}"


class RowStore:
    """The directory. Whatever is wrong with it, rows are made anew: nothing is raised."""

    def __init__(self, directory: Path, max_bytes: int = MAX_BYTES) -> None:
        """It is made when the first table is kept. Only files of ours, in a directory that is ours alone, are read."""
        self._directory = directory
        self._max_bytes = max_bytes

    def get(self, name: str) -> UnwindTable | None:
        """The table kept by that name, or None."""
        path = self._directory / (name + _SUFFIX)
        with suppress(OSError, StoreError):
            if not _ours(self._directory.lstat()):
                return None
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
            with open(descriptor, "rb") as file:
                status = os.fstat(descriptor)
                if not stat.S_ISREG(status.st_mode) or not _ours(status) or status.st_size > MAX_ENTRY:
                    return None
                table = decode(file.read(MAX_ENTRY))
            os.utime(path)
            return table
        return None

    def put(self, name: str, data: bytes) -> None:
        """Keep an encoded table, as far as there is room."""
        if len(data) > MAX_ENTRY:
            return
        with suppress(OSError):
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not _ours(self._directory.lstat()):
                return
            self._trim(len(data))
            fresh = self._directory / f".{os.getpid()}.new"
            fresh.unlink(missing_ok=True)
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                with open(descriptor, "wb") as file:
                    file.write(data)
                fresh.replace(self._directory / (name + _SUFFIX))
            finally:
                fresh.unlink(missing_ok=True)

    def _trim(self, more: int) -> None:
        """Remove what was not used for longest until `more` bytes fit."""
        found = []
        for path in self._directory.glob("*" + _SUFFIX):
            with suppress(OSError):
                status = path.lstat()
                found.append((status.st_mtime_ns, status.st_size, path))
        total = sum(size for _, size, _ in found) + more
        for _, size, path in sorted(found):
            if total <= self._max_bytes:
                return
            path.unlink(missing_ok=True)
            total -= size


def _ours(status: os.stat_result) -> bool:
    """Whether nobody else could have written it."""
    return status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
