"""The demo service: built offline, serving, and gone afterwards."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agent.demo.build import build_demo
from agent.demo.service import DemoService
from agent.errors import MachineError

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".cache" / "demo-test"


@pytest.fixture(scope="module")
def program() -> Path:
    return build_demo(CACHE)


def script(folder: Path, text: str) -> Path:
    path = folder / "service"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wait_until_gone(pid: int) -> bool:
    """Whether the process ends (or is only waiting to be collected) within ten seconds."""
    for _ in range(100):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.1)
    return False


@pytest.mark.go
def test_the_service_uses_cpu_while_it_runs_and_is_gone_afterwards(program: Path) -> None:
    with DemoService(program) as service:
        pid = service.pid
        for _ in range(100):
            if cpu_seconds(pid) > 0.2:
                break
            time.sleep(0.1)
        assert cpu_seconds(pid) > 0.2
    assert not Path(f"/proc/{pid}").exists()
    with pytest.raises(RuntimeError):
        _ = service.pid


@pytest.mark.go
def test_a_second_build_comes_from_the_cache(program: Path) -> None:
    built = program.stat().st_mtime_ns
    assert build_demo(CACHE, say=pytest.fail) == program
    assert program.stat().st_mtime_ns == built


@pytest.mark.go
def test_the_service_does_not_outlive_a_killed_owner(program: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from agent.demo.service import DemoService\n"
        "with DemoService(Path(sys.argv[1])) as s: print(s.pid, flush=True); time.sleep(60)"
    )
    owner = subprocess.Popen([sys.executable, "-c", code, program], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    with owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        owner.send_signal(signal.SIGKILL)
        assert wait_until_gone(pid)


@pytest.mark.parametrize(
    ("text", "cause"),
    [("echo no port left >&2; exit 1", "no port left"), ("exec true", "said nothing"), ("echo hello; cat", "nothing")],
)
def test_a_service_that_does_not_come_up_is_an_error_with_its_own_words(tmp_path: Path, text: str, cause: str) -> None:
    with pytest.raises(MachineError, match=cause), DemoService(script(tmp_path, text)):
        pytest.fail("it came up")


def test_a_missing_service_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="cannot be started"), DemoService(tmp_path / "nothing"):
        pytest.fail("it came up")


def test_a_cache_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError, match="cannot be built in"):
        build_demo(tmp_path / "file" / "below")
