"""The memory of hostile and of changing Go processes: images of real ones with words, pages and pieces changed.

An input is no image itself but says how one is to be changed: four bytes choose the program and how it is read, then
each 16 bytes are one edit. What an edit changes is chosen among what the readers read of the image as it is.
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agent.goroutines.seen import Seen
from profiles.goroutines import Kind
from symbolizer.elf.file import ElfFile
from symbolizer.go.binary import GoBinary
from symbolizer.goroutines.attach import MAX_LISTED, NotReadableError, Runtime, attach
from symbolizer.goroutines.labels import MAX_LABELS, MAX_TEXT
from symbolizer.goroutines.layout import LIVE
from symbolizer.goroutines.memory import USER_LIMIT, UnreadableError
from symbolizer.goroutines.snapshot import Field, Snapshot
from symbolizer.goroutines.steps import Stop
from symbolizer.goroutines.threads import threads_of
from symbolizer.goroutines.unwind import MAX_FRAMES
from symbolizer.goroutines.waiting import MAX_CASES, Waits
from tests.fuzz.images import GARBLED, PAGE, Edited, Image, Pages, Readers, image, opened, renamed

NAME = "goroutines"
_HEADER, _EDIT = struct.Struct("<BB2x"), struct.Struct("<BBHIQ")
_MOST_EDITS = 64
_BEFORE, _TURNS, _AGAIN = 3, 4, 8
"""In the header: edited before attaching, not after; what is shown at first and later takes turns; taken once more."""
_ALWAYS, _FIRST, _LATER = 0x00, 0x40, 0x80
"""When an edit is seen; added to the kind of its value."""
_WORDS = (0, 1, 2, 8, 4095, 4096, 1 << 20, 1 << 24, 1 << 31, (1 << 32) - 1, 1 << 40, USER_LIMIT - 8, USER_LIMIT)
_LARGE = (1 << 60, 1 << 61, (1 << 63) - 1, 1 << 63, (1 << 64) - 4096, (1 << 64) - 8, (1 << 64) - 1)


@dataclass(frozen=True, slots=True)
class Subject:
    """A program that an image is read by. `runtime` is what attaching to the image as it is finds, or None."""

    image: Image
    binary: GoBinary
    runtime: Runtime | None

    @classmethod
    def of(cls, own: Image, binary: GoBinary) -> "Subject":
        try:
            return cls(own, binary, attach(binary, 0, Edited(own.pages)))
        except NotReadableError:
            return cls(own, binary, None)


_subjects: list[Subject] = []


def seeds() -> list[bytes]:
    if not _subjects:
        _subjects.extend(_all_subjects())
    made = []
    for subject in range(len(_subjects)):
        made.append(_HEADER.pack(subject, _AGAIN))
        for number, change in enumerate(_CHANGES):
            when = (_ALWAYS, _FIRST, _LATER)[(number + subject) % 3]
            values = range(len(_VALUES)) if change is _set_word else (number % len(_VALUES),)
            made += [
                _HEADER.pack(subject, (number + value) % 16)
                + b"".join(_EDIT.pack(number, value | when, area, 131 * area + 7 * value, 12) for area in range(6))
                for value in values
            ]
    return made


def _all_subjects() -> Iterator[Subject]:
    for version in ("1.21.13", "1.27.3"):
        own = image(version, "goroutines", "states")
        yield Subject.of(own, opened(ElfFile.open(str(own.path))))
        yield Subject.of(own, renamed(own.path, *GARBLED))
        yield Subject.of(own, renamed(own.path, f"go{version}".encode(), f"go1.28{version[4:]}".encode()))


def run(data: bytes) -> None:
    number, options = _HEADER.unpack(data[: _HEADER.size].ljust(_HEADER.size, b"\0"))
    subject = _subjects[number % len(_subjects)]
    memory = Edited(subject.image.pages, turns=bool(options & _TURNS))
    edits = data[_HEADER.size : _HEADER.size + _MOST_EDITS * _EDIT.size]
    for kind, how, area, place, operand in _EDIT.iter_unpack(edits[: len(edits) // _EDIT.size * _EDIT.size]):
        edit = Edit(subject.image, memory, how, area, place, operand)
        _CHANGES[kind % len(_CHANGES)](edit)
    try:
        runtime = subject.runtime
        if runtime is None or options & _BEFORE == _BEFORE:
            runtime = attach(subject.binary, 0, memory)
        _read(runtime, memory, 2 if options & _AGAIN else 1)
    except (NotReadableError, UnreadableError):
        return


def _read(runtime: Runtime, memory: Edited, times: int) -> None:
    """Raises UnreadableError where a list of goroutines cannot be read; nothing else may."""
    assert 0 < runtime.allgs < USER_LIMIT
    assert len(runtime.reasons) <= 129
    readers, seen = Readers.of(runtime, memory), Seen()
    for now in range(times):
        snapshot = readers.reader.take()
        _check_snapshot(snapshot)
        try:
            _check_kinds(*readers.namer.kinds(snapshot), snapshot)
            threads = threads_of(snapshot, runtime.layout, memory)
            waits = readers.waits.read(snapshot)
        except UnreadableError as error:
            raise AssertionError("raised by what is to tell of each what it can") from error
        assert len(threads) == len(snapshot.fields)
        assert ((threads >= 0) & (threads < 1 << 22)).all()
        _check_waits(waits, snapshot)
        assert len(seen.waiting_ns(snapshot.fields, now)) == len(snapshot.fields)


def _check_snapshot(snapshot: Snapshot) -> None:
    count = len(snapshot.addresses)
    assert snapshot.fields.shape == (count, len(Field))
    assert len(snapshot.stack) == len(snapshot.stops) == count
    ids = snapshot.fields[:, Field.GOID].astype(np.int64).tolist()
    assert ids == sorted(set(ids))
    assert not ids or ids[0] > 0
    assert 0 <= snapshot.dead < MAX_LISTED
    assert np.isin(snapshot.fields[:, Field.STATUS], np.array(LIVE, np.uint64)).all()
    assert (snapshot.fields[:, Field.REASON] < 256).all()
    assert (snapshot.stack >= 0).all()
    assert (snapshot.stack < len(snapshot.stacks)).all()
    stacks = [one for one in snapshot.stacks if one]
    assert len(set(stacks)) == len(stacks)
    assert all(len(one) <= MAX_FRAMES for one in snapshot.stacks)
    for stack, stop in zip(snapshot.stack.tolist(), snapshot.stops.tolist(), strict=True):
        assert Stop(stop) != Stop.GO_ON
        assert bool(snapshot.stacks[stack]) or stop != Stop.WHOLE


def _check_kinds(kinds: tuple[Kind, ...], kind: NDArray[np.int64], snapshot: Snapshot) -> None:
    assert len(kind) == len(snapshot.addresses)
    assert set(kind.tolist()) == set(range(len(kinds)))
    for one in kinds:
        assert len(one.labels) <= MAX_LABELS
        assert list(one.labels) == sorted(one.labels)
        assert all(len(text) <= MAX_TEXT for pair in one.labels for text in pair)
        assert one.frames or one.why_not


def _check_waits(waits: Waits, snapshot: Snapshot) -> None:
    ids = set(snapshot.fields[:, Field.GOID].tolist())
    assert len(waits.waits_for) == len(snapshot.addresses)
    assert ((waits.waits_for >= 0) & (waits.waits_for < USER_LIMIT)).all()
    others = waits.others()
    assert others.keys() <= ids
    assert all(0 < len(one) <= MAX_CASES for one in others.values())
    assert len(waits.further) == len(waits.selecting) == sum(map(len, others.values()))
    for address, channel in waits.channels.items():
        assert 0 < address < USER_LIMIT
        assert 0 <= channel.buffered <= channel.capacity
        assert channel.senders >= 0 <= channel.receivers
    assert sum(one.senders + one.receivers for one in waits.channels.values()) <= MAX_CASES * len(ids)


class Edit:
    """One change of an image. Each change is a function of it; all numbers of an input mean something."""

    def __init__(self, own: Image, memory: Edited, how: int, area: int, place: int, operand: int) -> None:
        self.image, self.memory, self.operand = own, memory, operand
        self.kind = how & 0x3F
        when = how & 0xC0
        self.layers: tuple[Pages, ...] = (
            *((memory.first,) if when != _LATER else ()),
            *((memory.later,) if when != _FIRST else ()),
        )
        self.g = own.goroutines[place % len(own.goroutines)]
        self.place = self._place(area, place)

    def _place(self, area: int, place: int) -> int:
        """The address of a word that is read."""
        own, place = place % len(self.image.goroutines), place // len(self.image.goroutines)
        g, layout = self.image.goroutines[own], self.image.runtime.layout
        word = self.memory.word
        match area % 8:
            case 0:
                columns = self.columns
                return g + columns[area // 8 % len(columns)]
            case 1 | 2:
                return (word(g + layout.syscallsp) or word(g + layout.sched_sp)) + place % 48 * 8
            case 3:
                labels = word(g + layout.labels)
                return (word(labels) if area & 8 else labels) + place % 40 * 8
            case 4:
                return word(g + layout.waiting) + place % 14 * 8
            case 5:
                sudog = word(g + layout.waiting)
                return word(sudog + (80, 96)[area // 8 % 2]) + place % 12 * 8
            case 6 if area % 64 == 6:
                return self.image.runtime.allgs + place % 3 * 8
            case 6 if area % 64 == 14:
                return word(self.image.runtime.allgs) + own * 8
            case _:
                pieces = self.image.areas[area // 16 % len(self.image.areas)].pieces
                start, size = pieces[own % len(pieces)]
                return (start & ~7) + place % max(size // 8, 1) * 8

    @property
    def columns(self) -> tuple[int, ...]:
        layout = self.image.runtime.layout
        return (
            *(layout.stack_lo, layout.stack_hi, layout.m, layout.sched_sp, layout.sched_pc, layout.syscallsp),
            *(layout.syscallpc, layout.status, layout.goid, layout.waitsince, layout.waitreason, layout.lockedm),
            *(layout.parent_goid, layout.gopc, layout.startpc, layout.waiting, layout.labels),
        )

    def field(self, offset: int) -> int:
        """Of the goroutine that was chosen."""
        return self.memory.word(self.g + offset)

    def value(self) -> int:
        return _VALUES[self.kind % len(_VALUES)](self) % (1 << 64)

    def put(self, address: int, *values: int) -> None:
        if 0 <= address < USER_LIMIT:
            data = b"".join((value % (1 << 64)).to_bytes(8, "little") for value in values)
            self.memory.write(address, data, self.layers)


_VALUES: tuple[Callable[[Edit], int], ...] = (
    lambda edit: (*_WORDS, *_LARGE)[edit.operand % (len(_WORDS) + len(_LARGE))],
    lambda edit: edit.place,
    lambda edit: edit.place + edit.operand % 64 - 32,
    lambda edit: edit._place(edit.operand & 0xFFFF, edit.operand >> 16),
    lambda edit: edit.memory.word(edit._place(edit.operand & 0xFFFF, edit.operand >> 16)),
    lambda edit: edit.memory.word(edit.place) ^ 1 << edit.operand % 64,
    lambda edit: edit.memory.word(edit.place) + edit.operand % 33 - 16,
    lambda edit: edit.image.goroutines[edit.operand % len(edit.image.goroutines)],
    lambda edit: edit.image.runtime.binary.text + edit.operand % 0x180000,
    lambda edit: edit.operand % 16,
    lambda edit: edit.operand,
)


def _set_word(edit: Edit) -> None:
    edit.put(edit.place, edit.value())


def _flip_byte(edit: Edit) -> None:
    edit.put(edit.place, edit.memory.word(edit.place) ^ (edit.operand % 255 + 1) << edit.operand % 8 * 8)


def _remove_page(edit: Edit) -> None:
    for layer in edit.layers:
        layer[edit.place // PAGE] = None


def _fill(edit: Edit) -> None:
    edit.put(edit.place, *(edit.value(),) * (edit.operand % 512 + 1))


def _copy(edit: Edit) -> None:
    source = edit._place(edit.operand & 0xFFFF, edit.operand >> 16)
    edit.put(edit.place, *(edit.memory.word(source + 8 * index) for index in range(edit.operand % 64 + 1)))


def _long_list(edit: Edit) -> None:
    edit.put(edit.image.runtime.allgs + 8, *(edit.value(),) * 2)


def _list_of_one(edit: Edit) -> None:
    start = edit.memory.word(edit.image.runtime.allgs)
    edit.put(start, *(edit.g,) * (edit.operand % 1024))


def _any_stack(edit: Edit) -> None:
    """Ends before it begins, or is all memory."""
    layout = edit.image.runtime.layout
    low, high = edit.field(layout.stack_lo), edit.field(layout.stack_hi)
    edit.put(edit.g, *((high, low), (8, USER_LIMIT), (low, low), (0, high), (low, high + 8 * (edit.operand % 4096)))[
        edit.operand % 5
    ])  # fmt: skip


def _loop_of_frames(edit: Edit) -> None:
    """All that is on a stack is return addresses, of one or two functions."""
    layout = edit.image.runtime.layout
    sp = edit.field(layout.syscallsp) or edit.field(layout.sched_sp)
    size = min(max(edit.field(layout.stack_hi) - sp, 0), 1 << 16) // 8
    pcs = (edit.field(layout.sched_pc), edit.value())
    edit.put(sp, *(pcs[index * (edit.operand & 1) % 2] for index in range(size)))


def _many_labels(edit: Edit) -> None:
    """A slice of any length, or a map that leads to itself: of as many buckets as can be, or of endless ones."""
    labels = edit.field(edit.image.runtime.layout.labels)
    large = _LARGE[edit.operand % len(_LARGE)]
    header = edit.memory.word(labels) if edit.operand & 8 else labels
    bucket = header - 264 if edit.operand & 16 else header
    edit.put(labels, header, large, large)
    edit.put(header + 8, 0xFF if edit.operand & 32 else 0, bucket, bucket if edit.operand & 64 else 0)
    if edit.operand & 128:
        edit.put(header, labels)


def _waits_for_itself(edit: Edit) -> None:
    """A select of endless cases, or sudogs that are in each other's lists."""
    sudog = edit.field(edit.image.runtime.layout.waiting)
    other = sudog if edit.operand & 1 else edit.value()
    edit.put(sudog + 8, other, other)
    edit.put(sudog + 64 + edit.operand // 2 % 2 * 8, other)
    edit.put(sudog + 48 + edit.operand // 4 % 2 * 8, (1 << 64) - 1)


_CHANGES: tuple[Callable[[Edit], None], ...] = (
    _set_word,
    _flip_byte,
    _remove_page,
    _fill,
    _copy,
    _long_list,
    _list_of_one,
    _any_stack,
    _loop_of_frames,
    _many_labels,
    _waits_for_itself,
)
