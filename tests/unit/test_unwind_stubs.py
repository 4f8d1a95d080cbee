"""Code without call frame information that is known for what it is: linkage tables, and musl's assembly."""

from symbolizer.elf.file import ElfFile
from symbolizer.unwind.frames import frame_unwind_table
from symbolizer.unwind.rows import FRAME_POINTER, Rule, RuleKind
from tests.support.elfwriter import TEXT_ADDRESS, Sec, Seg, image
from tests.support.framewriter import ADDRESS, FrameWriter, advance, def_cfa_offset

SIZE = 0x1000
FUNCTION, GROWN = Rule(RuleKind.RSP, 8), Rule(RuleKind.RSP, 32)
END, SIGNAL = Rule(RuleKind.END), Rule(RuleKind.SIGNAL)
CLONE_CALL = bytes.fromhex("31ed 5f 41ffd1 89c7 31c0 b03c 0f05 f4 c3")
RESTORE = bytes.fromhex("48c7c00f000000 0f05")


def rules_at(text: bytes, entry: int, sections: tuple[Sec, ...] = (), *, covered: tuple[int, int] = (0x100, 0x20)):
    """What the table of a file with one entry, at [0x100, 0x120), says of offsets into its text."""
    writer = FrameWriter(ADDRESS)
    writer.cie()
    writer.fde(TEXT_ADDRESS + covered[0], covered[1], advance(4) + def_cfa_offset(32))
    data = image(
        sections=[Sec(".eh_frame", bytes(writer.data), addr=ADDRESS), *sections],
        segments=(Seg(0x1000, TEXT_ADDRESS, SIZE, SIZE),),
        text=text.ljust(SIZE, b"\x90"),
        entry=entry,
    )
    table = frame_unwind_table(ElfFile(data))
    assert table is not None
    return lambda offset: table.rule_at(TEXT_ADDRESS + offset)


def section(name: str, offset: int, size: int) -> Sec:
    return Sec(name, addr=TEXT_ADDRESS + offset, offset=0x1000 + offset, size=size)


def test_a_linkage_table_that_no_entry_covers_has_pushed_nothing() -> None:
    at = rules_at(b"", 0, (section(".plt", 0x20, 0x40), section(".iplt", 0x200, 0x20)))
    assert [at(offset) for offset in (0x20, 0x5F, 0x60, 0x200, 0x21F)] == [
        FUNCTION,
        FUNCTION,
        FRAME_POINTER,
        FUNCTION,
        FUNCTION,
    ]
    assert [at(offset) for offset in (0x100, 0x110)] == [FUNCTION, GROWN]


def test_a_linkage_table_with_an_entry_goes_by_it() -> None:
    at = rules_at(b"", 0, (section(".plt", 0x100, 0x20),))
    assert [at(offset) for offset in (0x100, 0x110)] == [FUNCTION, GROWN]


def test_musls_entry_thread_start_and_signal_return() -> None:
    text = bytearray(b"\x90" * SIZE)
    text[0x300 : 0x300 + len(CLONE_CALL)] = CLONE_CALL
    text[0x400 : 0x400 + len(RESTORE)] = RESTORE
    at = rules_at(bytes(text), TEXT_ADDRESS + 0x200)
    assert [at(offset) for offset in (0x1FF, 0x200, 0x23F, 0x240)] == [FRAME_POINTER, END, END, FRAME_POINTER]
    assert at(0x300 + 5) == END  # the call's last byte: where its return address is looked up
    assert [at(offset) for offset in (0x3FF, 0x400, 0x409)] == [SIGNAL, SIGNAL, SIGNAL]
    assert at(0x40A) == FRAME_POINTER


def test_a_file_whose_entry_is_covered_is_not_musls() -> None:
    text = bytearray(b"\x90" * SIZE)
    text[0x300 : 0x300 + len(CLONE_CALL)] = CLONE_CALL
    at = rules_at(bytes(text), TEXT_ADDRESS + 0x104)
    assert at(0x305) == FRAME_POINTER


def test_an_entry_outside_of_the_code_is_nothing() -> None:
    for entry in (1, TEXT_ADDRESS + SIZE, 2**63, 2**64 - 1):
        assert rules_at(b"", entry)(0x110) == GROWN


def test_sections_that_lie_about_their_place_are_nothing() -> None:
    wild = Sec(".plt", addr=2**64 - 8, offset=0, size=2**63)
    wide = Sec(".iplt", addr=TEXT_ADDRESS, offset=0x1000, size=2**62)
    at = rules_at(b"", 0, (wild, wide))
    assert [at(offset) for offset in (0x100, 0x110, 0x120)] == [FUNCTION, GROWN, FRAME_POINTER]
