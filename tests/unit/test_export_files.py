"""Formats by file name, and files that are written whole or not at all."""

import os
import resource
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from exporters.file import write_file
from exporters.formats import FORMATS, UnknownFormat, format_for, format_named
from tests.support.profiles import everything


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("cpu.pb.gz", "pprof"),
        ("/tmp/x/CPU.PB.GZ", "pprof"),
        ("cpu.pprof", "pprof"),
        ("cpu.html", "html"),
        ("cpu.folded", "folded"),
        ("cpu.txt", "folded"),
        ("cpu.speedscope.json", "speedscope"),
    ],
)
def test_the_extension_chooses_the_format(path: str, name: str) -> None:
    assert format_for(path).name == name


@pytest.mark.parametrize("path", ["cpu", "cpu.json", "cpu.pb", "cpu.html.bak", ""])
def test_an_unknown_extension_is_refused_naming_the_known_ones(path: str) -> None:
    with pytest.raises(UnknownFormat) as refused:
        format_for(path)
    for known in FORMATS:
        for extension in known.extensions:
            assert extension in str(refused.value)


def test_formats_are_found_by_name() -> None:
    assert [format_named(known.name) for known in FORMATS] == list(FORMATS)
    with pytest.raises(UnknownFormat, match="svg"):
        format_named("svg")


@pytest.mark.parametrize("known", FORMATS, ids=lambda known: known.name)
def test_every_format_encodes_the_same_bytes_each_time(known) -> None:
    assert known.encode(everything()) == known.encode(everything())


def test_choosing_a_format_imports_no_encoder() -> None:
    code = "import sys, exporters.formats; print([m for m in sys.modules if m.startswith(('google', 'exporters.p'))])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_new_file_gets_the_users_usual_permissions(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_file(str(tmp_path / "a"), b"new", force=False)
    finally:
        os.umask(before)
    assert (tmp_path / "a").read_bytes() == b"new"
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640
    assert names(tmp_path) == ["a"]


def test_an_existing_file_is_kept_without_force_and_replaced_with_it(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with pytest.raises(FileExistsError, match="a"):
        write_file(str(path), b"new", force=False)
    assert path.read_bytes() == b"old"
    write_file(str(path), b"new", force=True)
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == ["a"]


def test_a_file_that_appears_meanwhile_is_not_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    real_link = os.link

    def link(*arguments: object, **options: object) -> None:
        path.write_bytes(b"other")
        real_link(*arguments, **options)

    monkeypatch.setattr(os, "link", link)
    with pytest.raises(FileExistsError):
        write_file(str(path), b"new", force=False)
    assert path.read_bytes() == b"other"
    assert names(tmp_path) == ["a"]


def test_file_systems_without_hard_links_work_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object, **_options: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    write_file(str(tmp_path / "a"), b"new", force=False)
    assert (tmp_path / "a").read_bytes() == b"new"
    assert names(tmp_path) == ["a"]


@contextmanager
def small_disk() -> Iterator[None]:
    """No file may grow beyond 4 KiB: writing fails half-way, as on a full disk. Short: pytest writes files too."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("force", [False, True])
def test_a_write_that_fails_leaves_nothing_new(tmp_path: Path, force: bool) -> None:
    path = tmp_path / "a"
    if force:
        path.write_bytes(b"old")
    with small_disk(), pytest.raises(OSError, match="too large"):
        write_file(str(path), b"x" * 10_000, force=force)
    assert names(tmp_path) == (["a"] if force else [])
    if force:
        assert path.read_bytes() == b"old"


def test_a_missing_folder_is_reported_under_the_users_name(tmp_path: Path) -> None:
    path = str(tmp_path / "missing" / "a")
    with pytest.raises(FileNotFoundError) as raised:
        write_file(path, b"", force=False)
    assert raised.value.filename == path


def test_force_replaces_a_link_and_not_what_it_points_to(tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(b"old")
    (tmp_path / "link").symlink_to("precious")
    write_file(str(tmp_path / "link"), b"new", force=True)
    assert (tmp_path / "precious").read_bytes() == b"old"
    assert (tmp_path / "link").read_bytes() == b"new"


@pytest.mark.parametrize("force", [False, True])
def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path: Path, force: bool) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(path.read_bytes()))
    reader.start()
    write_file(str(path), b"x" * 200_000, force=force)
    reader.join()
    assert got == [b"x" * 200_000]
    assert path.is_fifo()


def test_a_folder_is_no_place_to_write_to(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="directory"):
        write_file(str(tmp_path), b"", force=True)
    assert names(tmp_path) == []
    assert names(tmp_path.parent).count(tmp_path.name) == 1
