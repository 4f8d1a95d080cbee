import lzma
import os
import struct
import zlib

import pytest

from symbolizer.elf import minidebug
from symbolizer.elf.debugfiles import DebugLink, find_debug_file, read_debuglink
from symbolizer.elf.file import ElfError, ElfFile
from symbolizer.elf.minidebug import read_minidebug
from tests.support.elfwriter import Sec, Sym, image

ID = bytes(range(1, 21))
FULL = image([Sym("f", 0x1000, 16)], build_id=ID)


def link(name: bytes, crc: int = 0) -> Sec:
    return Sec(".gnu_debuglink", name + bytes(4 - len(name) % 4) + struct.pack("<I", crc))


def put(path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def test_debug_file_is_found_by_build_id_below_the_root(tmp_path):
    put(tmp_path / f"usr/lib/debug/.build-id/01/{ID[1:].hex()}.debug", FULL)
    stripped = ElfFile(image(build_id=ID))
    assert find_debug_file(stripped, "/bin/x", str(tmp_path)).build_id == ID.hex()
    assert find_debug_file(stripped, "/bin/x", str(tmp_path / "usr")) is None


@pytest.mark.parametrize("place", ["opt/x.debug", "opt/.debug/x.debug", "usr/lib/debug/opt/x.debug"])
def test_debug_link_is_looked_up_in_its_three_places(tmp_path, place):
    put(tmp_path / place, FULL)
    stripped = ElfFile(image(build_id=ID, sections=[link(b"x.debug")]))
    assert find_debug_file(stripped, "/opt/x", str(tmp_path)) is not None


def test_debug_file_of_another_build_id_is_not_taken_although_its_checksum_is_right(tmp_path):
    put(tmp_path / "x.debug", FULL)
    other = ElfFile(image(build_id=bytes(20), sections=[link(b"x.debug", zlib.crc32(FULL))]))
    assert find_debug_file(other, "/x", str(tmp_path)) is None


def test_without_build_ids_the_checksum_decides(tmp_path):
    plain = image([Sym("f", 0x1000, 16)])
    put(tmp_path / "x.debug", plain)
    right = ElfFile(image(sections=[link(b"x.debug", zlib.crc32(plain))]))
    wrong = ElfFile(image(sections=[link(b"x.debug", zlib.crc32(plain) ^ 1)]))
    assert find_debug_file(right, "/x", str(tmp_path)) is not None
    assert find_debug_file(wrong, "/x", str(tmp_path)) is None


def test_debug_file_without_symbols_or_that_is_no_elf_file_is_passed_over(tmp_path):
    put(tmp_path / "x.debug", image(build_id=ID))
    put(tmp_path / ".debug/x.debug", b"no elf file")
    put(tmp_path / "usr/lib/debug/x.debug", FULL)
    stripped = ElfFile(image(build_id=ID, sections=[link(b"x.debug")]))
    assert find_debug_file(stripped, "/x", str(tmp_path)).section(".symtab")


def test_fifo_in_place_of_a_debug_file_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "x.debug")
    assert find_debug_file(ElfFile(image(sections=[link(b"x.debug")])), "/x", str(tmp_path)) is None


@pytest.mark.parametrize("name", [b"../x", b"a/b", b".", b"..", b""])
def test_debug_link_to_another_folder_is_refused(name):
    assert read_debuglink(ElfFile(image(sections=[link(name)]))) is None


def test_debug_link_is_read_and_damaged_ones_are_none():
    assert read_debuglink(ElfFile(image(sections=[link(b"abc.debug", 77)]))) == DebugLink("abc.debug", 77)
    for contents in (b"", b"x", b"name-without-end", b"x\0\0\0\1\2\3"):
        assert read_debuglink(ElfFile(image(sections=[Sec(".gnu_debuglink", contents)]))) is None
    assert read_debuglink(ElfFile(image(sections=[Sec(".gnu_debuglink", size=4 << 30)]))) is None


def with_minidebug(data: bytes) -> ElfFile:
    return ElfFile(image(sections=[Sec(".gnu_debugdata", data)]))


def test_minidebug_is_unpacked():
    assert read_minidebug(with_minidebug(lzma.compress(FULL))).build_id == ID.hex()
    assert read_minidebug(ElfFile(FULL)) is None


def test_damaged_or_truncated_minidebug_is_refused():
    packed = lzma.compress(FULL)
    for data in (b"", b"nonsense", packed[:-8], packed[: len(packed) // 2], lzma.compress(b"no elf file")):
        with pytest.raises(ElfError):
            read_minidebug(with_minidebug(data))


def test_minidebug_that_unpacks_beyond_the_bound_is_refused(monkeypatch):
    monkeypatch.setattr(minidebug, "MAX_UNPACKED", 1 << 20)
    with pytest.raises(ElfError, match="too large"):
        read_minidebug(with_minidebug(lzma.compress(FULL + bytes(2 << 20))))


def test_minidebug_that_wants_a_huge_dictionary_is_refused():
    packer = lzma.LZMACompressor(filters=[{"id": lzma.FILTER_LZMA2, "preset": 0}])
    packed = bytearray(packer.compress(FULL) + packer.flush())
    flags = packed.index(b"\x21\x01", 12)  # the LZMA2 filter: id, size of properties, then the dictionary size's code
    packed[flags + 2] = 38  # 2 GiB
    header = 12
    length = (packed[header] + 1) * 4
    packed[header + length - 4 : header + length] = struct.pack("<I", zlib.crc32(packed[header : header + length - 4]))
    with pytest.raises(ElfError, match="emory"):
        read_minidebug(with_minidebug(bytes(packed)))
