"""Processes whose goroutines cannot be read, or not in the usual way: what they are is right, or refused in words."""

import ctypes
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.errors import GoroscopeError, TargetError
from agent.goroutines.source import Source
from tests.go.test_go_goroutines import compare, running, steady
from tests.kernel.cli import goroscope

pytestmark = [pytest.mark.go, pytest.mark.slow]

GoBuild = Callable[[str, str, str], Path]
PARKED = 5000
PR_CAPBSET_DROP = 24

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: takes rights away, or mounts")


def assert_told(error: GoroscopeError, cause: str) -> None:
    """It has a cause that reads so, and a remedy; both end as sentences do and are of one line."""
    assert re.search(cause, error.cause), error.cause
    for text in (error.cause, error.remedy):
        assert re.fullmatch(r"[A-Z`].*\.", text), text
    assert "Error" not in str(error)


def patched(path: Path, before: str, after: str, to: Path) -> Path:
    """A copy of a program with some text changed to as much other text, wherever it is."""
    data = path.read_bytes()
    assert len(before) == len(after)
    assert before.encode() in data
    to.write_bytes(data.replace(before.encode(), after.encode()))
    to.chmod(0o755)
    return to


def says(path: Path, version: str, claimed: str, to: Path) -> Path:
    """A copy of a program that says it is of another version of Go."""
    return patched(path, f"go{version}", f"go{claimed}".ljust(len(version) + 2, "0"), to)


@contextmanager
def parked(path: Path, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """The program `replaced`, ready."""
    line = [str(path), *map(str, arguments)]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def test_a_program_that_is_not_of_go() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        try:
            with pytest.raises(TargetError) as refused:
                Source(process.pid)
        finally:
            process.kill()
    assert_told(refused.value, "It maps no program with Go's function table")


def test_a_process_that_does_not_exist() -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    with pytest.raises(TargetError) as refused:
        Source(process.pid)
    assert_told(refused.value, f"There is no process {process.pid}")


def test_a_go_that_is_too_old_is_named(go_build: GoBuild, tmp_path: Path) -> None:
    old = says(go_build("1.21.13", "plain", "replaced"), "1.21.13", "1.20.13", tmp_path / "old")
    with parked(old, 10) as process, pytest.raises(TargetError) as refused:
        Source(process.pid)
    assert_told(refused.value, r"It was built by Go 1\.20; goroutines are read from Go 1\.21 on\.")


def test_a_program_that_does_not_say_its_version_is_refused(go_build: GoBuild, tmp_path: Path) -> None:
    path = go_build("1.27.3", "plain", "replaced")
    mute = patched(path, "go1.27.3", "unknown!", tmp_path / "mute")
    with parked(mute, 10) as process, pytest.raises(TargetError) as refused:
        Source(process.pid)
    assert_told(refused.value, "an unknown version of Go")


@pytest.mark.parametrize("version", ["1.21.13", "1.25.5", "1.27.3"])
@pytest.mark.parametrize("mode", ["plain", "stripped"])
def test_the_list_is_found_where_what_leads_to_it_is_renamed(
    go_build: GoBuild, tmp_path: Path, version: str, mode: str
) -> None:
    path = go_build(version, mode, "goroutines")
    garbled = patched(path, "\0runtime.allgadd\0", "\0rTAxV5k.aFzpWq1\0", tmp_path / "garbled")
    assert_equal_to_the_dump(garbled)


@pytest.mark.parametrize("version", ["1.24.11", "1.25.5", "1.26.6", "1.27.3"])
def test_a_newer_go_than_is_known_is_read_by_probing(go_build: GoBuild, tmp_path: Path, version: str) -> None:
    path = go_build(version, "plain", "goroutines")
    assert_equal_to_the_dump(says(path, version, f"1.28{version[4:]}", tmp_path / "newer"))


def assert_equal_to_the_dump(path: Path) -> None:
    with running(path, "states") as program, Source(program.pid) as source:
        taken = steady(source, set(program.account["moving"]))
        dump = program.dump()
    compare(taken, dump, program.account, users=True)
    assert len(taken) > 300


@pytest.mark.parametrize(
    ("version", "claimed"),
    [
        *(("1.27.3", "1.21"), ("1.27.3", "1.24"), ("1.27.3", "1.25"), ("1.25.5", "1.27"), ("1.24.11", "1.22")),
        *(("1.24.11", "1.25"), ("1.22.10", "1.23"), ("1.21.13", "1.27"), ("1.21.13", "1.28")),
    ],
)
def test_a_program_that_names_a_version_it_is_not_of_is_refused(
    go_build: GoBuild, tmp_path: Path, version: str, claimed: str
) -> None:
    claim = claimed + version[4:]
    lying = says(go_build(version, "plain", "goroutines"), version, claim, tmp_path / "lying")
    with running(lying, "states") as program, pytest.raises(TargetError) as refused:
        Source(program.pid)
    assert_told(refused.value, "no goroutines of the version of Go that it names|in a way that is not known")


def test_a_process_that_ends_before_it_is_read(go_build: GoBuild) -> None:
    with parked(go_build("1.27.3", "plain", "replaced"), 100) as process, Source(process.pid) as source:
        assert len(source.take()) > 100
        process.kill()
        process.wait()
        with pytest.raises(TargetError) as gone:
            source.take()
    assert_told(gone.value, f"Process {process.pid} has gone")


@pytest.mark.parametrize("delay", [0, 0.002, 0.01, 0.03, 0.1, 0.3])
def test_a_process_that_ends_while_it_is_read_is_told_whole_or_not_at_all(go_build: GoBuild, delay: float) -> None:
    with parked(go_build("1.27.3", "plain", "replaced"), PARKED) as process, Source(process.pid) as source:
        whole = len(source.take())
        killer = threading.Timer(delay, process.kill)
        killer.start()
        with pytest.raises(TargetError) as gone:
            takes_until_it_fails(source, whole)
        killer.join()
    assert_told(gone.value, f"Process {process.pid} has gone")


@pytest.mark.parametrize("delay", [0, 0.002, 0.01, 0.03, 0.1, 0.3])
def test_what_is_read_of_a_program_is_not_that_of_the_next(go_build: GoBuild, delay: float) -> None:
    path = go_build("1.27.3", "plain", "replaced")
    with parked(path, PARKED, PARKED // 2) as process, Source(process.pid) as source:
        whole = len(source.take())

        def become() -> None:
            assert process.stdin
            process.stdin.write("\n")
            process.stdin.flush()

        replacing = threading.Timer(delay, become)
        replacing.start()
        with pytest.raises(TargetError) as gone:
            takes_until_it_fails(source, whole)
        replacing.join()
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        assert process.poll() is None
        with pytest.raises(TargetError):
            source.take()
        with Source(process.pid) as again:
            assert PARKED // 2 < len(again.take()) < PARKED
    assert_told(gone.value, f"Process {process.pid} runs another program")


def takes_until_it_fails(source: Source, whole: int) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        taken = source.take()
        # The runtime may begin a few of its own; the main goroutine is one that ends with the read of a line.
        assert abs(len(taken) - whole) < 20
        parked = sum(kind.wait_reason == "chan receive" and bool(kind.frames) for kind, _ in taken.members())
        assert parked >= PARKED
    raise AssertionError("it is read on and on")


def without_capabilities() -> None:
    """For the child before its exec: with an empty bounding set root keeps its files, but gets no capability."""
    libc = ctypes.CDLL(None)
    for number in range(64):
        libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0)


@as_root
def test_a_process_that_may_not_be_read(go_build: GoBuild) -> None:
    with parked(go_build("1.27.3", "plain", "replaced"), 10) as process:
        ended = goroscope("goroutines", "-p", process.pid, preexec_fn=without_capabilities)
    assert (ended.status, ended.output) == (3, "")
    assert f"The memory of process {process.pid} may not be read: Permission denied." in ended.sentence
    assert "CAP_SYS_PTRACE" in ended.sentence
    assert len(ended.error.strip().splitlines()) == 1


@as_root
def test_a_program_whose_path_is_another_mount_namespaces(go_build: GoBuild, tmp_path: Path) -> None:
    folder = tmp_path / "inside"
    folder.mkdir()
    script = 'mount -t tmpfs none "$1" && cp "$2" "$1/program" && exec "$1/program" 100'
    path = go_build("1.27.3", "stripped-pie", "replaced")
    line = ["unshare", "--mount", "sh", "-c", script, "sh", str(folder), str(path)]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
            assert not (folder / "program").exists()
            with Source(process.pid) as source:
                taken = source.take()
        finally:
            process.send_signal(signal.SIGKILL)
    assert sum(any(frame.function == "main.park" for frame in kind.frames) for kind, _ in taken.members()) == 100
