"""Cgroups as targets: the kernel side filters by those of the v2 hierarchy; those of v1 are named by process."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_MAX_DEPTH = 16
_MAX_MEMBERS = 4096


def is_v2(cgroup: Path) -> bool:
    """Whether a directory is a cgroup of the v2 hierarchy, each of which has this file (Documentation/cgroup-v2)."""
    return (cgroup / "cgroup.controllers").exists()


def members(cgroup: Path) -> set[int]:
    """The processes in a cgroup and in those below it, at most 4,096. What went meanwhile is left out."""
    found: set[int] = set()
    depth = len(cgroup.parts)
    for folder, below, files in os.walk(cgroup):
        if len(Path(folder).parts) - depth >= _MAX_DEPTH or len(found) >= _MAX_MEMBERS:
            below.clear()
        if "cgroup.procs" in files:
            try:
                words = (Path(folder) / "cgroup.procs").read_text(encoding="ascii").split()
            except OSError:
                continue
            found.update(int(word) for word in words[: _MAX_MEMBERS - len(found)] if word != "0")
    return found


class Members:
    """Follows who is in a cgroup of v1: `add` is called once for each. Nobody is taken out."""

    def __init__(self, cgroup: Path, add: Callable[[int], None]) -> None:
        """Nobody is known yet."""
        self._cgroup, self._add = cgroup, add
        self._known: set[int] = set()

    def follow(self) -> None:
        """Look once more. Those that `add` refuses by OSError are tried again at the next look."""
        now = members(self._cgroup)
        self._known &= now  # ids are used again
        for pid in now - self._known:
            with suppress(OSError):
                self._add(pid)
                self._known.add(pid)
