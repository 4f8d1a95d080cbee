"""What goroutines wait for, against what the program itself says of its channels and locks; and broken memory."""

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from agent.goroutines.source import Source
from profiles.goroutines import Channel, Goroutines
from symbolizer.goroutines.layout import LEAKED, RUNNING, WAITING
from symbolizer.goroutines.memory import USER_LIMIT
from symbolizer.goroutines.snapshot import Field, Snapshot
from symbolizer.goroutines.steps import Stop
from symbolizer.goroutines.sudogs import wait_layout
from symbolizer.goroutines.waiting import MAX_CASES, WaitReader
from tests.go.toolchains import VERSIONS

GoBuild = Callable[[str, str, str], Path]
EVERY = tuple(sorted({*VERSIONS, "1.22.10", "1.23.9", "1.25.5"}))


@contextmanager
def running(program: Path, *arguments: str) -> Iterator[tuple[int, dict]]:
    with subprocess.Popen([program, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield process.pid, json.loads(process.stdout.readline())
        finally:
            process.kill()


def others_of(source: Source) -> dict[int, tuple[int, ...]]:
    return source._waits.read(source._reader.take()).others()


@pytest.mark.go
@pytest.mark.parametrize("mode", ["plain", "stripped"])
@pytest.mark.parametrize("version", EVERY)
def test_goroutines_wait_for_what_the_program_says(go_build: GoBuild, version: str, mode: str) -> None:
    with running(go_build(version, mode, "waits")) as (pid, told), Source(pid) as source:
        taken: Goroutines = source.take()
        others = others_of(source)
    waits = dict(zip(taken.ids, taken.waits_for, strict=True))
    assert len(told["Waits"]) == 44
    for goroutine, wait in told["Waits"].items():
        assert waits[int(goroutine)] == wait["Address"], wait["Name"]
        assert others.get(int(goroutine), ()) == tuple(wait["Others"] or ()), wait["Name"]
    for address, facts in told["Channels"].items():
        expected = Channel(facts["Buffered"], facts["Capacity"], False, facts["Senders"], facts["Receivers"])
        assert taken.channels[int(address)] == expected


@pytest.mark.go
@pytest.mark.parametrize("version", EVERY)
def test_offsets_equal_those_in_the_dwarf(go_build: GoBuild, version: str) -> None:
    printed = subprocess.run([go_build(version, "plain", "waits"), "offsets"], capture_output=True, check=True).stdout
    dwarf = json.loads(printed)
    sudog, hchan = dwarf["runtime.sudog"], dwarf["runtime.hchan"]
    layout = wait_layout(tuple(map(int, version.split("."))))
    pair = 8 if int(version.split(".")[1]) >= 26 else 0
    assert (layout.elem, layout.c) == (sudog["elem"] + pair, sudog["c"] + pair)
    assert (layout.is_select, layout.waitlink) == (sudog["isSelect"], sudog["waitlink"])
    assert (sudog["g"], sudog["prev"]) == (0, 16)
    assert (layout.timer, layout.recvq, layout.sendq) == (hchan.get("timer", 0), hchan["recvq"], hchan["sendq"])
    assert (hchan["qcount"], hchan["dataqsiz"], hchan["elemsize"], hchan["closed"]) == (0, 8, 24, 28)
    mutex = dwarf.get("internal/sync.Mutex", dwarf["sync.Mutex"])
    assert (mutex["sema"], dwarf["sync.RWMutex"]["writerSem"], dwarf["sync.RWMutex"]["readerSem"]) == (4, 8, 12)
    assert (dwarf["sync.WaitGroup"]["sema"], dwarf["sync.Cond"]["notify"]) == (8, 16)
    assert (dwarf["runtime.notifyList"]["head"], dwarf["runtime.notifyList"]["tail"]) == (16, 24)


@pytest.mark.go
@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", ["channel", "channels", "select", "mutex", "group", "cond", "sleep"])
def test_crowds(go_build: GoBuild, version: str, kind: str) -> None:
    count = 20_000
    with running(go_build(version, "plain", "waits"), kind, str(count)) as (pid, _), Source(pid) as source:
        taken = source.take()
    waits = np.array(taken.waits_for)
    assert (waits != 0).sum() == (0 if kind == "sleep" else count)
    if kind == "channels":
        assert len(taken.channels) == count
        assert set(taken.channels.values()) == {Channel(0, 0, False, 0, 1)}
    elif kind == "select":
        assert max(one.receivers for one in taken.channels.values()) == count
        assert max(one.senders for one in taken.channels.values()) == count
    elif kind != "sleep":
        assert len(np.unique(waits)) == 2


class Words:
    """A memory of a few words; anything else in its pages is what was asked for, the rest is not mapped."""

    def __init__(self, words: dict[int, int], otherwise: int = 0) -> None:
        self.words, self.otherwise = words, otherwise
        self.pages = {address >> 12 for address in words}
        self.pieces = 0

    def read(self, *_: int) -> bytes:
        raise AssertionError("nothing is read one by one")

    def gather(self, addresses, sizes, into):
        ok, at = np.ones(len(addresses), bool), 0
        for index, (start, size) in enumerate(zip(addresses.tolist(), sizes.tolist(), strict=True)):
            self.pieces += 1
            ok[index] = all(page in self.pages for page in range(start >> 12, (start + size - 1 >> 12) + 1))
            values = [self.words.get(start + offset, self.otherwise) for offset in range(0, size, 8)]
            into[at : at + size] = np.array(values, np.uint64).view(np.uint8) if ok[index] else 0
            at += size
        return ok


class Code:
    """A binary whose code is one function that waits, called by one that locks."""

    version = (1, 24, 11)

    def function_ranges(self, _names):
        return {"runtime.semacquire1": (0x2000, 0x2100), "sync.runtime_notifyListWait": (0x3000, 0x3100)}

    def function_name(self, vaddr):
        return "internal/sync.runtime_SemacquireMutex" if vaddr >> 12 == 4 else ""

    def symbolize(self, _vaddr):
        return (SimpleNamespace(function="sync.(*Cond).Wait"),)


class Frames:
    """Every frame has eight words below its return address."""

    def look_up(self, pcs):
        return np.full(len(pcs), 64, np.uint64), np.full(len(pcs), Stop.GO_ON, np.uint8)


G, SUDOG, CHANNEL, STACK = 0xC0_0000_1000, 0xC0_0001_0000, 0xC0_0002_0000, 0xC0_0010_0000
REASONS = ("", "chan receive", "chan send", "select", "sync.Mutex.Lock")
LAYOUT = wait_layout((1, 24))


def snapshot_of(*waiting: int, reason: int = 1, status: int = WAITING, stack: tuple[int, ...] = ()) -> Snapshot:
    fields = np.zeros((len(waiting), len(Field)), np.uint64)
    fields[:, Field.STATUS], fields[:, Field.REASON] = status, reason
    fields[:, Field.GOID] = np.arange(len(waiting)) + 1
    fields[:, Field.WAITING] = waiting
    fields[:, Field.SP], fields[:, Field.STACK_HI] = STACK, STACK + 0x1000
    addresses = np.uint64(G) + np.arange(len(waiting), dtype=np.uint64) * np.uint64(512)
    return Snapshot(
        addresses, fields, np.zeros(len(waiting), np.int64), [stack], np.ones(len(waiting), np.uint8), 0, ""
    )


def sudog(at: int, *, g: int = G, channel: int = CHANNEL, link: int = 0, select: bool = False, prev: int = 0) -> dict:
    words = {at: g, at + 16: prev, at + LAYOUT.waitlink: link, at + LAYOUT.c: channel}
    return {**words, at + (LAYOUT.is_select & ~7): int(select) << LAYOUT.is_select % 8 * 8}


def channel(at: int = CHANNEL, *, buffered: int = 1, capacity: int = 3, closed: int = 0, receiving: int = 0, sending=0):
    words = {at: buffered, at + 8: capacity, at + 24: closed << 32 | 16}
    return {**words, at + LAYOUT.recvq: receiving, at + LAYOUT.sendq: sending}


def waits(words: dict[int, int], snapshot: Snapshot, otherwise: int = 0):
    memory = Words(words, otherwise)
    reader = WaitReader(SimpleNamespace(binary=Code(), bias=0, reasons=REASONS), memory, Frames())
    return reader.read(snapshot), memory


def test_a_goroutine_waits_for_its_channel() -> None:
    for status in (WAITING, LEAKED):
        found, _ = waits({**sudog(SUDOG), **channel(closed=1)}, snapshot_of(SUDOG, status=status))
        assert found.waits_for.tolist() == [CHANNEL]
        assert found.channels == {CHANNEL: Channel(1, 3, True, 0, 1)}
        assert found.others() == {}


def test_who_does_not_wait_waits_for_nothing() -> None:
    found, memory = waits({**sudog(SUDOG), **channel()}, snapshot_of(SUDOG, status=RUNNING))
    assert (found.waits_for.tolist(), found.channels, memory.pieces) == ([0], {}, 0)
    found, _ = waits({}, snapshot_of())
    assert (len(found.waits_for), found.channels, found.others()) == (0, {}, {})


@pytest.mark.parametrize(
    "pointer", [1, 8, 4095, SUDOG + 4, USER_LIMIT, USER_LIMIT - 8, 1 << 63, (1 << 64) - 8, G, SUDOG]
)
def test_pointers_to_anything(pointer: int) -> None:
    found, _ = waits({SUDOG: G + 512, G: 0}, snapshot_of(pointer))
    assert (found.waits_for.tolist(), found.channels) == ([0], {})


@pytest.mark.parametrize(
    "broken",
    [
        {"buffered": 4},
        {"capacity": 1 << 60},
        {"capacity": (1 << 64) - 1},
        {"closed": 2},
        {"receiving": 7},
        {"sending": 1 << 62},
    ],
)
def test_what_is_no_channel_is_not_told(broken: dict) -> None:
    found, _ = waits({**sudog(SUDOG), **channel(**broken)}, snapshot_of(SUDOG))
    assert (found.waits_for.tolist(), found.channels) == ([0], {})


def test_a_select_that_leads_back_to_itself() -> None:
    second = SUDOG + 96
    words = {**sudog(SUDOG, link=second, select=True), **sudog(second, link=SUDOG, select=True, channel=CHANNEL + 96)}
    words |= {**channel(receiving=SUDOG), **channel(CHANNEL + 96, sending=second)}
    found, memory = waits(words, snapshot_of(SUDOG, reason=3))
    assert found.waits_for.tolist() == [CHANNEL]
    assert found.others() == {1: (CHANNEL + 96,)}
    assert found.channels == {CHANNEL: Channel(1, 3, False, 0, 1), CHANNEL + 96: Channel(1, 3, False, 1, 0)}
    assert memory.pieces <= MAX_CASES + 10


def test_a_select_without_end_is_cut() -> None:
    words = {}
    for index in range(2 * MAX_CASES):
        at = SUDOG + 96 * index
        words |= sudog(at, link=at + 96, select=True, channel=CHANNEL + 0x100000 + 128 * index)
        words |= channel(CHANNEL + 0x100000 + 128 * index, receiving=at)
    found, _ = waits(words, snapshot_of(SUDOG, reason=3))
    assert len(found.others()[1]) == MAX_CASES - 1


def test_both_lists_of_a_channel_may_be_circles() -> None:
    first, second, third = SUDOG, SUDOG + 96, SUDOG + 192
    words = {
        **sudog(first, link=second, select=True),
        **sudog(second, link=third, select=True, prev=third),
        **sudog(third, select=True, prev=second),
        **channel(receiving=first, sending=CHANNEL),
    }
    found, _ = waits(words, snapshot_of(SUDOG, reason=3))
    told = found.channels[CHANNEL]
    assert (told.receivers, told.senders) == (1, 0)
    assert found.others() == {}


def test_a_process_that_is_gone_waits_for_nothing() -> None:
    stack = (0x1000, 0x2010, 0x4010, 0x5010)
    snapshot = snapshot_of(*[0] * 500, *range(SUDOG, SUDOG + 96 * 500, 96), reason=4, stack=stack)
    found, _ = waits({}, snapshot)
    assert not found.waits_for.any()
    assert found.channels == {}


LOCKING = (0x1000, 0x2010, 0x4010, 0x5010)
CONDITION = (0x1000, 0x3010, 0x5010, 0x6010)


def test_a_lock_is_found_in_the_frame_that_waits() -> None:
    frame = STACK + 64 + 8
    words = {frame + 24: SUDOG, **sudog(SUDOG, channel=0), SUDOG + LAYOUT.elem: 0xC0_0003_0004}
    found, _ = waits(words, snapshot_of(0, reason=4, stack=LOCKING))
    assert (found.waits_for.tolist(), found.channels) == ([0xC0_0003_0000], {})
    words[SUDOG] = G + 8  # it is of another goroutine
    found, _ = waits(words, snapshot_of(0, reason=4, stack=LOCKING))
    assert found.waits_for.tolist() == [0]


@pytest.mark.parametrize("elem", [0, 2, 4, 0xC0_0003_0003, (1 << 64) - 4, (1 << 47) + 8])
def test_a_semaphore_that_cannot_be(elem: int) -> None:
    words = {STACK + 96: SUDOG, **sudog(SUDOG, channel=0), SUDOG + LAYOUT.elem: elem}
    found, _ = waits(words, snapshot_of(0, reason=4, stack=LOCKING))
    assert found.waits_for.tolist() == [0]


def test_a_cond_is_found_in_its_caller() -> None:
    condition = 0xC0_0003_0000
    words = {STACK + 144 + 16: condition, condition + 32: SUDOG, condition + 40: SUDOG + 96, SUDOG: G, SUDOG + 96: G}
    found, _ = waits(words, snapshot_of(0, reason=4, stack=CONDITION))
    assert found.waits_for.tolist() == [condition]
    words[SUDOG] = 0
    found, _ = waits(words, snapshot_of(0, reason=4, stack=CONDITION))
    assert found.waits_for.tolist() == [0]


@pytest.mark.parametrize("stack", [LOCKING, CONDITION, LOCKING[:2], (0x2010,), (0x3010, 0x5010, 0x5010), ()])
@pytest.mark.parametrize("value", [0, 8, STACK, SUDOG, G, USER_LIMIT - 8, (1 << 64) - 1])
def test_a_memory_that_is_the_same_everywhere(stack: tuple[int, ...], value: int) -> None:
    words = {STACK: value, SUDOG: value, G: value}
    for pointer in (0, SUDOG, G, STACK):
        found, memory = waits(words, snapshot_of(*[pointer] * 40, reason=3, stack=stack), otherwise=value)
        assert (found.waits_for >= 0).all()
        assert memory.pieces < 100_000


def test_a_frame_beyond_the_end_of_its_stack_is_not_read() -> None:
    snapshot = snapshot_of(0, 0, reason=4, stack=LOCKING)
    snapshot.fields[:, Field.SP] = [STACK + 0x1000 - 64, (1 << 64) - 8]
    found, _ = waits({STACK + 0x1000: SUDOG, STACK: 0}, snapshot)
    assert found.waits_for.tolist() == [0, 0]
