"""`goroscope record` from outside: its files, its errors, and Ctrl-C."""

import ctypes
import gzip
import json
import os
import re
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.recording.recorder import load_error
from bpf.programs import LoadError, Loading, Sizes
from exporters.proto import pprof_pb2
from tests.go import toolchains
from tests.kernel.cli import ROOT, folded, goroscope, interrupt, say_when_sampling, start
from tests.kernel.conftest import CBuild
from tests.kernel.recording import running
from tests.support import pprof

pytestmark = pytest.mark.kernel

SOURCE = ROOT / "tests" / "go" / "programs" / "truth"
PR_CAPBSET_DROP = 24


@pytest.fixture
def busy(c_program: CBuild) -> Iterator[int]:
    with running([c_program("chain", called="busy")]) as process:
        yield process.pid


def test_all_formats_of_one_recording_tell_the_same_and_go_tool_pprof_reads_it(tmp_path: Path) -> None:
    names = [f"x{extension}" for extension in (".pb.gz", ".html", ".folded", ".speedscope.json")]
    outputs = [word for name in names for word in ("-o", tmp_path / name)]
    program = toolchains.build(toolchains.VERSIONS[-1], "stripped", SOURCE)
    with running([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE):
        ended = goroscope("record", "-F", "199", "-d", "3", *outputs)
    assert ended.status == 0, ended.error
    profile = pprof.read((tmp_path / "x.pb.gz").read_bytes())
    total, nanoseconds = (sum(sample.value[column] for sample in profile.sample) for column in (0, 1))
    assert total > 200
    assert nanoseconds == total * (10**9 // 199)
    assert sum(folded((tmp_path / "x.folded").read_text()).values()) in {total, nanoseconds}
    speedscope = json.loads((tmp_path / "x.speedscope.json").read_text())
    weights = sum(sum(part["weights"]) for part in speedscope["profiles"])
    assert weights in {total, nanoseconds}
    said = re.search(r"([\d,]+) samples in", ended.error)
    assert said
    assert int(said[1].replace(",", "")) == total
    assert f"{total:,}" in (tmp_path / "x.html").read_text() or str(total) in (tmp_path / "x.html").read_text()
    read_by_go(tmp_path / "x.pb.gz", total, nanoseconds)


def read_by_go(path: Path, total: int, nanoseconds: int) -> None:
    """`go tool pprof` reads the file in every way without a complaint, and gets the same total."""
    go = toolchains.go(toolchains.VERSIONS[-1])
    environment = {**toolchains.environment(go), "HOME": str(path.parent), "PPROF_TMPDIR": str(path.parent)}

    def tool(*arguments: object) -> str:
        words = [str(word) for word in (go, "tool", "pprof", "-symbolize=none", *arguments)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=120, env=environment, check=False)
        assert done.returncode == 0, done.stderr
        # It names the file it reads and how to look on, no more.
        complaints = [line for line in done.stderr.splitlines() if line and not line.startswith(("Fetching", "Saved"))]
        assert not complaints, done.stderr
        return done.stdout

    top = tool("-top", "-sample_index=samples", path)
    assert f"of {total} total" in top or f" {total}, 100%" in top or f"{total} total" in top, top[:500]
    assert "main.leaf" in top
    raw = tool("-raw", path)
    assert "samples/count cpu/nanoseconds" in raw
    assert "runtime.goexit" in tool("-traces", "-sample_index=samples", path)
    same = tool("-top", "-sample_index=samples", f"-diff_base={path}", path)
    assert re.search(r"Showing nodes accounting for 0\b", same), same[:500]
    assert sum(pprof_pb2.Profile.FromString(gzip.decompress(path.read_bytes())).sample[0].value) <= total + nanoseconds


def test_ctrl_c_ends_a_recording_in_the_ordinary_way_however_often_it_comes(busy: int, tmp_path: Path) -> None:
    process = start("record", "-F", "199", "-p", busy, "-o", tmp_path / "x.folded", "-o", tmp_path / "x.pb.gz")
    said = say_when_sampling(process)
    assert "until Ctrl-C" in said
    time.sleep(1.0)
    ended = interrupt(process, signal.SIGINT, times=3)
    assert ended.status == 0, ended.error
    assert sum(folded((tmp_path / "x.folded").read_text()).values()) > 20
    pprof.read((tmp_path / "x.pb.gz").read_bytes())
    assert "samples in" in ended.error


def test_ctrl_c_right_at_the_start_leaves_no_traceback(busy: int, tmp_path: Path) -> None:
    process = start("record", "-p", busy, "-o", tmp_path / "x.folded")
    time.sleep(0.6)
    ended = interrupt(process, signal.SIGINT)
    assert ended.status in {0, 6, 130, -signal.SIGINT}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    path = tmp_path / "small"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "goroscope-test", path]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {done.stderr.strip()}")
    try:
        yield path
    finally:
        subprocess.run(["umount", path], check=True, timeout=30)


def rescued(sentence: str) -> Path:
    kept = re.search(r"The profile was kept as (\S+)\.$", sentence)
    assert kept, sentence
    return Path(kept[1])


def test_a_full_disk_costs_no_samples(busy: int, small_disk: Path, tmp_path: Path) -> None:
    (small_disk / "filler").write_bytes(bytes(60 << 10))
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    ended = goroscope("record", "-p", busy, "-F", "199", "-d", "1", "-o", small_disk / "x.html", env=environment)
    assert ended.status == 5
    assert "No space left on device" in ended.sentence
    profile = pprof.read(rescued(ended.sentence).read_bytes())
    assert sum(sample.value[0] for sample in profile.sample) > 20
    assert not list(small_disk.glob("*.tmp"))
    assert not list(small_disk.glob(".goroscope*"))


def test_a_place_that_cannot_be_written_costs_no_samples(busy: int, small_disk: Path, tmp_path: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True, timeout=30)
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    ended = goroscope("record", "-p", busy, "-d", "1", "-o", small_disk / "x.pb.gz", env=environment)
    assert ended.status == 5
    assert "Read-only file system" in ended.sentence
    pprof.read(rescued(ended.sentence).read_bytes())


def without_capabilities() -> None:
    """For the child before its exec: with an empty bounding set root keeps its files, but gets no capability."""
    libc = ctypes.CDLL(None)
    for number in range(64):
        libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0)


def test_without_capabilities_it_says_so() -> None:
    ended = goroscope("record", "-d", "1", "-o", "-", preexec_fn=without_capabilities)
    assert ended.status == 3
    assert "CAP_BPF" in ended.sentence
    assert "sudo" in ended.sentence
    assert len(ended.error.strip().splitlines()) == 1


def loader_with(tmp_path: Path, module: str) -> str:
    """A Python for the loader in which `bcc` is this module."""
    (tmp_path / "bcc.py").write_text(module)
    script = tmp_path / "python"
    script.write_text(f'#!/bin/sh\nshift\nPYTHONPATH={tmp_path} exec /usr/bin/python3 "$@"\n')
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return str(script)


@pytest.mark.parametrize(
    ("module", "cause"),
    [
        ("__version__ = '0.1'\nclass BPF: pass\n", "not the BPF Compiler Collection"),
        ("", "could not be imported"),
        ("raise ImportError('libbcc.so.0 is missing')", "libbcc.so.0 is missing"),
    ],
)
def test_the_wrong_bcc_is_an_error_with_its_cause(tmp_path: Path, module: str, cause: str) -> None:
    loading = Loading(Sizes(), 2, python=loader_with(tmp_path, module))
    with pytest.raises(LoadError, match=cause) as caught:
        loading.finish()
    told = load_error(caught.value)
    assert told.exit_code == 3
    assert cause in told.cause or "bcc" in told.cause
    assert told.remedy


def test_a_loader_that_dies_is_an_error() -> None:
    with pytest.raises(LoadError, match="ended with status 1"):
        Loading(Sizes(), 2, python="/bin/false").finish()
    with pytest.raises(LoadError):
        Loading(Sizes(), 2, python="/nowhere/python").finish()
