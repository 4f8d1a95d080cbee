"""Our profile of a Go program beside the one that its own runtime/pprof took in the same seconds."""

import gzip
import json
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from agent.recording.recorder import Wanted
from exporters.proto import pprof_pb2
from profiles.model import Kind, Profile
from tests.go import toolchains
from tests.kernel.recording import record, running

pytestmark = [pytest.mark.kernel, pytest.mark.go, pytest.mark.slow]

SOURCE = Path(__file__).parents[1] / "go" / "programs" / "truth"
SECONDS = 20
"""Go takes 100 samples a second of CPU time: 4,000 here, so the error (sigma) of a share of a third is 0.75 points."""

NOT_COMPARED = frozenset({"runtime.goexit", "runtime.asyncPreempt"})
"""The first is left out by Go. In the second its profile sees too much: the signal of a tick that comes while that of a
preemption is handled is delivered when the handler returns, which is to asyncPreempt; ours needs no signals."""


def theirs(path: Path) -> Counter[str]:
    """Cumulative shares in percent by function, of Go's own profile."""
    profile = pprof_pb2.Profile.FromString(gzip.decompress(path.read_bytes()))
    names = {row.id: profile.string_table[row.name] for row in profile.function}
    frames = {row.id: [names[line.function_id] for line in row.line] for row in profile.location}
    shares: Counter[str] = Counter()
    total = sum(sample.value[0] for sample in profile.sample)
    for sample in profile.sample:
        for name in {name for location in sample.location_id for name in frames[location]}:
            shares[name] += 100 * sample.value[0] / total
    return shares


def ours(profile: Profile) -> Counter[str]:
    """The same of ours, the kernel's functions left out."""
    shares: Counter[str] = Counter()
    total = profile.total()
    for sample in profile.samples:
        locations = [profile.locations[index] for index in profile.stacks[sample.stack]]
        frames = [frame for one in locations if one.kind is not Kind.KERNEL for frame in one.frames]
        for name in {frame.system_name or frame.function for frame in frames}:  # runtime/pprof writes full names
            shares[name] += 100 * sample.values[0] / total
    return shares


@pytest.mark.parametrize("version", ["1.21.13", "1.27.3"])
def test_shares_are_those_of_the_programs_own_cpu_profile(version: str, tmp_path: Path) -> None:
    path = toolchains.build(version, "plain", SOURCE)
    with running([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        json.loads(process.stdout.readline())

        def begin() -> None:
            process.stdin.write(f"cpuprofile {SECONDS} {tmp_path / 'cpu.pb.gz'}\n")
            process.stdin.flush()
            assert "started" in process.stdout.readline()

        recording = record(Wanted(hertz=499, pids=(process.pid,)), SECONDS, [(0.0, begin)])
        assert "cpu.pb.gz" in process.stdout.readline()
    reference, measured = theirs(tmp_path / "cpu.pb.gz"), ours(recording.profile)
    large = {name: share for name, share in reference.items() if share > 3 and name not in NOT_COMPARED}
    assert len(large) >= 8
    wrong = {name: (share, measured[name]) for name, share in large.items() if abs(measured[name] - share) > 3}
    assert not wrong
