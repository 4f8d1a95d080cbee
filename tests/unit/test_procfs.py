"""What /proc says of a process, from a tree of files."""

import os
import threading
from pathlib import Path

import pytest

from agent.procfs.process import command_name, container_of, namespace_pid, process_of

ID = "8d1f0c2b7a9e" + "5" * 52


@pytest.mark.parametrize(
    "line",
    [
        f"0::/system.slice/docker-{ID}.scope",
        f"0::/kubepods.slice/kubepods-burstable.slice/cri-containerd-{ID}.scope",
        f"0::/kubepods/besteffort/pod12/{ID}",
        f"4:memory:/docker/{ID}",
        f"0::/machine.slice/libpod-{ID}.scope/container",
        f"0::/kubepods.slice/crio-{ID}.scope",
    ],
)
def test_a_container_is_found_in_the_cgroup(line: str) -> None:
    assert container_of(f"12:pids:/\n{line}\n") == ID


@pytest.mark.parametrize("line", ["0::/", "0::/user.slice/user-0.slice/session-1.scope", "0::/x/" + "g" * 64, ""])
def test_other_cgroups_are_no_container(line: str) -> None:
    assert container_of(line) == ""


def test_names_and_numbers_are_read_below_the_given_root(tmp_path: Path) -> None:
    (tmp_path / "17").mkdir()
    (tmp_path / "17" / "comm").write_text("a thing\n")
    (tmp_path / "17" / "status").write_text("Name:\tthing\nNSpid:\t17\t4\t1\n")
    assert command_name(17, tmp_path) == "a thing"
    assert namespace_pid(17, tmp_path) == 1


def test_a_process_that_has_gone_has_no_name(tmp_path: Path) -> None:
    assert command_name(17, tmp_path) == ""
    assert namespace_pid(17, tmp_path) == 17


def test_a_thread_belongs_to_its_process_and_a_number_of_nobody_to_none(tmp_path: Path) -> None:
    (tmp_path / "18").mkdir()
    (tmp_path / "18" / "status").write_text("Name:\tx\nTgid:\t17\nPid:\t18\n")
    assert process_of(18, tmp_path) == 17
    assert process_of(19, tmp_path) is None
    assert process_of(threading.get_native_id()) == os.getpid()
