"""Small C libraries for tests, made with the machine's compiler and binutils."""

import shutil
import subprocess
from pathlib import Path

import pytest

needs_compiler = pytest.mark.skipif(
    not all(shutil.which(tool) for tool in ("gcc", "objcopy", "nm", "strip")), reason="needs gcc and binutils"
)

SOURCE = """
#include <stdlib.h>
static __attribute__((noinline)) int hidden_helper(int x) { return x * 3 + atoi("1"); }
int exported_one(int x) { return hidden_helper(x) + 1; }
__attribute__((weak, alias("exported_one"))) int weak_alias(int x);
int exported_two(int x) { return exported_one(x) - (int)strtol("2", 0, 10); }
"""


def run(*command: object) -> str:
    """Run a program that must succeed; its standard output."""
    return subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True).stdout


def library(folder: Path, *flags: str) -> Path:
    """A shared library of SOURCE with all its symbols and a build id."""
    source = folder / "library.c"
    source.write_text(SOURCE)
    run("gcc", "-O1", "-g", "-shared", "-fPIC", "-Wl,--build-id=sha1", *flags, "-o", folder / "library.so", source)
    return folder / "library.so"


def functions(path: Path, *flags: str) -> dict[str, tuple[int, int]]:
    """Address and size of every function that nm lists with a size."""
    found = {}
    for line in run("nm", "-S", "--defined-only", *flags, path).splitlines():
        fields = line.split()
        if len(fields) == 4 and fields[2] in "TtWi":
            found[fields[3]] = (int(fields[0], 16), int(fields[1], 16))
    return found
