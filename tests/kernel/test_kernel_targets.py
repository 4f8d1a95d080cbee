"""What is sampled: processes with their later children, cgroups, commands, the whole node."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.recording.recorder import Wanted
from tests.kernel.cli import folded, goroscope, say_when_sampling, start
from tests.kernel.conftest import CBuild
from tests.kernel.recording import PATIENCE, Recording, record, running, stacks_by_process, wait_for

pytestmark = pytest.mark.kernel


def processes(recording: Recording) -> set[str]:
    return {process for process, _ in stacks_by_process(recording.profile)}


def chains(recording: Recording, process: str) -> int:
    """Samples of a process in which the chain program's functions have their names."""
    return sum(
        samples
        for (name, names), samples in stacks_by_process(recording.profile).items()
        if name == process and {"leaf", "first"} <= set(names)
    )


def test_a_process_is_sampled_with_later_children_and_without_others(c_program: CBuild) -> None:
    mine, other, child = (c_program("chain", called=name) for name in ("mine", "other", "child"))
    script = f"read go; {child} & {mine}"
    with running(["sh", "-c", script], stdin=subprocess.PIPE, text=True) as shell, running([other]):

        def go() -> None:
            shell.stdin.write("go\n")
            shell.stdin.flush()

        recording = record(Wanted(hertz=199, pids=(shell.pid,)), 2.5, during=[(0.5, go)])
    assert processes(recording) >= {"child", "mine"}
    assert "other" not in processes(recording)
    assert chains(recording, "child") > 20
    assert chains(recording, "mine") > 20


def test_the_whole_node_shows_all_that_runs(c_program: CBuild) -> None:
    with running([c_program("chain", called="one")]), running([c_program("chain", called="two")]):
        recording = record(Wanted(hertz=199), 2.0)
    assert chains(recording, "one") > 20
    assert chains(recording, "two") > 20


def cgroup_mount() -> Path | None:
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, where, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(where)
    return None


@pytest.fixture
def cgroup() -> Iterator[Path]:
    mount = cgroup_mount()
    if mount is None:
        pytest.skip("no cgroup v2 hierarchy is mounted")
    path = mount / f"goroscope-test-{os.getpid()}"
    path.mkdir()
    try:
        yield path
    finally:
        wait_for(lambda: not (path / "cgroup.procs").read_text().strip(), "the cgroup is empty")
        path.rmdir()


def test_a_cgroup_is_sampled_and_nothing_beside_it(c_program: CBuild, cgroup: Path) -> None:
    with running([c_program("chain", called="inside")]) as inside, running([c_program("chain", called="outside")]):
        (cgroup / "cgroup.procs").write_text(str(inside.pid))
        recording = record(Wanted(hertz=199, cgroup=cgroup), 2.0)
    assert processes(recording) == {"inside"}
    assert chains(recording, "inside") > 20


def test_a_process_that_ends_while_it_is_sampled_keeps_its_names(c_program: CBuild) -> None:
    with running([c_program("chain", called="short")]) as short:
        recording = record(Wanted(hertz=199), 2.0, during=[(1.0, short.kill), (1.2, lambda: short.wait(PATIENCE))])
    assert chains(recording, "short") > 20


def test_a_process_that_nobody_knew_and_that_is_gone_before_its_window_ends_keeps_its_names(c_program: CBuild) -> None:
    short = c_program("chain", called="brief")

    def in_the_background() -> subprocess.Popen:
        return subprocess.Popen(["timeout", "-s", "KILL", "0.7", short], start_new_session=True)

    started: list[subprocess.Popen] = []
    try:
        recording = record(Wanted(hertz=199), 2.5, during=[(0.3, lambda: started.append(in_the_background()))])
    finally:
        for process in started:
            process.wait(PATIENCE)
    assert chains(recording, "brief") > 20


def test_exec_in_place_switches_names(c_program: CBuild) -> None:
    after = c_program("syscalls", called="after")
    handler = f"lambda *_: os.execv({str(after)!r}, ['after'])"
    script = f"import os, signal\nsignal.signal(signal.SIGUSR1, {handler})\nwhile True: pass"
    with running([sys.executable, "-c", script]) as process:
        time.sleep(0.5)
        recording = record(
            Wanted(hertz=199, pids=(process.pid,)), 3.0, during=[(1.2, lambda: process.send_signal(signal.SIGUSR1))]
        )
    stacks = stacks_by_process(recording.profile)
    python = sum(samples for (name, names), samples in stacks.items() if name.startswith("python"))
    after_exec = {names: samples for (name, names), samples in stacks.items() if name == "after"}
    assert python > 20
    assert sum(samples for names, samples in after_exec.items() if "read_zeros" in names) > 20
    assert not any("read_zeros" in names for (name, names) in stacks if name != "after")
    assert {labels.pid for labels in recording.profile.labels} == {process.pid}


def test_a_command_is_profiled_from_its_exec_on_and_passes_its_exit_status(c_program: CBuild) -> None:
    program = c_program("chain", called="job")
    ended = goroscope("record", "-F", "199", "-o", "-", "--", program, "rounds", "400")
    assert ended.status == 7, ended.error
    stacks = folded(ended.output)
    right = sum(samples for names, samples in stacks.items() if "leaf" in names)
    assert right >= 0.9 * sum(stacks.values())
    assert {names[0] for names in stacks} == {"job"}


def test_a_signal_that_ends_the_command_is_its_status(c_program: CBuild) -> None:
    program = c_program("chain")
    ended = goroscope("record", "-q", "-o", "-", "--", "timeout", "-s", "KILL", "1", program)
    assert ended.status == 128 + signal.SIGKILL


def test_a_process_that_goes_ends_the_recording_and_what_was_gathered_is_kept(
    c_program: CBuild, tmp_path: Path
) -> None:
    with running([c_program("chain")]) as process:
        recorder = start("record", "-F", "199", "-p", process.pid, "-d", "60", "-o", tmp_path / "x.folded")
        try:
            say_when_sampling(recorder)
            time.sleep(1.0)
            process.kill()
            process.wait(PATIENCE)
            _, error = recorder.communicate(timeout=PATIENCE)
        finally:
            recorder.kill()
    assert recorder.returncode == 0, error
    assert (
        sum(samples for names, samples in folded((tmp_path / "x.folded").read_text()).items() if "leaf" in names) > 20
    )


def test_a_target_that_uses_no_cpu_is_an_error_of_its_own(tmp_path: Path) -> None:
    with running(["sleep", "60"]) as process:
        ended = goroscope("record", "-p", process.pid, "-d", "0.5", "-o", tmp_path / "x.folded")
    assert ended.status == 6
    assert "no CPU time" in ended.sentence


def test_no_such_process_and_no_such_cgroup(tmp_path: Path) -> None:
    with running(["true"]) as process:
        process.wait(PATIENCE)
    ended = goroscope("record", "-p", process.pid, "-d", "1", "-o", tmp_path / "x.folded")
    assert (ended.status, ended.sentence) == (
        4,
        f"goroscope: There is no process {process.pid}. Give the id of a running process.",
    )
    ended = goroscope("record", "--cgroup", tmp_path / "none", "-d", "1", "-o", tmp_path / "x.folded")
    assert ended.status == 4
    ended = goroscope("record", "--cgroup", tmp_path, "-d", "1", "-o", tmp_path / "x.folded")
    assert ended.status == 4
    assert "is not a cgroup" in ended.sentence
