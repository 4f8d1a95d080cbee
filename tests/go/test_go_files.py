"""Go programs that lack what their file usually offers: section headers, link-time pointers."""

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from symbolizer.elf.file import ElfFile
from symbolizer.go.binary import GoBinary
from tests.go.toolchains import VERSIONS
from tests.go.truth import questions_about

pytestmark = pytest.mark.go

GoBuild = Callable[[str, str, str], Path]
RELATIVE = 8


def opened(elf: ElfFile) -> GoBinary:
    program = GoBinary.open(elf)
    assert program is not None
    assert program.limits == ()
    return program


def assert_same(program: GoBinary, altered: GoBinary) -> None:
    assert altered.text_range == program.text_range
    assert altered.version == program.version
    for question in questions_about(program, seed=3, size=400):
        assert altered.symbolize(question.symbolized) == program.symbolize(question.symbolized) != ()


@pytest.mark.parametrize("mode", ["stripped", "stripped-pie", "cgo", "cgo-pie", "static", "cshared"])
@pytest.mark.parametrize("version", ["1.21.13", "1.27.3"])
def test_section_headers_are_not_needed(go_build: GoBuild, version: str, mode: str) -> None:
    data = bytearray(go_build(version, mode, "truth").read_bytes())
    program = opened(ElfFile(bytes(data)))
    struct.pack_into("<Q", data, 40, 0)  # e_shoff
    struct.pack_into("<HHH", data, 58, 0, 0, 0)  # e_shentsize, e_shnum, e_shstrndx
    altered = ElfFile(bytes(data))
    assert altered.sections == ()
    assert_same(program, opened(altered))


@pytest.mark.parametrize("mode", ["pie", "cgo-pie"])
@pytest.mark.parametrize("version", VERSIONS)
def test_relocation_addends_stand_in_for_pointers_that_are_not_in_the_file(
    go_build: GoBuild, version: str, mode: str
) -> None:
    data = bytearray(go_build(version, mode, "truth").read_bytes())
    elf = ElfFile(bytes(data))
    relocations = elf.section(".rela.dyn") or elf.section(".rela")
    assert relocations is not None
    cleared = 0
    for place, info, _ in struct.iter_unpack("<QQq", elf.contents(relocations)):
        offset = elf.offset_of(place)
        if info == RELATIVE and offset is not None:
            cleared += data[offset : offset + 8] != bytes(8)
            data[offset : offset + 8] = bytes(8)
    assert cleared > 1000
    assert_same(opened(elf), opened(ElfFile(bytes(data))))


def test_the_build_id_is_the_one_the_go_command_reads(go_build: GoBuild) -> None:
    build_id = opened(ElfFile.open(str(go_build("1.27.3", "stripped", "truth")))).build_id
    assert build_id.count("/") == 3


def test_functions_are_found_by_exact_name(go_build: GoBuild) -> None:
    program = opened(ElfFile.open(str(go_build("1.27.3", "stripped-pie", "truth"))))
    start, end = program.function_range("main.leaf") or (0, 0)
    assert program.function_name(start) == program.function_name(end - 1) == "main.leaf"
    assert program.function_name(start - 1) != "main.leaf" != program.function_name(end)
    assert program.function_range("main.lea") is None
