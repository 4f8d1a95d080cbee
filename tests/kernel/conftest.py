"""Fixtures of the tests that need the kernel: small C programs with frame pointers."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).parent / "programs"

CBuild = Callable[..., Path]


@pytest.fixture(scope="session")
def c_program(tmp_path_factory: pytest.TempPathFactory) -> CBuild:
    """Builds programs/NAME.c: `c_program("chain", "-O1", called="other-name")`."""

    def build(name: str, optimize: str = "-O1", called: str = "") -> Path:
        target = tmp_path_factory.mktemp("c") / (called or name)
        flags = (optimize, "-fno-omit-frame-pointer", "-fno-optimize-sibling-calls", "-pthread")
        subprocess.run(["gcc", *flags, "-o", target, PROGRAMS / f"{name}.c"], check=True, timeout=60)
        return target

    return build
