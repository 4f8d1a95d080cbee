"""Where tracefs is: at its usual places, or wherever /proc/self/mountinfo has it. Standard library only."""

from collections.abc import Iterator
from pathlib import Path

USUAL = (Path("/sys/kernel/tracing"), Path("/sys/kernel/debug/tracing"))
_WITHIN = {"tracefs": ".", "debugfs": "tracing"}  # file system: where tracefs is in it
_OCTAL = {"\\040": " ", "\\011": "\t", "\\012": "\n", "\\134": "\\"}


class TracefsError(Exception):
    """There is none, or it does not have what is looked for; the text is one sentence."""


def mounted(mountinfo: Path = Path("/proc/self/mountinfo")) -> Iterator[Path]:
    """The folders to look in, the usual ones first. Fields of mountinfo: proc_pid_mountinfo(5)."""
    yield from USUAL
    try:
        text = mountinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    for line in text.splitlines():
        mount, _, source = line.partition(" - ")
        fields = mount.split(" ")
        within = _WITHIN.get(source.partition(" ")[0])
        if within is not None and len(fields) > 4:
            point = fields[4]
            for code, character in _OCTAL.items():
                point = point.replace(code, character)
            yield Path(point) / within


def event_file(event: str, name: str) -> Path:
    """A file of a scheduler event. Raises TracefsError where tracefs is not mounted."""
    for root in mounted():
        path = root / "events/sched" / event / name
        try:
            if path.exists():
                return path
        except OSError:  # debugfs may be closed to us
            continue
    raise TracefsError(f"tracefs has no event {event}: mount -t tracefs tracefs {USUAL[0]}.")
