"""Separate debug files: where distributions and `objcopy --only-keep-debug` put a stripped file's symbols.

Source of the places and of `.gnu_debuglink`: GDB manual, "Debugging Information in Separate Files".
"""

import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from symbolizer.elf.file import ElfError, ElfFile

DEBUG_DIRECTORY = "usr/lib/debug"
MAX_LINK_SECTION = 4096
MAX_CHECKED = 1 << 30
"""Bytes of a debug file whose checksum is computed (about one second); a larger one needs a build id."""
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class DebugLink:
    """The section `.gnu_debuglink`: a file name without folder, and the CRC-32 of the whole debug file."""

    name: str
    crc: int


def read_debuglink(elf: ElfFile) -> DebugLink | None:
    """The link of a stripped file: a name, a NUL, zeros up to a multiple of 4, u32 CRC. None if absent or damaged."""
    section = elf.section(".gnu_debuglink")
    if section is None or section.size > MAX_LINK_SECTION:
        return None
    contents = elf.contents(section)
    name, end, _ = contents.partition(b"\0")
    at = len(name) + 4 & ~3
    if not end or not name or b"/" in name or name in {b".", b".."} or at + 4 > len(contents):
        return None
    return DebugLink(os.fsdecode(name), int.from_bytes(contents[at : at + 4], "little"))


def find_debug_file(elf: ElfFile, path: str, root: str = "") -> ElfFile | None:
    """The debug file of `elf`, whose absolute path is `path` as seen below the folder `root`; None if there is none.

    `root` is empty or a process's own root (`/proc/PID/root`). A symbolic link in there may lead out of it, but no
    file is taken whose build id differs, nor, where there is no build id to compare, whose checksum differs.
    """
    link = read_debuglink(elf)
    for candidate in _candidates(elf.build_id, link, path, root):
        try:
            debug = ElfFile.open(candidate)
        except (OSError, ElfError):
            continue
        if _belongs(debug, elf, link) and debug.section(".symtab") is not None:
            return debug
    return None


def _candidates(build_id: str, link: DebugLink | None, path: str, root: str) -> Iterator[str]:
    if len(build_id) > 2:
        yield f"{root}/{DEBUG_DIRECTORY}/.build-id/{build_id[:2]}/{build_id[2:]}.debug"
    if link is not None and path.startswith("/"):
        folder = path.rpartition("/")[0]
        yield f"{root}{folder}/{link.name}"
        yield f"{root}{folder}/.debug/{link.name}"
        yield f"{root}/{DEBUG_DIRECTORY}{folder}/{link.name}"


def _belongs(debug: ElfFile, elf: ElfFile, link: DebugLink | None) -> bool:
    if debug.build_id and elf.build_id:
        return debug.build_id == elf.build_id
    return link is not None and len(debug.data) <= MAX_CHECKED and _crc(debug) == link.crc


def _crc(elf: ElfFile) -> int:
    crc = 0
    for start in range(0, len(elf.data), _CHUNK):
        crc = zlib.crc32(elf.data[start : start + _CHUNK], crc)
    elf.release()
    return crc
