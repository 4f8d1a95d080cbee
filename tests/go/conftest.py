"""Fixtures of the tests that build and run Go programs."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.go import toolchains

PROGRAMS = Path(__file__).parent / "programs"

GoBuild = Callable[[str, str, str], Path]


@pytest.fixture(scope="session")
def go_build() -> GoBuild:
    """Builds programs/NAME with a Go version in a mode: `go_build("1.27.3", "pie", "truth")`; cached on disk."""

    def build(version: str, mode: str, program: str) -> Path:
        return toolchains.build(version, mode, PROGRAMS / program)

    return build
