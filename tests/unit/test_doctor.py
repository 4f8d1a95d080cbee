"""Doctor on machines that are broken in one way each, built as file trees."""

import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from agent.cli.doctor import as_json, as_text
from agent.doctor import checks
from agent.doctor.bcc import check_bcc
from agent.doctor.machine import Machine, Ran, run_program
from agent.doctor.result import Status
from agent.errors import MachineError

ALL = 0x1FFFFFFFFFF
CAP_SYS_PTRACE, CAP_SYS_ADMIN, CAP_SYS_RESOURCE, CAP_SYSLOG, CAP_PERFMON, CAP_BPF = 19, 21, 24, 34, 38, 39
GOOD_BCC = json.dumps({"file": "/usr/lib/python3/dist-packages/bcc", "version": "0.26.0", "compiles": True})


def write(root: Path, path: str, text: str | bytes) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_bytes(text.encode() if isinstance(text, str) else text)


def capabilities(root: Path, mask: int) -> None:
    write(root, "proc/self/status", f"Name:\tpython\nCapEff:\t{mask:016x}\n")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine where everything is as it should be."""
    capabilities(tmp_path, ALL)
    write(tmp_path, "proc/self/limits", "Limit  Soft Limit\nMax locked memory         65536    65536    bytes\n")
    write(tmp_path, "proc/sys/kernel/osrelease", "6.1.0-test\n")
    write(tmp_path, "proc/sys/kernel/perf_event_paranoid", "3\n")
    write(tmp_path, "proc/sys/kernel/kptr_restrict", "0\n")
    write(tmp_path, "proc/kallsyms", "0000000000000000 A fixed_percpu_data\nffffffff81000000 T _stext\n")
    write(tmp_path, "sys/kernel/btf/vmlinux", b"\x9f\xeb\x01\x00")
    write(tmp_path, "etc/os-release", 'PRETTY_NAME="x"\nID=debian\n')
    write(tmp_path, "usr/bin/python3", "")
    (tmp_path / "sys/kernel/tracing/events").mkdir(parents=True)
    (tmp_path / "proc/self/ns").mkdir()
    (tmp_path / "proc/self/ns/pid").symlink_to("pid:[4026531836]")
    return Machine(
        root=tmp_path,
        effective_uid=lambda: 0,
        python_version=(3, 11, 2),
        run=lambda _command, _timeout: Ran(0, GOOD_BCC, ""),
        own_bcc=lambda: None,
        bpf_map=lambda: 0,
        ring_buffer=lambda: 0,
        unlocked_map=lambda: 0,
        perf_program=lambda: 0,
        perf_event=lambda: 0,
    )


def findings(machine: Machine) -> dict[str, str]:
    """What is not OK: name to status."""
    return {result.name: result.status.value for result in checks.examine(machine) if result.status is not Status.OK}


def remove_btf(root: Path) -> None:
    (root / "sys/kernel/btf/vmlinux").unlink()


def join_container(root: Path) -> None:
    (root / "proc/self/ns/pid").unlink()
    (root / "proc/self/ns/pid").symlink_to("pid:[4026532281]")


BROKEN_TREES = {
    "no BTF": (remove_btf, {"BTF": "warn"}, "CONFIG_DEBUG_INFO_BTF"),
    "BTF of another kind": (lambda root: write(root, "sys/kernel/btf/vmlinux", b"\x7fELF"), {"BTF": "warn"}, "/sys"),
    "locked down": (
        lambda root: write(root, "sys/kernel/security/lockdown", "none integrity [confidentiality]\n"),
        {"lockdown": "warn"},
        "lockdown=integrity",
    ),
    "in a container": (join_container, {"PID namespace": "fail"}, "--pid=host"),
    "no /proc/self": (lambda root: (root / "proc/self/ns/pid").unlink(), {"PID namespace": "fail"}, "/proc"),
    "no privilege": (
        lambda root: capabilities(root, 0),
        {"capabilities": "fail", "perf_event_paranoid": "warn"},
        "sudo",
    ),
    "no ptrace": (lambda root: capabilities(root, ALL ^ 1 << CAP_SYS_PTRACE), {"capabilities": "fail"}, "sudo"),
    "no syslog": (lambda root: capabilities(root, ALL ^ 1 << CAP_SYSLOG), {"capabilities": "warn"}, "CAP_SYSLOG"),
    "unreadable capabilities": (
        lambda root: write(root, "proc/self/status", "CapEff:\tnot hex\n"),
        {"capabilities": "fail", "perf_event_paranoid": "warn"},
        "/proc",
    ),
    "no tracefs": (lambda root: (root / "sys/kernel/tracing/events").rmdir(), {"tracefs": "warn"}, "mount -t tracefs"),
    "hidden kernel addresses": (
        lambda root: write(root, "proc/kallsyms", "0000000000000000 T _stext\n" * 3),
        {"kptr_restrict": "warn"},
        "kernel.kptr_restrict=1",
    ),
    "no kallsyms": (lambda root: (root / "proc/kallsyms").unlink(), {"kptr_restrict": "warn"}, "CONFIG_KALLSYMS"),
    "no paranoid level": (
        lambda root: write(root, "proc/sys/kernel/perf_event_paranoid", "x"),
        {"perf_event_paranoid": "warn"},
        "CONFIG_PERF_EVENTS",
    ),
    "no distribution python": (
        lambda root: (root / "usr/bin/python3").unlink(),
        {"bcc": "fail"},
        "apt-get install python3-bpfcc",
    ),
}

BROKEN_PROBES = {
    "no bpf()": ({"bpf_map": errno.ENOSYS}, {"bpf()": "fail"}, "CONFIG_BPF_SYSCALL"),
    "bpf() forbidden": ({"bpf_map": errno.EPERM}, {"bpf()": "fail"}, "seccomp"),
    "no memory for maps": ({"bpf_map": errno.ENOMEM}, {"bpf()": "fail"}, "dmesg"),
    "old kernel": ({"ring_buffer": errno.EINVAL}, {"kernel": "fail"}, "5.10"),
    "programs forbidden": ({"perf_program": errno.EPERM}, {"kernel": "fail"}, "root"),
    "perf events forbidden": ({"perf_event": errno.EACCES}, {"perf_event_open()": "fail"}, "root"),
    "no perf events": ({"perf_event": errno.ENOSYS}, {"perf_event_open()": "fail"}, "CONFIG_PERF_EVENTS"),
}


def test_tracefs_is_found_wherever_it_is_mounted(machine: Machine) -> None:
    (machine.root / "sys/kernel/tracing/events").rmdir()
    (machine.root / "mnt/of mine/events").mkdir(parents=True)
    line = "31 22 0:7 / /mnt/of\\040mine rw,relatime shared:3 - tracefs none rw\n"
    write(machine.root, "proc/self/mountinfo", f"22 1 0:20 / /sys rw - sysfs sysfs rw\nshort\n{line}")
    assert findings(machine) == {}
    assert checks.check_tracefs(machine).cause == "mounted at /mnt/of mine"


def test_integrity_mode_of_lockdown_takes_nothing_away(machine: Machine) -> None:
    write(machine.root, "sys/kernel/security/lockdown", "none [integrity] confidentiality\n")
    assert findings(machine) == {}


def test_a_good_machine_has_nothing_to_report(machine: Machine) -> None:
    assert findings(machine) == {}
    checks.preflight(machine)


@pytest.mark.parametrize("case", BROKEN_TREES)
def test_a_broken_tree_is_found_with_its_remedy(machine: Machine, case: str) -> None:
    damage, expected, remedy = BROKEN_TREES[case]
    damage(machine.root)
    assert findings(machine) == expected
    assert remedy in " ".join(result.remedy for result in checks.examine(machine))


@pytest.mark.parametrize("case", BROKEN_PROBES)
def test_a_refused_system_call_is_found_with_its_remedy(machine: Machine, case: str) -> None:
    codes, expected, remedy = BROKEN_PROBES[case]
    broken = replace(machine, **{name: (lambda code=code: code) for name, code in codes.items()})
    assert findings(broken) == expected
    assert remedy in " ".join(result.remedy for result in checks.examine(broken))


def test_bpf_and_perfmon_do_instead_of_sys_admin(machine: Machine) -> None:
    mask = 1 << CAP_BPF | 1 << CAP_PERFMON | 1 << CAP_SYS_PTRACE | 1 << CAP_SYSLOG
    capabilities(machine.root, mask)
    assert findings(replace(machine, effective_uid=lambda: 1000)) == {}
    capabilities(machine.root, mask ^ 1 << CAP_BPF)
    assert findings(machine) == {"capabilities": "fail"}


def test_memlock_matters_only_where_maps_count_by_it_and_it_cannot_be_raised(machine: Machine) -> None:
    capabilities(machine.root, ALL ^ 1 << CAP_SYS_RESOURCE)
    assert findings(machine) == {}
    assert findings(replace(machine, unlocked_map=lambda: errno.EPERM)) == {"memlock": "warn"}
    refused = replace(machine, unlocked_map=lambda: errno.EPERM, bpf_map=lambda: errno.EPERM)
    assert "while bpf() is refused" in checks.check_memlock(refused).cause
    capabilities(machine.root, ALL)
    assert findings(replace(machine, unlocked_map=lambda: errno.EPERM)) == {}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can take its own right to read away")
def test_a_machine_that_shows_nothing_is_reported_and_no_exception(machine: Machine) -> None:
    machine.root.chmod(0o700)
    os.seteuid(65534)
    try:
        found = findings(machine)
    finally:
        os.seteuid(0)
    expected = {"capabilities": "fail", "BTF": "warn", "PID namespace": "fail", "bcc": "fail", "tracefs": "warn"}
    assert {name: found[name] for name in expected} == expected


def test_an_old_python_is_found(machine: Machine) -> None:
    assert findings(replace(machine, python_version=(3, 9, 2))) == {"Python": "fail"}


@pytest.mark.parametrize(
    ("ran", "words"),
    [
        (Ran(0, json.dumps({"error": "ModuleNotFoundError: No module named 'bcc'"}), ""), "cannot be imported"),
        (Ran(0, json.dumps({"file": "/x/bcc.py", "version": "", "compiles": False}), ""), "lattice"),
        (Ran(-1, "", "it did not end within 30 s"), "30 s"),
        (Ran(1, "", "Traceback\nImportError: libbcc.so.0"), "libbcc.so.0"),
        (Ran(0, "[]", ""), "could not be asked"),
    ],
)
def test_a_missing_or_wrong_bcc_is_told_apart(machine: Machine, ran: Ran, words: str) -> None:
    result = check_bcc(replace(machine, run=lambda _command, _timeout: ran))
    assert result.status is Status.FAIL
    assert words in result.cause
    assert "apt-get install python3-bpfcc" in result.remedy


def test_the_namesake_beside_goroscope_is_a_warning(machine: Machine) -> None:
    result = check_bcc(replace(machine, own_bcc=lambda: "0.1.10"))
    assert result.status is Status.WARN
    assert "pip uninstall bcc" in result.remedy


@pytest.mark.parametrize(
    ("release", "command"),
    [("ID=fedora", "dnf install python3-bcc"), ('ID=linuxmint\nID_LIKE="ubuntu debian"', "apt-get"), ("", "Debian's")],
)
def test_the_remedy_speaks_the_distributions_language(machine: Machine, release: str, command: str) -> None:
    write(machine.root, "etc/os-release", release)
    missing = Ran(0, json.dumps({"error": "ModuleNotFoundError"}), "")
    assert command in check_bcc(replace(machine, run=lambda _command, _timeout: missing)).remedy


def test_preflight_raises_the_first_failure_only(machine: Machine) -> None:
    capabilities(machine.root, 0)
    join_container(machine.root)
    with pytest.raises(MachineError, match="lacks CAP_BPF") as caught:
        checks.preflight(machine)
    assert caught.value.exit_code == 3
    assert caught.value.remedy


def test_text_is_aligned_marked_and_ends_with_a_verdict(machine: Machine) -> None:
    join_container(machine.root)
    (machine.root / "sys/kernel/tracing/events").rmdir()
    text = as_text(checks.examine(machine), 100)
    lines = text.splitlines()
    assert [line[0] for line in lines if line[:1] not in {" ", "", "`"}].count("✗") == 1
    assert any(line.startswith("! tracefs") for line in lines)
    assert all(len(line) <= 100 for line in lines)
    assert lines[-1] == "`goroscope record` cannot run here yet."


def test_json_holds_every_check(machine: Machine) -> None:
    join_container(machine.root)
    found = json.loads(as_json(checks.examine(machine)))
    assert found["can_record"] is False
    assert len(found["checks"]) == len(checks.CHECKS)
    assert [check["name"] for check in found["checks"] if check["status"] == "fail"] == ["PID namespace"]


def test_a_program_that_hangs_or_is_missing_is_no_exception() -> None:
    assert run_program(["/nonexistent/program"], 1).status == -1
    assert "did not end" in run_program(["sleep", "30"], 0.1).error
