"""Groups of goroutines as text for somebody on call: the number, what for, how long, one to look at, and where.

Times are what was seen, with ≥, and what the process itself tells as a bound, with ≤. Calls of the runtime below
the first call of interest are one line, unless stacks were asked for.
"""

from collections.abc import Iterator, Sequence

from agent.cli.goroutine_words import (
    channel_text,
    clock,
    counted,
    frame_place,
    labels_text,
    left_out,
    place,
    process_text,
    waited,
)
from agent.goroutines.changes import Change, Changes
from exporters.text import printable
from profiles.gonames import Rank, rank
from profiles.goroutines import Creation, GoFrame, Goroutines, Kind
from profiles.grouping import By, Group, Groups, function_of, statuses

_INDENT = " " * 10
_FRAMES = 12
"""Calls that are shown of a stack, unless stacks were asked for; then come the outermost."""
_OUTERMOST = 2
_STATUSES = 4
_WIDEST = 56
_LOOKS = (By.ALIKE, By.STACK)
"""Groupings whose members all have the same stack."""


def groups_text(goroutines: Goroutines, groups: Groups, *, whole_stacks: bool = False) -> str:
    """A heading, then each group."""
    lines = [_heading(goroutines, groups)]
    whole = whole_stacks or groups.grouping.by is By.STACK
    for one in groups.groups:
        lines += ["", *_group_lines(goroutines, groups, one, whole=whole)]
    if groups.small:
        lines += ["", f"{groups.in_small:7,}  {_others(groups)}"]
    if goroutines.partial:
        lines += ["", printable(goroutines.partial)]
    return "\n".join(lines) + "\n"


def _heading(goroutines: Goroutines, groups: Groups) -> str:
    number = len(groups.groups) + groups.small
    if groups.grouping.by is By.ADDRESS:
        waiting = groups.total - groups.in_none
        size = f"{counted(waiting, 'goroutine')} wait{'s' if waiting == 1 else ''} for {counted(number, 'known thing')}"
    else:
        size = f"{counted(groups.total, 'goroutine')} in {counted(number, 'group')}"
    return f"{process_text(goroutines)}: {size}{left_out(goroutines, groups)}"


def _others(groups: Groups) -> str:
    return f"others, in {counted(groups.small, 'group')} of fewer than {groups.grouping.at_least:,} (--min)"


def _group_lines(goroutines: Goroutines, groups: Groups, one: Group, *, whole: bool) -> Iterator[str]:
    by = groups.grouping.by
    kind, most = goroutines.kinds[one.kinds[0][0]], one.kinds[0][1]
    facts = [
        f"{100 * groups.share(one):.1f} %",
        waited(one.waiting_ns, one.at_most_ns),
        f"e.g. goroutine {one.example}",
    ]
    if by is By.ALIKE:
        facts.append(labels_text(kind.labels))
    title = _title(goroutines, groups, one)
    yield f"{one.count:7,}  {title} · {' · '.join(filter(None, facts))}"
    if by not in _LOOKS and len(one.kinds) > 1:
        yield f"{_INDENT}most often, {most:,} times in {counted(len(one.kinds), 'way')}:"
    yield from (_INDENT + line for line in stack_lines(kind, whole=whole))
    makers = {goroutines.kinds[index].created_by for index, _ in one.kinds}
    if by is not By.CREATED_BY and kind.created_by is not None:
        more = f" and {counted(len(makers) - 1, 'other place')}" if len(makers) > 1 else ""
        yield f"{_INDENT}created by {_created(kind.created_by)}{more}"


def _title(goroutines: Goroutines, groups: Groups, one: Group) -> str:
    """What the group is, by what it was grouped."""
    what = printable(one.name)
    status = status_text(goroutines.kinds, one)
    match groups.grouping.by:
        case By.ALIKE | By.STACK | By.REASON:
            return status
        case By.ADDRESS if isinstance(one.key, int):
            return f"{channel_text(one.key, goroutines.channels.get(one.key))} · {status}"
        case By.LABEL if one.key is not None:
            what = printable(f"{groups.grouping.label}: {one.name}")
        case By.CREATED_BY if isinstance(one.key, Creation):
            what = f"created by {_created(one.key)}"
        case By.CREATED_BY:
            what = "created by no go statement"
        case By.STATE:
            return what if what == status else f"{what} · {status}"
    return f"{what} · {status}"


def status_text(kinds: Sequence[Kind], one: Group) -> str:
    """Such as "chan send", or "31 select, 4 IO wait and 2 others"."""
    found = statuses(kinds, one)
    if len(found) == 1:
        return printable(found[0][0])
    parts = [printable(f"{count:,} {status}") for status, count in found[:_STATUSES]]
    rest = sum(count for _, count in found[_STATUSES:])
    return ", ".join(parts) + (f" and {counted(rest, 'other')}" if rest else "")


def _created(made: Creation) -> str:
    return f"{printable(made.function)}  {place(made.file, made.line)}".rstrip()


def stack_lines(kind: Kind, *, whole: bool) -> list[str]:
    """The calls of a stack, aligned; what is not known of it in brackets."""
    unknown = [printable(f"[{kind.why_not}]")] if kind.why_not else []
    if not kind.frames:
        start = f"started as {printable(kind.start_function)}" if kind.start_function else ""
        return [*unknown, *filter(None, [start])]
    frames, below = list(kind.frames), 0
    if not whole:
        frames = frames[:-1] if frames[-1].function == "runtime.goexit" and len(frames) > 1 else frames
        below = _plumbing(frames)
        frames = frames[below:]
    cut = range(_FRAMES, len(frames) - _OUTERMOST) if not whole else range(0)
    shown = [frame for index, frame in enumerate(frames) if index not in cut] if len(cut) > 1 else frames
    width = min(_WIDEST, max(len(printable(frame.function)) for frame in shown))
    lines = [_call(frame, width) for frame in shown]
    if below:
        lines[0] += f"  (+{below} below)"
    if len(cut) > 1:
        lines.insert(_FRAMES, f"... {len(cut):,} more calls")
    return lines + unknown


def _plumbing(frames: Sequence[GoFrame]) -> int:
    """How many of the innermost calls say no more than the outermost of the plumbing above them."""
    for index, frame in enumerate(frames):
        if rank(frame.function) is not Rank.PLUMBING:
            return max(0, index - 1)
    return 0


def _call(frame: GoFrame, width: int) -> str:
    return f"{printable(frame.function):{width}}  {frame_place(frame)}".rstrip()


def changes_text(changes: Changes) -> str:
    """A line for the round, and one for each group whose number is another."""
    goroutines, groups = changes.goroutines, changes.groups
    came = ", ".join(
        f"{number:,} {word}" for number, word in ((changes.came, "came"), (changes.went, "went")) if number
    )
    total = counted(groups.total, "goroutine")
    note = f"; {changes.goroutines.unsettled:,} changed while they were read" if goroutines.unsettled else ""
    lines = [f"{clock(goroutines.taken_ns)}  {total}: {came or 'the same ones'}{note}"]
    lines += [_change_line(change, groups) for change in changes.changes]
    if changes.small:
        lines.append(f"{'':8}  {counted(changes.small, 'group')} changed by less (--min)")
    return "\n".join(lines) + "\n"


def _change_line(change: Change, groups: Groups) -> str:
    one, kinds = change.group, change.goroutines.kinds
    kind = kinds[one.kinds[0][0]]
    now = f"now {change.after:,}" if change.after else "gone"
    if not change.before:
        now = "new"
    what = [_title(change.goroutines, groups, one)]
    if groups.grouping.by in _LOOKS:
        what.append(f"{printable(function_of(kind))}  {_place_of(kind)}".rstrip())
        what.append(labels_text(kind.labels) if groups.grouping.by is By.ALIKE else "")
    what.append(f"e.g. goroutine {one.example}" if change.after else "")
    return f"{change.grown:+8,}  {now} · {' · '.join(filter(None, what))}"


def _place_of(kind: Kind) -> str:
    """Where the function is that a kind is told by."""
    told = function_of(kind)
    return next((frame_place(frame) for frame in kind.frames if frame.function == told), "")
