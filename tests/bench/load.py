"""Builds the load, runs it, and reads what it says of its own progress."""

import os
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.go import toolchains
from tests.go.programs.load.generate import go_source

SOURCE = Path(__file__).parents[1] / "go/programs/load"
_START_SECONDS = 20.0


def default_load() -> Path:
    """Our load, built with the newest toolchain. The generated part is kept in the cache folder only."""
    source = toolchains.cache_folder() / "sources/load"
    source.mkdir(parents=True, exist_ok=True)
    for path in SOURCE.iterdir():
        if path.suffix in {".go", ".mod"}:
            shutil.copyfile(path, source / path.name)
    (source / "chains.go").write_text(go_source(), encoding="utf-8")
    return toolchains.build(toolchains.VERSIONS[-1], "plain", source)


@dataclass(frozen=True, slots=True)
class Progress:
    """A line of the load's log: UNIX ns, iterations and CPU microseconds so far."""

    time_ns: int
    iterations: int
    cpu_us: int


class Load:
    """The load while it runs; a context manager."""

    def __init__(self, program: Path, arguments: tuple[str, ...] = ()) -> None:
        """`program` takes `-log FILE` and writes a line of three numbers there at least every 250 ms."""
        self._command = [str(program), *arguments]

    def __enter__(self) -> Self:
        """Start it, and wait until it works."""
        self._folder = tempfile.TemporaryDirectory(prefix="goroscope-bench-")
        self._log = Path(self._folder.name) / "progress"
        self._process = subprocess.Popen([*self._command, "-log", str(self._log)])
        self.pid = self._process.pid
        deadline = time.monotonic() + _START_SECONDS
        while len(self.progress()) < 2:
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.__exit__()
                raise RuntimeError(f"{self._command[0]} does not report progress")
            time.sleep(0.1)
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        self._folder.cleanup()

    def progress(self) -> list[Progress]:
        """Every whole line it has written so far."""
        if not self._log.exists():
            return []
        with self._log.open("rb") as file:
            data = file.read(os.fstat(file.fileno()).st_size)
        lines = data[: data.rfind(b"\n") + 1].splitlines()
        return [Progress(*map(int, line.split())) for line in lines]
