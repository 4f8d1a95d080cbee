"""GoBinary against Go itself: the program's own answer for thousands of its addresses, by version and link mode."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from profiles.model import Frame
from symbolizer.elf.file import ElfFile
from symbolizer.go.binary import GoBinary
from tests.go.toolchains import VERSIONS
from tests.go.truth import Question, agree, ask_library, ask_program, questions_about

pytestmark = pytest.mark.go

GoBuild = Callable[[str, str, str], Path]
MODES = ("plain", "stripped", "pie", "stripped-pie", "cgo", "cgo-pie", "static")


def opened(path: Path) -> GoBinary:
    program = GoBinary.open(ElfFile.open(str(path)))
    assert program is not None
    assert program.limits == ()
    return program


def assert_equal(program: GoBinary, asked: list[Question], answers: list[tuple[Frame, ...] | None]) -> None:
    compared = inlined = 0
    for question, answer in zip(asked, answers, strict=True):
        if answer is None:
            continue
        ours = program.symbolize(question.symbolized)
        assert agree(ours, answer), (question, ours, answer)
        compared += 1
        inlined += len(answer) > 1
    assert compared >= 0.95 * len(asked)
    assert inlined >= 0.05 * len(asked)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("version", VERSIONS)
def test_frames_equal_what_the_program_itself_says(go_build: GoBuild, version: str, mode: str) -> None:
    path = go_build(version, mode, "truth")
    program = opened(path)
    assert program.version == tuple(map(int, version.split(".")))
    asked = questions_about(program, seed=len(version) + len(mode))
    assert_equal(program, asked, ask_program(path, program.elf, asked))


@pytest.mark.parametrize("version", ["1.21.13", "1.27.3"])
def test_frames_of_a_shared_library_equal_what_it_says(go_build: GoBuild, version: str) -> None:
    path = go_build(version, "cshared", "truth")
    program = opened(path)
    symbols = subprocess.run(["nm", "-D", path], capture_output=True, text=True, check=True).stdout
    (line,) = [line for line in symbols.splitlines() if line.endswith(" describeAddress")]
    asked = questions_about(program, seed=5)
    assert_equal(program, asked, ask_library(path, int(line.split()[0], 16), asked))
