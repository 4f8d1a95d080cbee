"""What a kernel or a machine may lack, one by one: what is recorded then, and that it is said.

Things are taken away for one process: by mounts of its own, by a filter of system calls. A kernel without task storage,
bpf_task_pt_regs or kprobes is booted instead: tests/boot run there, and this file as well.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.recording.recorder import Wanted
from bpf import syscalls
from tests.kernel.cli import COMMAND, Ended, folded, goroscope
from tests.kernel.conftest import CBuild
from tests.kernel.recording import cpu_seconds, record, running, stacks_by_process, wait_for

pytestmark = pytest.mark.kernel

RATE = 199
WITHOUT_BTF = "mount -t tmpfs tmpfs /sys/kernel/btf"
WITHOUT_TRACEFS = "umount -q -l /sys/kernel/debug /sys/kernel/tracing; ! ls -d /sys/kernel/tracing/events 2>/dev/null"
SECCOMP = Path(__file__).with_name("seccomp.py")
NO_RAW_TRACEPOINTS = (sys.executable, str(SECCOMP), str(int(syscalls.Command.RAW_TRACEPOINT_OPEN)))


def recorded(
    monkeypatch: pytest.MonkeyPatch, pid: int, *more: str, before: str = "true", wrap: Sequence[str] = ()
) -> Ended:
    """`goroscope record` of a process, in a mount namespace of its own where `before` was run, and under `wrap`."""
    shell = ("unshare", "--mount", "sh", "-c", f'{before} && exec "$@"', "sh", *wrap)
    monkeypatch.setattr("tests.kernel.cli.COMMAND", (*shell, *COMMAND))
    return goroscope("record", "-p", pid, "-d", "3", "-F", RATE, "-o", "-", *more)


def chains_of(ended: Ended, *names: str) -> int:
    """Samples with these functions among the frames."""
    return sum(count for frames, count in folded(ended.output).items() if set(names) <= set(frames))


@pytest.fixture
def chain(c_program: CBuild) -> Iterator[int]:
    with running([c_program("chain")]) as process:
        yield process.pid


@pytest.fixture
def in_kernel(c_program: CBuild) -> Iterator[int]:
    with running([c_program("syscalls")]) as process:
        yield process.pid


def test_without_btf_user_code_is_recorded_in_full(monkeypatch: pytest.MonkeyPatch, chain: int) -> None:
    ended = recorded(monkeypatch, chain, before=WITHOUT_BTF)
    assert ended.status == 0, ended.error
    assert "does not let BPF programs see all (the kernel has no BTF" in ended.error
    total = sum(folded(ended.output).values())
    assert total > 200
    assert chains_of(ended, "main", "first", "second", "third", "leaf") >= total * 0.95


def test_without_btf_stacks_in_the_kernel_go_by_frame_pointers(monkeypatch: pytest.MonkeyPatch, in_kernel: int) -> None:
    ended = recorded(monkeypatch, in_kernel, before=WITHOUT_BTF)
    assert ended.status == 0, ended.error
    marked = [
        frames
        for frames in folded(ended.output)
        if any("no_kernel_reads" in frame or "by frame pointers" in frame for frame in frames)
    ]
    assert marked
    assert chains_of(ended, "main", "read_zeros", "enter") >= sum(folded(ended.output).values()) * 0.9


def test_without_btf_waits_are_told_by_plain_tracepoints(monkeypatch: pytest.MonkeyPatch) -> None:
    with running(["sleep", "1000"]) as sleeper, running(["sh", "-c", "while :; do sleep 0.05; done"]) as shell:
        ended = recorded(monkeypatch, shell.pid, "--off-cpu", before=WITHOUT_BTF)
    assert sleeper.pid
    assert ended.status == 0, ended.error
    assert "sleep" in ended.output


def test_without_raw_tracepoints_plain_ones_take_over(monkeypatch: pytest.MonkeyPatch, chain: int) -> None:
    ended = recorded(monkeypatch, chain, wrap=NO_RAW_TRACEPOINTS)
    assert ended.status == 0, ended.error
    assert "does not let BPF" not in ended.error
    assert chains_of(ended, "main", "first", "leaf") > 200


def test_tracefs_is_used_wherever_it_is_mounted(monkeypatch: pytest.MonkeyPatch, chain: int, tmp_path: Path) -> None:
    elsewhere = tmp_path / "of mine"
    elsewhere.mkdir()
    before = f"{WITHOUT_TRACEFS} && mount -t tracefs tracefs '{elsewhere}'"
    ended = recorded(monkeypatch, chain, before=before, wrap=NO_RAW_TRACEPOINTS)
    assert ended.status == 0, ended.error
    assert chains_of(ended, "main", "first", "leaf") > 200


def test_without_either_kind_of_tracepoint_it_is_said(monkeypatch: pytest.MonkeyPatch, chain: int) -> None:
    ended = recorded(monkeypatch, chain, before=WITHOUT_TRACEFS, wrap=NO_RAW_TRACEPOINTS)
    assert ended.status == 3
    assert "mount -t tracefs" in ended.sentence


def test_without_tracefs_raw_tracepoints_do(monkeypatch: pytest.MonkeyPatch, chain: int) -> None:
    ended = recorded(monkeypatch, chain, before=WITHOUT_TRACEFS)
    assert ended.status == 0, ended.error
    assert chains_of(ended, "main", "first", "leaf") > 200


def test_the_strictest_level_of_perf_event_paranoid_is_passed(monkeypatch: pytest.MonkeyPatch, chain: int) -> None:
    setting = Path("/proc/sys/kernel/perf_event_paranoid")
    before = setting.read_text()
    setting.write_text("3\n")
    try:
        ended = recorded(monkeypatch, chain)
    finally:
        setting.write_text(before)
    assert ended.status == 0, ended.error
    assert chains_of(ended, "main", "first", "leaf") > 200


@contextmanager
def cgroup_of_v1(folder: Path) -> Iterator[Path]:
    """A cgroup of a v1 hierarchy of our own, which has no controller and a name."""
    name = f"goroscope-test-{os.getpid()}"
    if os.system(f"mount -t cgroup -o none,name={name} cgroup '{folder}' 2>/dev/null") != 0:
        pytest.skip("this kernel has no cgroups of v1")
    try:
        (folder / "mine").mkdir()
        yield folder / "mine"
        wait_for(lambda: not (folder / "mine/cgroup.procs").read_text().strip(), "the cgroup is empty")
        (folder / "mine").rmdir()
    finally:
        os.system(f"umount '{folder}'")


def test_a_cgroup_of_v1_is_sampled_with_those_who_join_and_nobody_else(c_program: CBuild, tmp_path: Path) -> None:
    programs = {name: c_program("chain", called=name) for name in ("inside", "joined", "outside")}
    with cgroup_of_v1(tmp_path) as cgroup:
        inside, joined, outside = (running([program]) for program in programs.values())
        with inside as first, joined as second, outside:
            (cgroup / "cgroup.procs").write_text(str(first.pid))
            join = lambda: (cgroup / "cgroup.procs").write_text(str(second.pid))  # noqa: E731
            used = cpu_seconds(first.pid)
            recording = record(Wanted(hertz=RATE, cgroup=cgroup), 5.0, during=[(1.0, join)])
            used = cpu_seconds(first.pid) - used
    samples = dict.fromkeys(programs, 0)
    for (name, _), number in stacks_by_process(recording.profile).items():
        samples[name] += number
    assert samples["outside"] == 0
    assert samples["joined"] > 20
    assert samples["inside"] <= used * RATE * 1.02 + 5
    assert samples["inside"] > 50
