"""Gives kernels of the cache an initrd for machines with a disk, such as Vagrant's.

`python3 -m vagrant.booting.disk 5.10` fetches what is missing; without names it prints the list of kernels and where
their files are, as JSON for the Vagrantfile, and fetches nothing.
"""

import errno
import json
import lzma
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from vagrant.booting.archive import Archive, mirrors
from vagrant.booting.bzimage import decompressed
from vagrant.booting.errors import KernelsError, MachineError
from vagrant.booting.images import Image, Images, cache_folder, load_order
from vagrant.booting.initrd import busybox, make_initrd
from vagrant.booting.listed import Entry, choose, read_list
from vagrant.booting.processes import InterruptedByUserError, ProgramError, Stop, run

INIT = Path(__file__).with_name("disk.sh")
"""Lies among the modules of the initrd, whose own init is for the host's files; `rdinit=` names it."""

_MODULES = ("virtio_pci", "virtio_blk", "virtio_net", "ext4")
_UNPACK_TIMEOUT_S = 120.0


def files(entry: Entry, cache: Path) -> dict[str, str]:
    """What a machine with a disk boots the kernel by, whether it is there or not."""
    current = cache / "images" / f"{entry.suite}-{entry.package}" / "current"
    append = f"rdinit=/modules/{INIT.name} {entry.append}".strip()
    return {
        "name": entry.name,
        "kernel": str(current / "vmlinux"),
        "initrd": str(current / "initrd-disk"),
        "append": append,
    }


def prepare(entry: Entry, cache: Path, stop: Stop, say: Callable[[str], None]) -> Path:
    """The initrd of the entry's newest kernel. Both are fetched unless they are there. Raises MachineError."""
    images = Images(cache, stop, say)
    image = images.get(entry)
    initrd = image.vmlinux.with_name("initrd-disk")
    if not initrd.exists():
        # The cache keeps no modules but those for the host's files, so the packages are fetched again.
        image = images.get(entry, ask=True)
        initrd = image.vmlinux.with_name("initrd-disk")
        try:
            with tempfile.TemporaryDirectory(dir=cache) as folder:
                modules = list(_modules(entry, image, cache, Path(folder), stop))
                made = Path(folder) / "initrd"
                made.write_bytes(make_initrd(busybox(), [*modules, INIT]))
                made.replace(initrd)
        except OSError as error:
            reason = "no space is left" if error.errno == errno.ENOSPC else error.strerror
            raise MachineError(
                f"The initrd of {entry.name} cannot be kept in {cache}: {reason}.",
                "Set GOROSCOPE_KERNELS to a folder with space that can be written.",
            ) from error
    return initrd


def _modules(entry: Entry, image: Image, cache: Path, folder: Path, stop: Stop) -> Iterator[Path]:
    """The modules that mount a disk and reach a network, from the kernel's packages, in the order to load them."""
    archive = Archive(cache / "apt" / entry.suite, entry, stop, mirrors())
    tree = folder / "tree"
    try:
        for package in archive.download(archive.newest(), folder):
            run(["dpkg-deb", "-x", package, tree], stop, _UNPACK_TIMEOUT_S)
        if not (tree / "lib/modules").exists():  # newer packages have merged /usr
            (tree / "lib").mkdir(exist_ok=True)
            (tree / "lib/modules").symlink_to("../usr/lib/modules")
        library = tree / "lib/modules" / image.release
        if not library.exists():
            raise MachineError(f"The archive's kernel is no longer {image.release}.", "Run this again.")
        run(["depmod", "-b", tree, image.release], stop, _UNPACK_TIMEOUT_S)
    except ProgramError as error:
        raise MachineError(
            f"The kernel's packages cannot be unpacked: {error.said}.",
            "apt-get install kmod dpkg, and see that the disk has space.",
        ) from error
    for number, module in enumerate(load_order(library, _MODULES)):
        data = module.read_bytes()
        if module.suffix == ".xz":
            data = lzma.decompress(data)
        elif module.suffix != ".ko":
            data = decompressed(data)
        loaded = folder / f"{number:02}-{module.name.split('.ko')[0]}.ko"
        loaded.write_bytes(data)
        yield loaded


def main(names: Sequence[str]) -> int:
    """Prepare the named kernels, or list all; the exit status."""
    stop = Stop()
    cache = cache_folder()
    try:
        entries = read_list()
        if not names:
            sys.stdout.write(json.dumps([files(entry, cache) for entry in entries]) + "\n")
        with stop.on_signals():
            for name in names:
                initrd = prepare(choose(entries, name), cache, stop, _say)
                sys.stdout.write(f"{name}: {os.path.relpath(initrd.parent)}\n")
    except InterruptedByUserError as error:
        return 128 + error.signum
    except KernelsError as error:
        _say(str(error))
        return error.exit_code
    return 0


def _say(text: str) -> None:
    sys.stderr.write(f"vagrant: {text}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
