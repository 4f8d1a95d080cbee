"""`goroscope doctor PID` from outside, on live programs in C, Go, Go with C, and CPython."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.go.conftest import GoBuild
from tests.go.toolchains import VERSIONS
from tests.support.cprograms import needs_compiler, run

pytestmark = [pytest.mark.go, needs_compiler]

ROOT = Path(__file__).parents[2]
READY_C = '#include <stdio.h>\n#include <unistd.h>\nint main(void) { puts("ready"); fflush(stdout); pause(); }\n'


@contextmanager
def live(*command: object) -> Iterator[int]:
    """A program that says something when it is ready, and waits."""
    words = [str(word) for word in command]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout.readline()
            yield process.pid
        finally:
            process.kill()


def doctor(*arguments: object) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "agent.cli.main", "doctor", *map(str, arguments)]
    environment = {**os.environ, "COLUMNS": "100"}
    done = subprocess.run(words, cwd=ROOT, env=environment, text=True, capture_output=True, timeout=60, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def told(pid: int) -> tuple[dict, dict[str, dict]]:
    """The whole object, and its mappings by file."""
    done = doctor(pid, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["pid"] == pid
    assert found["unwindable"]
    return found, {mapped["file"]: mapped for mapped in found["mappings"]}


def test_a_c_program_has_rows_and_names_and_so_have_its_libraries(tmp_path: Path) -> None:
    (tmp_path / "c.c").write_text(READY_C)
    run("gcc", "-O2", "-o", tmp_path / "c-program", tmp_path / "c.c")
    with live(tmp_path / "c-program") as pid:
        found, files = told(pid)
        shown = doctor(pid)
    assert (found["name"], found["go_version"]) == ("c-program", "")
    mine = files[str(tmp_path / "c-program")]
    assert (mine["unwind"]["method"], mine["symbols"]["method"]) == (".eh_frame", ".symtab")
    libc = next(mapped for file, mapped in files.items() if "/libc.so" in file or "/libc-" in file)
    assert libc["unwind"]["rows"] > 10_000
    assert libc["unwind"]["uncovered_bytes"] * 100 < libc["unwind"]["code_bytes"]
    assert libc["symbols"]["functions"] > 1000
    assert shown.returncode == 0
    assert f"Stacks of PID {pid} (c-program) will be complete" in shown.stdout


@pytest.mark.parametrize(("mode", "method"), [("stripped", "go"), ("cgo", "go+.eh_frame")])
def test_a_go_program_is_told_with_its_version_and_its_c_code(go_build: GoBuild, mode: str, method: str) -> None:
    program = go_build(VERSIONS[-1], mode, "truth")
    with live(program) as pid:
        found, files = told(pid)
    assert found["go_version"] == f"go{VERSIONS[-1]}"
    mine = files[str(program)]
    assert mine["unwind"]["method"] == method
    assert mine["unwind"]["cause"] == ""
    assert mine["symbols"]["method"] == ("go+.symtab" if mode == "cgo" else "go")
    assert mine["symbols"]["functions"] > 1000


def test_cpython_is_told_with_every_extension_module() -> None:
    with live(sys.executable, "-c", "import lzma; print('ready', flush=True); input()") as pid:
        maps = Path(f"/proc/{pid}/maps").read_text().splitlines()
        _, files = told(pid)
    mapped = {line.split(maxsplit=5)[5] for line in maps if "xp " in line and len(line.split()) > 5}
    assert set(files) == mapped - {"[vsyscall]"}
    interpreter = max(files.values(), key=lambda one: one["unwind"]["rows"])
    assert "python" in interpreter["file"] or "libc" in interpreter["file"]
    assert all(one["unwind"]["method"] == ".eh_frame" for one in files.values())
