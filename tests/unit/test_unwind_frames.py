"""Where call frame information is found, how its entries are told apart, and what is between functions."""

import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from symbolizer.binary import Binary
from symbolizer.elf.file import ElfFile
from symbolizer.unwind.frame_pointers import FrameError, pointer, sleb128, uleb128
from symbolizer.unwind.frames import frame_unwind_table
from symbolizer.unwind.rows import FRAME_POINTER, Rule, RuleKind, UnwindTable
from tests.support.cprograms import needs_compiler, run
from tests.support.elfwriter import TEXT_ADDRESS, Sec, Seg, image
from tests.support.framewriter import (
    CODE_SIZE,
    INITIAL,
    RIP,
    FrameWriter,
    advance,
    def_cfa_offset,
    elf_of,
    encoded,
    sleb,
    table_of,
    uleb,
)

ENTRY, GROWN = Rule(RuleKind.RSP, 8), Rule(RuleKind.RSP, 32)
BODY = advance(4) + def_cfa_offset(32)
SHF_COMPRESSED, SHT_NOBITS = 0x800, 8


def at(table: UnwindTable | None, *offsets: int) -> list[Rule | None]:
    assert table is not None
    return [table.rule_at(TEXT_ADDRESS + offset) for offset in offsets]


@pytest.mark.parametrize("relation", [0x00, 0x10])
@pytest.mark.parametrize("form", [0x0, 0x1, 0x2, 0x3, 0x4, 0x9, 0xA, 0xB, 0xC])
@pytest.mark.parametrize("wide", [False, True])
def test_every_encoding_of_addresses(form: int, relation: int, wide: bool) -> None:
    address = 0x800 if relation and form in {1, 2, 3, 4} else 0x4800  # unsigned distances are forwards
    writer = FrameWriter(address, wide=wide)
    writer.cie(encoding=relation | form)
    writer.fde(TEXT_ADDRESS, 32, BODY)
    writer.fde(TEXT_ADDRESS + 32, 32, BODY)
    assert at(table_of(writer), 0, 3, 4, 31, 32, 36, 64) == [ENTRY, ENTRY, GROWN, GROWN, ENTRY, GROWN, FRAME_POINTER]


@pytest.mark.parametrize("encoding", [0x2B, 0x3B, 0x4B, 0x5B, 0x9B, 0x8B, 0xFF, 0x05, 0x0D])
def test_addresses_that_only_a_process_could_tell_are_refused(encoding: int) -> None:
    writer = FrameWriter()
    writer.cie(encoding=encoding)
    usual = writer.cie()
    writer._encodings[0] = (0x1B, True)
    writer.fde(TEXT_ADDRESS, 32, BODY)
    writer.fde(TEXT_ADDRESS + 32, 32, BODY, usual)
    assert at(table_of(writer), 4, 36) == [FRAME_POINTER, GROWN]


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("version", [1, 3, 4])
def test_debug_frame_counts_where_there_is_no_eh_frame(version: int, wide: bool) -> None:
    writer = FrameWriter(debug=True, wide=wide)
    writer.cie(b"\x3f")
    used = writer.cie(version=version)
    writer.fde(TEXT_ADDRESS, 32, BODY, used)
    assert at(table_of(writer), 0, 4, 32) == [ENTRY, GROWN, FRAME_POINTER]


def debug_writer() -> FrameWriter:
    writer = FrameWriter(debug=True)
    writer.cie()
    writer.fde(TEXT_ADDRESS, 32, BODY)
    return writer


def test_debug_frame_of_the_debug_file() -> None:
    stripped = ElfFile(image(text=bytes(CODE_SIZE)))
    assert frame_unwind_table(stripped) is None
    assert at(frame_unwind_table(stripped, elf_of(debug_writer())), 0, 4) == [ENTRY, GROWN]


def test_a_debug_file_keeps_only_the_header_of_eh_frame() -> None:
    other = FrameWriter()
    other.cie()
    other.fde(TEXT_ADDRESS, 32, def_cfa_offset(48))
    sections = [Sec(".eh_frame", bytes(other.data), SHT_NOBITS, addr=other.address)]
    assert at(frame_unwind_table(elf_of(debug_writer(), sections=sections)), 4) == [GROWN]


@pytest.mark.parametrize("algorithm", [1, 2])
def test_compressed_debug_frame(algorithm: int) -> None:
    contents = bytes(debug_writer().data)
    packed = struct.pack("<IIQQ", algorithm, 0, len(contents), 8) + zlib.compress(contents)
    table = frame_unwind_table(elf_of(sections=[Sec(".debug_frame", packed, flags=SHF_COMPRESSED)]))
    assert table is None if algorithm == 2 else at(table, 4) == [GROWN]


@pytest.mark.parametrize("packed", [b"", bytes(24), struct.pack("<IIQQ", 1, 0, 99, 8) + b"no zlib"])
def test_damaged_compressed_debug_frame_is_none(packed: bytes) -> None:
    assert frame_unwind_table(elf_of(sections=[Sec(".debug_frame", packed, flags=SHF_COMPRESSED)])) is None


@pytest.mark.parametrize("contents", [b"", bytes(4), bytes(64)])
def test_debug_frame_counts_where_eh_frame_is_empty(contents: bytes) -> None:
    sections = [Sec(".eh_frame", contents, addr=0x9000)]
    assert at(frame_unwind_table(elf_of(debug_writer(), sections=sections)), 4) == [GROWN]
    assert frame_unwind_table(elf_of(sections=sections)) is None


def test_debug_frame_fills_what_eh_frame_leaves_out() -> None:
    """As in a program compiled without unwind tables: its start code from the C library still has some."""
    loaded = FrameWriter()
    loaded.cie()
    loaded.fde(TEXT_ADDRESS, 32, BODY)
    debugging = FrameWriter(debug=True)
    debugging.cie()
    for start in (0, 16, 32):
        debugging.fde(TEXT_ADDRESS + start, 32, def_cfa_offset(48))
    table = table_of(loaded, debugging)
    assert at(table, 0, 4, 16, 31, 32, 63) == [
        ENTRY,
        GROWN,
        GROWN,
        GROWN,
        Rule(RuleKind.RSP, 48),
        Rule(RuleKind.RSP, 48),
    ]


def test_functions_that_the_linker_removed_are_at_address_0() -> None:
    writer = FrameWriter(debug=True)
    writer.cie()
    writer.fde(0, 32, BODY)
    writer.fde(0x40, 32, BODY)
    elf = ElfFile(image(sections=[Sec(".debug_frame", bytes(writer.data))], segments=(Seg(0x1000, 0, 0x1000, 0x1000),)))
    table = frame_unwind_table(elf)
    assert table is not None
    assert [table.rule_at(vaddr) for vaddr in (4, 0x44)] == [FRAME_POINTER, GROWN]


def stripped(table: FrameWriter, header: bytes, *, behind: bytes = b"") -> ElfFile:
    """A file without section headers, with .eh_frame_hdr at 0x1800 and .eh_frame at 0x1900."""
    text = bytes(0x800) + header.ljust(0x100, b"\0") + bytes(table.data) + behind
    segments = (Seg(0x1000, 0x1000, len(text), len(text)), Seg(0x1800, 0x1800, 12, 12, type=0x6474E550))
    made = bytearray(image(segments=segments, text=text))
    made[40:48], made[60:64] = bytes(8), bytes(4)
    return ElfFile(bytes(made))


@pytest.mark.parametrize("encoding", [0x00, 0x03, 0x0C, 0x1B, 0x1C, 0x3B])
def test_without_section_headers_the_segment_tells(encoding: int) -> None:
    writer = FrameWriter(0x1900)
    writer.cie()
    writer.fde(TEXT_ADDRESS, 32, BODY)
    writer.terminate()
    behind = FrameWriter(0x1900 + len(writer.data))
    behind.cie()
    behind.fde(TEXT_ADDRESS + 32, 32, BODY)
    place = encoded(0x1900, encoding, 0x1804) if encoding < 0x30 else encoded(0x100, 0x0B, 0)
    elf = stripped(writer, bytes([1, encoding, 0x03, 0x3B]) + place, behind=bytes(behind.data))
    assert elf.sections == ()
    assert at(frame_unwind_table(elf), 0, 4, 32) == [ENTRY, GROWN, FRAME_POINTER]


@pytest.mark.parametrize(
    "header", [b"", b"\x02\x1b\x03\x3b\xfc\0\0\0", b"\x01\xff\x03\x3b\xfc\0\0\0", b"\x01\x1b\x03\x3b\0\0\0\x7f"]
)
def test_a_damaged_header_leads_nowhere(header: bytes) -> None:
    writer = FrameWriter(0x1900)
    writer.cie()
    writer.fde(TEXT_ADDRESS, 32, BODY)
    assert frame_unwind_table(stripped(writer, header)) is None


@pytest.mark.parametrize("letters", ["zR", "zPLR", "zLRS", "zRB", "zRq", "zRPL", "z", "", "eh"])
def test_augmentations(letters: str) -> None:
    writer = FrameWriter()
    writer.cie(augmentation=letters, encoding=0x1B if "R" in letters else 0, extra=b"\x99" if "q" in letters else b"")
    lsda = b"\1\2\3\4" if "L" in letters else b""
    writer.fde(TEXT_ADDRESS, 32, BODY, lsda=lsda)
    writer.fde(TEXT_ADDRESS + 32, 32, BODY, lsda=b"\x3f" * 200 if letters.startswith("z") else b"")
    assert at(table_of(writer), 0, 4, 32, 36) == [ENTRY, GROWN, ENTRY, GROWN]


@pytest.mark.parametrize("encoding", [0x00, 0x03, 0x0B, 0x9B, 0x9C, 0x01])
def test_the_personality_routine_is_skipped_in_its_encoding(encoding: int) -> None:
    size = {0x00: 8, 0x03: 4, 0x0B: 4, 0x9B: 4, 0x9C: 8, 0x01: 3}[encoding]
    writer = FrameWriter()
    writer.cie(augmentation="zPR", personality=bytes([encoding]) + b"\x81" * (size - 1) + b"\x01")
    writer.fde(TEXT_ADDRESS, 32, BODY)
    assert at(table_of(writer), 0, 4) == [ENTRY, GROWN]


@pytest.mark.parametrize(
    "settings",
    [
        {"augmentation": "R"},
        {"augmentation": "armcc+"},
        {"column": 17},
        {"column": 15},
        {"column": 144, "version": 3},
        {"version": 2},
        {"version": 5},
        {"instructions": INITIAL + bytes(600)},
    ],
)
def test_a_cie_that_is_not_understood_costs_its_own_functions(settings: dict[str, object]) -> None:
    writer = FrameWriter()
    writer.cie(**settings)  # type: ignore[arg-type]
    writer._encodings[0] = (0x1B, False)
    usual = writer.cie()
    writer.fde(TEXT_ADDRESS, 32, BODY)
    writer.fde(TEXT_ADDRESS + 32, 32, BODY, usual)
    assert at(table_of(writer), 4, 36) == [FRAME_POINTER, GROWN]


def test_a_cie_of_another_address_size_is_not_understood() -> None:
    writer = FrameWriter(debug=True)
    writer.cie(version=4)
    writer.fde(TEXT_ADDRESS, 32, BODY)
    writer.data[10] = 4
    assert frame_unwind_table(elf_of(writer)) is None


def test_functions_in_any_order() -> None:
    writer = FrameWriter()
    writer.cie()
    for number in (5, 0, 3, 1, 4, 2):
        writer.fde(TEXT_ADDRESS + 32 * number, 32, advance(4) + def_cfa_offset(8 * number + 16))
    expected = [Rule(RuleKind.RSP, 8 * number + 16) for number in range(6)]
    assert at(table_of(writer), *range(4, 192, 32)) == expected


def test_a_function_ends_where_the_next_begins_and_empty_ones_do_not_count() -> None:
    writer = FrameWriter()
    writer.cie()
    writer.fde(TEXT_ADDRESS, 64, BODY)
    writer.fde(TEXT_ADDRESS + 16, 32, def_cfa_offset(48))
    writer.fde(TEXT_ADDRESS + 8, 0, def_cfa_offset(56))
    inner = Rule(RuleKind.RSP, 48)
    # GCC's unwinder too finds the last function that begins at or before an address, and no other.
    assert at(table_of(writer), 3, 8, 15, 16, 47, 48) == [ENTRY, GROWN, GROWN, inner, inner, FRAME_POINTER]


def test_the_same_function_twice() -> None:
    writer = FrameWriter()
    writer.cie()
    writer.fde(TEXT_ADDRESS, 64, BODY)
    writer.fde(TEXT_ADDRESS, 64, BODY)
    assert at(table_of(writer), 0, 4, 63, 64) == [ENTRY, GROWN, GROWN, FRAME_POINTER]


@pytest.mark.parametrize(("gap", "rule"), [(1, GROWN), (15, GROWN), (16, FRAME_POINTER), (5000, FRAME_POINTER)])
def test_padding_keeps_the_rule_and_code_without_an_entry_has_the_frame_pointer_rule(gap: int, rule: Rule) -> None:
    writer = FrameWriter()
    writer.cie()
    writer.fde(TEXT_ADDRESS, 32, BODY)
    writer.fde(TEXT_ADDRESS + 32 + gap, 32, BODY)
    table = table_of(writer)
    assert at(table, 31, 32, 31 + gap, 32 + gap) == [GROWN, rule, rule, ENTRY]


def test_padding_does_not_keep_the_end_of_a_stack() -> None:
    writer = FrameWriter()
    writer.cie()
    writer.fde(TEXT_ADDRESS, 32, b"\x07" + uleb(RIP))
    writer.fde(TEXT_ADDRESS + 40, 32, BODY)
    assert at(table_of(writer), 31, 32, 39, 40) == [Rule(RuleKind.END), FRAME_POINTER, FRAME_POINTER, ENTRY]


def test_functions_outside_executable_segments_do_not_count() -> None:
    writer = FrameWriter()
    writer.cie()
    starts = (0, TEXT_ADDRESS - 1, TEXT_ADDRESS, TEXT_ADDRESS + CODE_SIZE, 1 << 40, 2**64 - 16)
    with_absolute = writer.cie(encoding=0)
    for start in starts:
        writer.fde(start, 16, BODY, with_absolute)
    writer.fde(TEXT_ADDRESS + 0x100, 2**63, BODY, with_absolute)
    table = table_of(writer)
    assert len(table.starts) == CODE_SIZE // 4096 + 1
    assert at(table, -1, 0, 4, CODE_SIZE - 1, CODE_SIZE) == [None, ENTRY, GROWN, GROWN, None]


def test_two_executable_segments() -> None:
    writer = FrameWriter()
    cie = writer.cie(encoding=0)
    far = TEXT_ADDRESS + 0x100000
    for start in (TEXT_ADDRESS, far):
        writer.fde(start, 0x2000, BODY, cie)
    segments = (Seg(0x1000, far, 0x1000, 0x1000), Seg(0x1000, TEXT_ADDRESS, 0x1000, 0x1000))
    section = Sec(".eh_frame", bytes(writer.data), addr=writer.address)
    table = frame_unwind_table(ElfFile(image(sections=[section], segments=segments)))
    assert at(table, 4, 0xFFF, 0x1000, 0xFFFFF, 0x100004) == [GROWN, GROWN, FRAME_POINTER, FRAME_POINTER, GROWN]


def test_only_x86_64_counts() -> None:
    elf = elf_of(debug_writer())
    elf.machine = 183
    assert frame_unwind_table(elf) is None


@given(st.integers(0, 2**64 - 1), st.binary(max_size=3))
def test_unsigned_leb128(number: int, behind: bytes) -> None:
    written = uleb(number)
    assert uleb128(b"\xff" + written + behind, 1) == (number, 1 + len(written))


@given(st.integers(-(2**63), 2**63 - 1), st.binary(max_size=3))
def test_signed_leb128(number: int, behind: bytes) -> None:
    written = sleb(number)
    assert sleb128(written + behind, 0) == (number, len(written))


@pytest.mark.parametrize("encoding", [0x00, 0x01, 0x02, 0x03, 0x0B, 0x1C])
def test_a_pointer_behind_the_end_is_refused(encoding: int) -> None:
    for data, place in ((b"", 0), (b"\x80", 0), (bytes(8), 8), (bytes(8), 100)):
        with pytest.raises(FrameError):
            pointer(data, place, encoding, 0)


def test_the_vdso_of_this_process() -> None:
    line = next(line for line in Path("/proc/self/maps").read_text().splitlines() if line.endswith("[vdso]"))
    start, end = (int(word, 16) for word in line.split()[0].split("-"))
    with open("/proc/self/mem", "rb") as memory:
        memory.seek(start)
        binary = Binary.from_memory(memory.read(end - start))
    table = frame_unwind_table(binary.elf)
    assert table is not None
    dynamic = binary.elf.section(".dynsym")
    assert dynamic is not None
    symbols = binary.elf.contents(dynamic)
    functions = [struct.unpack_from("<IBBHQQ", symbols, place) for place in range(24, len(symbols), 24)]
    starts = [value for _, info, _, section, value, _ in functions if info & 15 == 2 and section]
    assert len(starts) >= 4
    assert all(table.rule_at(value) == ENTRY for value in starts)


@needs_compiler
def test_a_program_compiled_without_unwind_tables_but_with_debug_information(tmp_path: Path) -> None:
    source = tmp_path / "program.c"
    source.write_text(
        "int f(int x) { volatile int a[64] = {x}; return a[x]; }\nint main(int c, char **v) { return f(c) + !v; }\n"
    )
    flags = ("-O1", "-g", "-fno-asynchronous-unwind-tables", "-fno-omit-frame-pointer")
    for compressed in ("none", "zlib"):
        program = tmp_path / compressed
        run("gcc", *flags, f"-gz={compressed}", "-o", program, source)
        binary = Binary.open(str(program), str(program))
        table = frame_unwind_table(binary.elf)
        assert table is not None
        entry = next(int(line.split()[0], 16) for line in run("nm", program).splitlines() if line.endswith(" T f"))
        assert [table.rule_at(entry + place) for place in (0, 1, 4)] == [
            ENTRY,
            Rule(RuleKind.RSP, 16, -16),
            FRAME_POINTER,
        ]
