"""Is the BPF Compiler Collection there, for the Python it is bound to, and is it not its namesake?"""

import json

from agent.doctor.machine import Machine
from agent.doctor.result import Result, fail, ok, warn

_NAME = "bcc"
_TIMEOUT_S = 30.0
_LOOK = """
import json, sys
try:
    import bcc
except BaseException as error:
    print(json.dumps({"error": f"{type(error).__name__}: {error}"}))
    sys.exit()
print(json.dumps({"file": str(getattr(bcc, "__file__", "")), "version": str(getattr(bcc, "__version__", "")),
                  "compiles": hasattr(bcc, "BPF")}))
"""

# The package that holds bcc for the distribution's Python, by the ID or ID_LIKE of os-release.
_INSTALL = {
    "debian": "apt-get install python3-bpfcc",
    "ubuntu": "apt-get install python3-bpfcc",
    "fedora": "dnf install python3-bcc",
    "rhel": "dnf install python3-bcc",
    "centos": "dnf install python3-bcc",
    "suse": "zypper install python3-bcc",
    "arch": "pacman -S python-bcc",
    "alpine": "apk add py3-bcc",
}


def check_bcc(machine: Machine) -> Result:
    """Import bcc under the distribution's Python, as the loader does. Takes up to half a second."""
    python = machine.distribution_python()
    remedy = f"Install it: {install_command(machine)}."
    if not machine.has("usr/bin/python3"):
        return fail(_NAME, f"The distribution's Python, {python}, is missing, and bcc is bound to it.", remedy)
    ran = machine.run([str(python), "-I", "-c", _LOOK], _TIMEOUT_S)
    found = _decode(ran.output)
    if ran.status != 0 or found is None:
        last = (ran.error.strip().splitlines() or ["it printed nothing"])[-1][:200]
        return fail(_NAME, f"{python} could not be asked for bcc (status {ran.status}): {last}.", remedy)
    if "error" in found:
        return fail(_NAME, f"bcc cannot be imported by {python}: {found['error']}.", remedy)
    if not found.get("compiles"):
        return fail(
            _NAME,
            f"The bcc that {python} imports ({found.get('file')}) is PyPI's lattice library, not the BPF Compiler"
            " Collection.",
            f"Remove it ({python} -m pip uninstall bcc), then install the other: {install_command(machine)}.",
        )
    if machine.own_bcc() is not None:
        return warn(
            _NAME,
            f"PyPI's lattice library of the same name is installed beside goroscope for {machine.python_path}; it does"
            " no harm and is of no use.",
            f"Remove it: {machine.python_path} -m pip uninstall bcc.",
        )
    return ok(_NAME, f"bcc {found.get('version')} of {python}")


def install_command(machine: Machine) -> str:
    """The command that installs bcc here; Debian's where the distribution is unknown."""
    known = (_INSTALL[name] for name in machine.distribution() if name in _INSTALL)
    return next(known, _INSTALL["debian"] + " (Debian's name for it)")


def _decode(output: str) -> dict[str, object] | None:
    try:
        found = json.loads(output)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
