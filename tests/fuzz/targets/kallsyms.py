"""/proc/kallsyms, as the kernel or whoever mounts a procfs of their own writes it."""

import tempfile
from pathlib import Path

from symbolizer.kernel import KernelSymbols
from tests.support.memoryfile import MemoryFile

NAME = "kallsyms"
_FOLDER = tempfile.TemporaryDirectory(prefix="fuzz-kallsyms-")
_FILE = MemoryFile(Path(_FOLDER.name, "kallsyms"))


def seeds() -> list[bytes]:
    return [
        b"ffffffff81000000 T _stext\nffffffff81000010 t f\nffffffff81000010 W __f\nffffffff82000000 T _etext\n",
        b"ffffffffc0200000 t g\t[ext4]\nffffffffc0100000 t h\t[bpf]\n0000000000000000 A fixed_percpu_data\n",
        b"0000000000000000 T _stext\n0000000000000000 t f\n",
    ]


def run(data: bytes) -> None:
    _FILE.write(data)
    symbols = KernelSymbols.read(_FOLDER.name)
    for address in (0, 0xFFFFFFFF81000000, 0xFFFFFFFF8100001F, 0xFFFFFFFFC0200000, (1 << 64) - 1):
        symbols.symbolize(address)
        symbols.module_of(address)
    _ = symbols.restricted
