"""How qemu is started: with KVM where it works, else emulating, with the settings that proved right."""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen

from vagrant.booting.errors import MachineError
from vagrant.booting.images import Image
from vagrant.booting.processes import Stop, running

PROGRAM = "qemu-system-x86_64"
_MEMORY = "2G"
_PROBE_S = 10.0
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

# Several threads corrupt the patching of kprobes' int3 in qemu 7.2; a 6.12 kernel panics with an emulated cx16;
# what else is left out is not emulated, and kernels would complain or wait for it.
_EMULATED = [
    *("-accel", "tcg,thread=single,tb-size=512"),
    *("-cpu", "Haswell-noTSX,-pcid,-x2apic,-tsc-deadline,-invpcid,-cx16"),
]
_KVM = ["-accel", "kvm", "-cpu", "host"]
# Emulated time is no reference for its own calibration, and there is nothing to mitigate.
_EMULATED_APPEND = "mitigations=off tsc=reliable no_timer_check"
_APPEND = "console=ttyS0 loglevel=6 panic=-1 random.trust_cpu=on"
# No other machine type: microvm hangs with distributions' kernels.
_MACHINE = ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-M", "q35"]


@dataclass(frozen=True, slots=True)
class Guest:
    """What qemu is to start. `root` and `results` are the sockets of virtiofsd; `console` is a file to come."""

    image: Image
    initrd: Path
    append: str
    root: Path
    results: Path
    console: Path


def find_qemu() -> str:
    """Its path. Raises MachineError, naming the package, where there is none."""
    program = shutil.which(PROGRAM)
    if program is None:
        raise MachineError(f"There is no {PROGRAM}.", "apt-get install qemu-system-x86")
    return program


def arguments(guest: Guest, *, kvm: bool) -> list[str]:
    """The command line after the program."""
    append = " ".join(part for part in (_APPEND, "" if kvm else _EMULATED_APPEND, guest.append) if part)
    shares: list[str] = []
    for tag, socket in (("root", guest.root), ("results", guest.results)):
        shares += ["-chardev", f"socket,id={tag},path={_escaped(socket)}"]
        shares += ["-device", f"vhost-user-fs-pci,chardev={tag},tag={tag}"]
    return [
        *_MACHINE,
        *(_KVM if kvm else _EMULATED),
        *("-smp", "2", "-m", _MEMORY),
        # virtiofsd reads and writes the guest's memory itself.
        *("-object", f"memory-backend-memfd,id=memory,size={_MEMORY},share=on", "-numa", "node,memdev=memory"),
        *shares,
        *("-serial", f"file:{guest.console}"),
        *("-kernel", str(guest.image.vmlinux), "-initrd", str(guest.initrd), "-append", append),
    ]


def kvm_trouble(image: Image, cache: Path, work: Path, stop: Stop, device: Path = Path("/dev/kvm")) -> str:
    """Why KVM cannot be used; empty where it can. What came of trying is kept in the cache until this machine reboots.

    That the device opens is no proof: on some virtual machines it does, and a guest gets nowhere. So one is started.
    """
    try:
        device.open("r+b").close()
    except OSError as error:
        return f"{device}: {error.strerror}"
    note = cache / "kvm"
    boot_id = _BOOT_ID.read_text().strip()
    known, _, trouble = note.read_text().partition("\n") if note.exists() else ("", "", "")
    if known != boot_id:
        trouble = _try_kvm(image, work, stop)
        note.write_text(f"{boot_id}\n{trouble}")
    return trouble


def _try_kvm(image: Image, work: Path, stop: Stop) -> str:
    """Whether the kernel's first line comes within ten seconds under KVM; it takes less than one."""
    console = work / "kvm-console"
    argv = [find_qemu(), *_MACHINE, *_KVM, "-m", "512M", "-serial", f"file:{console}"]
    argv += ["-kernel", str(image.vmlinux), "-append", "console=ttyS0 earlyprintk=ttyS0 panic=-1"]
    with running(argv, work / "kvm-qemu.log") as process:
        came = wait_for(lambda: _has(console, b"Linux version"), _PROBE_S, stop, process)
    return "" if came else f"{image.release} did not start with it"


def wait_for(what: Callable[[], bool], seconds: float, stop: Stop, process: "Popen[bytes]") -> bool:
    """Whether `what` came true within that time and while the process runs."""
    deadline = time.monotonic() + seconds
    while not what():
        if process.poll() is not None or time.monotonic() > deadline:
            return what()
        stop.wait(0.05)
    return True


def _has(path: Path, text: bytes) -> bool:
    return path.exists() and text in path.read_bytes()


def _escaped(path: Path) -> str:
    """In an option of qemu a comma is written twice."""
    return str(path).replace(",", ",,")
