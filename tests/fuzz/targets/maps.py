"""/proc/PID/maps, whose paths anybody on the machine may choose."""

from agent.procfs.maps import MAX_EXECUTABLE, parse_maps

NAME = "maps"


def seeds() -> list[bytes]:
    return [
        (
            b"00401000-00500000 r-xp 00001000 fe:01 1234                       /usr/bin/thing\n"
            b"7f0000200000-7f0000300000 r-xp 00026000 08:02 99 /srv/with space\\012newline (deleted)\n"
            b"7f0000300000-7f0000400000 rwxp 00000000 00:00 0 \n"
            b"7ffd11800000-7ffd11802000 r-xp 00000000 00:00 0                          [vdso]\n"
        ),
        b"ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]\n",
        b"\n".join(b"%x-%x r-xs 00000000 00:00 0" % (page << 12, page + 1 << 12) for page in range(1, 200)),
    ]


def run(data: bytes) -> None:
    found = parse_maps(data)
    assert len(found) <= MAX_EXECUTABLE
    assert all(0 <= one.start < one.end <= 1 << 47 for one in found)
    assert found == sorted(found, key=lambda one: one.start)
