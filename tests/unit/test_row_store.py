"""Unwind tables as bytes, and the directory that keeps them."""

import os
from array import array
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from symbolizer.binary import Binary
from symbolizer.elf.file import ElfFile
from symbolizer.unwind.rows import FRAME_POINTER, Rule, RuleKind, UnwindTable
from symbolizer.unwind.store import MIN_TABLES, RowStore, StoreError, decode, encode, identity
from tests.support.elfwriter import Sec, image

RULES = (FRAME_POINTER, Rule(RuleKind.RSP, 72, -16), Rule(RuleKind.REGISTER, 8, 0, 10))


def table(rows: int = 3) -> UnwindTable:
    all_rows = array("I", [page << 16 | 1 for page in range(rows)])
    return UnwindTable(0x401, array("I", [0, rows - 1, rows]), all_rows, RULES)


@pytest.fixture
def store(tmp_path: Path) -> RowStore:
    return RowStore(tmp_path / "rows")


def test_a_table_comes_back_as_it_was() -> None:
    assert decode(encode(table())) == table()


@given(st.integers(0, 200), st.integers(1, 255))
def test_a_changed_byte_is_noticed(position: int, change: int) -> None:
    data = bytearray(encode(table()))
    data[position % len(data)] ^= change
    with pytest.raises(StoreError):
        decode(bytes(data))


@given(st.binary(max_size=300))
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(StoreError):
        decode(data)


def test_every_shorter_version_is_refused() -> None:
    data = encode(table())
    for length in range(len(data)):
        with pytest.raises(StoreError):
            decode(data[:length])


def test_what_was_kept_is_found_by_its_name_only(store: RowStore) -> None:
    store.put("one", encode(table()))
    assert store.get("one") == table()
    assert store.get("two") is None


def test_a_damaged_file_counts_as_none(store: RowStore, tmp_path: Path) -> None:
    store.put("one", encode(table()))
    path = tmp_path / "rows" / "one.rows"
    path.write_bytes(path.read_bytes()[:-1])
    assert store.get("one") is None


def test_nobody_elses_rows_are_believed(store: RowStore, tmp_path: Path) -> None:
    store.put("one", encode(table()))
    (tmp_path / "rows" / "one.rows").chmod(0o666)
    assert store.get("one") is None
    store.put("one", encode(table()))
    (tmp_path / "rows").chmod(0o777)
    assert store.get("one") is None
    (tmp_path / "rows").chmod(0o700)
    assert store.get("one") == table()


def test_a_link_is_not_followed(store: RowStore, tmp_path: Path) -> None:
    store.put("one", encode(table()))
    (tmp_path / "rows" / "two.rows").symlink_to("one.rows")
    assert store.get("two") is None


def test_what_was_used_last_stays(tmp_path: Path) -> None:
    data = encode(table())
    store = RowStore(tmp_path, max_bytes=3 * len(data))
    for age, name in enumerate(("a", "b", "c")):
        store.put(name, data)
        os.utime(tmp_path / f"{name}.rows", (1000 + age, 1000 + age))
    assert store.get("a") == table()  # used now
    store.put("d", data)
    assert [name for name in "abcd" if store.get(name)] == ["a", "c", "d"]
    assert not list(tmp_path.glob(".*"))


def test_a_directory_that_cannot_be_made_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = RowStore(tmp_path / "file" / "rows")
    store.put("one", encode(table()))
    assert store.get("one") is None


def binary(contents: bytes, build_id: bytes = b"\xab" * 20, address: int = 0x5000) -> Binary:
    data = image(sections=[Sec(".eh_frame", contents, addr=address)], build_id=build_id)
    return Binary(ElfFile(data), "/lib/libx.so")


def test_a_file_is_known_by_its_build_id_and_its_tables() -> None:
    large = bytes(MIN_TABLES)
    name = identity(binary(large))
    assert name.startswith("ab" * 20)
    assert name == identity(binary(large))
    others = [binary(b"x" + large[1:]), binary(large, b"\xcd" * 20), binary(large, address=0x6000), binary(large, b"")]
    assert len({name, *map(identity, others)}) == 5


def test_small_tables_are_not_worth_keeping() -> None:
    assert identity(binary(bytes(MIN_TABLES - 1))) == ""
