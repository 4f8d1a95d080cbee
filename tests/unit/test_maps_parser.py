"""/proc/PID/maps: lines as the kernel writes them, and anything else."""

import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from agent.procfs.maps import MAX_EXECUTABLE, MemoryMap, parse_maps, read_maps

TEXT = b"""00400000-00401000 r--p 00000000 fe:01 1234                       /usr/bin/thing
00401000-00500000 r-xp 00001000 fe:01 1234                       /usr/bin/thing
7f0000000000-7f0000001000 rw-p 00000000 00:00 0                          [heap]
7f0000200000-7f0000300000 r-xp 00026000 08:02 99 /srv/with space\\012and newline (deleted)
7f0000300000-7f0000400000\x20rwxp\x2000000000\x2000:00\x200\x20
7ffd11800000-7ffd11802000 r-xp 00000000 00:00 0                          [vdso]
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]
"""


def test_executable_lines_are_read() -> None:
    assert parse_maps(TEXT) == [
        MemoryMap(0x401000, 0x500000, 0x1000, os.makedev(0xFE, 1), 1234, "/usr/bin/thing"),
        MemoryMap(
            *(0x7F0000200000, 0x7F0000300000, 0x26000, os.makedev(8, 2), 99),
            path="/srv/with space\nand newline",
            deleted=True,
        ),
        MemoryMap(0x7F0000300000, 0x7F0000400000, 0, 0, 0, ""),
        MemoryMap(0x7FFD11800000, 0x7FFD11802000, 0, 0, 0, "[vdso]"),
    ]


def test_kernel_addresses_and_empty_ranges_are_passed_over() -> None:
    assert parse_maps(b"ffffffffff600000-ffffffffff601000 r-xp 00000000 00:00 0 [vsyscall]") == []
    assert parse_maps(b"00401000-00401000 r-xp 00000000 00:00 0") == []
    assert parse_maps(b"00402000-00401000 r-xp 00000000 00:00 0") == []


def test_a_path_that_is_not_utf8_is_still_a_path() -> None:
    (found,) = parse_maps(b"1000-2000 r-xp 00000000 00:01 7 /tmp/\xff")
    assert found.path == "/tmp/\ufffd"


def test_there_is_a_limit() -> None:
    lines = b"".join(b"%x-%x r-xp 00000000 00:00 0\n" % (at << 12, at + 1 << 12) for at in range(1, MAX_EXECUTABLE * 2))
    assert len(parse_maps(lines)) == MAX_EXECUTABLE


def test_our_own_mappings_hold_our_own_code() -> None:
    found = read_maps(os.getpid())
    assert any(one.path == "[vdso]" for one in found)
    assert any(one.inode and Path(one.path).name.startswith(("python", "libpython")) for one in found)


def line_of(one: MemoryMap) -> bytes:
    major, minor = os.major(one.device), os.minor(one.device)
    path = one.path.replace("\n", "\\012").encode()
    suffix = b" (deleted)" if one.deleted else b""
    return b"%08x-%08x r-xp %08x %02x:%02x %d %s%s" % (
        *(one.start, one.end, one.offset, major, minor, one.inode),
        b"                   " + path,
        suffix,
    )


mappings = st.builds(
    lambda page, pages, offset, major, minor, inode, path, deleted: MemoryMap(
        *(page << 12, page + pages << 12, offset << 12, os.makedev(major, minor), inode, path, deleted)
    ),
    *(st.integers(1, 2**34), st.integers(1, 2**20), st.integers(0, 2**40)),
    *(st.integers(0, 4095), st.integers(0, 2**20 - 1), st.integers(0, 2**63)),
    st.text(st.characters(codec="utf-8", exclude_characters="\\\r\0"), min_size=1, max_size=30).map("/{}".format),
    st.booleans(),
)


@given(st.lists(mappings, max_size=5))
def test_what_the_kernel_writes_is_read_back(wanted: list[MemoryMap]) -> None:
    wanted = [one for one in wanted if not one.path.endswith(" (deleted)")]
    data = b"".join(line_of(one) + b"\n" for one in wanted)
    assert parse_maps(data) == sorted(wanted, key=lambda one: one.start)


@given(st.binary(max_size=300))
def test_any_bytes_are_survived(data: bytes) -> None:
    for one in parse_maps(data):
        assert 0 <= one.start < one.end <= 1 << 47
