"""Writes call frame information, `.eh_frame` or `.debug_frame`, and whole ELF files with it.

`rules_of(advance(1) + def_cfa_offset(16))` is a function whose instructions are these, as an unwind table sees it.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from symbolizer.elf.file import ElfFile
from symbolizer.unwind.frames import frame_unwind_table
from symbolizer.unwind.rows import Rule, UnwindTable
from tests.support.elfwriter import TEXT_ADDRESS, Sec, Seg, image

ADDRESS = 0x9000
"""Where `.eh_frame` is loaded."""
CODE_SIZE = 0x3000
ABSOLUTE, PCREL_SDATA4 = 0x00, 0x1B
RAX, RDX, RBX, RBP, RSP, R8, R10, RIP = 0, 1, 3, 6, 7, 8, 10, 16
_STRUCTS = {0x0: "<Q", 0x2: "<H", 0x3: "<I", 0x4: "<Q", 0xA: "<h", 0xB: "<i", 0xC: "<q"}


def uleb(number: int) -> bytes:
    encoded = bytearray()
    while number >= 0x80:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])


def sleb(number: int) -> bytes:
    encoded = bytearray()
    while not -0x40 <= number < 0x40:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number & 0x7F])


def advance(delta: int) -> bytes:
    """The shortest form of DW_CFA_advance_loc."""
    if delta < 0x40:
        return bytes([0x40 | delta])
    for code, form, limit in ((2, "<BB", 1 << 8), (3, "<BH", 1 << 16), (4, "<BI", 1 << 32)):
        if delta < limit:
            return struct.pack(form, code, delta)
    raise ValueError(delta)


def offset(register: int, factored: int) -> bytes:
    return bytes([0x80 | register]) + uleb(factored)


def restore(register: int) -> bytes:
    return bytes([0xC0 | register])


def def_cfa(register: int, distance: int) -> bytes:
    return b"\x0c" + uleb(register) + uleb(distance)


def def_cfa_register(register: int) -> bytes:
    return b"\x0d" + uleb(register)


def def_cfa_offset(distance: int) -> bytes:
    return b"\x0e" + uleb(distance)


def def_cfa_expression(expression: bytes) -> bytes:
    return b"\x0f" + uleb(len(expression)) + expression


def saved_at(register: int, expression: bytes) -> bytes:
    """DW_CFA_expression."""
    return b"\x10" + uleb(register) + uleb(len(expression)) + expression


def breg(register: int, distance: int) -> bytes:
    """DW_OP_bregN."""
    return bytes([0x70 + register]) + sleb(distance)


REMEMBER, RESTORE_STATE, DEREF = b"\x0a", b"\x0b", b"\x06"
INITIAL = def_cfa(RSP, 8) + offset(RIP, 1)
"""What the CIE of every compiler says for x86-64."""


def encoded(value: int, encoding: int, at: int) -> bytes:
    """A pointer that lies at an address, DW_EH_PE_*."""
    if encoding & 0x70 == 0x10:
        value -= at
    if encoding & 0xF in {1, 9}:
        return (sleb if encoding & 8 else uleb)(value)
    form = _STRUCTS[encoding & 0xF]
    bits = 8 * struct.calcsize(form)
    return (value % 2**bits).to_bytes(bits // 8, "little")


@dataclass
class FrameWriter:
    """A section that is made entry by entry; `wide` is the 64-bit format."""

    address: int = ADDRESS
    debug: bool = False
    wide: bool = False
    data: bytearray = field(default_factory=bytearray)
    _encodings: dict[int, tuple[int, bool]] = field(default_factory=dict)

    def cie(
        self,
        instructions: bytes = INITIAL,
        *,
        augmentation: str | None = None,
        encoding: int | None = None,
        code: int = 1,
        data: int = -8,
        column: int = RIP,
        version: int = 1,
        personality: bytes = b"\x9b\x11\x22\x33\x44",
        extra: bytes = b"",
    ) -> int:
        """Add a CIE: its offset. `extra` is put behind the augmentation data that the letters ask for."""
        at = len(self.data)
        if augmentation is None:
            augmentation = "" if self.debug else "zR"
        if encoding is None:
            encoding = ABSOLUTE if self.debug else PCREL_SDATA4
        body = bytes([version]) + augmentation.encode() + b"\0"
        body += b"\x08\0" if version == 4 else b""
        body += bytes(8) if augmentation == "eh" else b""
        body += uleb(code) + sleb(data) + (bytes([column]) if version == 1 else uleb(column))
        if augmentation.startswith("z"):
            pieces = {"R": bytes([encoding]), "L": b"\x1b", "P": personality}
            letters = b"".join(pieces.get(letter, b"") for letter in augmentation[1:]) + extra
            body += uleb(len(letters)) + letters
        self._encodings[at] = (encoding, augmentation.startswith("z"))
        none = (2**64 - 1 if self.wide else 2**32 - 1) if self.debug else 0
        self._add(none, body + instructions)
        return at

    def fde(self, start: int, size: int, instructions: bytes = b"", cie: int = 0, lsda: bytes = b"") -> int:
        """Add a function: the offset of its FDE."""
        at = len(self.data)
        encoding, augmented = self._encodings[cie]
        field_at = at + (12 if self.wide else 4)
        body_at = self.address + field_at + (8 if self.wide else 4)
        body = encoded(start, encoding, body_at) + encoded(size, encoding & 0xF, 0)
        body += uleb(len(lsda)) + lsda if augmented else b""
        self._add(cie if self.debug else field_at - cie, body + instructions)
        return at

    def terminate(self) -> None:
        """Add the zero terminator."""
        self.data += bytes(4)

    def _add(self, identity: int, body: bytes) -> None:
        if self.wide:
            self.data += struct.pack("<IQQ", 0xFFFFFFFF, 8 + len(body), identity) + body
        else:
            self.data += struct.pack("<II", 4 + len(body), identity) + body


def elf_of(*tables: FrameWriter, sections: Sequence[Sec] = ()) -> ElfFile:
    """A file with code at [TEXT_ADDRESS, TEXT_ADDRESS + CODE_SIZE) and these sections."""
    made = [
        Sec(".debug_frame", bytes(table.data))
        if table.debug
        else Sec(".eh_frame", bytes(table.data), addr=table.address)
        for table in tables
    ]
    segment = Seg(0x1000, TEXT_ADDRESS, CODE_SIZE, CODE_SIZE)
    return ElfFile(image(sections=[*made, *sections], segments=(segment,), text=bytes(CODE_SIZE)))


def table_of(*tables: FrameWriter) -> UnwindTable:
    """The rows of a file with these sections, which must have some."""
    table = frame_unwind_table(elf_of(*tables))
    assert table is not None
    return table


def assert_in_order(table: UnwindTable) -> None:
    """Each page begins with a row of its first byte, and its rows ascend."""
    for low, high in zip(table.starts, table.starts[1:], strict=False):
        places = [row >> 16 for row in table.rows[low:high]]
        assert places[0] == 0
        assert places == sorted(set(places))


def rules_of(instructions: bytes, *offsets: int, initial: bytes = INITIAL, letters: str = "zR") -> list[Rule | None]:
    """The rules at offsets in a function of 4,000 bytes with these instructions."""
    writer = FrameWriter()
    writer.cie(initial, augmentation=letters)
    writer.fde(TEXT_ADDRESS, 4000, instructions)
    table = table_of(writer)
    return [table.rule_at(TEXT_ADDRESS + offset) for offset in offsets]
