"""The readers of goroutines where memory is not as Go leaves it: what they tell is well-formed, or nothing."""

import struct

import numpy as np
import pytest

from symbolizer.elf.file import ElfFile
from symbolizer.go.binary import GoBinary
from symbolizer.goroutines import kinds as kinds_module
from symbolizer.goroutines import steps as steps_module
from symbolizer.goroutines import unwind as unwind_module
from symbolizer.goroutines.attach import NotReadableError, Runtime, attach
from symbolizer.goroutines.kinds import Namer
from symbolizer.goroutines.labels import MAX_LABELS, read_labels
from symbolizer.goroutines.layout import RUNNABLE, WAITING, agrees, known, probe
from symbolizer.goroutines.memory import UnreadableError, read_pieces
from symbolizer.goroutines.snapshot import Field, Reader
from symbolizer.goroutines.steps import Steps, Stop
from symbolizer.goroutines.unwind import Starts, Unwinder
from tests.support.goimage import TEXT, go_image

SET, KEY, MAP = 0x10000, 0x11000, 0x12000
LIST, FIRST_G, G_SIZE = 0x20000, 0x30000, 512
MAP_BUCKET = 272
ENTRY, CODE = 0x1000, 0x1004


class Space:
    """A Memory of a few pieces, the rest of which is not there."""

    def __init__(self, pieces: dict[int, bytes]) -> None:
        self.pieces = pieces
        self.asked = 0

    def read(self, address: int, size: int) -> bytes:
        self.asked += size
        for start, data in self.pieces.items():
            if start <= address <= address + size <= start + len(data):
                return data[address - start : address - start + size]
        raise UnreadableError(hex(address))

    def gather(self, addresses, sizes, into):
        ok, at = np.ones(len(addresses), bool), 0
        for index, (address, size) in enumerate(zip(addresses.tolist(), sizes.tolist(), strict=True)):
            try:
                into[at : at + size] = np.frombuffer(self.read(address, size), np.uint8)
            except UnreadableError:
                ok[index] = False
            at += size
        return ok


def words(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}Q", *values)


def binary(version: bytes = b"go1.27.3") -> GoBinary:
    found = GoBinary.open(ElfFile(go_image(version=version)))
    assert found is not None
    return found


def runtime(version: tuple[int, int, int] = (1, 27, 3)) -> Runtime:
    layout = known(version)
    assert layout is not None
    return Runtime(binary(), 0, layout, LIST, ())


def g(of: Runtime, goid: int, status: int = WAITING) -> bytes:
    made = bytearray(G_SIZE)
    layout = of.layout
    for offset, value in ((layout.goid, goid), (layout.status, status), (layout.startpc, TEXT)):
        made[offset : offset + 8] = words(value)
    return bytes(made)


def taken(of: Runtime, *every: bytes):
    pointers = [FIRST_G + G_SIZE * index for index in range(len(every))]
    space = Space({LIST: words(LIST + 24, len(every), len(every), *pointers), FIRST_G: b"".join(every)})
    return Reader(of, space, Unwinder(Steps(of), space, 1)).take()


def test_ids_that_no_goroutine_has_are_left_out_and_others_told_once() -> None:
    of = runtime()
    found = taken(of, *(g(of, goid) for goid in (9, 3, 1 << 63, 0, 9, (1 << 64) - 1, 4)))
    assert found.fields[:, Field.GOID].tolist() == [3, 4, 9]
    assert found.dead == 4
    assert found.stops.tolist() == [Stop.BAD_STACK] * 3


@pytest.mark.parametrize("header", [(LIST + 24, 1 << 60, 1 << 60), (LIST + 24, 2, 1), (0, 1, 1), (LIST + 25, 1, 1)])
def test_a_list_that_is_no_slice_is_refused(header: tuple[int, int, int]) -> None:
    of = runtime()
    space = Space({LIST: words(*header, FIRST_G), FIRST_G: g(of, 1)})
    with pytest.raises(UnreadableError):
        Reader(of, space, Unwinder(Steps(of), space, 1)).take()
    assert space.asked < 4096


def test_a_version_that_is_not_known_or_too_old_is_refused() -> None:
    for version, shown in ((b"go1.20.14", "Go 1.20"), (b"unknown", "an unknown version of Go")):
        with pytest.raises(
            NotReadableError, match=rf"^It was built by {shown}; goroutines are read from Go 1\.21 on\.$"
        ):
            attach(binary(version), 0, Space({}))


@pytest.mark.parametrize("most", [4, 8, 20])
def test_steps_that_were_looked_up_are_right_also_where_others_had_to_be_forgotten(
    monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    pcs = np.arange(TEXT - 8, TEXT + 512, 5, dtype=np.uint64)
    sizes, stops = Steps(runtime()).look_up(pcs)
    assert len(set(zip(sizes.tolist(), stops.tolist(), strict=True))) > 3
    monkeypatch.setattr(steps_module, "_MAX_KNOWN", most)
    forgetful, chance = Steps(runtime()), np.random.default_rng(1)
    for _ in range(50):
        some = chance.choice(len(pcs), 8)
        found = forgetful.look_up(pcs[some])
        assert found[0].tolist() == sizes[some].tolist()
        assert found[1].tolist() == stops[some].tolist()


@pytest.mark.parametrize("length", [1 << 60, (1 << 64) - 1, 1 << 63])
def test_a_set_of_endless_labels_is_none_unless_the_first_are_there(length: int) -> None:
    slices = {SET: words(KEY, length, length), KEY: words(KEY, 3, KEY, 5) * 3}
    space = Space(slices)
    assert read_labels(SET, (1, 27, 0), space) == ()
    assert space.asked < 4096
    texts = b"".join(words(KEY + 32 * index, 2, KEY, 1 << 60) for index in range(MAX_LABELS))
    space = Space({SET: words(KEY, length, length), KEY: texts + bytes(4096)})
    assert len(read_labels(SET, (1, 27, 0), space)) <= MAX_LABELS
    assert space.asked < 1 << 20


def test_the_labels_of_a_snapshot_are_bounded_all_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kinds_module, "_MAX_LABEL_TEXT", 20)
    slices = b"".join(words(KEY, 1, 1) for _ in range(9))
    namer = Namer(runtime(), Space({SET: slices, KEY: words(KEY + 32, 3, KEY + 32, 5) + b"texts"}))
    found = [namer._label_set(SET + 24 * index) for index in range(9)]
    assert found == [(("tex", "texts"),)] * 3 + [()] * 6


@pytest.mark.parametrize("power", [0, 6, 255])
@pytest.mark.parametrize("old", [0, MAP])
def test_a_map_of_labels_that_leads_to_itself_ends(power: int, old: int) -> None:
    """Each bucket says that all its slots are used, and that it goes on at itself."""
    bucket = b"\xff" * 8 + words(*(KEY, 1) * 16, MAP + 48)
    header = words(1 << 60) + bytes((0, power)) + bytes(6) + words(MAP + 48, old)
    space = Space({SET: words(MAP), KEY: b"k", MAP: header.ljust(48, b"\0") + bucket * 64})
    assert len(bucket) == MAP_BUCKET
    assert read_labels(SET, (1, 21, 0), space) == (("k", "k"),)
    assert space.asked < 1 << 16


def rows(version: tuple[int, int, int], in_syscall: int = 0):
    layout = known(version)
    assert layout is not None
    made = np.zeros((10, G_SIZE // 8), np.uint64)
    for index, row in enumerate(made):
        for offset, value in (
            (layout.stack_lo, 4096),
            (layout.stack_hi, 8192),
            (layout.sched_sp, 5000),
            (layout.status, WAITING if index else RUNNABLE),
            (layout.goid, index + 1),
            (layout.startpc, ENTRY),
            (layout.gopc, CODE),
            (layout.syscallsp, 5000 if index <= in_syscall else 0),
        ):
            row[offset // 8] = value
    return layout, made


def is_entry(address: int) -> bool:
    return address == ENTRY


def is_code(address: int) -> bool:
    return address in {ENTRY, CODE}


@pytest.mark.parametrize("minor", [21, 22, 23, 24, 25, 26, 27])
def test_a_layout_agrees_with_its_own_goroutines_and_with_none_that_wait_in_a_system_call(minor: int) -> None:
    layout, made = rows((1, minor, 0))
    assert agrees(layout, made, is_entry, is_code)
    assert not agrees(layout, rows((1, minor, 0), in_syscall=3)[1], is_entry, is_code)
    if minor >= 25:
        assert probe(made, is_entry, is_code) == layout


def test_words_of_anything_are_no_goroutines() -> None:
    chance = np.random.default_rng(1)
    for made in (
        np.zeros((10, 64), np.uint64),
        np.full((10, 64), ENTRY, np.uint64),
        np.full((10, 64), (1 << 64) - 1, np.uint64),
        chance.integers(0, 1 << 64, (256, 64), np.uint64),
        chance.choice(np.array([0, 4, ENTRY, CODE], np.uint64), (256, 64)),
    ):
        assert probe(made, is_entry, is_code) is None


def test_pieces_that_cannot_be_read_do_not_hide_their_neighbours() -> None:
    starts = np.array([SET + 4096, SET, SET + 64, KEY], np.uint64)
    pieces = read_pieces(Space({SET: words(*range(16))}), starts, np.full(4, 16, np.uint64), 1 << 14)
    assert pieces.ok.tolist() == [False, True, True, False]
    assert [pieces.words[pieces.index[at]] for at in (1, 2)] == [0, 8]


@pytest.mark.parametrize(("together", "stop"), [(1 << 21, Stop.DEPTH), (1000, Stop.TOO_MANY)])
def test_stacks_without_end_are_ended(monkeypatch: pytest.MonkeyPatch, together: int, stop: Stop) -> None:
    monkeypatch.setattr(unwind_module, "MAX_TOGETHER", together)
    monkeypatch.setattr(unwind_module, "MAX_FRAMES", 100)

    class Endless:
        def look_up(self, pcs):
            return np.zeros(len(pcs), np.uint64), np.full(len(pcs), Stop.GO_ON, np.uint8)

    stack = Space({LIST: words(*[CODE] * 4096)})
    many = np.full(50, LIST, np.uint64)
    starts = Starts(np.full(50, CODE, np.uint64), many, many, many + np.uint64(8 * 4096), np.zeros(50, bool))
    unwound = Unwinder(Endless(), stack, 1).unwind(starts)
    assert set(unwound.stops.tolist()) == {stop}
    assert {len(frames) for frames in unwound.stacks(np.arange(50))} == {100 if stop is Stop.DEPTH else 20}
