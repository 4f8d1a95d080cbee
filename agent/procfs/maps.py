"""The lines of /proc/PID/maps (fs/proc/task_mmu.c, show_map_vma)."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

MAX_BYTES = 16 * 1024 * 1024
MAX_EXECUTABLE = 4096
_LINE = re.compile(
    rb"([0-9a-f]{1,16})-([0-9a-f]{1,16}) ([r-])([w-])([x-])([ps]) ([0-9a-f]{1,16}) "
    rb"([0-9a-f]{1,8}):([0-9a-f]{1,8}) (\d{1,20})(?: +(.*))?"
)
_OCTAL = re.compile(rb"\\([0-7]{3})")
_DELETED = b" (deleted)"
_USER_LIMIT = 1 << 47


@dataclass(frozen=True, slots=True)
class MemoryMap:
    """One executable mapping: addresses [start, end), file offset, and the file (inode 0: none).

    `path` is as the process sees it, in its own root; special mappings are `[vdso]` and the like.
    """

    start: int
    end: int
    offset: int
    device: int
    inode: int
    path: str
    deleted: bool = False


def parse_maps(data: bytes) -> list[MemoryMap]:
    """The executable mappings, sorted by address. Lines that are not as the kernel writes them are passed over."""
    found = []
    for line in data.split(b"\n"):
        match = _LINE.fullmatch(line)
        if match is None or match[5] != b"x":
            continue
        start, end = int(match[1], 16), int(match[2], 16)
        if not start < end <= _USER_LIMIT:
            continue
        raw = match[11] or b""
        deleted = raw.endswith(_DELETED)
        if deleted:
            raw = raw[: -len(_DELETED)]
        path = _OCTAL.sub(lambda octal: bytes([int(octal[1], 8) & 0xFF]), raw)
        device = os.makedev(int(match[8], 16), int(match[9], 16))
        text = path.decode("utf-8", "replace")
        found.append(MemoryMap(start, end, int(match[7], 16), device, int(match[10]), text, deleted))
        if len(found) >= MAX_EXECUTABLE:
            break
    found.sort(key=lambda one: one.start)
    return found


def read_maps(pid: int, proc_root: Path = Path("/proc")) -> list[MemoryMap]:
    """The executable mappings of a process now. Raises OSError when it has gone or may not be read."""
    with open(proc_root / str(pid) / "maps", "rb") as file:
        return parse_maps(file.read(MAX_BYTES))
