"""Keeps kernels, ready to boot, in a cache: CACHE/images/SUITE/PACKAGE_VERSION and a link `current`."""

import contextlib
import errno
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from vagrant.booting.archive import Archive, Mirrors, mirrors
from vagrant.booting.bzimage import decompressed, vmlinux
from vagrant.booting.errors import MachineError
from vagrant.booting.listed import Entry
from vagrant.booting.processes import ProgramError, Stop, run

Say = Callable[[str], None]

_CHECKOUT = Path(__file__).parents[2]
# How long a kernel is used before the archive is asked for a newer one.
_FRESH_S = 24 * 3600.0
# Packages, unpacked, and what is kept: 250 MB at most.
_NEEDED_BYTES = 500 << 20
# The modules that mount the host's files in the guest.
_MODULES = ("virtio_pci", "virtiofs", "overlay")


@dataclass(frozen=True, slots=True)
class Image:
    """A kernel in the cache: its release as `uname -r` says it, the ELF file, and modules in the order to load them."""

    release: str
    vmlinux: Path
    modules: tuple[Path, ...]


def cache_folder() -> Path:
    """GOROSCOPE_KERNELS, else .cache/kernels of the checkout."""
    return Path(os.environ.get("GOROSCOPE_KERNELS") or _CHECKOUT / ".cache/kernels").absolute()


class Images:
    """The cache. Several processes may use it at once."""

    def __init__(self, cache: Path, stop: Stop, say: Say, sources: Mirrors | None = None) -> None:
        self._cache = cache
        self._stop = stop
        self._say = say
        self._sources = sources or mirrors()

    def get(self, entry: Entry, *, ask: bool = False) -> Image:
        """The entry's newest kernel; the archive is asked for it once a day, or if `ask`.

        Where it cannot be asked, the kernel that is there will do. Raises MachineError where there is none.
        """
        try:
            with self._locked(entry):
                return self._newest(entry, ask)
        except OSError as error:
            reason = "no space is left" if error.errno == errno.ENOSPC else error.strerror
            raise MachineError(
                f"The kernel {entry.name} cannot be kept in {self._cache}: {reason}.",
                "Set GOROSCOPE_KERNELS to a folder with space that can be written.",
            ) from error

    def _newest(self, entry: Entry, ask: bool) -> Image:
        kept = self._kept(entry)
        asked = self._home(entry) / "asked"
        if kept and not ask and asked.exists() and time.time() - asked.stat().st_mtime < _FRESH_S:
            return kept
        archive = Archive(self._cache / "apt" / entry.suite, entry, self._stop, self._sources)
        if not kept:
            self._need_space(entry)
        try:
            kernel = archive.newest()
            name = f"{kernel.package}_{kernel.version.replace(':', '%3a')}"
            if not kept or kept.vmlinux.parent.name != name:
                self._say(f"fetching {kernel.package} {kernel.version}")
                self._need_space(entry)
                with self._new_folder(entry, name) as folder:
                    _unpack(archive.download(kernel, _made(folder / "debs")), folder, self._stop)
        except MachineError as error:
            if not kept:
                raise
            self._say(f"using {kept.release} of the cache: {error.cause}")
            return kept
        asked.touch()
        image = self._kept(entry)
        assert image
        return image

    def _home(self, entry: Entry) -> Path:
        return self._cache / "images" / f"{entry.suite}-{entry.package}"

    def _kept(self, entry: Entry) -> Image | None:
        """The image that `current` names, if it is all there."""
        folder = (self._home(entry) / "current").resolve()
        modules = tuple(sorted((folder / "modules").glob("*")))
        try:
            release = (folder / "release").read_text().strip()
        except FileNotFoundError:
            return None
        return Image(release, folder / "vmlinux", modules)

    def _need_space(self, entry: Entry) -> None:
        free = shutil.disk_usage(self._cache).free
        if free < _NEEDED_BYTES:
            raise MachineError(
                f"{self._cache} has {free >> 20} MB free and the kernel {entry.name} needs {_NEEDED_BYTES >> 20} MB.",
                "Make space, or set GOROSCOPE_KERNELS to a folder with space.",
            )

    @contextlib.contextmanager
    def _locked(self, entry: Entry) -> Iterator[None]:
        """Alone with the entry's suite: others who want its kernel wait until it is there."""
        home = _made(self._home(entry))
        _made(self._cache / "apt")
        with (self._cache / "apt" / f"{entry.suite}.lock").open("w") as lock:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    self._stop.wait()
            for left in home.glob("new-*"):  # by one who was killed: the lock is ours, so it is nobody's
                shutil.rmtree(left)
            yield

    @contextlib.contextmanager
    def _new_folder(self, entry: Entry, name: str) -> Iterator[Path]:
        """A folder that becomes the entry's image at the end of the block, all at once; older ones go."""
        home = self._home(entry)
        folder = Path(tempfile.mkdtemp(prefix="new-", dir=home))
        try:
            folder.chmod(0o755)
            yield folder
            if (home / name).exists():
                shutil.rmtree(home / name)
            folder.rename(home / name)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        link = home / "new-current"
        link.unlink(missing_ok=True)
        link.symlink_to(name)
        link.replace(home / "current")
        for old in home.iterdir():
            if old.is_dir() and not old.is_symlink() and old.name != name:
                shutil.rmtree(old)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _unpack(packages: list[Path], folder: Path, stop: Stop) -> None:
    """Makes the image's files from its packages. Raises MachineError where they hold no kernel."""
    tree = folder / "tree"
    try:
        for package in packages:
            run(["dpkg-deb", "-x", package, tree], stop, 120)
        # Newer packages have merged /usr: depmod looks below /lib.
        if not (tree / "lib/modules").exists():
            _made(tree / "lib")
            (tree / "lib/modules").symlink_to("../usr/lib/modules")
        release = next((path.name for path in (tree / "lib/modules").glob("*")), "")
        boot, library = tree / "boot", tree / "lib/modules" / release
        image = next((p for p in (boot / f"vmlinuz-{release}", library / "vmlinuz") if p.is_file()), None)
        if not release or image is None:
            raise MachineError(
                "The kernel's packages hold no kernel.", "Check the package of its entry in kernels.toml."
            )
        run(["depmod", "-b", tree, release], stop, 120)
    except ProgramError as error:
        raise MachineError(
            f"The kernel's packages cannot be unpacked: {error.said}.",
            "apt-get install kmod dpkg, and see that the disk has space.",
        ) from error
    (folder / "vmlinux").write_bytes(vmlinux(image.read_bytes()))
    for config in (boot / f"config-{release}", library / "config"):
        if config.is_file():
            shutil.copyfile(config, folder / "config")
    _made(folder / "modules")
    for number, module in enumerate(load_order(library, _MODULES)):
        data = module.read_bytes()
        if module.suffix != ".ko":
            data = decompressed(data)
        name = module.name.removesuffix(module.suffix) if module.suffix != ".ko" else module.name
        (folder / "modules" / f"{number:02}-{name}").write_bytes(data)
    shutil.rmtree(tree)
    shutil.rmtree(folder / "debs")
    # Last: an image with a release is all there.
    (folder / "release").write_text(f"{release}\n")


def load_order(library: Path, names: tuple[str, ...]) -> list[Path]:
    """Files of the named modules of /lib/modules/RELEASE and of all they need, in the order to load them.

    Names built into the kernel have none. Raises MachineError where a name is neither.
    """
    needs: dict[str, list[str]] = {}
    for line in (library / "modules.dep").read_text().splitlines():
        path, _, others = line.partition(":")
        needs[path] = others.split()
    by_name = {Path(path).name.split(".ko")[0]: path for path in needs}
    builtin = {Path(path).stem for path in (library / "modules.builtin").read_text().splitlines()}
    order: dict[str, None] = {}
    for name in names:
        if name in builtin:
            continue
        if name not in by_name:
            raise MachineError(
                f"The kernel {library.name} has no module {name}, without which it cannot mount this machine's files.",
                "Choose another kernel package in kernels.toml.",
            )
        # modules.dep names the nearest need first, so they load from the end.
        for path in (*reversed(needs[by_name[name]]), by_name[name]):
            order[path] = None
    return [library / path for path in order]
