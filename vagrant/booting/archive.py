"""Asks a suite of the Debian archive for its newest kernel, through a private apt root that leaves the host's alone."""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from vagrant.booting.errors import MachineError
from vagrant.booting.listed import Entry
from vagrant.booting.processes import ProgramError, Stop, run

_DEFAULT = "http://deb.debian.org/debian"
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
# What of a kernel's dependencies is kernel: since 7.x its package is split.
_PARTS = re.compile(r"linux-(image|binary|modules|base)-\d")
_APT_TIMEOUT_S = 600.0

# Hooks and indexes of the host's configuration are for the host; its proxy settings stay.
_CONFIGURATION = """\
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Post-Invoke;
Dir::State "{root}/state";
Dir::State::status "{root}/state/status";
Dir::Cache "{root}/cache";
Dir::Etc::sourcelist "{root}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
APT::Architecture "amd64";
APT::Default-Release "";
APT::Sandbox::User "root";
APT::Update::Error-Mode "any";
Acquire::Languages "none";
Acquire::Retries "1";
Acquire::http::Timeout "20";
Acquire::https::Timeout "20";
"""


@dataclass(frozen=True, slots=True)
class Mirrors:
    """Where Debian is fetched from: addresses of the archive and of its security updates."""

    main: str
    security: str


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel of the archive: its image package, the version of it, and all packages that it is made of."""

    package: str
    version: str
    parts: tuple[str, ...]


def mirrors(etc: Path = Path("/etc"), environment: Mapping[str, str] = os.environ) -> Mirrors:
    """GOROSCOPE_MIRROR, else where this Debian's own packages come from, else deb.debian.org."""
    if chosen := environment.get("GOROSCOPE_MIRROR", "").rstrip("/"):
        return Mirrors(chosen, f"{chosen}-security")
    release = _os_release(etc)
    main, security = "", ""
    if release.get("ID") == "debian":
        codename = release.get("VERSION_CODENAME", "stable")
        for uri, suite in _sources(etc / "apt"):
            main = main or (uri if suite in {codename, "stable", "testing", "unstable", "sid"} else "")
            security = security or (uri if suite in {f"{codename}-security", "stable-security"} else "")
    main = main or _DEFAULT
    return Mirrors(main, security or f"{main}-security")


def _os_release(etc: Path) -> dict[str, str]:
    try:
        lines = (etc / "os-release").read_text().splitlines()
    except OSError:
        return {}
    return {key: value.strip("\"'") for key, _, value in (line.partition("=") for line in lines)}


def _sources(apt: Path) -> Iterator[tuple[str, str]]:
    """Address and suite of each source of packages, of both formats of apt's lists."""
    for path in (apt / "sources.list", *sorted(apt.glob("sources.list.d/*"))):
        try:
            text = path.read_text(errors="replace")
        except OSError:
            continue
        text = re.sub(r"(?m)^[ \t]*#.*\n?", "", text)
        if path.suffix == ".list":
            for uri, suite in re.findall(r"(?m)^deb\s+(?:\[[^]]*\]\s+)?(\S+)\s+(\S+)", text):
                yield uri.rstrip("/"), suite
        elif path.suffix == ".sources":
            for stanza in re.split(r"\n\s*\n", text):
                fields = {k.lower(): v.split() for k, v in re.findall(r"(?m)^([\w-]+):((?:.*(?:\n[ \t].*)*))", stanza)}
                if "deb" in fields.get("types", []) and fields.get("enabled", ["yes"]) != ["no"]:
                    yield from ((u.rstrip("/"), s) for u in fields.get("uris", []) for s in fields.get("suites", []))


class Archive:
    """The apt root of one suite under `root`. All methods raise MachineError where the archive cannot be asked."""

    def __init__(self, root: Path, entry: Entry, stop: Stop, sources: Mirrors) -> None:
        self._root = root
        self._entry = entry
        self._stop = stop
        self._sources = sources

    def newest(self) -> Kernel:
        """The kernel that the entry's package depends on today."""
        self._set_up()
        self._apt("apt-get", "-qq", "update")
        fields = self._show(self._entry.package)
        image = next((name for name in _depends(fields) if re.match(r"linux-image-\d", name)), self._entry.package)
        parts: list[str] = []
        wanted = [image]
        while wanted:
            name = wanted.pop()
            parts.append(name)
            wanted += {part for part in _depends(self._show(name)) if _PARTS.match(part)} - {*parts, *wanted}
        return Kernel(image, self._show(image)["Version"], tuple(parts))

    def download(self, kernel: Kernel, folder: Path) -> list[Path]:
        """Its packages, put into the folder."""
        self._apt("apt-get", "-qq", "download", *kernel.parts, cwd=folder)
        return sorted(folder.glob("*.deb"))

    def _set_up(self) -> None:
        for folder in ("state/lists/partial", "cache/archives/partial"):
            (self._root / folder).mkdir(parents=True, exist_ok=True)
        (self._root / "state/status").touch()
        (self._root / "apt.conf").write_text(_CONFIGURATION.format(root=self._root))
        signed = f" signed-by={_KEYRING}" if _KEYRING.exists() else ""
        options = f"[arch=amd64 target=Packages{signed}]"
        lines = [f"deb {options} {self._sources.main} {self._entry.suite} main"]
        if self._entry.security:
            lines.append(f"deb {options} {self._sources.security} {self._entry.suite}-security main")
        (self._root / "sources.list").write_text("\n".join(lines) + "\n")

    def _show(self, package: str) -> dict[str, str]:
        text = self._apt("apt-cache", "show", "--no-all-versions", package).decode(errors="replace")
        return dict(re.findall(r"(?m)^([\w-]+): (.*)$", text.split("\n\n")[0]))

    def _apt(self, program: str, *arguments: str, cwd: Path | None = None) -> bytes:
        environment = {**os.environ, "LC_ALL": "C.UTF-8"}
        argv = [program, "-c", str(self._root / "apt.conf"), *arguments]
        try:
            return run(argv, self._stop, _APT_TIMEOUT_S, environment, cwd)
        except ProgramError as error:
            raise MachineError(
                f"The kernel of {self._entry.suite} cannot be had from {self._sources.main}: {error.said}.",
                "Check the network, or set GOROSCOPE_MIRROR to a mirror of Debian that is in reach.",
            ) from error


def _depends(fields: Mapping[str, str]) -> list[str]:
    """Names of the packages that a package depends on, first alternatives only."""
    return [re.split(r"[ (|:]", part.strip())[0] for part in fields.get("Depends", "").split(",") if part.strip()]
