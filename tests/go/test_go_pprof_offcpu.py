"""`go tool pprof` on profiles with time off the CPU: each value by name, and Go's idle time filtered by its label."""

import os
import subprocess
from pathlib import Path

import pytest

from exporters import pprof
from tests.go import toolchains
from tests.support.offcpu import both, waits_only

pytestmark = pytest.mark.go


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pprof")
    (folder / "both.pb.gz").write_bytes(pprof.encode(both()))
    (folder / "waits.pb.gz").write_bytes(pprof.encode(waits_only()))
    return folder


def report(path: Path, *options: str) -> str:
    command = toolchains.go_on_path() or toolchains.go(toolchains.VERSIONS[-1])
    # Newer toolchains come without a built pprof: the cache makes that a matter of the first run.
    cache = toolchains.cache_folder() / "gocache" / "pprof"
    environment = {**os.environ, "GOCACHE": str(cache), "GOTOOLCHAIN": "local", "PPROF_TMPDIR": str(path.parent)}
    ran = subprocess.run(
        [command, "tool", "pprof", *options, path], capture_output=True, text=True, check=False, env=environment
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    return ran.stdout


def accounted(text: str) -> str:
    """The value of all calls shown, which are all that no filter left out."""
    (line,) = [line for line in text.splitlines() if line.startswith("Showing nodes accounting for")]
    return line.removeprefix("Showing nodes accounting for ").split(",")[0]


@pytest.mark.parametrize(
    ("name", "options", "shown", "expected"),
    [
        ("waits", [], "off_cpu", "13689ms"),
        ("waits", ["-sample_index=waits", "-unit=auto"], "waits", "122"),
        ("waits", ["-tagignore=state=go_idle"], "off_cpu", "6686ms"),
        ("both", [], "cpu", "1061.22ms"),
        ("both", ["-sample_index=off_cpu"], "off_cpu", "13689ms"),
        ("both", ["-sample_index=off_cpu", "-tagignore=state=go_idle"], "off_cpu", "6686ms"),
        ("both", ["-sample_index=runnable", "-tagfocus=state=preempted"], "runnable", "60ms"),
    ],
)
def test_every_value_can_be_shown(files: Path, name: str, options: list[str], shown: str, expected: str) -> None:
    text = report(files / f"{name}.pb.gz", "-top", "-nodecount=100", "-nodefraction=0", "-unit=ms", *options)
    assert f"Type: {shown}\n" in text
    assert accounted(text) == expected


def test_the_report_says_what_was_left_out_and_how_to_leave_out_idle_time(files: Path) -> None:
    text = report(files / "waits.pb.gz", "-comments")
    assert "waits shorter than 1 ms: 120,000, 3.2 s in all, not kept\n" in text
    assert "off_cpu includes 7.0 s of threads that Go had nothing to do for: -tagignore=state=go_idle\n" in text


def test_time_by_state_is_a_report_of_its_own(files: Path) -> None:
    text = report(files / "both.pb.gz", "-tags", "-sample_index=off_cpu")
    states = text.split("state: ")[1].split("\n\n")[0]
    assert "sleeping" in states
    assert "go_idle" in states
