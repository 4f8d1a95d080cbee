"""`go tool pprof` on a profile of goroutines: names, lines and inlined calls, and every label as a filter."""

import os
import subprocess
from pathlib import Path

import pytest

from exporters import pprof
from profiles.goroutine_profile import goroutine_profile
from tests.go import toolchains
from tests.support.goroutines import shop

pytestmark = pytest.mark.go

WITHOUT_MAPPING = "Main binary filename not available."
"""What pprof says, and no more, where it has no file to look into: there is nothing left for it to find."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pprof")
    for apart in (False, True):
        profile = goroutine_profile(shop(), apart=apart, version="0.1.0")
        (folder / f"{'apart' if apart else 'alike'}.pb.gz").write_bytes(pprof.encode(profile))
    return folder


def report(path: Path, *options: str) -> str:
    command = toolchains.go_on_path() or toolchains.go(toolchains.VERSIONS[-1])
    cache = toolchains.cache_folder() / "gocache" / "pprof"
    environment = {**os.environ, "GOCACHE": str(cache), "GOTOOLCHAIN": "local", "PPROF_TMPDIR": str(path.parent)}
    arguments = [command, "tool", "pprof", "-nodecount=100", "-nodefraction=0", *options, path]
    ran = subprocess.run(arguments, capture_output=True, text=True, check=False, env=environment)
    said = [line for line in ran.stderr.splitlines() if line != WITHOUT_MAPPING and "Interpreted" not in line]
    assert (ran.returncode, said) == (0, [])
    return ran.stdout


def rows(text: str) -> dict[str, list[str]]:
    """The columns of a report by function."""
    table = text.split("cum%\n")[1]
    return {line.split(maxsplit=5)[5]: line.split()[:5] for line in table.splitlines()}


def test_functions_are_listed_with_how_many_goroutines_are_below_them(files: Path) -> None:
    text = report(files / "alike.pb.gz", "-top")
    assert "Type: goroutines\n" in text
    assert "Showing nodes accounting for 55, 100% of 55 total\n" in text
    found = rows(text)
    assert found["runtime.gopark"][0] == "53"
    assert found["shop.(*Server).handle"][3] == "40"
    assert found["shop.push[...] (inline)"][3] == "37"
    assert found["[running]"][0] == "1"


def test_lines_are_told(files: Path) -> None:
    found = rows(report(files / "alike.pb.gz", "-top", "-lines"))
    assert found["shop.(*Server).handle /home/dev/shop/server.go:120"][3] == "37"
    assert found["shop.(*Server).handle /home/dev/shop/server.go:131"][3] == "3"


def test_stacks_are_printed_whole_with_their_labels(files: Path) -> None:
    stacks = report(files / "alike.pb.gz", "-traces").split("-----------+")
    (put,) = [stack for stack in stacks if "chan send" in stack]
    assert [line[13:] for line in put.splitlines()[-7:]] == [
        "runtime.gopark",
        "runtime.chansend",
        "runtime.chansend1",
        "shop.push[...] (inline)",
        "shop.(*Queue).Put",
        "shop.(*Server).handle",
        "runtime.goexit",
    ]
    assert "request:  checkout\n" in put
    assert "start_function:  shop.(*Server).handle\n" in put


def test_callers_and_callees_are_told(files: Path) -> None:
    text = report(files / "alike.pb.gz", "-peek=Queue..Put")
    assert "37   100% |   shop.(*Server).handle\n" in text
    assert "37   100% |   shop.push[...] (inline)\n" in text


@pytest.mark.parametrize(
    ("name", "option", "expected"),
    [
        ("alike", "-tagfocus=state=IO wait", "12"),
        ("alike", "-tagfocus=request=checkout", "37"),
        ("alike", "-tagfocus=start_function=Pricer", "1"),
        ("apart", "-tagfocus=goroutine=104", "1"),
        ("apart", "-tagfocus=state=chan send", "37"),
    ],
)
def test_labels_choose_goroutines(files: Path, name: str, option: str, expected: str) -> None:
    text = report(files / f"{name}.pb.gz", "-top", option)
    assert f"Showing nodes accounting for {expected}," in text


def test_what_was_left_out_is_in_the_comments(files: Path) -> None:
    assert "2 goroutines that the runtime runs for itself are left out\n" in report(files / "alike.pb.gz", "-comments")
