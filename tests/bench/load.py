"""Builds the load, runs it, and reads what it has got done from its memory."""

import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Self

from tests.go import toolchains
from tests.go.programs.load.generate import go_source

SOURCE = Path(__file__).parents[1] / "go/programs/load"
_START_SECONDS = 2.0
_COUNTERS = "main.finished"


def default_load() -> Path:
    """Our load, built with the newest toolchain. The generated part is kept in the cache folder only."""
    source = toolchains.cache_folder() / "sources/load"
    source.mkdir(parents=True, exist_ok=True)
    for path in SOURCE.iterdir():
        if path.suffix in {".go", ".mod"}:
            shutil.copyfile(path, source / path.name)
    (source / "chains.go").write_text(go_source(), encoding="utf-8")
    return toolchains.build(toolchains.VERSIONS[-1], "plain", source)


class Load:
    """The load while it runs; a context manager. `pid` is its process."""

    def __init__(self, program: Path, arguments: tuple[str, ...] = ()) -> None:
        """Any program that keeps all CPUs busy will do; only one with the symbol `main.finished` can be `counted`."""
        self._command = [str(program), *arguments]
        self._counters = _address_of(program, _COUNTERS)

    def __enter__(self) -> Self:
        """Start it, and give it time to get going."""
        self._process = subprocess.Popen(self._command)
        self.pid = self._process.pid
        time.sleep(_START_SECONDS)
        if self._process.poll() is not None:
            raise RuntimeError(f"{self._command[0]} has ended at once")
        self._memory = os.open(f"/proc/{self.pid}/mem", os.O_RDONLY)
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        os.close(self._memory)
        self._process.kill()
        self._process.wait()

    @property
    def counted(self) -> bool:
        """Whether it counts what it gets done."""
        return self._counters is not None

    def finished(self) -> int:
        """Call chains walked so far by all its workers."""
        assert self._counters is not None
        address, size = self._counters
        return sum(memoryview(os.pread(self._memory, size, address)).cast("Q"))


def _address_of(program: Path, symbol: str) -> tuple[int, int] | None:
    """Address and size of a symbol of a program that is not position-independent, or None where it has none."""
    listed = subprocess.run(["nm", "-S", str(program)], capture_output=True, text=True, check=False).stdout
    for line in listed.splitlines():
        words = line.split()
        if words[-1] == symbol and len(words) == 4:
            return int(words[0], 16), int(words[1], 16)
    return None
