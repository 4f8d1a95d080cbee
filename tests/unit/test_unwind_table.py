"""Rows from all sources of one file: Go's own inside its text, call frame information elsewhere."""

import struct

import pytest

from symbolizer.binary import Binary
from symbolizer.elf.file import ElfFile
from symbolizer.go.errors import GoError
from symbolizer.unwind import frame_programs, gopclntab, table
from symbolizer.unwind.rows import FRAME_POINTER, Rule, RuleKind
from symbolizer.unwind.table import unwind_table
from tests.support.elfwriter import TEXT_ADDRESS, image
from tests.support.framewriter import FrameWriter, advance, def_cfa_offset, elf_of
from tests.support.goimage import DATA, PROGRAM, TABLE, TEXT, go_image

BODY = advance(4) + def_cfa_offset(32)
ENTRY, GROWN = Rule(RuleKind.RSP, 8), Rule(RuleKind.RSP, 32)
OUTER = TEXT + 32
GO_END = TEXT + sum(func.size for func in PROGRAM)
C_BEFORE, C_BEHIND = TEXT - 0x100, GO_END + 40
_HEADER, _FRAMES, _TEXT_AT, _DATA_AT = DATA + 0x400, DATA + 0x500, 0x1000, 0x4000


def cgo_image() -> bytes:
    """goimage's program with C functions before and behind its Go text, and an entry in .eh_frame for Go code too."""
    frames = FrameWriter(_FRAMES)
    frames.cie()
    for start in (C_BEFORE, OUTER, C_BEHIND):
        frames.fde(start, 48, BODY)
    frames.terminate()
    made = bytearray(go_image())
    segments = ((1, 5, 0xE00, C_BEFORE - 0x100, 0x200), (0x6474E550, 4, _DATA_AT + 0x400, _HEADER, 12))
    for number, (kind, flags, offset, vaddr, size) in enumerate(segments, 3):
        struct.pack_into("<IIQQQQQQ", made, 64 + 56 * number, kind, flags, offset, vaddr, vaddr, size, size, 0x1000)
    struct.pack_into("<H", made, 56, 5)
    struct.pack_into("<4Bi", made, _DATA_AT + 0x400, 1, 0x1B, 0x03, 0x3B, _FRAMES - _HEADER - 4)
    made[_DATA_AT + 0x500 : _DATA_AT + 0x500 + len(frames.data)] = frames.data
    return bytes(made)


def rules(binary: Binary, *addresses: int) -> list[Rule | None]:
    made = unwind_table(binary)
    assert made is not None
    return [made.rule_at(address) for address in addresses]


def test_a_program_of_go_and_c() -> None:
    binary = Binary.from_memory(cgo_image())
    addresses = (C_BEFORE - 1, C_BEFORE, C_BEFORE + 4, C_BEFORE + 48, OUTER, OUTER + 1, OUTER + 4, GO_END - 1)
    assert rules(binary, *addresses, GO_END, C_BEHIND, C_BEHIND + 4, C_BEHIND + 48) == [
        FRAME_POINTER,
        ENTRY,
        GROWN,
        FRAME_POINTER,
        ENTRY,
        Rule(RuleKind.RSP, 16, -16),
        Rule(RuleKind.RSP, 32, -16),
        Rule(RuleKind.RSP, 16, -16),
        FRAME_POINTER,
        ENTRY,
        GROWN,
        FRAME_POINTER,
    ]


def test_a_program_of_go_alone_has_the_rows_of_its_own_tables() -> None:
    binary = Binary.from_memory(go_image())
    assert binary.go is not None
    assert unwind_table(binary) == gopclntab.go_unwind_table(binary.go)


def test_debug_frame_of_a_go_program_is_not_read() -> None:
    made = Binary.from_memory(go_image())
    writer = FrameWriter(debug=True)
    writer.cie()
    writer.fde(C_BEHIND, 48, BODY)
    made.debug = elf_of(writer)
    assert rules(made, C_BEHIND + 4) == [FRAME_POINTER]


def test_a_library_without_go() -> None:
    writer = FrameWriter()
    writer.cie()
    writer.fde(TEXT_ADDRESS, 32, BODY)
    assert rules(Binary(elf_of(writer), "library"), TEXT_ADDRESS, TEXT_ADDRESS + 4) == [ENTRY, GROWN]


def test_a_library_with_a_debug_file() -> None:
    writer = FrameWriter(debug=True)
    writer.cie()
    writer.fde(TEXT_ADDRESS, 32, BODY)
    made = Binary(ElfFile(image()), "library", debug=elf_of(writer))
    assert rules(made, TEXT_ADDRESS + 4) == [GROWN]


def test_a_file_without_tables_has_no_rows() -> None:
    assert unwind_table(Binary.from_memory(image())) is None


def test_damaged_frames_cost_no_go_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_programs, "MAX_TRANSITIONS", 0)
    assert rules(Binary.from_memory(cgo_image()), OUTER, C_BEHIND + 4) == [ENTRY, FRAME_POINTER]


def test_damaged_go_tables_cost_no_rows_of_c(monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged(*_args: object) -> None:
        raise GoError("damaged")

    monkeypatch.setattr(table, "write_go_rows", damaged)
    assert rules(Binary.from_memory(cgo_image()), C_BEFORE + 4, C_BEHIND + 4) == [GROWN, GROWN]
    monkeypatch.setattr(frame_programs, "MAX_TRANSITIONS", 0)
    assert unwind_table(Binary.from_memory(cgo_image())) is None


def test_go_tables_that_are_not_understood_leave_the_rows_of_c() -> None:
    image_ = bytearray(cgo_image())
    offset = TABLE - TEXT + _TEXT_AT
    image_[offset] = 0xFB  # the magic of Go 1.2
    binary = Binary.from_memory(bytes(image_))
    assert binary.go is None
    assert rules(binary, C_BEHIND + 4) == [GROWN]
