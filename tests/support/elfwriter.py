"""Builds small ELF64 images in memory from a few named values, so that tests can say what is odd about a file.

`image(symbols=[Sym("f", 0x1000, 16)])` is a whole file: one executable segment at file offset 0x1000, file
virtual address 0x1000, with a section `.text`, and the tables asked for behind it.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

STT_NOTYPE, STT_OBJECT, STT_FUNC, STT_GNU_IFUNC = 0, 1, 2, 10
STB_LOCAL, STB_GLOBAL, STB_WEAK = 0, 1, 2
PT_LOAD, PT_NOTE = 1, 4
PF_X, PF_R = 1, 4
SHT_PROGBITS, SHT_SYMTAB, SHT_STRTAB, SHT_RELA, SHT_NOTE, SHT_DYNSYM = 1, 2, 3, 4, 7, 11
SHF_ALLOC, SHF_EXECINSTR = 2, 4
TEXT = 1
"""The index of the section `.text`."""
TEXT_ADDRESS = 0x1000


@dataclass(frozen=True)
class Sym:
    name: str | bytes
    value: int
    size: int = 0
    type: int = STT_FUNC
    bind: int = STB_GLOBAL
    section: int = TEXT


@dataclass(frozen=True)
class Sec:
    name: str
    data: bytes = b""
    type: int = SHT_PROGBITS
    flags: int = 0
    addr: int = 0
    link: int = 0
    size: int | None = None
    """What the header says, where that is not the truth."""
    offset: int | None = None


@dataclass(frozen=True)
class Seg:
    offset: int
    vaddr: int
    filesz: int
    memsz: int
    type: int = PT_LOAD
    flags: int = PF_R | PF_X


def note(build_id: bytes) -> bytes:
    """A GNU build id note."""
    return struct.pack("<III4s", 4, len(build_id), 3, b"GNU\0") + build_id + bytes(-len(build_id) % 4)


def symbol_table(symbols: Sequence[Sym]) -> tuple[bytes, bytes]:
    """The contents of a symbol table and of its string table; entry 0 is the empty one."""
    strings, table = bytearray(b"\0"), bytearray(24)
    for sym in symbols:
        name = sym.name.encode() if isinstance(sym.name, str) else sym.name
        table += struct.pack(
            "<IBBHQQ", len(strings) if name else 0, sym.bind << 4 | sym.type, 0, sym.section, sym.value, sym.size
        )
        strings += name + b"\0"
    return bytes(table), bytes(strings)


def image(
    symbols: Sequence[Sym] = (),
    dynamic: Sequence[Sym] = (),
    sections: Sequence[Sec] = (),
    segments: Sequence[Seg] = (Seg(0x1000, TEXT_ADDRESS, 0x1000, 0x1000),),
    build_id: bytes = b"",
    text: bytes = bytes(0x1000),
    entry: int = 0,
) -> bytes:
    """A whole file. Sections follow in the order: null, .text, .symtab, .strtab, .dynsym, .dynstr, note, `sections`."""
    table, strings = symbol_table(symbols)
    dynamic_table, dynamic_strings = symbol_table(dynamic)
    every = [
        Sec("", type=0),
        Sec(".text", text, flags=SHF_ALLOC | SHF_EXECINSTR, addr=TEXT_ADDRESS, offset=0x1000),
        Sec(".symtab" if symbols else ".none", table, SHT_SYMTAB, link=3),
        Sec(".strtab", strings, SHT_STRTAB),
        Sec(".dynsym" if dynamic else ".none", dynamic_table, SHT_DYNSYM, link=5),
        Sec(".dynstr", dynamic_strings, SHT_STRTAB),
        *([Sec(".note.gnu.build-id", note(build_id), SHT_NOTE)] if build_id else []),
        *sections,
    ]
    return _assemble(every, segments, text, entry)


def _assemble(every: list[Sec], segments: Sequence[Seg], text: bytes, entry: int) -> bytes:
    names = b"\0" + b"".join(sec.name.encode() + b"\0" for sec in every) + b".shstrtab\0"
    every.append(Sec(".shstrtab", names, SHT_STRTAB))
    out = bytearray(64 + 56 * len(segments))
    out += bytes(0x1000 - len(out)) + text
    headers, name = bytearray(), 1
    for sec in every:
        offset = sec.offset
        if offset is None:
            out += bytes(-len(out) % 8)
            offset = len(out)
            out += sec.data
        size = len(sec.data) if sec.size is None else sec.size
        headers += struct.pack("<IIQQQQIIQQ", name, sec.type, sec.flags, sec.addr, offset, size, sec.link, 0, 8, 24)
        name += len(sec.name) + 1
    out += bytes(-len(out) % 8)
    ident = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    fields = (3, 62, 1, entry, 64, len(out), 0, 64, 56, len(segments), 64, len(every), len(every) - 1)
    out[:64] = struct.pack("<16sHHIQQQIHHHHHH", ident, *fields)
    for index, seg in enumerate(segments):
        struct.pack_into(
            "<IIQQQQQQ", out, 64 + 56 * index,
            seg.type, seg.flags, seg.offset, seg.vaddr, seg.vaddr, seg.filesz, seg.memsz, 0x1000,
        )  # fmt: skip
    return bytes(out + headers)
