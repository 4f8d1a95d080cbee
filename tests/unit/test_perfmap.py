import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from profiles.model import Frame
from symbolizer import perfmap
from symbolizer.perfmap import MAX_NAME, PerfMap


@pytest.fixture
def written(tmp_path):
    """written(text) is process 42's map, which it writes as number 7 of its own namespace."""
    folder = tmp_path / "42/root/tmp"
    folder.mkdir(parents=True)

    def write(text: str | bytes) -> PerfMap:
        (folder / "perf-7.map").write_bytes(text.encode() if isinstance(text, str) else text)
        found = PerfMap.read(str(tmp_path), 42, 7)
        assert found is not None
        return found

    write.path = folder / "perf-7.map"
    write.root = str(tmp_path)
    return write


def names(symbols: PerfMap, *addresses: int) -> list[str]:
    return ["".join(frame.function for frame in symbols.symbolize(address)) for address in addresses]


def test_function_covers_exactly_its_bytes_and_keeps_spaces_in_its_name(written):
    symbols = written("1000 10 LazyCompile:*go file.js:1\n0x2000 0X8 no\n0x3000 0x8 with prefix\n")
    assert names(symbols, 0xFFF, 0x1000, 0x100F, 0x1010) == [
        "",
        "LazyCompile:*go file.js:1",
        "LazyCompile:*go file.js:1",
        "",
    ]
    assert names(symbols, 0x2000, 0x3007) == ["", "with prefix"]


def test_later_line_holds_where_lines_overlap(written):
    symbols = written("1000 100 old\n1010 10 new\n1018 4 newest\n0 2000 never\n1000 100 last\n")
    assert names(symbols, 0xFFF, 0x1000, 0x1018, 0x10FF, 0x1100) == ["never", "last", "last", "last", "never"]
    symbols = written("1000 100 old\n1010 10 new\n1018 4 newest\n")
    assert names(symbols, 0x100F, 0x1010, 0x1018, 0x101C, 0x1020) == ["old", "new", "newest", "new", "old"]


def test_lines_of_another_form_are_passed_over(written):
    symbols = written(
        b"\n1000\n1000 10\n1000 10 \nxyz 10 f\n-1 10 f\n1000 0 empty\n11112222333344445 1 f\n1000 8 a\xff\n"
    )
    assert len(symbols) == 1
    assert names(symbols, 0x1000) == ["a�"]


def test_range_beyond_the_last_address_is_cut_and_a_long_name_too(written):
    symbols = written("fffffffffffffff0 ffffffffffffffff " + "n" * 5000)
    assert names(symbols, (1 << 64) - 2) == ["n" * MAX_NAME]


def test_line_longer_than_a_chunk_does_not_take_the_next_one_with_it(written):
    symbols = written("1000 8 " + "n" * (3 << 20) + "\n2000 8 next\n")
    assert names(symbols, 0x2000) == ["next"]


def test_number_of_lines_is_bounded(written, monkeypatch):
    monkeypatch.setattr(perfmap, "MAX_ENTRIES", 3)
    assert len(written("".join(f"{i}000 10 f{i}\n" for i in range(1, 9)))) == 3


def test_changed_file_is_read_again_when_asked_only(written):
    symbols = written("1000 10 f\n")
    assert not symbols.refresh()
    with written.path.open("a") as file:
        file.write("2000 10 g\n")
    assert names(symbols, 0x2000) == [""]
    assert symbols.refresh()
    assert names(symbols, 0x1000, 0x2000) == ["f", "g"]


def test_what_was_read_is_kept_when_the_file_goes(written):
    symbols = written("1000 10 f\n")
    written.path.unlink()
    assert not symbols.refresh()
    assert symbols.symbolize(0x1008) == (Frame("f"),)


def test_missing_file_fifo_and_folder_are_no_map(written):
    assert PerfMap.read(written.root, 42, 7) is None
    os.mkfifo(written.path)
    assert PerfMap.read(written.root, 42, 7) is None
    written.path.unlink()
    written.path.mkdir()
    assert PerfMap.read(written.root, 42, 7) is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 20)), max_size=12))
def test_find_agrees_with_a_search_from_the_last_line_back(written, ranges):
    symbols = written("".join(f"{start:x} {size:x} f{i}\n" for i, (start, size) in enumerate(ranges)))
    for address in range(62):
        covering = [f"f{i}" for i, (start, size) in enumerate(ranges) if start <= address < start + size]
        assert names(symbols, address) == [covering[-1] if covering else ""]
