"""Go binaries: build info, module data, function table, inline trees, and the unwind rows made from them."""

from symbolizer.elf.file import ElfError, ElfFile
from symbolizer.go.binary import GoBinary
from symbolizer.go.errors import GoError
from symbolizer.unwind.gopclntab import go_unwind_table
from tests.support.goimage import TEXT, go_image

NAME = "pclntab"


def seeds() -> list[bytes]:
    return [go_image(), go_image(magic=0xFFFFFFF2, version=b"devel go1.31-abc"), go_image(version=b"go1.27.3")]


def run(data: bytes) -> None:
    try:
        program = GoBinary.open(ElfFile(data))
    except (ElfError, GoError):
        return
    if program is None:
        return
    start, end = program.text_range
    for vaddr in (*range(TEXT, TEXT + 0x700, 9), start, end - 1, end):
        program.symbolize(vaddr)
    program.function_name(start)
    program.function_range("main.large")
    program.runtime_layout()
    assert isinstance(program.limits, tuple)
    assert isinstance(program.build_id, str)
    try:
        table = go_unwind_table(program)
    except GoError:
        return
    assert table.rule_at(start) is not None
