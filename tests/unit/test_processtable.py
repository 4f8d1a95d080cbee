"""What the walker is told of processes, in maps in memory."""

import pytest

from bpf import abi
from bpf.processes import GoThreads, ProcessMapping, ProcessTable
from tests.support.bpfmaps import MemoryMap, walker_maps

GO = GoThreads(mcall=(0x1000, 0x1080), sigpanic=(0x2000, 0x2100), tls=-8, g_m=48, m_curg=184, sched_bp=96)


@pytest.fixture
def maps() -> dict[str, MemoryMap]:
    return walker_maps()


def test_a_process_is_written_as_the_walker_reads_it(maps: dict[str, MemoryMap]) -> None:
    table = ProcessTable(maps)
    code = [
        ProcessMapping(0x400000, 0x402000, 0, 3, go=True),
        ProcessMapping(0x7F0000000000, 0x7F0000001000, -4096),
    ]
    assert table.set(17, 99, code, GO)
    assert table.space_of(17) == 99
    assert table.space_of(18) is None
    value = abi.PROCESS.unpack(maps["processes"].elements[17])
    (
        space,
        _,
        mcall,
        morestack,
        _,
        _,
        sigpanic,
        mcall_size,
        _,
        _,
        _,
        sigpanic_size,
        first,
        count,
        flags,
        tls,
        g_m,
    ) = value[:17]
    assert (space, mcall, mcall_size, morestack, sigpanic, sigpanic_size) == (99, 0x1000, 0x80, 0, 0x2000, 0x100)
    assert (count, flags, tls, g_m, value[20]) == (2, abi.MAPPINGS_KNOWN, -8, 48, 96)
    written = [abi.MAPPING.unpack(maps["mappings"].elements[first + index]) for index in range(count)]
    assert written == [(0x400000, 0, 512, 3 | abi.GO_CODE), (0x7F0000000000, 2**64 - 4096, 256, 0)]


def test_where_there_is_no_room_the_old_mappings_stay(maps: dict[str, MemoryMap]) -> None:
    table = ProcessTable(maps)
    code = [ProcessMapping(page << 12, page + 1 << 12, 0) for page in range(10)]
    assert table.set(17, 99, code, None)
    before = maps["processes"].elements[17]
    assert not table.set(17, 99, code, None)
    assert maps["processes"].elements[17] == before
    table.settle()
    assert not table.set(18, 100, code, None), "the run of a living process was given away"


def test_room_comes_back_after_a_window(maps: dict[str, MemoryMap]) -> None:
    table = ProcessTable(maps)
    code = [ProcessMapping(page << 12, page + 1 << 12, 0) for page in range(16)]
    assert table.set(17, 99, code, None)
    table.exited(17, 99)
    assert not table.set(18, 100, code, None)
    table.settle()
    assert table.set(18, 100, code, None)


def test_a_full_table_of_processes_is_no_error(maps: dict[str, MemoryMap]) -> None:
    table = ProcessTable(maps)
    code = [ProcessMapping(0x1000, 0x2000, 0)]
    assert [table.set(pid, pid, code, None) for pid in range(1, 6)] == [True] * 4 + [False]


def test_mappings_that_came_too_late_for_an_exit_are_taken_out(maps: dict[str, MemoryMap]) -> None:
    table = ProcessTable(maps)
    code = [ProcessMapping(0x1000, 0x2000, 0)]
    table.set(17, 99, code, None)  # the kernel side has removed 17 before, and told
    table.exited(17, 99)
    assert table.space_of(17) is None


def test_the_exit_of_one_program_leaves_the_next_in_the_same_process(maps: dict[str, MemoryMap]) -> None:
    table = ProcessTable(maps)
    table.set(17, 100, [ProcessMapping(0x1000, 0x2000, 0)], None)
    table.exited(17, 99)
    table.settle()
    assert table.space_of(17) == 100
    assert not table.set(18, 101, [ProcessMapping(page << 12, page + 1 << 12, 0) for page in range(16)], None)
