"""Where kernels come from: the host's mirrors, and a suite asked through its private apt root."""

import os
import re
import signal
import threading
import time
from pathlib import Path

import pytest

from vagrant.booting.archive import Archive, Kernel, Mirrors, mirrors
from vagrant.booting.errors import MachineError
from vagrant.booting.listed import Entry
from vagrant.booting.processes import InterruptedByUserError, Stop

DEB822 = """\
# The host's
Types: deb deb-src
# commented: out
URIs: http://mirror.example/debian/
Suites: bookworm bookworm-updates
Components: main

Types: deb
URIs: https://security.example/debian-security
Suites: bookworm-security
Components: main
"""
ONE_LINE = """\
deb https://packages.example/apt cloud-sdk-bookworm main
# deb http://old.example/debian bookworm main
deb-src http://sources.example/debian bookworm main
deb [arch=amd64 signed-by=/usr/share/k.gpg] http://line.example/debian bookworm main
deb http://line.example/debian-security bookworm-security main
"""


def host(tmp_path: Path, files: dict[str, str], identity: str = "ID=debian\nVERSION_CODENAME=bookworm\n") -> Path:
    for name, text in {"os-release": identity, **files}.items():
        path = tmp_path / "etc" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "etc"


def test_mirrors_are_those_of_the_host_in_both_formats(tmp_path: Path) -> None:
    newer = host(tmp_path / "a", {"apt/sources.list.d/debian.sources": DEB822, "apt/sources.list.d/x.list": ONE_LINE})
    older = host(tmp_path / "b", {"apt/sources.list": "", "apt/sources.list.d/x.list": ONE_LINE})
    assert mirrors(newer, {}) == Mirrors("http://mirror.example/debian", "https://security.example/debian-security")
    assert mirrors(older, {}) == Mirrors("http://line.example/debian", "http://line.example/debian-security")


def test_sources_that_are_disabled_or_of_another_distribution_do_not_count(tmp_path: Path) -> None:
    default = Mirrors("http://deb.debian.org/debian", "http://deb.debian.org/debian-security")
    off = host(tmp_path / "a", {"apt/sources.list.d/debian.sources": f"Enabled: no\n{DEB822.split(chr(10), 1)[1]}"})
    assert mirrors(off, {}).main == default.main
    other = host(tmp_path / "b", {"apt/sources.list": ONE_LINE}, 'ID="ubuntu"\nVERSION_CODENAME=bookworm\n')
    assert mirrors(other, {}) == default
    assert mirrors(tmp_path / "none", {}) == default


def test_the_environment_chooses_another_mirror(tmp_path: Path) -> None:
    etc = host(tmp_path, {"apt/sources.list": ONE_LINE})
    assert mirrors(etc, {"GOROSCOPE_MIRROR": "http://m/d/"}) == Mirrors("http://m/d", "http://m/d-security")


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of fake apt programs, first on PATH. `show NAME` is answered with the file NAME."""
    folder = tmp_path / "apt programs"
    folder.mkdir()
    script(folder / "apt-get", f'echo "$@" >>"{folder}/calls"; case "$*" in *download*) touch a.deb;; esac')
    script(
        folder / "apt-cache",
        f'for name; do :; done; cat "{folder}/$name" 2>/dev/null || {{ echo E: No packages found >&2; exit 100; }}',
    )
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def script(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def archive(tmp_path: Path, stop: Stop | None = None, *, security: bool = True) -> Archive:
    entry = Entry("6.1", "bookworm", security=security)
    return Archive(tmp_path / "root", entry, stop or Stop(), Mirrors("http://m/debian", "http://m/debian-security"))


def test_the_newest_kernel_is_the_image_that_the_package_depends_on(tmp_path: Path, apt: Path) -> None:
    (apt / "linux-image-cloud-amd64").write_text(
        "Depends: linux-image-6.1.0-9-cloud-amd64 (= 6.1.3-1)\nVersion: 6.1.3-1\n"
    )
    (apt / "linux-image-6.1.0-9-cloud-amd64").write_text(
        "Version: 6.1.3-1\nDepends: kmod, linux-base (>= 4.3~), initramfs-tools | x\n"
    )
    asked = archive(tmp_path)
    kernel = asked.newest()
    assert kernel == Kernel("linux-image-6.1.0-9-cloud-amd64", "6.1.3-1", ("linux-image-6.1.0-9-cloud-amd64",))
    (tmp_path / "debs").mkdir()
    assert asked.download(kernel, tmp_path / "debs") == [tmp_path / "debs/a.deb"]
    assert (apt / "calls").read_text().splitlines()[-1].endswith("download linux-image-6.1.0-9-cloud-amd64")


def test_a_kernel_that_is_split_is_all_its_packages(tmp_path: Path, apt: Path) -> None:
    (apt / "linux-image-cloud-amd64").write_text(
        "Version: 7.3.4-1\nDepends: linux-base-cloud-amd64 (= 7.3.4-1), linux-image-7.3.4-cloud-amd64 (= 7.3.4-1)\n"
    )
    (apt / "linux-image-7.3.4-cloud-amd64").write_text(
        "Version: 7.3.4-1\nDepends: linux-base-7.3.4-cloud-amd64, linux-binary-7.3.4-cloud-amd64 (= 7.3.4-1),"
        " linux-modules-7.3.4-cloud-amd64\n"
    )
    for part in ("base", "binary", "modules"):
        (apt / f"linux-{part}-7.3.4-cloud-amd64").write_text(
            "Version: 7.3.4-1\nDepends: linux-base-7.3.4-cloud-amd64, linux-base\n"
        )
    parts = archive(tmp_path).newest().parts
    assert sorted(parts) == [f"linux-{part}-7.3.4-cloud-amd64" for part in ("base", "binary", "image", "modules")]


def test_the_root_is_private_and_asks_for_security_updates_only_of_suites_that_have_them(
    tmp_path: Path, apt: Path
) -> None:
    (apt / "linux-image-cloud-amd64").write_text("Version: 1\n")
    archive(tmp_path).newest()
    assert len((tmp_path / "root/sources.list").read_text().splitlines()) == 2
    archive(tmp_path, security=False).newest()
    (line,) = (tmp_path / "root/sources.list").read_text().splitlines()
    assert re.fullmatch(r"deb \[arch=amd64 target=Packages.*\] http://m/debian bookworm main", line)
    assert f'Dir::State "{tmp_path}/root/state";' in (tmp_path / "root/apt.conf").read_text()


@pytest.mark.parametrize(
    ("program", "text", "said"),
    [
        (
            "apt-get",
            "echo 'W: a' >&2; echo 'E: Failed to fetch http://m/x' >&2; exit 100",
            "Failed to fetch http://m/x",
        ),
        ("apt-get", "exit 3", "exit status 3"),
        ("apt-cache", "echo 'E: No packages found' >&2; exit 100", "No packages found"),
    ],
)
def test_a_package_that_is_not_to_be_had(tmp_path: Path, apt: Path, program: str, text: str, said: str) -> None:
    script(apt / program, text)
    with pytest.raises(MachineError, match=f"kernel of bookworm cannot be had from http://m/debian: {said}") as caught:
        archive(tmp_path).newest()
    assert "GOROSCOPE_MIRROR" in caught.value.remedy


def test_without_apt_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MachineError, match="apt-get cannot be run: No such file"):
        archive(tmp_path).newest()


def test_an_interrupt_ends_a_fetch_that_waits(tmp_path: Path, apt: Path) -> None:
    script(apt / "apt-get", f'echo $$ >"{apt}/pid"; exec sleep 60')
    stop = Stop()
    threading.Timer(0.3, stop.ask, (signal.SIGINT,)).start()
    began = time.monotonic()
    with pytest.raises(InterruptedByUserError, match="SIGINT"):
        archive(tmp_path, stop).newest()
    assert time.monotonic() - began < 5
    assert not Path("/proc", (apt / "pid").read_text().strip()).exists()
