"""One kernel of the list from its name to its results: fetch, boot, run pytest there, read what it reported."""

import os
import shlex
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from vagrant.booting.errors import BootError, MachineError, UsageError
from vagrant.booting.images import Images, Say, cache_folder
from vagrant.booting.listed import Entry
from vagrant.booting.machine import RESULTS, Job, Machine
from vagrant.booting.matrix import Boot
from vagrant.booting.processes import Stop
from vagrant.booting.results import FAILED, PASSED, SKIPPED, read_report

_REPORT = "junit.xml"
_LOG = "console.log"
# What a boot leaves in its results folder besides what the command itself wrote there.
_WRITTEN = (_REPORT, _LOG, "log.log", "output", "release", "status")


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the user wants of boots. `command`: instead of pytest; `keep`: results go there; `timeout_s`: for each."""

    timeout_s: float
    append: str = ""
    command: str = ""
    keep: Path | None = None
    keep_log: bool = False


class Session:
    """Boots kernels for the checkout. `say` is told what goes on, `show` what guests print, by kernel."""

    def __init__(self, checkout: Path, wishes: Wishes, stop: Stop, say: Say, show: Say) -> None:
        self._checkout = checkout
        self._wishes = wishes
        self._stop = stop
        self._say = say
        self._show = show

    def wishing(self, wishes: Wishes) -> Self:
        """The same with other wishes."""
        return type(self)(self._checkout, wishes, self._stop, self._say, self._show)

    def check(self, tests: Sequence[str]) -> None:
        """Raise MachineError or UsageError where no boot could do any good."""
        if os.geteuid() != 0:
            raise MachineError("Booting kernels with this machine's files takes root.", "Run it with sudo.")
        if not self._wishes.command:
            if not (self._checkout / ".venv/dev.stamp").exists():
                raise MachineError("The checkout has no environment with pytest yet.", "Run `make .venv/dev.stamp`.")
            self._check_tests(tests)

    def fetch(self, entry: Entry) -> str:
        """Have the entry's newest kernel in the cache; its release."""
        return self._images(entry).get(entry, ask=True).release

    def run(self, entry: Entry, tests: Sequence[str]) -> tuple[Boot, bool]:
        """Boot the kernel and run the tests: what came of it, and whether all passed. Raises KernelsError."""
        name, wishes = entry.name, self._wishes
        image = self._images(entry).get(entry)
        report = f"{RESULTS}/{_REPORT}"
        pytest = [".venv/bin/python", "-m", "pytest", f"--junitxml={report}", "-p", "no:cacheprovider", *tests]
        job = Job(
            image=image,
            append=" ".join(filter(None, (entry.append, wishes.append))),
            checkout=self._checkout,
            command=wishes.command or shlex.join(pytest),
            timeout_s=wishes.timeout_s,
        )
        machine = Machine(cache_folder(), self._stop, self._of(entry), lambda line: self._show(f"[{name}] {line}"))
        self._say(f"{name}: booting {image.release}")
        with tempfile.TemporaryDirectory(prefix="goroscope-results-") as temporary:
            keep = wishes.keep or Path(temporary)
            for left in _WRITTEN:
                (keep / left).unlink(missing_ok=True)
            try:
                ended = machine.boot(job, keep)
            finally:
                self._keep_log(entry, keep)
            date = datetime.now(UTC).strftime("%Y-%m-%d")
            if wishes.command:
                self._say(f"{name}: ended with status {ended.status} after {ended.seconds:.0f} s")
                return Boot(name, date, ended.release), ended.status == 0
            read = read_report(keep / _REPORT)
        counts = ", ".join(f"{read.count(outcome)} {outcome}" for outcome in (PASSED, FAILED, SKIPPED))
        self._say(f"{name}: {counts}, after {ended.seconds:.0f} s")
        return Boot(name, date, ended.release, read), ended.status == 0

    def _images(self, entry: Entry) -> Images:
        return Images(cache_folder(), self._stop, self._of(entry))

    def _of(self, entry: Entry) -> Say:
        return lambda text: self._say(f"{entry.name}: {text}")

    def _check_tests(self, tests: Sequence[str]) -> None:
        for test in tests:
            if test.startswith("-"):
                return  # options of pytest, and their values
            if not (self._checkout / test.partition("::")[0]).exists():
                raise UsageError(f"There is no test {test}.", f"Name it as seen from {self._checkout}.")

    def _keep_log(self, entry: Entry, results: Path) -> None:
        if self._wishes.keep_log and (results / _LOG).exists():
            log = cache_folder() / "logs" / f"{entry.name}.log"
            log.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(results / _LOG, log)
            self._say(f"{entry.name}: the console's log is {log}")


def not_booted(entry: Entry, error: BootError | MachineError) -> Boot:
    """How the matrix tells of a kernel that gave no results."""
    return Boot(entry.name, datetime.now(UTC).strftime("%Y-%m-%d"), problem=error.cause)
