from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from symbolizer.kernel import KERNEL, MAX_FUNCTION, MAX_NAME, KernelSymbols

BASE = 0xFFFFFFFF81000000


@pytest.fixture
def listed(tmp_path):
    def write(text: str | bytes) -> KernelSymbols:
        (tmp_path / "kallsyms").write_bytes(text.encode() if isinstance(text, str) else text)
        return KernelSymbols.read(str(tmp_path))

    return write


def names(symbols: KernelSymbols, *addresses: int) -> list[str]:
    return ["".join(frame.function for frame in symbols.symbolize(address)) for address in addresses]


def test_functions_reach_to_the_next_one_and_data_is_no_function(listed):
    symbols = listed(
        f"{BASE:x} T first\n{BASE + 0x10:x} D data\n{BASE + 0x20:x} t second\n{BASE + 0x30:x} W third\n0 A percpu\n"
    )
    assert symbols.count == 3
    assert names(symbols, BASE - 1, BASE, BASE + 0x1F, BASE + 0x20, BASE + 0x30) == [
        "",
        "first",
        "first",
        "second",
        "third",
    ]


def test_last_function_ends_with_its_page_and_so_does_one_before_a_gap(listed):
    symbols = listed(f"{BASE + 8:x} T a\n{BASE + 0x10 + 2 * MAX_FUNCTION:x} T b\n")
    assert names(symbols, BASE + 0xFFF, BASE + 0x1000) == ["a", ""]
    end = BASE + 2 * MAX_FUNCTION + 0x1000
    assert names(symbols, end - 1, end, (1 << 64) - 1) == ["b", "", ""]


def test_end_of_text_marks_no_function(listed):
    symbols = listed(f"{BASE:x} T f\n{BASE + 0x40:x} T _etext\n{BASE + 0x2000:x} T g\n")
    assert names(symbols, BASE + 0x3F, BASE + 0x40, BASE + 0x1000, BASE + 0x2000) == ["f", "", "", "g"]


def test_modules_are_named_and_may_come_in_any_order(listed):
    symbols = listed(
        f"{BASE:x} T vfs_read\n{BASE + 0x3000:x} t later\t[xfs]\n{BASE + 0x2000:x} t ext4_read\t[ext4]\n"
        f"{BASE + 0x2010:x} t bpf_prog_1\t[bpf]\n"
    )
    assert names(symbols, BASE, BASE + 0x2000, BASE + 0x2010, BASE + 0x3000) == [
        "vfs_read",
        "ext4_read",
        "bpf_prog_1",
        "later",
    ]
    assert [symbols.module_of(BASE + at) for at in (0, 0x2000, 0x3000)] == [KERNEL, "[ext4]", "[xfs]"]
    assert symbols.module_of(0) == KERNEL


def test_global_name_wins_then_fewest_underscores_then_the_first(listed):
    symbols = listed(
        f"{BASE:x} t local\n{BASE:x} T __global\n{BASE:x} T global\n{BASE:x} T other\n{BASE:x} W weak\n"
        f"{BASE + 1:x} t next\n"
    )
    assert names(symbols, BASE, BASE + 1) == ["global", "next"]


def test_hidden_addresses_are_reported_as_restricted(listed):
    symbols = listed("0000000000000000 T _stext\n0000000000000000 t f\t[ext4]\n")
    assert symbols.restricted
    assert symbols.symbolize(BASE) == ()
    assert not listed(f"{BASE:x} T f\n").restricted


def test_missing_file_has_no_symbols_and_raises_nothing(tmp_path):
    symbols = KernelSymbols.read(str(tmp_path / "nowhere"))
    assert (symbols.count, symbols.restricted, symbols.symbolize(BASE)) == (0, False, ())


def test_lying_lines_are_passed_over_and_other_bytes_replaced(listed):
    bad = b"\n".join((
        b"zz T f", b"-1 T f", b"+1 T f", b"1_0 T f", b"11112222333344445 T f", b"", b" ", b"1", b"10 T", b"10 T ",
        b"10  T f", b"10 TT f", b"\0\0 T f", b"x" * 5000, b"10 T " + b"\n",
    ))  # fmt: skip
    symbols = listed(bad + b"\n" + f"{BASE:x} T a".encode() + b"\xff\n" + f"{BASE + 1:x} T ".encode() + b"n" * 9999)
    assert names(symbols, BASE, BASE + 1) == ["a�", "n" * MAX_NAME]
    assert symbols.count == 2


def test_reload_sees_a_module_that_came_later(tmp_path):
    path = tmp_path / "kallsyms"
    path.write_text(f"{BASE:x} T f\n{BASE + 16:x} T g\n")
    symbols = KernelSymbols.read(str(tmp_path))
    assert names(symbols, BASE + 32) == ["g"]
    path.write_text(f"{BASE:x} T f\n{BASE + 16:x} T g\n{BASE + 32:x} t h\t[new]\n")
    assert names(symbols, BASE + 32) == ["g"]
    symbols.reload()
    assert names(symbols, BASE + 32) == ["h"]


def test_symbols_of_the_running_kernel_agree_with_a_plain_reading_of_its_list(tmp_path):
    # Not those of loaded BPF programs: they come and go between two readings.
    lines = [line for line in Path("/proc/kallsyms").read_text().splitlines(keepends=True) if "[bpf]" not in line]
    (tmp_path / "kallsyms").write_text("".join(lines))
    rows = [line.split() for line in lines]
    starts: dict[int, set[str]] = {}
    for row in rows:
        if row[1] in "tTwW":
            starts.setdefault(int(row[0], 16), set()).add(row[2])
    symbols = KernelSymbols.read(str(tmp_path))
    if set(starts) == {0}:
        assert symbols.restricted
        return
    starts.pop(0, None)
    assert symbols.count == len(starts)
    for address in sorted(starts)[::97]:
        assert set(names(symbols, address)) <= starts[address] | {""}
        assert symbols.symbolize(address) or starts[address] & {"_etext", "_einittext"}
    assert symbols.footprint < 12 << 20


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(1, 60), st.sampled_from("tTwWdD"), st.text("ab_", min_size=1, max_size=4))))
def test_find_agrees_with_a_search_of_the_whole_list(listed, rows):
    symbols = listed("".join(f"{BASE + at:x} {kind} {name}\n" for at, kind, name in rows))
    functions = {at: {n for a, k, n in rows if a == at and k in "tTwW"} for at, kind, _ in rows if kind in "tTwW"}
    for address in range(62):
        below = [at for at in functions if at <= address]
        (name,) = names(symbols, BASE + address)
        assert name in functions[max(below)] if below else not name
