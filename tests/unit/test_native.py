import lzma
import random
import shutil
import struct

import pytest

from profiles.model import Frame, Kind
from symbolizer.binary import Binary
from symbolizer.elf.debugfiles import find_debug_file
from symbolizer.elf.file import ElfFile
from symbolizer.native import NativeSymbols
from tests.support.cprograms import functions, library, needs_compiler, run
from tests.support.elfwriter import Sec, Seg, Sym, image


def names_inside(symbols: NativeSymbols, truth: dict[str, tuple[int, int]]) -> dict[str, list[str]]:
    """For each function, the names at its first and last byte."""
    return {
        name: [frame.function for at in (start, start + size - 1) for frame in symbols.symbolize(at)]
        for name, (start, size) in truth.items()
    }


OURS = ("hidden_helper", "exported_one", "exported_two")


def ours(path) -> dict[str, tuple[int, int]]:
    return {name: place for name, place in functions(path).items() if name in OURS}


@needs_compiler
def test_library_with_symbols_names_every_function_at_both_ends(tmp_path):
    path = library(tmp_path)
    symbols = NativeSymbols(ElfFile.open(str(path)))
    assert names_inside(symbols, ours(path)) == {name: [name, name] for name in OURS}


@needs_compiler
def test_stripped_library_keeps_its_exported_names_only(tmp_path):
    path = library(tmp_path)
    truth = ours(path)
    run("strip", path)
    found = names_inside(NativeSymbols(ElfFile.open(str(path))), truth)
    assert found == {"hidden_helper": [], "exported_one": ["exported_one"] * 2, "exported_two": ["exported_two"] * 2}


@needs_compiler
@pytest.mark.parametrize("build_id", ["sha1", "none"])
def test_stripped_library_with_a_debug_link_has_all_names_again(tmp_path, build_id):
    path = library(tmp_path, f"-Wl,--build-id={build_id}")
    truth = ours(path)
    debug = tmp_path / "library.so.debug"
    run("objcopy", "--only-keep-debug", path, debug)
    run("strip", path)
    run("objcopy", f"--add-gnu-debuglink={debug}", path)
    elf = ElfFile.open(str(path))
    assert names_inside(NativeSymbols(elf, find_debug_file(elf, str(path))), truth) == {
        name: [name] * 2 for name in OURS
    }


@needs_compiler
def test_stripped_library_with_a_debug_file_by_build_id_has_all_names_again(tmp_path):
    path = library(tmp_path)
    truth = ours(path)
    build_id = ElfFile.open(str(path)).build_id
    folder = tmp_path / "usr/lib/debug/.build-id" / build_id[:2]
    folder.mkdir(parents=True)
    run("objcopy", "--only-keep-debug", path, folder / f"{build_id[2:]}.debug")
    run("strip", path)
    binary = Binary.open(str(path), "/library.so", root=str(tmp_path))
    found = {name: binary.symbolize(start) for name, (start, _) in truth.items()}
    assert found == {name: (Kind.NATIVE, (Frame(name),)) for name in OURS}
    assert binary.open_maps == 2


@needs_compiler
def test_minidebug_info_made_the_way_distributions_do_names_local_functions(tmp_path):
    path = library(tmp_path)
    truth = ours(path)
    run("objcopy", "--only-keep-debug", path, tmp_path / "debug")
    run(
        "objcopy",
        "-S",
        "--remove-section=.comment",
        tmp_path / "debug",
        tmp_path / "mini",
        "--keep-symbol=hidden_helper",
    )
    (tmp_path / "mini.xz").write_bytes(lzma.compress((tmp_path / "mini").read_bytes()))
    run("strip", path)
    run("objcopy", f"--add-section=.gnu_debugdata={tmp_path / 'mini.xz'}", path)
    symbols = NativeSymbols(ElfFile.open(str(path)))
    assert names_inside(symbols, truth) == {name: [name] * 2 for name in OURS}


@needs_compiler
@pytest.mark.parametrize("flags", [(), ("-fcf-protection=full",), ("-Wl,-z,now",), ("-Wl,-z,ibtplt",)])
def test_linkage_stubs_are_named_as_objdump_names_them(tmp_path, flags):
    path = library(tmp_path, *flags)
    truth = {}
    for line in run("objdump", "-d", "-j", ".plt", "-j", ".plt.sec", path).splitlines() if _has_stubs(path) else ():
        if line.endswith("@plt>:"):
            address, name = line.rstrip(">:").split(" <")
            truth[int(address, 16)] = name
    symbols = NativeSymbols(ElfFile.open(str(path)))
    assert {symbols.symbolize(at + inside) for at in truth for inside in (0, 15)} == {
        (Frame(n),) for n in truth.values()
    }
    assert {name for name in truth.values() if name.startswith("strtol")}


def _has_stubs(path) -> bool:
    sections = run("objdump", "-h", path)
    return ".plt" in sections


@needs_compiler
def test_cxx_function_is_shown_demangled_and_keeps_its_linker_name(tmp_path):
    if not shutil.which("g++"):
        pytest.skip("needs g++")
    (tmp_path / "a.cc").write_text(
        "namespace ns { struct C { int m(int, const char *); }; int C::m(int x, const char *) { return x; } }"
    )
    run("g++", "-shared", "-fPIC", "-o", tmp_path / "a.so", tmp_path / "a.cc")
    start, _ = functions(tmp_path / "a.so")["_ZN2ns1C1mEiPKc"]
    (frame,) = NativeSymbols(ElfFile.open(str(tmp_path / "a.so"))).symbolize(start)
    assert frame == Frame("ns::C::m(int, char const*)", system_name="_ZN2ns1C1mEiPKc")


@needs_compiler
def test_sample_of_the_c_librarys_functions_is_named_as_nm_names_them():
    path = next(line.split()[-1] for line in open_maps() if "/libc.so" in line or "/libc-" in line)
    truth: dict[tuple[int, int], set[str]] = {}
    for name, place in functions(path, "-D").items():
        truth.setdefault(place, set()).add(name.partition("@")[0])
    symbols = NativeSymbols(ElfFile.open(path))
    checked = 0
    for (start, size), names in random.Random(3).sample(sorted(truth.items()), 300):
        if size:
            (frame,) = symbols.symbolize(start + size // 2)
            assert frame.function in names
            checked += 1
    assert checked > 200


def open_maps() -> list[str]:
    with open("/proc/self/maps") as file:
        return file.readlines()


def test_version_in_a_name_is_not_shown():
    symbols = NativeSymbols(ElfFile(image([Sym("memcpy@@GLIBC_2.14", 0x1000, 8), Sym("@odd", 0x1010, 8)])))
    assert symbols.symbolize(0x1000) == (Frame("memcpy", system_name="memcpy@@GLIBC_2.14"),)
    assert symbols.symbolize(0x1010) == (Frame("@odd"),)


def test_tables_are_forgotten_and_read_again():
    symbols = NativeSymbols(ElfFile(image([Sym("f", 0x1000, 8)])))
    assert symbols.footprint == 0
    before = symbols.symbolize(0x1000)
    assert symbols.footprint > 0
    symbols.shrink()
    assert symbols.footprint == 0
    assert symbols.symbolize(0x1000) == before


def test_damaged_linkage_tables_give_no_names():
    for relocations in (b"", bytes(24), struct.pack("<QQq", 0x3018, 0xFFFFFFFF << 32 | 7, 0)):
        stubs = Sec(".plt", b"\xff\x25" + struct.pack("<i", 0x1012) + bytes(10), addr=0x2000)
        for link in (0, 4, 9999):
            elf = ElfFile(image(sections=[stubs, Sec(".rela.plt", relocations, 4, link=link, size=1 << 62)]))
            assert NativeSymbols(elf).symbolize(0x2003) == ()


def test_file_offsets_of_whole_pages_are_mapped_like_the_kernel_maps_them():
    binary = Binary.from_memory(
        image(segments=[Seg(0x1234, 0x402234, 0x100, 0x100), Seg(0, 0x400000, 64, 64, flags=4)])
    )
    assert binary.vaddr_of(0x1000) == 0x402000
    assert binary.vaddr_of(0x1334) == 0x402334
    assert binary.vaddr_of(0x2000) is None
    assert binary.vaddr_of(0) is None
    mapping = binary.mapping_for(0x1000)
    assert (mapping.start, mapping.limit, mapping.offset) == (0x402000, 0x403000, 0x1000)


def test_of_two_segments_in_one_page_the_one_that_holds_the_offset_is_taken():
    binary = Binary.from_memory(image(segments=[Seg(0x1000, 0x1000, 0x80, 0x80), Seg(0x1080, 0x5080, 0x80, 0x80)]))
    assert binary.vaddr_of(0x1010) == 0x1010
    assert binary.vaddr_of(0x1090) == 0x5090


def test_segment_beyond_the_number_range_is_not_mapped():
    huge = (1 << 64) - 1
    assert Binary.from_memory(image(segments=[Seg(0, huge, huge, huge)])).mapping_for(0) is None
    binary = Binary.from_memory(image(segments=[Seg(0, huge - 10, 10, 10)]))
    assert binary.mapping_for(0).limit == huge


def test_cached_and_unknown_addresses_answer_the_same_again():
    binary = Binary.from_memory(image([Sym("f", 0x1000, 8)]))
    for _ in range(2):
        assert binary.symbolize(0x1004) == (Kind.NATIVE, (Frame("f"),))
        assert binary.symbolize(0x1800) == (Kind.NATIVE, ())
    assert binary.footprint > 0
    binary.shrink()
    assert binary.footprint == 0
