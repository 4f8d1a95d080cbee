"""/tmp/perf-PID.map of a hostile process."""

import tempfile
from pathlib import Path

from symbolizer.perfmap import PerfMap
from tests.support.memoryfile import MemoryFile

NAME = "perfmap"
_FOLDER = tempfile.TemporaryDirectory(prefix="fuzz-perfmap-")
_MAP = MemoryFile(Path(_FOLDER.name, "1/root/tmp/perf-1.map"))


def seeds() -> list[bytes]:
    return [
        b"1000 10 f\n1008 100 name with spaces\n0x2000 0x10 g\n1000 8 later\n",
        b"7f0000001000 ffff a\xff\n7f0000000000 ffffffffffffffff all\n\n",
    ]


def run(data: bytes) -> None:
    _MAP.write(data)
    found = PerfMap.read(_FOLDER.name, 1, 1)
    for address in (0, 0x1000, 0x1008, 0x2001, 0x7F0000001000, (1 << 64) - 1):
        if found:
            found.symbolize(address)
