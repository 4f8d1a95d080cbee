"""The command to be profiled: held until released, its exit status passed on."""

import os
import signal
import time
from pathlib import Path

import pytest

from agent.errors import TargetError
from agent.launch import HeldCommand


def run(*command: str) -> int:
    held = HeldCommand(command)
    held.release()
    return held.wait()


def test_the_exit_status_is_passed_on() -> None:
    assert run("true") == 0
    assert run("sh", "-c", "exit 7") == 7


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_told_as_shells_do(number: signal.Signals) -> None:
    assert run("sh", "-c", f"kill -{number.value} $$") == 128 + number


def test_nothing_runs_before_the_release(tmp_path: Path) -> None:
    held = HeldCommand(["touch", str(tmp_path / "ran")])
    time.sleep(0.2)
    assert held.running
    assert not (tmp_path / "ran").exists()
    held.release()
    assert held.wait() == 0
    assert (tmp_path / "ran").exists()


def test_a_command_that_is_never_released_never_runs(tmp_path: Path) -> None:
    held = HeldCommand(["touch", str(tmp_path / "ran")])
    assert held.wait() == 127
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("mode", [None, 0o644])
def test_what_cannot_be_executed_is_an_error_with_the_reason(tmp_path: Path, mode: int | None) -> None:
    path = tmp_path / "program"
    if mode is not None:
        path.write_text("no program")
        path.chmod(mode)
    held = HeldCommand([str(path)])
    reason = "Permission denied" if mode else "No such file or directory"
    with pytest.raises(TargetError, match=f"{path} cannot be started: {reason}"):
        held.release()
    assert not held.running


def test_running_ends_with_the_command() -> None:
    held = HeldCommand(["sleep", "60"])
    held.release()
    assert held.running
    os.kill(held.pid, signal.SIGKILL)
    assert held.wait() == 128 + signal.SIGKILL
    assert not held.running


def test_signals_that_we_handle_are_back_to_their_default_in_the_command() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert run("sh", "-c", "kill -INT $$; exit 3") == 128 + signal.SIGINT
    finally:
        signal.signal(signal.SIGINT, before)
