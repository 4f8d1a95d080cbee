"""The command vagrant/run: what it does with its arguments, and its exit statuses."""

import argparse
import subprocess
from pathlib import Path

import pytest

from vagrant.booting import cli, session
from vagrant.booting.errors import BootError, MachineError
from vagrant.booting.images import Image, Images
from vagrant.booting.listed import read_list
from vagrant.booting.machine import Ended, Job, Machine
from vagrant.booting.matrix import BEGIN, END, NOTHING

JUNIT = """<testsuite><testcase name="t"><properties><property name="column" value="load"/></properties>{}
</testcase></testsuite>"""


class Boots:
    """Stands for fetching and booting: `jobs` were to run; `outcome` by release is a status or an error to raise."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.jobs: list[Job] = []
        self.outcome: dict[str, int | Exception] = {}
        self.junit = JUNIT.format("")
        self.checkout = tmp_path / "checkout"
        for name in ("tests/boot", "tests/kernel", ".venv", "docs"):
            (self.checkout / name).mkdir(parents=True)
        (self.checkout / ".venv/dev.stamp").touch()
        for test in {test for entry in read_list() for test in entry.tests} - {"tests/boot"}:
            (self.checkout / test).touch()
        (self.checkout / "docs/kernels.md").write_text(f"{BEGIN}\n{END}\n")
        monkeypatch.setattr(cli, "_CHECKOUT", self.checkout)
        monkeypatch.setattr(cli, "_DOCUMENT", self.checkout / "docs/kernels.md")
        monkeypatch.setattr(session.os, "geteuid", lambda: 0)
        monkeypatch.setattr(Images, "get", lambda _images, entry, ask=False: Image(entry.name, Path(), ()))  # noqa: ARG005
        monkeypatch.setattr(Machine, "boot", lambda _machine, job, keep: self._boot(job, keep))
        monkeypatch.setenv("GOROSCOPE_KERNELS", str(tmp_path / "cache"))

    def _boot(self, job: Job, keep: Path) -> Ended:
        self.jobs.append(job)
        keep.mkdir(parents=True, exist_ok=True)
        (keep / "console.log").write_text("console")
        (keep / "junit.xml").write_text(self.junit)
        outcome = self.outcome.get(job.image.release, 0)
        if isinstance(outcome, Exception):
            raise outcome
        return Ended(outcome, f"{job.image.release}.0-1", 12.3)


@pytest.fixture
def boots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Boots:
    return Boots(tmp_path, monkeypatch)


def test_without_tests_those_for_boots_and_kernels_run(boots: Boots, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["6.1"]) == 0
    (job,) = boots.jobs
    assert job.command == (
        ".venv/bin/python -m pytest --junitxml=/run/results/junit.xml -p no:cacheprovider tests/boot tests/kernel"
    )
    assert (job.checkout, job.append) == (boots.checkout, "")
    assert "6.1: 1 passed, 0 failed, 0 skipped, after 12 s" in capsys.readouterr().err


def test_options_may_stand_anywhere_and_what_follows_two_dashes_is_for_pytest(boots: Boots) -> None:
    argv = ["--timeout", "7", "6.12-integrity", "--append", "quiet x=1", "tests/boot", "--", "-k", "a b"]
    assert cli.main(argv) == 0
    (job,) = boots.jobs
    assert job.command.endswith("tests/boot -k 'a b'")
    assert (job.timeout_s, job.append) == (7.0, "lockdown=integrity quiet x=1")


def test_a_command_runs_instead_of_tests_and_needs_no_environment(boots: Boots) -> None:
    (boots.checkout / ".venv/dev.stamp").unlink()
    assert cli.main(["6.1", "--command", "uname -a"]) == 0
    boots.outcome["6.1"] = 3
    assert cli.main(["6.1", "--command", "false"]) == 1
    assert [job.command for job in boots.jobs] == ["uname -a", "false"]


def test_failed_tests_are_status_1_and_results_are_kept_where_wished(boots: Boots, tmp_path: Path) -> None:
    boots.outcome["6.1"] = 1
    boots.junit = JUNIT.format("<failure/>")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/status").write_text("of an earlier boot")
    assert cli.main(["6.1", "-o", str(tmp_path / "out"), "--keep-log"]) == 1
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["console.log", "junit.xml"]
    assert (tmp_path / "cache/logs/6.1.log").read_text() == "console"


@pytest.mark.parametrize(
    ("error", "status"), [(MachineError("No qemu.", "Install it."), 3), (BootError("It hung.", "Wait longer."), 4)]
)
def test_errors_are_two_sentences_and_a_status_of_their_kind(
    boots: Boots, capsys: pytest.CaptureFixture[str], error: MachineError | BootError, status: int
) -> None:
    boots.outcome["6.1"] = error
    assert cli.main(["6.1", "--keep-log"]) == status
    assert capsys.readouterr().err.splitlines()[-1] == f"vagrant/run: {error.cause} {error.remedy}"


def test_a_corrupt_report_is_status_4(boots: Boots, capsys: pytest.CaptureFixture[str]) -> None:
    boots.junit = "<testsuite"
    assert cli.main(["6.1"]) == 4
    assert "results cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["4.19"], "no kernel '4.19' in kernels.toml. Known are 5.10,"),
        (["fetch", "4.19"], "no kernel '4.19'"),
        (["6.1", "tests/nothing.py::test_x"], "no test tests/nothing.py::test_x"),
        (["6.1", "--update"], "--update goes with all kernels only"),
    ],
)
def test_wrong_usage_is_status_2(boots: Boots, capsys: pytest.CaptureFixture[str], argv: list[str], said: str) -> None:
    assert cli.main(argv) == 2
    assert said in capsys.readouterr().err
    assert boots.jobs == []


@pytest.mark.parametrize(
    "argv", [[], ["6.1", "--timeout", "0"], ["6.1", "--timeout", "soon"], ["all", "--jobs", "0"], ["6.1", "--nonsense"]]
)
@pytest.mark.usefixtures("boots")
def test_options_that_cannot_be_are_status_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(argv)
    assert caught.value.code == 2
    assert "usage: vagrant/run" in capsys.readouterr().err


def test_what_a_checkout_or_user_lacks_is_said_before_anything_boots(
    boots: Boots, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (boots.checkout / ".venv/dev.stamp").unlink()
    assert cli.main(["6.1"]) == 3
    assert "make .venv/dev.stamp" in capsys.readouterr().err
    monkeypatch.setattr(session.os, "geteuid", lambda: 1000)
    assert cli.main(["6.1"]) == 3
    assert "takes root" in capsys.readouterr().err
    assert boots.jobs == []


def test_all_kernels_run_what_the_list_says_and_one_that_hangs_does_not_keep_the_others(
    boots: Boots, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    boots.outcome["6.1"] = BootError("The guest has not come up.", "Wait.")
    assert cli.main(["all", "--update", "--jobs", "1", "-o", str(tmp_path / "out")]) == 4
    assert len(boots.jobs) == 7
    assert all(" tests/boot" in job.command for job in boots.jobs)
    assert (tmp_path / "out/6.12-integrity/junit.xml").exists()
    for text in (capsys.readouterr().out, (boots.checkout / "docs/kernels.md").read_text()):
        assert f"| 6.12                 | yes  | {NOTHING}" in text
        assert "- 6.1: The guest has not come up." in text


def test_all_is_status_1_when_tests_failed_and_0_when_none_did(boots: Boots) -> None:
    assert cli.main(["all"]) == 0
    boots.outcome["7.3"] = 1
    assert cli.main(["all", "tests/kernel"]) == 1
    assert boots.jobs[-1].command.endswith(" tests/kernel")


def test_a_full_disk_is_no_traceback(boots: Boots, capsys: pytest.CaptureFixture[str]) -> None:
    boots.outcome["6.1"] = OSError(28, "No space left on device", "/tmp/x")
    assert cli.main(["6.1"]) == 3
    assert "vagrant/run: /tmp/x: No space left on device." in capsys.readouterr().err


@pytest.mark.usefixtures("boots")
def test_the_list_and_fetching_need_no_boot(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()][:2] == ["5.10", "6.1"]
    assert cli.main(["fetch", "6.1", "7.3"]) == 0
    assert capsys.readouterr().out == "6.1: 6.1\n7.3: 7.3\n"


def test_the_script_runs_from_anywhere_without_the_environment(tmp_path: Path) -> None:
    script = Path(__file__).parents[2] / "vagrant/run"
    done = subprocess.run([script, "--help"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "vagrant/run [options] KERNEL [TEST..]" in done.stdout
    assert isinstance(cli._parser(), argparse.ArgumentParser)
