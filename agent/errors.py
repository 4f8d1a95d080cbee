"""Errors that end a command: one sentence of cause, one of remedy, and an exit code by kind.

GoroscopeError (1)
├── UsageError (2)         the command line or a configuration value is wrong
├── MachineError (3)       this machine lacks something: root, a capability, BPF, BTF, bcc
├── TargetError (4)        what was to be profiled does not exist or has gone
├── OutputError (5)        a result could not be written
└── NoSamplesError (6)     the target used no CPU time while it was watched
"""


class GoroscopeError(Exception):
    """A failure the user can understand. `cause` and `remedy` are sentences without traceback or secrets."""

    exit_code = 1

    def __init__(self, cause: str, remedy: str = "") -> None:
        """Keep both sentences; str() joins them."""
        super().__init__(f"{cause} {remedy}".strip())
        self.cause = cause
        self.remedy = remedy


class UsageError(GoroscopeError):
    """The command line or a configuration value is wrong."""

    exit_code = 2


class MachineError(GoroscopeError):
    """This machine lacks something that profiling needs."""

    exit_code = 3


class TargetError(GoroscopeError):
    """What was to be profiled does not exist or has gone."""

    exit_code = 4


class OutputError(GoroscopeError):
    """A result could not be written."""

    exit_code = 5


class NoSamplesError(GoroscopeError):
    """The target used no CPU time while it was watched."""

    exit_code = 6
