"""Booting, with programs that stand for qemu and virtiofsd and do what real ones never should."""

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from vagrant.booting import machine, qemu
from vagrant.booting.errors import BootError, MachineError
from vagrant.booting.images import Image
from vagrant.booting.machine import Job, Machine
from vagrant.booting.processes import InterruptedByUserError, Stop
from vagrant.booting.qemu import Guest, arguments, find_qemu, kvm_trouble
from vagrant.booting.share import Virtiofsd, find_virtiofsd, mounts_of, read_only

# The fakes find the work folder in their arguments.
CONSOLE = "for a; do case $a in file:*) work=${a#file:}; work=${work%/*};; esac; done; r=$work/results"
BOOTS = f"""{CONSOLE}
echo '[ 0.1] booting' >$work/console; echo 6.1.0-fake >$r/release; . $r/command.sh >$r/output; echo $? >$r/status"""
SERVES = "for a; do case $a in --socket-path=*) touch ${a#*=};; esac; done; exec sleep 60"


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\necho $$ >>{path.parent}/pids\n{text}\n")
    path.chmod(0o755)
    return path


class World:
    """A machine of fakes. `said` is what was told, `shown` what the guest printed."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.programs = tmp_path / "programs"
        self.stop = Stop()
        self.said: list[str] = []
        self.shown: list[str] = []
        self.qemu(BOOTS)
        self.virtiofsd = script(self.programs / "virtiofsd", SERVES)
        script(self.programs / "busybox", "")
        # No root, no mounts: it runs what it should run there.
        script(self.programs / "unshare", 'while [ "$1" != -- ]; do shift; done; shift; exec "$@"')
        monkeypatch.setenv("PATH", f"{self.programs}:{os.environ['PATH']}")
        monkeypatch.setattr(machine, "find_virtiofsd", lambda: Virtiofsd(self.virtiofsd, in_rust=True))
        monkeypatch.setattr(machine, "kvm_trouble", lambda *_: "it is not there")
        self.temporary = tmp_path / "temporary"
        self.temporary.mkdir()
        monkeypatch.setattr(machine.tempfile, "tempdir", str(self.temporary))
        self.checkout = tmp_path / "my checkout"
        self.checkout.mkdir()

    def qemu(self, text: str) -> None:
        script(self.programs / "qemu-system-x86_64", text)

    def boot(self, command: str = "pwd", timeout_s: float = 20, keep: Path | None = None) -> machine.Ended:
        image = Image("6.1.0-fake", Path("vmlinux"), ())
        job = Job(image, "", self.checkout, command, timeout_s)
        return Machine(self.temporary, self.stop, self.said.append, self.shown.append).boot(job, keep)

    def left(self) -> list[str]:
        """Files and processes that are still there."""
        pids = (self.programs / "pids").read_text().split() if (self.programs / "pids").exists() else []
        return [path.name for path in self.temporary.iterdir()] + [pid for pid in pids if Path("/proc", pid).exists()]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


def test_a_command_runs_in_the_checkout_and_its_lines_and_status_come_out(world: World, tmp_path: Path) -> None:
    ended = world.boot("pwd; echo two; printf three; (exit 7)", keep=tmp_path / "kept/deep")
    assert (ended.status, ended.release) == (7, "6.1.0-fake")
    assert world.shown == [str(world.checkout), "two", "three"]
    assert world.said == ["no KVM (it is not there): emulating, which is slower"]
    kept = sorted(path.name for path in (tmp_path / "kept/deep").iterdir())
    assert kept == ["console.log", "log.log", "output", "release", "status"]
    assert world.left() == []


@pytest.mark.parametrize(
    ("does", "said"),
    [
        ("exec sleep 60", "has not come up after 1 s; its console shows nothing"),
        (
            CONSOLE + "; printf 'a\\n\\033[2J[ 1.0] last\\r\\n\\n' >$work/console; exec sleep 60",
            r"has not come up after 1 s; the last line of its console is “\[ 1.0\] last”",
        ),
        (
            CONSOLE + "; echo x >$r/release; echo c >$work/console; echo 'test 1' >$r/output; exec sleep 60",
            "has not come to its end after 1 s; the last line of the command is “test 1”, of the console “c”",
        ),
        (f"trap '' TERM; {CONSOLE}; echo stubborn >$work/console; while :; do sleep 0.1; done", "“stubborn”"),
    ],
)
def test_a_guest_that_hangs_ends_with_the_time_and_says_how_far_it_came(
    world: World, monkeypatch: pytest.MonkeyPatch, does: str, said: str
) -> None:
    monkeypatch.setattr("vagrant.booting.processes._END_S", 0.3)
    world.qemu(does)
    with pytest.raises(BootError, match=said) as caught:
        world.boot(timeout_s=1)
    assert caught.value.exit_code == 4
    assert "--timeout" in caught.value.remedy
    assert world.left() == []


@pytest.mark.parametrize(
    ("does", "said"),
    [
        (CONSOLE + "; echo 'Kernel panic' >$work/console", "ended before the command did; .*“Kernel panic”"),
        ("echo 'qemu: cannot set up guest memory' >&2; exit 1", r"\(qemu: qemu: cannot set up guest memory\)"),
    ],
)
def test_a_guest_that_falls_says_what_was_last(world: World, does: str, said: str) -> None:
    world.qemu(does)
    with pytest.raises(BootError, match=said):
        world.boot()
    assert world.left() == []


def test_a_guest_that_does_not_power_off_is_ended_and_its_results_count(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "_POWER_OFF_S", 0.3)
    world.qemu(f"{BOOTS}; exec sleep 60")
    assert world.boot("true").status == 0
    assert world.left() == []


def test_an_interrupt_ends_all(world: World) -> None:
    world.qemu(f"{CONSOLE}; echo x >$r/release; exec sleep 60")
    threading.Timer(0.7, world.stop.ask, (signal.SIGTERM,)).start()
    began = time.monotonic()
    with pytest.raises(InterruptedByUserError, match="SIGTERM"):
        world.boot()
    assert time.monotonic() - began < 5
    assert world.left() == []


def test_virtiofsd_that_does_not_start_says_why(world: World) -> None:
    script(world.virtiofsd, "echo 'unshare failed: Operation not permitted' >&2; exit 1")
    with pytest.raises(MachineError, match="virtiofsd does not start: unshare failed: Operation not permitted"):
        world.boot()
    assert world.left() == []


def test_without_a_place_for_files_it_says_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.tempfile, "tempdir", "/nonexistent")
    with pytest.raises(MachineError, match=r"No folder can be made in /nonexistent: No such file.*TMPDIR"):
        world.boot()


def test_what_is_missing_is_named_with_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MachineError, match=r"no qemu-system-x86_64. apt-get install qemu-system-x86"):
        find_qemu()
    with pytest.raises(MachineError, match=r"no virtiofsd.*apt-get install virtiofsd on Debian 13"):
        find_virtiofsd(tmp_path / "a", tmp_path / "b")


def test_the_newer_virtiofsd_is_taken_where_both_are_and_each_is_told_in_its_language(tmp_path: Path) -> None:
    in_c, in_rust = script(tmp_path / "c", ""), tmp_path / "rust"
    assert "source=/s" in find_virtiofsd(in_c, in_rust).arguments(Path("/s"), Path("/x"))
    script(in_rust, "")
    found = find_virtiofsd(in_c, in_rust).arguments(Path("/s"), Path("/x"))
    assert found[:4] == [str(in_rust), "--socket-path=/x", "--shared-dir", "/s"]


def kvm(tmp_path: Path, device: Path) -> str:
    (tmp_path / "cache").mkdir(exist_ok=True)
    image = Image("6.1.0-fake", Path("vmlinux"), ())
    return kvm_trouble(image, tmp_path / "cache", tmp_path, Stop(), device)


def test_without_kvm_it_says_why(tmp_path: Path) -> None:
    assert kvm(tmp_path, tmp_path / "kvm") == f"{tmp_path}/kvm: No such file or directory"


@pytest.mark.parametrize(
    ("does", "trouble"),
    [
        (f"{CONSOLE.replace('work%/*', 'work')}; echo 'Linux version 6.1' >$work; exec sleep 60", ""),
        ("exec sleep 60", "6.1.0-fake did not start with it"),
        ("echo 'failed to set MSR' >&2; exit 1", "6.1.0-fake did not start with it"),
    ],
)
def test_kvm_is_tried_once_and_what_came_of_it_is_kept_until_the_machine_reboots(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, does: str, trouble: str
) -> None:
    monkeypatch.setattr(qemu, "_PROBE_S", 1.0)
    world.qemu(does)
    device = tmp_path / "kvm"
    device.touch()
    assert kvm(tmp_path, device) == trouble
    world.qemu("exit 1")
    (tmp_path / "kvm-console").unlink(missing_ok=True)
    assert kvm(tmp_path, device) == trouble
    (tmp_path / "cache/kvm").write_text("another boot\n")
    assert kvm(tmp_path, device) == "6.1.0-fake did not start with it"


def option(argv: list[str], name: str) -> str:
    return argv[argv.index(name) + 1]


def test_emulation_takes_the_settings_that_work_and_kvm_the_cpu_of_the_host() -> None:
    image = Image("r", Path("vmlinux"), ())
    guest = Guest(image, Path("initrd"), "lockdown=integrity", Path("/a,b/root"), Path("/results"), Path("/console"))
    emulated, native = arguments(guest, kvm=False), arguments(guest, kvm=True)
    assert "thread=single" in option(emulated, "-accel")
    assert "-cx16" in option(emulated, "-cpu")
    assert "no_timer_check lockdown=integrity" in option(emulated, "-append")
    assert (option(native, "-accel"), option(native, "-cpu")) == ("kvm", "host")
    assert "mitigations" not in option(native, "-append")
    assert "socket,id=root,path=/a,,b/root" in native


def test_each_mount_below_the_root_is_bound_read_only_by_its_own_line(tmp_path: Path) -> None:
    mountinfo = tmp_path / "mountinfo"
    mountinfo.write_text(
        "27 1 254:0 / / rw - ext4 /dev/vda rw\n22 27 0:21 / /proc rw - proc proc rw\n"
        f"23 27 0:22 / {tmp_path}/my\\040disk rw - ext4 d rw\n24 27 0:23 / {tmp_path}/other rw - ext4 d rw\n"
    )
    mounts = mounts_of([tmp_path / "my disk/checkout", Path("/usr")], mountinfo)
    assert mounts == [Path("/"), tmp_path / "my disk"]
    argv = read_only(Path("/target"), mounts, ["virtiofsd", "-f"])
    assert argv[6:] == ["/target", "/", f"{tmp_path}/my disk", "--", "virtiofsd", "-f"]


def test_no_signal_handler_stays_behind() -> None:
    before: Callable[..., object] | int | None = signal.getsignal(signal.SIGTERM)
    stop = Stop()
    with stop.on_signals():
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(InterruptedByUserError, match="SIGTERM"):
            stop.wait(0.1)
    assert signal.getsignal(signal.SIGTERM) == before
