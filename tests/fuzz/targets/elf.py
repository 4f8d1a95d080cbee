"""ELF headers, symbol tables, linkage stubs, debug links, MiniDebugInfo and mappings of a hostile file."""

import lzma
import struct

from symbolizer.binary import Binary
from symbolizer.elf.debugfiles import read_debuglink
from symbolizer.elf.file import ElfError
from tests.support.elfwriter import STT_NOTYPE, Sec, Seg, Sym, image

NAME = "elf"
_PLT = b"\xff\x25" + struct.pack("<i", 0x1012) + bytes(10)


def seeds() -> list[bytes]:
    symbols = [Sym("f", 0x1000, 16), Sym("_ZN1a1bEi", 0x1010), Sym("_RNvC1a1f", 0x1020, 8, type=STT_NOTYPE)]
    text = bytes(0x200)
    segment = Seg(0x1000, 0x1000, 0x200, 0x200)
    rela = Sec(".rela.plt", struct.pack("<QQq", 0x3018, 1 << 32 | 7, 0), 4, link=4)
    link = Sec(".gnu_debuglink", b"a.debug\0\1\2\3\4")
    mini = Sec(".gnu_debugdata", lzma.compress(image(symbols, text=text)))
    return [
        image(symbols, text=text, segments=(segment,), build_id=bytes(20), sections=[link]),
        image((), symbols, text=text, segments=(segment,), sections=[Sec(".plt", _PLT, addr=0x2000), rela]),
        image((), symbols[:1], text=text, segments=(segment,), sections=[mini]),
    ]


def run(data: bytes) -> None:
    try:
        binary = Binary.from_memory(data)
    except ElfError:
        return
    read_debuglink(binary.elf)
    for address in (0, 0x1000, 0x1008, 0x1010, 0x1024, 0x2000, 0x2003, (1 << 64) - 1):
        binary.symbolize(address)
        binary.mapping_for(address)
        binary.vaddr_of(address)
