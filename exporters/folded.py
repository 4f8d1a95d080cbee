"""Profile to folded stacks: `process;root;..;leaf COUNT`, one line a stack, for flamegraph.pl and its kin.

The count is the profile's first column. There is no header and no comment syntax: readers would take either
for a stack. `;` separates frames and is written `:` inside a name, as perf's own stack collapser does; other
characters that would end a line are made visible. Kernel frames carry no `_[k]` suffix, as bcc's tools have
it by default. Stacks that read the same are one line; lines are sorted, so that two files can be compared.
"""

from collections.abc import Sequence

from exporters.text import printable
from profiles.flame import group_names, shown_frames
from profiles.model import Profile


def encode(profile: Profile) -> bytes:
    """The profile as UTF-8 lines."""
    groups = [_join(group_names(labels)) for labels in profile.labels]
    locations = [_join([frame.name for frame in shown_frames(location)]) for location in profile.locations]
    counts: dict[str, int] = {}
    for sample in profile.samples:
        stack = profile.stacks[sample.stack]
        line = ";".join([groups[sample.labels], *(locations[index] for index in reversed(stack))])
        counts[line] = counts.get(line, 0) + sample.values[0]
    return "".join(f"{line} {count}\n" for line, count in sorted(counts.items())).encode()


def _join(names: Sequence[str]) -> str:
    return ";".join(printable(name).replace(";", ":") for name in names)
