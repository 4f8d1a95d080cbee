"""The Vagrantfile, as Vagrant reads it: no libvirtd and no box is needed, and no machine is started."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from vagrant.booting.listed import read_list
from vagrant.booting.machine import RESULTS

VAGRANT = Path(__file__).parents[2] / "vagrant"
NAMES = [entry.name for entry in read_list()]

pytestmark = [
    pytest.mark.slow,  # Vagrant takes two seconds to start
    pytest.mark.skipif(Path(RESULTS, "command.sh").exists(), reason="says nothing of the kernel that is booted here"),
]

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def vagrant(tmp_path: Path) -> Run:
    """vagrant(*arguments, **environment): what became of it, with a home of its own."""
    if shutil.which("vagrant") is None:
        pytest.skip("vagrant is not installed: apt-get install vagrant vagrant-libvirt, or `make kernels`")
    ours = {
        "VAGRANT_HOME": str(tmp_path / "home"),
        "VAGRANT_DOTFILE_PATH": str(tmp_path / "dotfile"),
        "VAGRANT_CHECKPOINT_DISABLE": "1",
        "GOROSCOPE_KERNELS": str(tmp_path / "kernels"),
        "GOROSCOPE_BOX": str(tmp_path / "goroscope.box"),
    }

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["vagrant", *arguments],
            cwd=VAGRANT,
            env={**os.environ, **ours, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


@pytest.mark.parametrize("driver", ["kvm", "qemu"])
def test_vagrant_finds_nothing_wrong_with_it(vagrant: Run, driver: str) -> None:
    done = vagrant("validate", GOROSCOPE_DRIVER=driver)
    assert done.returncode == 0, done.stdout + done.stderr


def test_there_is_a_machine_for_each_kernel_of_the_list(vagrant: Run) -> None:
    done = vagrant("status", "--machine-readable")
    lines = [line.split(",") for line in done.stdout.splitlines()]
    assert [machine for _, machine, kind, *_ in lines if kind == "state"] == NAMES, done.stdout + done.stderr


def test_a_kernel_that_is_not_there_is_named_with_the_remedy(vagrant: Run, tmp_path: Path) -> None:
    done = vagrant("up", NAMES[0])
    assert done.returncode != 0
    said = done.stderr.strip().splitlines()[-1]
    assert said.startswith(f"vagrant: there is no {tmp_path}/kernels/")
    assert said.endswith(f"/vmlinux. Run: vagrant/box {NAMES[0]}")


def test_a_box_that_is_not_there_is_named_with_the_remedy(vagrant: Run, tmp_path: Path) -> None:
    folder = tmp_path / "kernels/images" / f"{read_list()[0].suite}-{read_list()[0].package}" / "current"
    folder.mkdir(parents=True)
    for name in ("vmlinux", "initrd-disk"):
        (folder / name).touch()
    done = vagrant("up", NAMES[0])
    assert done.returncode != 0
    assert done.stderr.strip().splitlines()[-1] == (
        f"vagrant: there is no {tmp_path}/goroscope.box. Run: vagrant/box {NAMES[0]}"
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--nonsense"], "vagrant/box: Usage: vagrant/box [--force] [KERNEL..]"),
        (["--force", "-x"], "vagrant/box: Usage: vagrant/box [--force] [KERNEL..]"),
    ],
)
def test_the_box_script_refuses_what_it_does_not_know(arguments: list[str], said: str) -> None:
    done = subprocess.run([VAGRANT / "box", *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr.strip()) == (2, said)
