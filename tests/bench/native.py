"""What native code without frame pointers costs: a frame in BPF, the rows of large files, and many files at once."""

import os
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from symbolizer.binary import Binary
from symbolizer.elf.file import ElfError, ElfFile
from symbolizer.unwind.store import RowStore, encode
from symbolizer.unwind.table import unwind_table
from tests.bench.load import Load
from tests.bench.recording import Recording, measure_recording
from tests.bench.windows import idle_tick_ns

PROGRAMS = Path(__file__).parent / "programs"
MANY = 300
MAKING_SECONDS = 15.0
"""To make the rows of so many files, with a busy process beside it."""
_ROUNDS = 3
_LIBRARIES = (
    "/lib/x86_64-linux-gnu/libc.so.6",
    "/usr/bin/python3",
    "/usr/lib/x86_64-linux-gnu/libstdc++.so.6",
    "/usr/lib/x86_64-linux-gnu/libLLVM-14.so.1",
    "/usr/lib/x86_64-linux-gnu/libLLVM.so.19.1",
)
_PLACES = (Path("/usr/bin"), Path("/usr/sbin"), Path("/usr/lib/x86_64-linux-gnu"))


@dataclass(frozen=True, slots=True)
class Depth:
    """The load of 20 calls at one rate."""

    hertz: int
    recording: Recording


@dataclass(frozen=True, slots=True)
class FileRows:
    """Rows of one file: their number and that of distinct rules; CPU seconds to make them, seconds to read them."""

    name: str
    size: int
    rows: int
    rules: int
    made: float
    kept: float


@dataclass(frozen=True, slots=True)
class Many:
    """A recording of one busy process: with the code of `files` files mapped, and with none of them."""

    files: int
    with_files: Recording
    without: Recording


def measure_depth(rates: list[int], windows: int, warm: float, idle_seconds: int) -> list[Depth]:
    """BPF time of a sample 20 calls deep."""
    with tempfile.TemporaryDirectory() as folder, Load(build("deep", Path(folder))) as load:
        return [
            Depth(hertz, measure_recording(load, hertz, windows, idle_tick_ns(hertz, idle_seconds), warm))
            for hertz in rates
        ]


def build(name: str, folder: Path) -> Path:
    """One of our C programs, without frame pointers."""
    target = folder / name
    flags = ("-O2", "-fomit-frame-pointer", "-pthread")
    subprocess.run(["gcc", *flags, "-o", target, PROGRAMS / f"{name}.c"], check=True)
    return target


def measure_files() -> list[FileRows]:
    """The rows of those of the usual large files that are installed here: medians of three."""
    with tempfile.TemporaryDirectory() as folder:
        store = RowStore(Path(folder))
        return [_measure_file(Path(path).resolve(), store) for path in _LIBRARIES if Path(path).exists()]


def _measure_file(path: Path, store: RowStore) -> FileRows:
    made, kept = [], []
    for _ in range(_ROUNDS):
        begin = time.process_time()
        table = unwind_table(Binary.open(str(path), str(path)))
        made.append(time.process_time() - begin)
        if table is None:
            raise ValueError(f"{path} has no call frame information")
        store.put("rows", encode(table))
        begin = time.perf_counter()
        store.get("rows")
        kept.append(time.perf_counter() - begin)
    return FileRows(path.name, path.stat().st_size, len(table.rows), len(table.rules), median(made), median(kept))


def measure_many(hertz: int, windows: int, warm: float) -> Many:
    """A process that has mapped the code of 300 binaries, against one that has not."""
    files = distinct_binaries(MANY)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["GOROSCOPE_CACHE"] = folder  # made anew, as on a node that has just been set up
        try:
            program = build("mapped", Path(folder))
            recordings = []
            for arguments in (tuple(map(str, files)), ()):
                with Load(program, arguments) as load:
                    recordings.append(measure_recording(load, hertz, windows, 0.0, warm))
        finally:
            del os.environ["GOROSCOPE_CACHE"]
    return Many(len(files), *recordings)


def distinct_binaries(count: int) -> list[Path]:
    """Executables and libraries of this machine with their own contents, evenly over all that there are."""
    found: dict[str, Path] = {}
    for place in _PLACES:
        for path in sorted(place.iterdir()):
            real = path.resolve()
            if not real.is_file() or not (shutil.which(str(real)) or ".so" in real.name):
                continue
            try:
                elf = ElfFile.open(str(real))
            except (OSError, ElfError):
                continue
            found.setdefault(elf.build_id or str(real), real)
    every = list(found.values())
    return [every[index * len(every) // count] for index in range(min(count, len(every)))]
