"""`goroscope symbolize` on a program with inlined calls, and on files that are none."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from agent.cli import main as cli
from agent.cli.symbolize import _as_text
from profiles.model import Frame, Kind

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, int]]:
    """A C program and the addresses of its functions as its symbol table has them."""
    folder = tmp_path_factory.mktemp("symbolize")
    source = folder / "p.c"
    source.write_text("int work(int x) { return x * 3; }\nint main(int n, char **a) { (void)a; return work(n); }\n")
    subprocess.run(["gcc", "-O0", "-o", folder / "p", source], check=True, stdin=subprocess.DEVNULL)
    listed = subprocess.run(["nm", folder / "p"], check=True, capture_output=True, text=True).stdout
    found = {name: int(address, 16) for address, name in re.findall(r"^([0-9a-f]+) T (\w+)$", listed, re.MULTILINE)}
    return folder / "p", found


def test_each_address_is_one_line_in_the_order_given(program, capsys) -> None:
    path, symbols = program
    work, main = symbols["work"], symbols["main"]
    assert cli.main(["symbolize", str(path), f"{work + 3:x}", f"{main:#x}", "1"]) == 0
    assert capsys.readouterr().out == f"{work + 3:#x}  work\n{main:#x}  main\n0x1  [unknown]\n"


def test_json_is_one_object_a_line(program, capsys) -> None:
    path, symbols = program
    assert cli.main(["symbolize", "--json", str(path), f"{symbols['work']:x}", "0"]) == 0
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first["address"] == hex(symbols["work"])
    assert first["kind"] == "native"
    assert [frame["function"] for frame in first["frames"]] == ["work"]
    assert second["frames"] == []


def test_addresses_come_from_standard_input_with_a_dash(program) -> None:
    path, symbols = program
    done = subprocess.run(
        [sys.executable, "-m", "agent.cli.main", "symbolize", path, "-"],
        input=f"{symbols['main']:x} {symbols['work']:#x}\n\n0\n",
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    assert [line.split()[1] for line in done.stdout.splitlines()] == ["main", "work", "[unknown]"]


def test_status_1_says_that_no_address_was_known(program) -> None:
    assert cli.main(["symbolize", str(program[0]), "0"]) == 1


def test_inlined_calls_are_listed_below_innermost_first() -> None:
    frames = (Frame("inner", "/a.go", 3), Frame("middle", "/a.go", 9), Frame("outer", "", 0))
    assert _as_text(0x10, Kind.GO, frames) == (
        "0x10  inner at /a.go:3\n    inlined by middle at /a.go:9\n    inlined by outer\n"
    )


def test_a_name_cannot_steer_the_terminal() -> None:
    assert _as_text(1, Kind.NATIVE, (Frame("\x1b[2Jx\n"),)) == "0x1  \\x1b[2Jx\\x0a\n"


@pytest.mark.parametrize(
    "word", ["", "0x", "xyz", "-5", "1_000", "\N{FULLWIDTH DIGIT ONE}", "10000000000000000", "f" * 5000]
)
def test_what_is_no_address_is_a_usage_error(program, capsys, word: str) -> None:
    assert cli.main(["symbolize", str(program[0]), "--", word]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert len(error) < 300


@pytest.mark.parametrize(
    "contents",
    [b"", b"\x7fELF", b"#!/bin/sh\n", b"\x7fELF\x02\x01\x01" + b"\xff" * 200, b"\x7fELF\x01\x01\x01" + bytes(60)],
    ids=["empty", "magic only", "script", "lying header", "32 bit"],
)
def test_a_file_that_is_no_program_is_one_sentence_with_status_4(tmp_path: Path, capsys, contents: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(contents)
    assert cli.main(["symbolize", str(path), "1000"]) == 4
    out, error = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"goroscope: [^\n]+ is no usable ELF file: [^\n]+\n", error)


def test_a_missing_file_and_a_folder_are_one_sentence_with_status_4(tmp_path: Path, capsys) -> None:
    for path in (tmp_path / "nothing", tmp_path):
        assert cli.main(["symbolize", str(path), "1000"]) == 4
        assert capsys.readouterr().err.count("\n") == 1


def test_a_pipe_or_a_device_does_not_hang(tmp_path: Path, capsys) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        assert cli.main(["symbolize", str(path), "1000"]) == 4
        assert capsys.readouterr().err.count("\n") == 1


def test_a_truncated_program_still_ends_in_order(program, tmp_path: Path, capsys) -> None:
    whole = program[0].read_bytes()
    for size in range(0, len(whole), 997):
        path = tmp_path / "cut"
        path.write_bytes(whole[:size])
        assert cli.main(["symbolize", str(path), f"{program[1]['main']:x}"]) in {0, 1, 4}
    assert "Traceback" not in capsys.readouterr().err
