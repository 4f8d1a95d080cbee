"""The ./goroscope script: quick when all is set up, clear when it cannot be."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def script(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout in a folder with a space, whose environment was set up before; its goroscope prints its arguments."""
    folder = tmp_path / "my checkout"
    folder.mkdir()
    for name in ("goroscope", "pyproject.toml", "requirements.lock"):
        shutil.copy2(ROOT / name, folder / name)
    script(folder / ".venv/bin/goroscope", 'printf "<%s>" "$@"; exit 7')
    script(folder / ".venv/bin/python", "exit 0")
    (folder / ".venv/goroscope.stamp").write_text(f"{folder}\nfingerprint\n")
    return folder


def launch(folder: Path, *arguments: str, path: str = "/nonexistent", **environment: str):
    return subprocess.run(
        [folder / "goroscope", *arguments],
        env={"PATH": path, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_set_up_checkout_starts_no_other_program_and_passes_arguments_and_status(checkout: Path) -> None:
    done = launch(checkout, "record", "a b", "", "--", "*")
    assert (done.stdout, done.stderr, done.returncode) == ("<record><a b><><--><*>", "", 7)


def test_it_works_through_a_relative_path_and_through_a_link(checkout: Path) -> None:
    (checkout.parent / "link").symlink_to(checkout / "goroscope")
    for command in ("./goroscope", "../my checkout/goroscope", "../link"):
        done = subprocess.run([command, "x"], cwd=checkout, capture_output=True, text=True, check=False)
        assert done.stdout == "<x>", command


def test_a_changed_requirement_sets_up_again_and_leaves_a_stamp(checkout: Path) -> None:
    os.utime(checkout / "pyproject.toml", (4e9, 4e9))
    script(checkout / ".venv/bin/python", f'echo "python $*" >>"{checkout}/calls"')
    done = launch(checkout, "x", path=os.environ["PATH"])
    assert done.stdout == "<x>"
    assert "setting up" in done.stderr
    assert "pip install" in (checkout / "calls").read_text()
    stamp = (checkout / ".venv/goroscope.stamp").read_text()
    assert stamp.startswith(f"{checkout}\n")
    # Only touched, with the same contents, nothing is installed.
    (checkout / "calls").unlink()
    os.utime(checkout / "pyproject.toml", (5e9, 5e9))
    assert launch(checkout, "x", path=os.environ["PATH"]).stderr == ""
    assert not (checkout / "calls").exists()


def test_a_moved_checkout_is_noticed(checkout: Path) -> None:
    moved = checkout.with_name("elsewhere")
    checkout.rename(moved)
    assert "setting up" in launch(moved, "x", path=os.environ["PATH"]).stderr


def test_a_failing_pip_is_one_sentence_with_status_3_and_is_tried_again_next_time(checkout: Path) -> None:
    os.utime(checkout / "pyproject.toml", (4e9, 4e9))
    script(checkout / ".venv/bin/python", '[ "$3" = --version ]')
    for _ in range(2):
        done = launch(checkout, "x", path=os.environ["PATH"])
        assert done.returncode == 3
        assert done.stdout == ""
        assert "pip could not install" in done.stderr.splitlines()[-1]


def test_a_place_that_cannot_be_made_is_said(checkout: Path) -> None:
    done = launch(checkout, "x", path=os.environ["PATH"], GOROSCOPE_VENV="/proc/nowhere/venv")
    assert done.returncode == 3
    assert "GOROSCOPE_VENV" in done.stderr
