"""What a check found."""

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """OK: nothing to do. WARN: profiling works, but something will be missing. FAIL: `record` could not run."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Result:
    """One finding. `cause` says what is so, `remedy` what to do about it (empty where all is well)."""

    name: str
    status: Status
    cause: str
    remedy: str = ""


def ok(name: str, cause: str) -> Result:
    """All is well."""
    return Result(name, Status.OK, cause)


def warn(name: str, cause: str, remedy: str) -> Result:
    """It works, with something missing."""
    return Result(name, Status.WARN, cause, remedy)


def fail(name: str, cause: str, remedy: str) -> Result:
    """`record` could not run."""
    return Result(name, Status.FAIL, cause, remedy)
