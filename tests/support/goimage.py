"""A small ELF file with Go's tables in it, made by hand: for tests and fuzz seeds that need no toolchain."""

import struct
from dataclasses import dataclass

TEXT, TABLE, DATA = 0x401000, 0x402000, 0x404000
_TEXT_AT, _TABLE_AT, _DATA_AT, _SIZE = 0x1000, 0x2000, 0x4000, 0x5000
GOFUNC = 0x403800

Pairs = tuple[tuple[int, int], ...]
"""(value, code offset at which it ends), ascending."""


@dataclass(frozen=True, slots=True)
class ImageFunc:
    """A function of the image. `inlined` are (name, parent pc, start line), indexed by the values of `inline`."""

    name: str
    size: int
    pcsp: Pairs = ()
    lines: Pairs = ()
    inline: Pairs = ()
    inlined: tuple[tuple[str, int, int], ...] = ()
    flag: int = 0
    func_id: int = 0
    start_line: int = 0
    code: bytes = b""


PROGRAM = (
    ImageFunc("runtime.text", 32, ((0, 32),), ((7, 32),)),
    ImageFunc(
        "main.outer[go.shape.int]",
        64,
        pcsp=((0, 1), (8, 4), (24, 60), (8, 61), (0, 64)),
        lines=((10, 8), (200, 40), (11, 64)),
        inline=((-1, 8), (1, 16), (0, 40), (-1, 64)),
        inlined=(("main.middle", 44, 190), ("main.inner", 20, 300)),
        start_line=9,
        code=b"\x55\x48\x89\xe5",
    ),
    ImageFunc("runtime.systemstack_switch", 32, ((0, 32),), ((1, 32),), func_id=22),
    ImageFunc("runtime.systemstack", 64, ((0, 1), (8, 60), (0, 64)), ((1, 64),), flag=6, code=b"\x55\x48\x89\xe5"),
    ImageFunc("runtime.mcall", 32, ((0, 1), (8, 32)), ((1, 32),), flag=6, code=b"\x55\x48\x89\xe5\x49\x8b\x66\x38"),
    ImageFunc("runtime.morestack", 32, ((0, 32),), ((1, 32),), flag=6, code=b"\x90\x90\x48\x8b\x63\x38"),
    ImageFunc("runtime.goexit", 32, ((0, 32),), ((1, 32),), flag=5),
    ImageFunc("runtime.sigreturn__sigaction", 32, ((0, 32),), ((1, 32),), flag=4),
    ImageFunc("main.store", 32, ((0, 4), (48, 32)), ((1, 32),), flag=4, code=b"\x48\x83\xec\x30\x48\x89\x6c\x24\x28"),
    ImageFunc("main.large", 1400, ((0, 1), (8, 1400)), ((1, 1400),), start_line=3),
)


def go_image(
    functions: tuple[ImageFunc, ...] = PROGRAM, *, magic: int = 0xFFFFFFF1, version: bytes = b"go1.26.6"
) -> bytes:
    """The file. Its header's textStart is 0, as in Go 1.26 and later, so the module data must be found."""
    image = bytearray(_SIZE)
    loads = [(5, _TEXT_AT, TEXT, 0x1000), (4, _TABLE_AT, TABLE, 0x2000), (6, _DATA_AT, DATA, 0x1000)]
    struct.pack_into(
        "<16sHHIQQQIHHHHHH", image, 0, b"\x7fELF\x02\x01\x01", 2, 62, 1, TEXT, 64, 0, 0, 64, 56, 3, 0, 0, 0
    )
    for index, (flags, offset, vaddr, size) in enumerate(loads):
        struct.pack_into("<IIQQQQQQ", image, 64 + 56 * index, 1, flags, offset, vaddr, vaddr, size, size, 0x1000)
    image[_TEXT_AT:_TABLE_AT] = b"\xcc" * 0x1000
    position = _TEXT_AT
    for func in functions:
        image[position : position + len(func.code)] = func.code
        position += func.size
    table, trees = _pclntab(functions, magic)
    image[_TABLE_AT : _TABLE_AT + len(table)] = table
    trees_at = GOFUNC - TABLE + _TABLE_AT
    image[trees_at : trees_at + len(trees)] = trees
    image[_DATA_AT : _DATA_AT + 360] = _moduledata(table, sum(func.size for func in functions))
    image[_DATA_AT + 0x200 : _DATA_AT + 0x220] = b"\xff Go buildinf:\x08\x02".ljust(32, b"\0")
    image[_DATA_AT + 0x220 : _DATA_AT + 0x221 + len(version)] = bytes([len(version)]) + version
    return bytes(image)


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


def encode_pairs(pairs: Pairs) -> bytes:
    """A pc-value table."""
    encoded, value, pc = b"", -1, 0
    for new, end in pairs:
        delta = new - value
        encoded += _varint(-2 * delta - 1 if delta < 0 else 2 * delta) + _varint(end - pc)
        value, pc = new, end
    return encoded + b"\0"


def _pclntab(functions: tuple[ImageFunc, ...], magic: int) -> tuple[bytes, bytes]:
    """The function table, and the inline trees that lie at GOFUNC."""
    names, values, trees, records, entries = b"\0", b"\0", b"", b"", []
    offsets: dict[str, int] = {}

    def name(text: str) -> int:
        nonlocal names
        if text not in offsets:
            offsets[text] = len(names)
            names += text.encode() + b"\0"
        return offsets[text]

    def pairs(of: Pairs) -> int:
        nonlocal values
        if not of:
            return 0
        values += encode_pairs(of)
        return len(values) - len(encode_pairs(of))

    entry, first_record = 0, 8 * len(functions) + 4
    for func in functions:
        tree = len(trees) if func.inlined else 0xFFFFFFFF
        for inlined, parent, line in func.inlined:
            trees += struct.pack("<B3xiii", 0, name(inlined), parent, line)
        entries.append((entry, first_record + len(records)))
        records += struct.pack(
            "<IiiIIIIIIiBBBB3I4I",
            *(entry, name(func.name), 0, 0, pairs(func.pcsp), pairs(((0, func.size),)), pairs(func.lines), 3, 0),
            *(func.start_line, func.func_id, func.flag, 0, 4, 0, 0, pairs(func.inline)),
            *(0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, tree),
        )
        entry += func.size
    names = names.ljust(-(-len(names) // 8) * 8, b"\0")
    units, files = struct.pack("<II", 0, 0), b"/src/main.go\0".ljust(16, b"\0")
    parts = [names, units, files, values.ljust(-(-len(values) // 8) * 8, b"\0")]
    starts = [72]
    for part in parts:
        starts.append(starts[-1] + len(part))
    header = struct.pack("<IBBBBQQQ5Q", magic, 0, 0, 1, 8, len(functions), 1, 0, *starts)
    functab = b"".join(struct.pack("<II", *pair) for pair in entries) + struct.pack("<I", entry)
    return header + b"".join(parts) + functab + records, trees


def _moduledata(table: bytes, text_size: int) -> bytes:
    names, units = struct.unpack_from("<QQ", table, 32)
    fields = {0: TABLE, 8: TABLE + names, 16: units - names, 24: units - names, 32: TABLE + units}
    fields |= {160: TEXT, 168: TEXT + text_size, 176: TEXT, 184: TEXT + text_size, 320: GOFUNC}
    return b"".join(struct.pack("<Q", fields.get(field, 0)) for field in range(0, 360, 8))
