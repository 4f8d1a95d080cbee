"""Goroutines as a profile: how many stand at each stack, under their status, labels and start function."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from profiles.goroutines import GoFrame, Goroutines, Kind
from profiles.grouping import plain
from profiles.model import GOROUTINES, Frame, Labels, Location, Metadata, Profile, ProfileBuilder
from profiles.model import Kind as LocationKind


def goroutine_profile(
    goroutines: Goroutines, *, system: bool = False, apart: bool = False, version: str = "", container: str = ""
) -> Profile:
    """The profile, its one column being `goroutines/count`.

    `system` keeps the goroutines that the runtime runs for itself, `apart` keeps each under its own id. `version` is
    that of Goroscope. Locations have neither address nor mapping: they are told apart by their frames.
    """
    builder = ProfileBuilder((GOROUTINES,))
    wanted = [system or not kind.system for kind in goroutines.kinds]
    of = plain(goroutines.kind)
    counts = Counter(of)
    stacks, labels = {}, {}
    for index in (index for index in counts if wanted[index]):
        kind = goroutines.kinds[index]
        stacks[index] = builder.stack(tuple(map(builder.location, _locations(kind))))
        labels[index] = _labels(goroutines, kind, container)
    if apart:
        for index, number in zip(of, plain(goroutines.ids), strict=True):
            if wanted[index]:
                builder.add(stacks[index], builder.labels(replace(labels[index], goroutine=number)), 1)
    else:
        for index, stack in stacks.items():
            builder.add(stack, builder.labels(labels[index]), counts[index])
    left_out = sum(count for index, count in counts.items() if not wanted[index])
    return builder.build(_metadata(goroutines, left_out, version))


def _labels(goroutines: Goroutines, kind: Kind, container: str) -> Labels:
    return Labels(
        goroutines.pid,
        goroutines.process,
        container=container,
        state=kind.status,
        start_function=kind.start_function,
        more=kind.labels,
    )


def _locations(kind: Kind) -> Iterator[Location]:
    """A kind's stack, leaf first; what is not known of it is a marker where it would be.

    Without any frame that is the leaf, and the function that was started stands below it: it is there for certain.
    """
    marker = Location(LocationKind.MARKER, None, 0, (Frame(f"[{kind.why_not or 'no stack'}]"),))
    if not kind.frames:
        yield marker
        if kind.start_function:
            yield Location(LocationKind.GO, None, 0, (Frame(kind.start_function),))
        return
    inlined: list[Frame] = []
    for frame in kind.frames:
        inlined.append(_frame(frame))
        if not frame.inlined:
            yield Location(LocationKind.GO, None, 0, tuple(inlined))
            inlined.clear()
    if inlined:
        yield Location(LocationKind.GO, None, 0, tuple(inlined))
    if kind.why_not:
        yield marker


def _frame(frame: GoFrame) -> Frame:
    return Frame(frame.function, frame.file, frame.line)


def _metadata(goroutines: Goroutines, left_out: int, version: str) -> Metadata:
    notes = []
    if left_out:
        notes.append(f"{left_out:,} goroutines that the runtime runs for itself are left out")
    if goroutines.unsettled:
        notes.append(f"{goroutines.unsettled:,} goroutines changed while they were read: their stacks are not known")
    if goroutines.partial:
        notes.append(goroutines.partial)
    return Metadata(
        start_ns=goroutines.taken_ns,
        version=version,
        target=f"goroutines of PID {goroutines.pid} ({goroutines.process or '?'}), {goroutines.version}",
        notes=tuple(notes),
    )
