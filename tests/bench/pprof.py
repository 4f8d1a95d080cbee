"""What a written profile says it counted."""

import gzip
import re
from dataclasses import dataclass
from pathlib import Path

from exporters.proto import pprof_pb2

_LOSS = re.compile(r"([\d,]+)( samples? lost)? \((\w+)\): ")


@dataclass(frozen=True, slots=True)
class Counted:
    """Samples, distinct stacks, start (UNIX seconds) and length of sampling, and by cause what was lost and noted."""

    samples: int
    stacks: int
    start: float
    seconds: float
    lost: dict[str, int]
    noted: dict[str, int]
    size: int
    """Bytes of the file."""


def read_counted(path: Path) -> Counted:
    """Read a .pb.gz of ours."""
    data = path.read_bytes()
    profile = pprof_pb2.Profile.FromString(gzip.decompress(data))
    lost: dict[str, int] = {}
    noted: dict[str, int] = {}
    for index in profile.comment:
        if found := _LOSS.match(profile.string_table[index]):
            (lost if found[2] else noted)[found[3]] = int(found[1].replace(",", ""))
    return Counted(
        samples=sum(sample.value[0] for sample in profile.sample),
        stacks=len(profile.sample),
        start=profile.time_nanos / 1e9,
        seconds=profile.duration_nanos / 1e9,
        lost=lost,
        noted=noted,
        size=len(data),
    )
