"""Fixtures of the tests that need the kernel: small programs in C and C++, with frame pointers or without."""

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).parent / "programs"

CBuild = Callable[..., Path]


@pytest.fixture(scope="session")
def c_program(tmp_path_factory: pytest.TempPathFactory) -> CBuild:
    """Builds programs/NAME.c, or NAME.cpp: `c_program("chain", "-O1", called="other-name")`."""

    def build(
        name: str,
        optimize: str = "-O1",
        called: str = "",
        frame_pointers: bool = True,
        flags: Sequence[str] = (),
    ) -> Path:
        target = tmp_path_factory.mktemp("c") / (called or Path(name).stem)
        source = PROGRAMS / (name if Path(name).suffix else f"{name}.c")
        pointers = ("-fno-omit-frame-pointer", "-fno-optimize-sibling-calls")
        compiler = "g++" if source.suffix == ".cpp" else "gcc"
        all_flags = (optimize, *(pointers if frame_pointers else ("-fomit-frame-pointer",)), "-pthread", *flags)
        subprocess.run([compiler, *all_flags, "-o", target, source], check=True, timeout=60)
        return target

    return build
