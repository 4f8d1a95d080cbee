"""The cache of kernels: unpacking, what is kept, and what happens without network or space."""

import gzip
import lzma
import os
import random
import shutil
import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from vagrant.booting import images
from vagrant.booting.archive import Archive, Kernel, Mirrors
from vagrant.booting.bzimage import vmlinux
from vagrant.booting.errors import MachineError
from vagrant.booting.images import Images, cache_folder, load_order
from vagrant.booting.initrd import busybox, make_initrd
from vagrant.booting.listed import Entry
from vagrant.booting.processes import Stop

ELF = b"\x7fELF" + random.Random(1).randbytes(5000)
ENTRY = Entry("6.1", "bookworm")
RELEASE = "6.1.0-9-cloud-amd64"


def bzimage(payload: bytes) -> bytes:
    header = bytearray(1024)
    header[0x1F1] = 1
    header[0x202:0x206] = b"HdrS"
    struct.pack_into("<II", header, 0x248, 64, len(payload))
    return bytes(header) + bytes(64) + payload + b"what follows"


def filtered(*command: str) -> bytes:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    return subprocess.run(command, input=ELF, capture_output=True, check=True).stdout


@pytest.mark.parametrize(
    "compressed",
    [
        lambda: lzma.compress(ELF, check=lzma.CHECK_CRC32),
        lambda: gzip.compress(ELF),
        lambda: filtered("zstd", "-c"),
        lambda: filtered("lz4", "-l", "-c"),
    ],
    ids=["xz", "gzip", "zstd", "lz4"],
)
def test_the_kernel_comes_out_of_its_image(compressed: Callable[[], bytes]) -> None:
    payload = compressed()
    size = b"" if payload.startswith(b"\x1f") else struct.pack("<I", len(ELF))
    assert vmlinux(bzimage(payload + size)) == ELF
    with pytest.raises(MachineError, match=r"damaged|cannot read it"):
        vmlinux(bzimage(payload[:-30] + size))


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (b"", "no boot header"),
        (bytes(5000), "no boot header"),
        (bzimage(b"plain text"), "compression is not known .*706c61696e20"),
        (bzimage(lzma.compress(ELF)[:-40]), "damaged"),
        (bzimage(b"\xfd7zXZ\0" + bytes(50)), "damaged"),
        (bzimage(b"\x1f\x8b" + bytes(50)), "damaged"),
        (bzimage(gzip.compress(b"text")), "no ELF file"),
    ],
)
def test_an_image_that_is_none_is_refused(image: bytes, said: str) -> None:
    with pytest.raises(MachineError, match=said):
        vmlinux(image)


def test_without_the_decompressor_its_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MachineError, match=r"zstd, which is not installed. apt-get install zstd"):
        vmlinux(bzimage(b"\x28\xb5\x2f\xfd" + bytes(50)))


def library(tmp_path: Path, dependencies: str, builtin: str = "") -> Path:
    folder = tmp_path / "lib/modules" / RELEASE
    folder.mkdir(parents=True)
    (folder / "modules.dep").write_text(dependencies)
    (folder / "modules.builtin").write_text(builtin)
    return folder


def test_modules_load_after_what_they_need_and_once(tmp_path: Path) -> None:
    folder = library(
        tmp_path,
        "k/virtio.ko.xz:\nk/ring.ko.xz:\nk/fuse.ko.xz:\nk/virtiofs.ko.xz: k/fuse.ko.xz k/ring.ko.xz k/virtio.ko.xz\n"
        "k/virtio_pci.ko.xz: k/virtio.ko.xz\n",
        "kernel/fs/overlayfs/overlay.ko\n",
    )
    names = [path.name for path in load_order(folder, ("virtio_pci", "virtiofs", "overlay"))]
    assert names == [f"{name}.ko.xz" for name in ("virtio", "virtio_pci", "ring", "fuse", "virtiofs")]


def test_a_kernel_that_cannot_mount_our_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match=f"{RELEASE} has no module virtiofs"):
        load_order(library(tmp_path, ""), ("virtiofs",))


class Distribution:
    """Stands for the archive: what it offers, and packages that hold a small kernel."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        self.version = "6.1.3-1"
        self.asked = 0
        self.trouble = ""
        self._folder = tmp_path
        monkeypatch.setattr(Archive, "newest", self._newest)
        monkeypatch.setattr(Archive, "download", self._download)
        programs = tmp_path / "programs"
        programs.mkdir()
        for name, text in {"dpkg-deb": 'cp -r "$2" "$3"', "depmod": "exit 0"}.items():
            (programs / name).write_text(f"#!/bin/sh\n{text}\n")
            (programs / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")

    def _newest(self) -> Kernel:
        self.asked += 1
        if self.trouble:
            raise MachineError(self.trouble, "")
        return Kernel(f"linux-image-{RELEASE}", self.version, ())

    def _download(self, _kernel: Kernel, _folder: Path) -> list[Path]:
        tree = self._folder / "package"
        if not tree.exists():
            modules = library(
                tree / "usr", "k/virtio_pci.ko:\nk/virtiofs.ko.xz: k/fuse.ko\nk/fuse.ko:\n", "k/overlay.ko\n"
            )
            (modules / "k").mkdir()
            (modules / "k/virtio_pci.ko").write_bytes(b"pci")
            (modules / "k/fuse.ko").write_bytes(b"fuse")
            (modules / "k/virtiofs.ko.xz").write_bytes(lzma.compress(b"virtiofs"))
            (modules / "vmlinuz").write_bytes(bzimage(lzma.compress(ELF) + bytes(4)))
        return [tree]


@pytest.fixture
def distribution(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Distribution:
    return Distribution(monkeypatch, tmp_path)


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def cache(tmp_path: Path, said: list[str]) -> Images:
    return Images(tmp_path / "cache", Stop(), said.append, Mirrors("http://m", "http://m-security"))


def kept(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "cache/images/bookworm-linux-image-cloud-amd64").iterdir())


def test_a_kernel_is_fetched_once_and_ready_to_boot(
    tmp_path: Path, distribution: Distribution, cache: Images, said: list[str]
) -> None:
    image = cache.get(ENTRY)
    assert image == cache.get(ENTRY)
    assert (image.release, image.vmlinux.read_bytes()) == (RELEASE, ELF)
    assert [path.name for path in image.modules] == ["00-virtio_pci.ko", "01-fuse.ko", "02-virtiofs.ko"]
    assert image.modules[2].read_bytes() == b"virtiofs"
    assert (distribution.asked, said) == (1, [f"fetching linux-image-{RELEASE} 6.1.3-1"])
    assert kept(tmp_path) == ["asked", "current", f"linux-image-{RELEASE}_6.1.3-1"]
    assert sorted(path.name for path in image.vmlinux.parent.iterdir()) == ["modules", "release", "vmlinux"]


def test_the_archive_is_asked_again_after_a_day_or_at_once_and_a_newer_kernel_replaces(
    tmp_path: Path, distribution: Distribution, cache: Images
) -> None:
    cache.get(ENTRY)
    distribution.version = "6.1.4-1"
    assert cache.get(ENTRY).vmlinux.parent.name.endswith("6.1.3-1")
    assert cache.get(ENTRY, ask=True).vmlinux.parent.name.endswith("6.1.4-1")
    distribution.version = "6.1.5-1"
    two_days_ago = time.time() - 48 * 3600
    os.utime(tmp_path / "cache/images/bookworm-linux-image-cloud-amd64/asked", (two_days_ago, two_days_ago))
    assert cache.get(ENTRY).vmlinux.parent.name.endswith("6.1.5-1")
    assert kept(tmp_path) == ["asked", "current", f"linux-image-{RELEASE}_6.1.5-1"]


def test_without_network_the_kernel_of_the_cache_will_do(
    distribution: Distribution, cache: Images, said: list[str]
) -> None:
    first = cache.get(ENTRY)
    distribution.trouble = "The kernel of bookworm cannot be had."
    assert cache.get(ENTRY, ask=True) == first
    assert said[-1] == f"using {RELEASE} of the cache: The kernel of bookworm cannot be had."


def test_without_network_and_cache_there_is_none(tmp_path: Path, distribution: Distribution, cache: Images) -> None:
    distribution.trouble = "The kernel of bookworm cannot be had."
    with pytest.raises(MachineError, match="cannot be had"):
        cache.get(ENTRY)
    assert kept(tmp_path) == []


@pytest.mark.usefixtures("distribution")
def test_without_space_nothing_is_begun(tmp_path: Path, cache: Images, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images.shutil, "disk_usage", lambda _path: SimpleNamespace(free=100 << 20))
    with pytest.raises(MachineError, match=r"100 MB free and the kernel 6.1 needs 500 MB. .*GOROSCOPE_KERNELS"):
        cache.get(ENTRY)
    assert kept(tmp_path) == []


@pytest.mark.usefixtures("distribution")
def test_a_disk_that_fills_up_meanwhile_leaves_nothing_half_done(
    tmp_path: Path, cache: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_image: bytes) -> bytes:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(images, "vmlinux", full)
    with pytest.raises(MachineError, match=r"kernel 6.1 cannot be kept in .*: no space is left"):
        cache.get(ENTRY)
    assert kept(tmp_path) == []


def test_packages_without_a_kernel_and_what_a_killed_fetch_left(
    tmp_path: Path, distribution: Distribution, cache: Images
) -> None:
    left = tmp_path / "cache/images/bookworm-linux-image-cloud-amd64/new-abc"
    left.mkdir(parents=True)
    cache.get(ENTRY)
    assert not left.exists()
    shutil.rmtree(tmp_path / "package/usr/lib")
    distribution.version = "6.1.4-1"
    cache.get(ENTRY, ask=True)
    with pytest.raises(MachineError, match="hold no kernel"):
        cache.get(Entry("x", "trixie"))


def test_the_environment_chooses_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GOROSCOPE_KERNELS", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("GOROSCOPE_KERNELS")
    assert cache_folder() == Path(__file__).parents[2] / ".cache/kernels"


def test_the_initrd_is_an_archive_that_cpio_reads(tmp_path: Path) -> None:
    (tmp_path / "busybox").write_bytes(b"shell")
    (tmp_path / "00-fuse.ko").write_bytes(b"odd length.")
    archive = make_initrd(tmp_path / "busybox", [tmp_path / "00-fuse.ko"])
    if shutil.which("cpio") is None:
        pytest.skip("cpio is not installed")
    out = tmp_path / "out"
    out.mkdir()
    subprocess.run(["cpio", "-i", "--quiet"], input=archive, cwd=out, check=True)
    assert (out / "modules/00-fuse.ko").read_bytes() == b"odd length."
    assert (out / "bin/switch_root").readlink() == Path("busybox")
    assert os.access(out / "init", os.X_OK)


def test_a_busybox_that_is_missing_or_shared_is_refused_with_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MachineError, match="apt-get install busybox-static"):
        busybox()
    (tmp_path / "busybox").write_bytes(b"\x7fELF../lib64/ld-linux-x86-64.so.2")
    (tmp_path / "busybox").chmod(0o755)
    with pytest.raises(MachineError, match="no static busybox"):
        busybox()
