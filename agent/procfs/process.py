"""What /proc says of a process besides its mappings: names, cgroup, namespaces."""

import re
from pathlib import Path

_MAX_BYTES = 64 * 1024
_CONTAINER = re.compile(r"(?:^|[/:-])([0-9a-f]{64})(?:\.scope)?(?=$|/)")


def read_small(path: Path) -> str:
    """A small file of /proc as text; empty when the process has gone."""
    try:
        with open(path, "rb") as file:
            return file.read(_MAX_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""


def command_name(pid: int, proc_root: Path = Path("/proc")) -> str:
    """The process's comm, or empty when it has gone."""
    return read_small(proc_root / str(pid) / "comm").rstrip("\n")


def thread_name(pid: int, tid: int, proc_root: Path = Path("/proc")) -> str:
    """A thread's comm, or empty when it has gone."""
    return read_small(proc_root / str(pid) / "task" / str(tid) / "comm").rstrip("\n")


def container_of(cgroup_file: str) -> str:
    """The container id in the text of /proc/PID/cgroup, or empty.

    Docker, containerd, CRI-O and Podman all name the cgroup after the 64 hex digits of the container.
    """
    for line in cgroup_file.splitlines():
        found = _CONTAINER.findall(line.split(":", 2)[-1])
        if found:
            return str(found[-1])
    return ""


def container_id(pid: int, proc_root: Path = Path("/proc")) -> str:
    """The id of the container a process runs in, or empty."""
    return container_of(read_small(proc_root / str(pid) / "cgroup"))


def process_of(number: int, proc_root: Path = Path("/proc")) -> int | None:
    """The process that a process or thread id belongs to, or None when there is neither."""
    for line in read_small(proc_root / str(number) / "status").splitlines():
        name, _, value = line.partition(":")
        if name == "Tgid" and value.strip().isdigit():
            return int(value)
    return None


def namespace_pid(pid: int, proc_root: Path = Path("/proc")) -> int:
    """The process's own id in its innermost PID namespace (it names its perf map after that)."""
    for line in read_small(proc_root / str(pid) / "status").splitlines():
        if line.startswith("NSpid:"):
            numbers = line.split()[1:]
            if numbers and numbers[-1].isdigit():
                return int(numbers[-1])
    return pid
