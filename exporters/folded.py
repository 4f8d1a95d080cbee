"""Profile to folded stacks: `process;root;..;leaf COUNT`, one line a stack, for flamegraph.pl and its kin.

What is counted depends on what was recorded:

    time on the CPU    samples: the profile's first column
    time off the CPU   microseconds, blocked and runnable together (flamegraph.pl --countname=us)
    both               microseconds of either, with `[on-cpu]` or `[off-cpu]` as the frame below process and thread,
                       so that one file draws two towers a process, and grep or sed takes one of them or joins them

Microseconds are rounded, half up, once a stack has been added up; what is less than half of one is left out, since
readers take a line for something that was there. Go's idle time is left out: nothing in a folded file could hide it.

There is no header and no comment syntax: readers would take either for a stack. `;` separates frames and is
written `:` inside a name, as perf's own stack collapser does; other characters that would end a line are made
visible. Kernel frames carry no `_[k]` suffix, as bcc's tools have it by default. Stacks that read the same are one
line; lines are sorted, so that two files can be compared.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from exporters.text import printable
from profiles.flame import group_names, shown_frames
from profiles.model import CPU, OFF_CPU, Profile
from profiles.offcpu import is_idle

_ON, _OFF = "[on-cpu]", "[off-cpu]"


@dataclass(frozen=True, slots=True)
class _Counted:
    """A column that is written, what it is divided by, and the frame that tells it from the other one."""

    column: int
    divisor: int = 1
    frame: str = ""


def encode(profile: Profile) -> bytes:
    """The profile as UTF-8 lines."""
    return "".join(f"{line} {count}\n" for line, count in sorted(_lines(profile).items())).encode()


def _lines(profile: Profile) -> dict[str, int]:
    groups = [list(map(_frame, group_names(labels))) for labels in profile.labels]
    idle = list(map(is_idle, profile.labels))
    locations = [_join([frame.name for frame in shown_frames(location)]) for location in profile.locations]
    lines: dict[str, int] = {}
    for counted in _counted(profile):
        sums: dict[str, int] = {}
        below = [counted.frame] if counted.frame else []
        for sample in profile.samples:
            value = sample.values[counted.column]
            if not value or idle[sample.labels]:
                continue
            stack = profile.stacks[sample.stack]
            line = ";".join([*groups[sample.labels], *below, *(locations[index] for index in reversed(stack))])
            sums[line] = sums.get(line, 0) + value
        rounded = {line: (value + counted.divisor // 2) // counted.divisor for line, value in sums.items()}
        lines |= {line: count for line, count in rounded.items() if count}
    return lines


def _counted(profile: Profile) -> tuple[_Counted, ...]:
    on, off = profile.column(CPU.type), profile.column(OFF_CPU.type)
    if off is None:
        return (_Counted(0),)
    if on is None:
        return (_Counted(off, 1000),)
    return (_Counted(on, 1000, _ON), _Counted(off, 1000, _OFF))


def _frame(name: str) -> str:
    return printable(name).replace(";", ":")


def _join(names: Sequence[str]) -> str:
    return ";".join(map(_frame, names))
