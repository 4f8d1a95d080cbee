"""The part of the report on native code, in Markdown."""

from statistics import mean, median

from tests.bench.native import Depth, FileRows, Many
from tests.bench.recording import Recording

_MIB = 2**20


def render_native(depths: list[Depth], files: list[FileRows], many: Many) -> str:
    """The whole part."""
    return "\n".join([_HEAD, *_depths(depths), "", *_files(files), "", *_many(many), ""])


_HEAD = """## Native code without frame pointers
C, 19 to 21 calls deep through 256 functions in random order, so that nearly every stack is another one; its leaf reads
8 MiB at random, so that little of ours stays in the caches (tests/bench/programs/deep.c).
"""


def _depths(depths: list[Depth]) -> list[str]:
    rows = [
        ("BPF per sample", [f"{one.recording.median('sample_ns') / 1000:.1f} µs" for one in depths]),
        ("least and most of a window", [_range(one.recording) for one in depths]),
        ("user space", [f"{one.recording.median('user_share') * 100:.2f} %" for one in depths]),
        ("samples counted of expected", [_counted(one.recording) for one in depths]),
        ("other work on the machine, of one core", [_others(one.recording) for one in depths]),
    ]
    return [
        "| | " + " | ".join(f"{one.hertz} Hz" for one in depths) + " |",
        "|---" * (len(depths) + 1) + "|",
        *(f"| {name} | " + " | ".join(cells) + " |" for name, cells in rows),
    ]


def _range(recording: Recording) -> str:
    costs = [step.sample_ns / 1000 for step in recording.steps]
    return f"{min(costs):.1f} to {max(costs):.1f} µs"


def _counted(recording: Recording) -> str:
    return f"{recording.counted.samples / recording.expected * 100:.1f} %"


def _others(recording: Recording) -> str:
    return f"{median(step.others_share for step in recording.steps) * 100:.0f} %"


def _files(files: list[FileRows]) -> list[str]:
    return [
        "Rows of files, 4 bytes each; CPU time to make them, and time to read them where they were kept (medians):",
        "",
        "| file | size | rows | distinct rules | made in | read in |",
        "|---|---|---|---|---|---|",
        *(
            f"| {one.name} | {one.size / 1e6:.1f} MB | {one.rows:,} | {one.rules} | {one.made:.2f} s | "
            f"{one.kept * 1000:.1f} ms |"
            for one in files
        ),
    ]


def _many(many: Many) -> list[str]:
    loaded, bare = many.with_files, many.without
    return [
        (
            f"A busy process that has mapped the code of {many.files} different binaries of this machine, all of whose "
            "rows are made, against the same process without them:"
        ),
        "",
        "| | with | without |",
        "|---|---|---|",
        f"| resident memory and BPF maps | {_memory(loaded)} | {_memory(bare)} |",
        f"| user space, mean of windows | {_share(loaded)} | {_share(bare)} |",
        f"| CPU time to start | {loaded.start_cpu:.1f} s | {bare.start_cpu:.1f} s |",
    ]


def _memory(recording: Recording) -> str:
    memory = recording.memory
    return f"{memory.resident / _MIB:.0f} + {memory.maps / _MIB:.0f} MiB"


def _share(recording: Recording) -> str:
    return f"{mean(step.user_share for step in recording.steps) * 100:.2f} %"
