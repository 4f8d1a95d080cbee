"""Boots a kernel with this machine's files and runs a command there; no process, mount or file is left behind."""

import contextlib
import re
import shlex
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen

from vagrant.booting.errors import BootError, MachineError
from vagrant.booting.images import Image, Say
from vagrant.booting.initrd import busybox, make_initrd
from vagrant.booting.processes import Stop, running
from vagrant.booting.qemu import Guest, arguments, find_qemu, kvm_trouble, wait_for
from vagrant.booting.share import Virtiofsd, find_virtiofsd, mounts_of, read_only

# Where the guest has the results folder.
RESULTS = "/run/results"
_GUEST = Path(__file__).with_name("guest.sh")
_FOR_GUEST = ("guest.sh", "checkout", "command.sh")
# An emulated guest takes 4 s on a quiet machine to come to the command, and two minutes on a crowded one.
_BOOT_S = 300.0
_SOCKET_S = 20.0
_POWER_OFF_S = 30.0
# Escape sequences and other control characters of consoles.
_CONTROL = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x09\x0b-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Job:
    """What to run: `command`, of the shell, in the folder `checkout`; `append` goes on the kernel's command line."""

    image: Image
    append: str
    checkout: Path
    command: str
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Ended:
    """A command that ran to its end: its exit status, `uname -r`, and how long it all took."""

    status: int
    release: str
    seconds: float


class Machine:
    """Boots kernels of the images in `cache`. `say` is told what goes on, `show` each line the command prints."""

    def __init__(self, cache: Path, stop: Stop, say: Say, show: Say) -> None:
        self._cache = cache
        self._stop = stop
        self._say = say
        self._show = show

    def boot(self, job: Job, keep: Path | None = None) -> Ended:
        """Run the job, with the files it wrote into RESULTS and the console's log copied to `keep`, however it ends.

        Raises BootError where the kernel does not come up or the time is over, MachineError where this machine lacks
        what it takes, InterruptedByUserError.
        """
        qemu, virtiofsd, shell = find_qemu(), find_virtiofsd(), busybox()
        began = time.monotonic()
        with _work_folder() as work:
            initrd = work / "initrd"
            initrd.write_bytes(make_initrd(shell, job.image.modules))
            results = work / "results"
            shutil.copyfile(_GUEST, results / "guest.sh")
            (results / "checkout").write_text(f"{job.checkout}\n")
            (results / "command.sh").write_text(f"cd {shlex.quote(str(job.checkout))} || exit\n{job.command}\n")
            trouble = kvm_trouble(job.image, self._cache, work, self._stop)
            if trouble:
                self._say(f"no KVM ({trouble}): emulating, which is slower")
            guest = Guest(
                job.image, initrd, job.append, work / "root.socket", work / "results.socket", work / "console"
            )
            try:
                with (
                    self._shared(virtiofsd, job, work),
                    running([qemu, *arguments(guest, kvm=not trouble)], work / "log") as process,
                ):
                    return self._follow(job, work, process, began)
            finally:
                if keep:
                    _keep(work, keep)

    @contextlib.contextmanager
    def _shared(self, virtiofsd: Virtiofsd, job: Job, work: Path) -> Iterator[None]:
        """Both folders are to be had at their sockets: this machine's files, and the results folder."""
        root, results = work / "root", work / "results"
        python = job.checkout / ".venv/bin/python"
        mounts = mounts_of([job.checkout, python, Path("/usr"), Path("/etc")])
        files = read_only(root, mounts, virtiofsd.arguments(root, work / "root.socket"))
        written = virtiofsd.arguments(results, work / "results.socket")
        log = work / "log"
        with running(files, log) as one, running(written, log) as other:
            for process, name in ((one, "root.socket"), (other, "results.socket")):
                if not wait_for((work / name).exists, _SOCKET_S, self._stop, process):
                    raise MachineError(
                        f"virtiofsd does not start: {_last_line(log) or 'it says nothing'}.",
                        "Booting takes root that may mount: a container must be privileged.",
                    )
            yield

    def _follow(self, job: Job, work: Path, qemu: "Popen[bytes]", began: float) -> Ended:
        """Shows what the command prints until the guest is off. Raises BootError where that does not come in time."""
        release, status = work / "results/release", work / "results/status"
        output = _Tail(work / "results/output", self._show)
        limit, boot_limit = began + job.timeout_s, time.monotonic() + min(_BOOT_S, job.timeout_s)
        while qemu.poll() is None and not status.exists():
            now = time.monotonic()
            if now > limit or (now > boot_limit and not release.exists()):
                output.show_rest()
                raise _late(work, "has not come to its end" if release.exists() else "has not come up", now - began)
            output.show_new()
            self._stop.wait()
        if status.exists():
            # It powers off by itself; the end of the block sees to one that does not.
            wait_for(lambda: qemu.poll() is not None, _POWER_OFF_S, self._stop, qemu)
        output.show_rest()
        if not status.exists():
            raise _fell(work)
        return Ended(int(status.read_text()), release.read_text().strip(), time.monotonic() - began)


class _Tail:
    """Shows the lines of a growing file as they become complete."""

    def __init__(self, path: Path, show: Callable[[str], None]) -> None:
        self._path = path
        self._show = show
        self._offset = 0

    def show_new(self) -> None:
        data = self._rest()
        self._lines(data[: data.rfind(b"\n") + 1])

    def show_rest(self) -> None:
        self._lines(self._rest())

    def _rest(self) -> bytes:
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                return file.read()
        except FileNotFoundError:
            return b""

    def _lines(self, data: bytes) -> None:
        self._offset += len(data)
        for line in data.decode(errors="replace").splitlines():
            self._show(line)


@contextlib.contextmanager
def _work_folder() -> Iterator[Path]:
    """A folder for one boot, gone after the block. Raises MachineError where it cannot be made."""
    try:
        work = Path(tempfile.mkdtemp(prefix="goroscope-kernel-"))
    except OSError as error:
        raise MachineError(
            f"No folder can be made in {tempfile.gettempdir()}: {error.strerror}.", "Set TMPDIR to a folder with space."
        ) from error
    try:
        (work / "root").mkdir()
        (work / "results").mkdir()
        yield work
    finally:
        # This machine's root is mounted here, in another namespace. Never remove what is below it: where it
        # should be mounted here after all, this fails and all stays.
        (work / "root").rmdir()
        shutil.rmtree(work)


def _keep(work: Path, keep: Path) -> None:
    """Copies what the guest wrote, and the logs."""
    keep.mkdir(parents=True, exist_ok=True)
    shutil.copytree(work / "results", keep, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*_FOR_GUEST))
    for name in ("console", "log"):
        if (work / name).exists():
            shutil.copyfile(work / name, keep / f"{name}.log")


def _last_line(path: Path) -> str:
    """The last line with something in it, without control characters."""
    if not path.exists():
        return ""
    lines = [line.strip() for line in _CONTROL.sub(b"", path.read_bytes()).decode(errors="replace").splitlines()]
    return next((line for line in reversed(lines) if line), "")


def _late(work: Path, what: str, seconds: float) -> BootError:
    return BootError(
        f"The guest {what} after {seconds:.0f} s; {_how_far(work)}.",
        "Give it more time with --timeout, or keep its console with --keep-log and read why.",
    )


def _fell(work: Path) -> BootError:
    said = _last_line(work / "log")
    return BootError(
        f"The guest ended before the command did{f' (qemu: {said})' if said else ''}; {_how_far(work)}.",
        "Keep its console with --keep-log and read why.",
    )


def _how_far(work: Path) -> str:
    output, console = _last_line(work / "results/output"), _last_line(work / "console")
    if output:
        return f"the last line of the command is “{output}”, of the console “{console}”"
    return f"the last line of its console is “{console}”" if console else "its console shows nothing"
