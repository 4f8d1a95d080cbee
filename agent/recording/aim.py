"""Tells the kernel side what is to be sampled: processes, a cgroup, or all."""

import os
from pathlib import Path

from agent.errors import TargetError
from agent.processes.cgroups import Members, is_v2
from agent.recording.wanted import Wanted
from bpf.abi import Target
from bpf.programs import Programs
from bpf.targets import Targets


class Aim:
    """The filter of a recording. `mode` is how the kernel side filters, `targets` the processes it filters by."""

    def __init__(self, wanted: Wanted, programs: Programs) -> None:
        """Fill the maps; nothing is attached yet. Raises TargetError and OSError."""
        self.mode = wanted.target
        self.targets = Targets(programs.maps)
        self._members: Members | None = None
        for pid in wanted.pids:
            try:
                threads = [int(path.name) for path in (wanted.proc_root / str(pid) / "task").iterdir()]
            except OSError:
                threads = []  # it has gone, which is told later
            self.targets.add(pid, threads)
        if wanted.cgroup is not None:
            self._aim_at_cgroup(wanted.cgroup, programs)
        self.targets.publish()
        self.follow()

    def follow(self) -> None:
        """Look who has joined, where the kernel side cannot tell by itself."""
        if self._members is not None:
            self._members.follow()

    def _aim_at_cgroup(self, cgroup: Path, programs: Programs) -> None:
        try:
            directory = os.open(cgroup, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise TargetError(
                f"The cgroup {cgroup} cannot be opened: {error.strerror}.", "Give its directory."
            ) from error
        try:
            if is_v2(cgroup):
                programs.maps["cgroups"].update(0, directory.to_bytes(4, "little"))
                return
        finally:
            os.close(directory)
        if not (cgroup / "cgroup.procs").exists():
            raise TargetError(f"{cgroup} is not a cgroup.", "Give a directory below the mount point of a hierarchy.")
        self.mode = Target.PIDS
        self.targets.expect_any()
        self._members = Members(cgroup, self.targets.add_later)
