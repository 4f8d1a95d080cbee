import struct

from hypothesis import given
from hypothesis import strategies as st

from symbolizer.elf.file import ElfFile
from symbolizer.elf.symbols import MAX_SYMBOL_NAME, SymbolTable
from tests.support.elfwriter import (
    SHF_EXECINSTR,
    SHT_SYMTAB,
    STB_GLOBAL,
    STB_LOCAL,
    STB_WEAK,
    STT_GNU_IFUNC,
    STT_NOTYPE,
    STT_OBJECT,
    Sec,
    Sym,
    image,
)


def table(*symbols: Sym, **more) -> SymbolTable:
    elf = ElfFile(image(symbols, **more))
    return SymbolTable(elf, elf.section(".symtab"))


def name_at(symbols: SymbolTable, address: int) -> str:
    found = symbols.find(address)
    return symbols.name(found) if found else ""


def test_sized_function_covers_exactly_its_bytes():
    symbols = table(Sym("f", 0x1010, 0x10), Sym("g", 0x1040, 8))
    assert [name_at(symbols, a) for a in (0x100F, 0x1010, 0x101F, 0x1020, 0x1047, 0x1048)] == [
        "",
        "f",
        "f",
        "",
        "g",
        "",
    ]


def test_function_without_size_reaches_to_the_next_symbol_or_the_end_of_its_section():
    symbols = table(Sym("a", 0x1000), Sym("b", 0x1100))
    assert [name_at(symbols, a) for a in (0x1000, 0x10FF, 0x1100, 0x1FFF, 0x2000)] == ["a", "a", "b", "b", ""]


def test_label_without_size_inside_a_function_does_not_hide_it():
    symbols = table(Sym("whole", 0x1000, 0x100), Sym("label", 0x1010, 0, bind=STB_LOCAL), Sym("inner", 0x1020, 4))
    assert [name_at(symbols, a) for a in (0x100F, 0x1010, 0x1020, 0x1023, 0x1024)] == [
        "whole", "whole", "inner", "inner", "whole",
    ]  # fmt: skip


def test_global_name_wins_over_weak_and_local_whatever_the_order():
    names = [
        Sym("local", 0x1000, 8, bind=STB_LOCAL),
        Sym("weak", 0x1000, 8, bind=STB_WEAK),
        Sym("strong", 0x1000, 8, bind=STB_GLOBAL),
        Sym("unsized", 0x1000, 0, bind=STB_GLOBAL),
    ]
    assert name_at(table(*names), 0x1004) == "strong"
    assert name_at(table(*reversed(names)), 0x1004) == "strong"


def test_of_equal_names_the_one_with_fewest_underscores_then_the_first_wins():
    assert name_at(table(Sym("__x", 0x1000, 8), Sym("x", 0x1000, 8), Sym("_x", 0x1000, 8)), 0x1000) == "x"
    assert name_at(table(Sym("p", 0x1000, 8), Sym("q", 0x1000, 8)), 0x1000) == "p"


def test_only_defined_functions_in_code_are_kept():
    symbols = table(
        Sym("data", 0x1000, 8, type=STT_OBJECT),
        Sym("undefined", 0x1010, 8, section=0),
        Sym("absolute", 0x1020, 8, section=0xFFF1),
        Sym("elsewhere", 0x1030, 8, section=3),
        Sym("", 0x1040, 8),
        Sym("ifunc", 0x1050, 8, type=STT_GNU_IFUNC),
        Sym("assembly", 0x1060, 0, type=STT_NOTYPE),
    )
    assert len(symbols) == 2
    assert [name_at(symbols, 0x1050), name_at(symbols, 0x1060)] == ["ifunc", "assembly"]


def test_name_is_cut_at_its_bound_and_other_bytes_are_replaced():
    symbols = table(Sym("n" * 10000, 0x1000, 8), Sym(b"a\xffb", 0x1010, 8))
    assert name_at(symbols, 0x1000) == "n" * MAX_SYMBOL_NAME
    assert name_at(symbols, 0x1010) == "a�b"


def test_table_that_lies_about_its_size_ends_with_the_file():
    data = image([Sym("f", 0x1000, 8)])
    strings = Sec(".s", b"\0g\0", type=3)
    for size in (4 << 30, (1 << 64) - 1):
        liar = Sec(".liar", struct.pack("<IBBHQQ", 1, 0x12, 0, 1, 0x1800, 8), SHT_SYMTAB, link=7, size=size)
        elf = ElfFile(image([Sym("f", 0x1000, 8)], sections=[liar, strings]))
        symbols = SymbolTable(elf, elf.section(".liar"))
        assert len(symbols) <= len(data) // 24
        assert name_at(symbols, 0x1800) == "g"


def test_table_without_strings_or_outside_the_file_is_empty():
    for odd in (
        Sec(".odd", bytes(48), SHT_SYMTAB, link=999),
        Sec(".odd", b"", SHT_SYMTAB, link=3, offset=1 << 63, size=4096),
        Sec(".odd", bytes(48), 8, link=3),
        Sec(".odd", bytes(48), SHT_SYMTAB, link=6),
    ):
        elf = ElfFile(image(sections=[odd]))
        assert len(SymbolTable(elf, elf.section(".odd"))) == 0


def test_addresses_at_both_ends_of_the_number_range_are_looked_up():
    symbols = table(Sym("last", (1 << 64) - 8, (1 << 64) - 1), Sym("first", 0, 8))
    assert name_at(symbols, (1 << 64) - 1) == "last"
    assert name_at(symbols, 0) == "first"
    assert symbols.find(1 << 64) is None
    assert symbols.find(-1) is None


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(1, 40)), max_size=12), st.integers(0, 260))
def test_find_agrees_with_a_search_of_all_symbols(ranges, offset):
    symbols = table(
        *(Sym(f"f{i}", 0x1000 + start, size) for i, (start, size) in enumerate(ranges)), Sym("z", 0x1F00, 1)
    )
    found = symbols.find(0x1000 + offset)
    covering = [start for start, size in dict(reversed(ranges)).items() if start <= offset < start + size]
    assert (found.address - 0x1000 if found else None) == max(covering, default=None)


def test_code_flag_of_the_section_decides_not_its_name():
    code = Sec(".mine", bytes(16), flags=SHF_EXECINSTR, addr=0x3000)
    symbols = table(Sym("f", 0x3000, 8, section=6), sections=[code])
    assert name_at(symbols, 0x3007) == "f"
