import struct
from dataclasses import replace
from pathlib import Path

import pytest

from profiles.model import Frame
from symbolizer.elf.file import ElfFile
from symbolizer.go.binary import GoBinary
from symbolizer.go.errors import GoError
from tests.support.goimage import DATA, GOFUNC, PROGRAM, TABLE, TEXT, go_image

OUTER = TEXT + 32
TABLE_AT, DATA_AT = 0x2000, 0x4000


def program(image: bytes) -> GoBinary:
    found = GoBinary.open(ElfFile(image))
    assert found is not None
    return found


def patched(image: bytes, offset: int, data: bytes) -> bytes:
    return image[:offset] + data + image[offset + len(data) :]


def test_inlined_calls_are_expanded_innermost_first() -> None:
    frames = program(go_image()).symbolize(OUTER + 10)
    assert frames == (
        Frame("main.inner", "/src/main.go", 200, 300),
        Frame("main.middle", "/src/main.go", 200, 190),
        Frame("main.outer[...]", "/src/main.go", 11, 9, "main.outer[go.shape.int]"),
    )


def test_an_address_outside_the_text_has_no_frames() -> None:
    found = program(go_image())
    start, end = found.text_range
    assert (found.symbolize(start - 1), found.symbolize(end), found.function_name(end)) == ((), (), "")
    assert found.symbolize(end - 1) != ()


def test_wrappers_are_left_out_of_an_inline_chain_but_stand_alone() -> None:
    image = go_image((*PROGRAM[:1], replace(PROGRAM[1], func_id=23), *PROGRAM[2:]))
    found = program(image)
    assert [frame.function for frame in found.symbolize(OUTER + 10)] == ["main.inner", "main.middle"]
    assert [frame.function for frame in found.symbolize(OUTER)] == ["main.outer[...]"]


def test_version_ranges_and_names_are_told() -> None:
    found = program(go_image(version=b"go1.25.0 X:nodwarf5"))
    assert found.version == (1, 25, 0)
    assert found.function_range("main.outer[go.shape.int]") == (OUTER, OUTER + 64)
    assert found.function_range("main.outer") is None
    assert found.function_range("main.inner") is None  # only ever inlined
    assert found.function_name(OUTER) == "main.outer[go.shape.int]"


def test_a_newer_unknown_go_keeps_its_names_and_says_so() -> None:
    found = program(go_image(magic=0xFFFFFFF2, version=b"go1.40"))
    assert found.symbolize(OUTER)[0].function == "main.outer[...]"
    assert any("newer" in limit for limit in found.limits)
    layout = found.runtime_layout()
    assert layout is not None
    assert (layout.g_m, layout.m_curg, layout.g_sched_sp, layout.g_goid) == (48, None, None, None)


def test_gofunc_is_found_where_no_known_version_keeps_it() -> None:
    image = patched(go_image(), DATA_AT + 320, bytes(8))
    image = patched(image, DATA_AT + 352, struct.pack("<Q", GOFUNC))
    assert len(program(image).symbolize(OUTER + 10)) == 3


def test_without_inline_trees_the_outer_function_is_kept_and_the_limit_said() -> None:
    found = program(patched(go_image(), DATA_AT + 320, bytes(8)))
    assert [frame.function for frame in found.symbolize(OUTER + 10)] == ["main.outer[...]"]
    assert any("Inlined" in limit for limit in found.limits)


def test_text_start_in_the_header_serves_where_module_data_is_unknown() -> None:
    image = patched(go_image(), TABLE_AT + 24, struct.pack("<Q", TEXT))
    found = program(patched(image, DATA_AT, bytes(400)))
    assert found.symbolize(OUTER)[0].function == "main.outer[...]"
    assert any("module data" in limit for limit in found.limits)


def test_text_that_cannot_be_placed_is_an_error() -> None:
    with pytest.raises(GoError, match="start of the Go code"):
        GoBinary.open(ElfFile(patched(go_image(), DATA_AT, bytes(400))))


def test_functions_without_any_code_are_an_error() -> None:
    with pytest.raises(GoError, match="no code"):
        GoBinary.open(ElfFile(go_image((replace(PROGRAM[0], size=0),))))


def test_a_go_older_than_supported_is_an_error() -> None:
    with pytest.raises(GoError, match=r"older than 1\.20"):
        GoBinary.open(ElfFile(go_image(magic=0xFFFFFFF0)))


@pytest.mark.parametrize("part", range(5))
def test_parts_outside_the_file_are_an_error(part: int) -> None:
    with pytest.raises(GoError):
        GoBinary.open(ElfFile(patched(go_image(), TABLE_AT + 32 + 8 * part, struct.pack("<Q", 1 << 62))))


def test_more_functions_than_the_file_holds_are_an_error() -> None:
    with pytest.raises(GoError):
        GoBinary.open(ElfFile(patched(go_image(), TABLE_AT + 8, struct.pack("<Q", 1 << 31))))


def test_an_inline_tree_that_refers_to_itself_ends() -> None:
    endless = replace(PROGRAM[1], inlined=(("main.a", 10, 1), ("main.b", 10, 2)))
    frames = program(go_image((PROGRAM[0], endless, *PROGRAM[2:]))).symbolize(OUTER + 10)
    assert 2 < len(frames) <= 256


def test_a_program_that_is_not_go_is_none() -> None:
    assert GoBinary.open(ElfFile(patched(go_image(), TABLE_AT, bytes(8)))) is None
    assert GoBinary.open(ElfFile.open("/bin/true")) is None
    assert Path("/bin/true").exists()


def test_relocated_words_are_read_from_the_addends_where_the_file_has_zeros() -> None:
    image = bytearray(go_image())
    relas = b""
    for field in range(0, 360, 8):
        (word,) = struct.unpack_from("<Q", image, DATA_AT + field)
        if word >= TEXT:  # a pointer; lengths are not relocated
            relas += struct.pack("<QQq", DATA + field, 8, word)
            struct.pack_into("<Q", image, DATA_AT + field, 0)
    image[DATA_AT + 0x400 : DATA_AT + 0x400 + len(relas)] = relas
    dynamic = struct.pack("<6Q", 7, DATA + 0x400, 8, len(relas), 0, 0)
    image[DATA_AT + 0x300 : DATA_AT + 0x300 + len(dynamic)] = dynamic
    struct.pack_into("<H", image, 56, 4)
    struct.pack_into("<IIQQQQQQ", image, 64 + 3 * 56, 2, 6, DATA_AT + 0x300, DATA + 0x300, 0, len(dynamic), 0, 8)
    found = program(bytes(image))
    assert found.limits == ()
    assert len(found.symbolize(OUTER + 10)) == 3
    assert found.elf.vaddr_of(found.table.offset) == TABLE
