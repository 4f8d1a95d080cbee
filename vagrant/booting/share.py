"""Shows folders of this machine to a guest through virtiofsd, of which Debian 12 and 13 have different ones."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from vagrant.booting.errors import MachineError

# Debian 12: in C, part of qemu-system-common. Debian 13: in Rust, a package of its own.
_IN_C = Path("/usr/lib/qemu/virtiofsd")
_IN_RUST = Path("/usr/libexec/virtiofsd")

# Binds the root, and those of the mounts below it that are wanted, to a folder in a mount namespace of its own, which
# is gone with the program. Each is made read-only before anything can see it.
_READ_ONLY = """
set -e
target=$1; shift
mount --make-rprivate /
while [ "$1" != -- ]; do
	mount --bind "$1" "$target$1"
	mount -o remount,bind,ro "$target$1"
	shift
done
shift
exec "$@"
"""


@dataclass(frozen=True, slots=True)
class Virtiofsd:
    """The program, and whether it is the one in Rust."""

    program: Path
    in_rust: bool

    def arguments(self, source: Path, socket: Path) -> list[str]:
        """How to start it. The guest may cache all: what it reads does not change, or is its own."""
        if self.in_rust:
            options = ["--shared-dir", str(source), "--cache", "always", "--sandbox", "chroot"]
            # Mounts of their own in the guest would be empty folders to its overlay.
            options.append("--no-announce-submounts")
        else:
            options = [
                "-f",
                "-o",
                f"source={source}",
                "-o",
                "cache=always",
                "-o",
                "sandbox=chroot",
                "-o",
                "log_level=warn",
            ]
        return [str(self.program), f"--socket-path={socket}", *options]


def find_virtiofsd(in_c: Path = _IN_C, in_rust: Path = _IN_RUST) -> Virtiofsd:
    """The host's virtiofsd. Raises MachineError, naming the packages, where there is none."""
    for program, rust in ((in_rust, True), (in_c, False)):
        if program.exists():
            return Virtiofsd(program, rust)
    raise MachineError(
        "There is no virtiofsd, which shows this machine's files to the guest.",
        "apt-get install virtiofsd on Debian 13, qemu-system-common on Debian 12.",
    )


def read_only(target: Path, mounts: Iterable[Path], argv: Iterable[str]) -> list[str]:
    """The program, run where `target` shows the given mount points of this machine, "/" first, read-only."""
    script = ["unshare", "--mount", "sh", "-c", _READ_ONLY, "sh", str(target)]
    return [*script, *map(str, mounts), "--", *argv]


def mounts_of(paths: Iterable[Path], mountinfo: Path = Path("/proc/self/mountinfo")) -> list[Path]:
    """Mount points that the paths are on: "/" and those below it, outer ones first."""
    # Field 5 of proc(5)'s mountinfo; blanks and the like stand there in octal.
    fields = (line.split()[4] for line in mountinfo.read_text().splitlines())
    points = {Path(field.encode().decode("unicode_escape")) for field in fields}
    wanted = {Path("/")}
    for path in paths:
        wanted |= {point for point in points if path.resolve().is_relative_to(point)}
    return sorted(wanted)
