"""The command line itself: help texts, usage errors, failures as one sentence."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from agent import __version__
from agent.cli import main as cli
from agent.cli.command import COMMANDS, Entry
from agent.errors import UsageError

ROOT = Path(__file__).parents[2]


def goroscope(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "agent.cli.main", *arguments]
    return subprocess.run(command, text=True, capture_output=True, env=environment, check=False, **options)


def like_3_12(text: str) -> list[str]:
    """The words of a help text, `-o FILE, --output FILE` written as Python 3.13 does, whatever the line breaks."""
    return re.sub(r"(-\w) (\S+), (--[\w-]+) \2", r"\1, \3 \2", text).split()


@pytest.mark.parametrize("name", ["", *(entry.name for entry in COMMANDS)])
def test_help_is_what_was_agreed(name: str, golden) -> None:
    done = goroscope(*filter(None, [name]), "--help")
    assert done.stderr == ""
    assert done.returncode == 0
    assert like_3_12(done.stdout) == like_3_12(golden(f"help-{name or 'goroscope'}.txt", done.stdout))


@pytest.mark.parametrize("entry", COMMANDS, ids=lambda entry: entry.name)
def test_every_command_of_the_table_can_be_made_and_explains_itself(entry) -> None:
    command = entry.load()
    assert type(command).__doc__
    assert callable(command.run)


def test_version_is_printed() -> None:
    assert goroscope("--version").stdout == f"goroscope {__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["recor"], ["doctor", "--nonsense"], ["record", "--"]])
def test_a_wrong_command_line_ends_with_status_2_and_one_sentence_with_a_remedy(arguments: list[str]) -> None:
    done = goroscope(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert re.fullmatch(r"goroscope: [^\n]+\. (Run|Name) [^\n]+\n", done.stderr)


def test_what_stands_behind_two_dashes_is_left_alone() -> None:
    _, args = cli.parse(["record", "-v", "--", "prog", "-v", "--", "--json"])
    assert args.program == ["prog", "-v", "--", "--json"]
    assert args.verbose


def test_verbose_may_stand_on_either_side_of_the_command() -> None:
    for arguments in (["-v", "doctor"], ["doctor", "-v"]):
        assert cli.parse(arguments)[1].verbose
    assert not cli.parse(["doctor"])[1].verbose


def test_a_bad_option_is_a_usage_error_that_names_the_command() -> None:
    with pytest.raises(UsageError, match="goroscope doctor --help"):
        cli.parse(["doctor", "--js"])


def test_choosing_one_command_imports_no_other() -> None:
    code = (
        "import sys; from agent.cli import main; main.parse(['doctor']);"
        "print([m for m in sys.modules if m in ('agent.cli.record', 'agent.cli.symbolize', 'rich')])"
    )
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, cwd=ROOT, check=True)
    assert done.stdout == "[]\n"


def test_a_full_disk_under_standard_output_is_an_error_of_kind_output() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "agent.cli.main", "doctor", "--json"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            check=False,
        )
    assert done.returncode == 5
    assert done.stderr.startswith("goroscope: Standard output could not be written: No space left")


def test_a_reader_that_has_gone_is_no_error_message() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "agent.cli.main", "doctor"],
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            check=False,
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


class Broken:
    """Fails."""

    def prepare_parser(self, parser) -> None:
        """Want nothing."""

    def run(self, args) -> int:
        raise ZeroDivisionError(f"by\n{args.command}")


def test_an_unexpected_error_is_one_sentence_and_a_traceback_only_when_asked(monkeypatch, capsys) -> None:
    monkeypatch.setattr(cli, "COMMANDS", (Entry("broken", __name__, "Broken", "fails"),))
    assert cli.main(["broken"]) == cli.EXIT_INTERNAL
    assert capsys.readouterr().err.count("\n") == 1
    assert cli.main(["broken", "-v"]) == cli.EXIT_INTERNAL
    assert "Traceback" in capsys.readouterr().err
