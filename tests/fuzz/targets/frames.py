"""Call frame information of a hostile file: pieces of that of real libraries, in files with little else.

The first byte says which table the rest is: .eh_frame, .debug_frame, or .eh_frame behind its header in a file
without section headers.
"""

import struct
from collections.abc import Iterator
from pathlib import Path

from symbolizer.elf.file import ElfError, ElfFile
from symbolizer.unwind.frame_entries import FrameEntries
from symbolizer.unwind.frame_pointers import FrameError
from symbolizer.unwind.frame_sections import exception_frames
from symbolizer.unwind.frames import frame_unwind_table
from symbolizer.unwind.pages import MAX_ROWS
from symbolizer.unwind.rows import FRAME_POINTER
from tests.support.elfwriter import TEXT_ADDRESS, Sec, Seg, image
from tests.support.framewriter import ADDRESS, FrameWriter, assert_in_order

NAME = "frames"
_LIBRARIES = ("libc.so.6", "ld-linux-x86-64.so.2", "libm.so.6", "libgcc_s.so.1", "libstdc++.so.6", "libcrypto.so.3")
_FOLDER = Path("/usr/lib/x86_64-linux-gnu")
_FUNCTIONS, _MOST_BYTES = 12, 2000
"""Of one seed."""
_SIZE = 0x100
_CODE = 0x3000
_HEADER = 0x800


def _file_before(name: str) -> bytes:
    """A file that ends where the contents of its section `name` begin; its header claims more than there will be."""
    code = {"segments": (Seg(0x1000, TEXT_ADDRESS, _CODE, _CODE),), "text": bytes(_CODE)}
    length = len(image(sections=[Sec(name)], **code))
    section = Sec(name, addr=ADDRESS if name == ".eh_frame" else 0, offset=length, size=1 << 20)
    return image(sections=[section], **code)


def _file_without_sections() -> bytes:
    """A file that ends where .eh_frame_hdr begins, in the executable segment, which is too long."""
    segments = (
        Seg(0x1000, TEXT_ADDRESS, 1 << 16, 1 << 16),
        Seg(0x1000 + _HEADER, TEXT_ADDRESS + _HEADER, 64, 64, type=0x6474E550),
    )
    made = bytearray(image(segments=segments, text=bytes(_HEADER)))
    made[40:48], made[60:64] = bytes(8), bytes(4)
    return bytes(made[: 0x1000 + _HEADER])


_FILES = (_file_before(".eh_frame"), _file_before(".debug_frame"), _file_without_sections())


def _functions(path: Path) -> Iterator[tuple[bytes, bytes, str]]:
    """(instructions of the CIE, those of the FDE, augmentation) of a library, from one end to the other."""
    entries = FrameEntries(exception_frames(ElfFile.open(str(path))))
    for key in entries.keys:
        fde = entries.fde(key & 0xFFFFFFFF)
        cie = entries.cie(fde.cie)
        assert cie is not None
        yield cie.instructions, fde.instructions, "zRS" if cie.signal else "zR"


def _written(pieces: list[tuple[bytes, bytes, str]], writer: FrameWriter) -> bytes:
    """The same functions one behind the other from TEXT_ADDRESS on."""
    cies: dict[tuple[bytes, str], int] = {}
    for number, (initial, instructions, letters) in enumerate(pieces):
        if (initial, letters) not in cies:
            cies[initial, letters] = writer.cie(initial, augmentation=letters, encoding=0x03 if writer.debug else 0x1B)
        writer.fde(TEXT_ADDRESS + _SIZE * number, _SIZE, instructions, cies[initial, letters])
    writer.terminate()
    return bytes(writer.data)


def seeds() -> list[bytes]:
    found = [
        b"\0" + bytes(4),
        b"\1" + _written([(b"\x0c\x07\x08\x90\x01", b"\x01" + struct.pack("<I", TEXT_ADDRESS + 9), "zR")], _debug()),
    ]
    header = struct.pack("<4Bi", 1, 0x1B, 0x03, 0x3B, 8)
    for name in _LIBRARIES:
        if not (_FOLDER / name).exists():
            continue
        functions = list(_functions(_FOLDER / name))
        unusual = [function for function in functions if function[2] == "zRS" or b"\x0f" in function[1]]
        for pieces in (unusual, functions[:: len(functions) // _FUNCTIONS]):
            short = [function for function in pieces if len(function[1]) < _MOST_BYTES // _FUNCTIONS][:_FUNCTIONS]
            loaded = FrameWriter(TEXT_ADDRESS + _HEADER + 12)
            found += [
                b"\0" + _written(short, FrameWriter()),
                b"\1" + _written(short, _debug()),
                b"\2" + header + bytes(4) + _written(short, loaded),
            ]
    return found


def _debug() -> FrameWriter:
    return FrameWriter(debug=True)


def run(data: bytes) -> None:
    try:
        elf = ElfFile(_FILES[data[0] % len(_FILES) if data else 0] + data[1:])
    except ElfError:
        return
    try:
        table = frame_unwind_table(elf)
    except FrameError:
        return
    if table is None:
        return
    assert table.rules[0] == FRAME_POINTER
    assert len(table.rows) <= MAX_ROWS
    assert_in_order(table)
    assert max(row & 0xFFFF for row in table.rows) < len(table.rules)
