"""`goroscope record`: what it refuses before it samples anything, and its exit statuses."""

import os
from pathlib import Path

import pytest

from agent.cli import outputs, record
from agent.cli.main import main, parse
from agent.errors import OutputError
from exporters.formats import format_named
from tests.support.profiles import everything


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    """Exit status and the one sentence on standard error."""
    status = main(["record", *(str(argument) for argument in arguments)])
    output, error = capsys.readouterr()
    assert not output
    (line,) = error.splitlines()
    return status, line.removeprefix("goroscope: ")


@pytest.mark.parametrize(
    ("arguments", "cause"),
    [
        (["0"], "0 is not a number of seconds above 0"),
        (["-d", "nan"], "nan is not a number of seconds above 0"),
        (["-d", "inf"], "inf is not a number of seconds above 0"),
        (["-d", "-1"], "number of seconds"),
        (["ten"], "ten is not a number of seconds above 0"),
        (["5", "-d", "5"], "The duration is given twice."),
        (["-F", "0"], "0 is not a whole number of hertz from 1 to 1000"),
        (["-F", "1001"], "1001 is not a whole number of hertz"),
        (["-F", "49.5"], "49.5 is not a whole number of hertz"),
        (["-p", "0"], "0 is not a list of process ids"),
        (["-p", "1,,2"], "1,,2 is not a list of process ids"),
        (["-p", "-1"], "process ids"),
        (["-p", "\u0663"], "is not a list of process ids"),
        (["-p", "1", "--cgroup", "/x"], "not allowed with"),
        (["-U", "-K"], "not allowed with"),
        (["-p", "1", "--", "true"], "A command and another target were given."),
        (["--"], "There is no command behind `--`."),
        (["-o", "x.svg"], "x.svg has no extension of a known format"),
        (["--frobnicate"], "--frobnicate"),
        (["--wakers"], "--wakers without --off-cpu says nothing."),
        (["--min-block", "0", "--states", "sleeping"], "--min-block and --states without --off-cpu"),
        (["--off-cpu", "--min-block", "1"], "1 is not a time such as 500us, 1ms or 2s"),
        (["--off-cpu", "--min-block", "-1ms"], "expected one argument"),
        (["--off-cpu", "--min-block", "9999999999999999999999s"], "is not a time"),
        (["--off-cpu", "--max-block", "1ms", "--min-block", "2ms"], "--max-block is below --min-block"),
        (["--off-cpu", "--max-block", "500us"], "--max-block is below --min-block"),
        (["--off-cpu", "--states", "sleeping,dreaming"], "dreaming is not one of preempted, sleeping"),
    ],
)
def test_a_wrong_command_line_is_status_2(capsys: pytest.CaptureFixture[str], arguments: list[str], cause: str) -> None:
    status, sentence = refused(capsys, *arguments)
    assert status == 2
    assert cause in sentence


def test_a_process_that_does_not_exist_is_status_4(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    status, sentence = refused(capsys, "-p", 2**22 - 1, "-o", tmp_path / "x.html")
    assert (status, sentence) == (4, "There is no process 4194303. Give the id of a running process.")


def test_a_file_that_exists_is_kept_unless_forced(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "x.html"
    path.write_text("mine")
    status, sentence = refused(capsys, "-p", os.getpid(), "-o", path)
    assert (status, sentence) == (5, f"{path} exists already. Give another name, or --force to write over it.")
    assert path.read_text() == "mine"
    _, args = parse(["record", "--force", "-o", str(path)])
    assert [name for name, _ in record._outputs(args)] == [str(path)]


def test_a_directory_that_does_not_exist_is_refused_before_sampling(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    status, sentence = refused(capsys, "-o", tmp_path / "none" / "x.html")
    assert (status, sentence) == (5, f"The directory {tmp_path / 'none'} does not exist. Make it first.")


def test_files_are_named_after_target_and_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for arguments, word in (
        (["record"], "node"),
        (["record", "--demo"], "demo"),
        (["record", "--", "/opt/my server/run;me", "x"], "run_me"),
        (["record", "--cgroup", "/sys/fs/cgroup/user.slice"], "user.slice"),
    ):
        _, args = parse(arguments)
        names = [name for name, _ in record._outputs(args)]
        assert [name.partition("-2")[0] for name in names] == [f"goroscope-{word}"] * 2
        assert names[0].endswith(".pb.gz")
        assert names[1].endswith(".html")
        assert all("/" not in name and ";" not in name for name in names)


def test_one_output_that_fails_does_not_cost_the_others_nor_the_profile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outputs.tempfile, "gettempdir", lambda: str(tmp_path))
    files = [
        (str(tmp_path / "gone" / "x.html"), format_named("html")),
        (str(tmp_path / "x.folded"), format_named("folded")),
    ]
    with pytest.raises(OutputError, match=r"x\.html could not be written: No such file or directory") as caught:
        outputs.write(everything(), files, force=False)
    assert (tmp_path / "x.folded").stat().st_size > 0
    (kept,) = tmp_path.glob("goroscope-rescued-*.pb.gz")
    assert caught.value.remedy == f"The profile was kept as {kept}."


def test_where_nothing_can_be_kept_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs.tempfile, "gettempdir", lambda: str(tmp_path / "gone"))
    with pytest.raises(OutputError, match=r"It could not be kept in .* either: No such file or directory"):
        outputs.write(everything(), [(str(tmp_path / "gone" / "x.html"), format_named("html"))], force=False)
