import os
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from symbolizer.elf.file import MAX_SECTIONS, ElfError, ElfFile
from tests.support.elfwriter import PT_NOTE, SHT_NOTE, Sec, Seg, Sym, image, note

HUGE = (1 << 64) - 1
INTACT = image([Sym("f", 0x1000, 16)], build_id=bytes(range(20)))


def _readelf(*args: str) -> str:
    return subprocess.run(["readelf", *args], capture_output=True, text=True, check=True).stdout


def test_build_id_is_that_of_readelf_for_this_interpreters_libraries():
    paths = {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if ".so" in line}
    assert paths
    for path in paths:
        said = _readelf("-n", path)
        assert ElfFile.open(path).build_id == (said.split("Build ID: ")[1].split()[0] if "Build ID" in said else "")


def test_build_id_is_found_without_sections():
    data = bytearray(
        image(segments=[Seg(0x1000, 0, 36, 36, type=PT_NOTE)], text=note(b"\xab\xcd").ljust(0x1000, b"\0"))
    )
    data[60:62] = bytes(2)  # e_shnum
    assert ElfFile(bytes(data)).build_id == "abcd"


def test_build_id_of_another_owner_or_of_lying_size_is_not_taken():
    for contents in (
        note(b"\xab\xcd").replace(b"GNU", b"XYZ"),
        struct.pack("<III4s", 4, 20, 3, b"GNU\0") + b"short",
        struct.pack("<III4s", 4, HUGE >> 32, 3, b"GNU\0"),
        struct.pack("<III", HUGE >> 32, HUGE >> 32, 3),
    ):
        assert not ElfFile(image(sections=[Sec(".note", contents, SHT_NOTE)])).build_id


def test_sections_far_outside_the_file_are_empty():
    sections = [
        Sec(".beyond", offset=HUGE, size=HUGE),
        Sec(".over", offset=0x1000, size=HUGE),
        Sec(".note", type=SHT_NOTE, offset=HUGE - 1, size=HUGE),
    ]
    elf = ElfFile(image(sections=sections))
    assert elf.contents(elf.section(".beyond")) == b""
    assert len(elf.contents(elf.section(".over"))) == len(elf.data) - 0x1000
    assert elf.build_id == ""


def test_string_table_beyond_63_bits_gives_nameless_sections():
    data = bytearray(INTACT)
    headers = struct.unpack_from("<Q", data, 40)[0]
    count, names = struct.unpack_from("<HH", data, 60)
    assert count <= MAX_SECTIONS
    struct.pack_into("<Q", data, headers + names * 64 + 24, HUGE - 10)
    assert {section.name for section in ElfFile(bytes(data)).sections} == {""}


@pytest.mark.parametrize(
    ("at", "value"),
    [(0, b"\x7fELG"), (4, b"\1"), (5, b"\2"), (56, b"\xff\xff"), (32, b"\xff" * 8)],
    ids=["magic", "32 bit", "big endian", "many segments", "segments outside"],
)
def test_what_is_not_an_elf_file_of_ours_is_refused(at, value):
    data = bytearray(INTACT)
    data[at : at + len(value)] = value
    with pytest.raises(ElfError):
        ElfFile(bytes(data))


@given(st.integers(0, len(INTACT)))
def test_every_truncation_is_refused_or_read(length):
    try:
        ElfFile(INTACT[:length]).build_id  # noqa: B018
    except ElfError:
        assert length < 64 + 56


def test_fifo_and_folder_and_device_are_refused_without_blocking(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", tmp_path, "/dev/null"):
        with pytest.raises(OSError, match="not a regular file"):
            ElfFile.open(str(path))


def test_map_outlives_the_file_name_and_released_pages_come_back(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(INTACT)
    elf = ElfFile.open(str(path))
    path.unlink()
    elf.release()
    assert elf.data[:] == INTACT


def test_empty_file_is_refused(tmp_path):
    (tmp_path / "empty").touch()
    with pytest.raises(ElfError):
        ElfFile.open(str(tmp_path / "empty"))
