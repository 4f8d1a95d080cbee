"""Errors that end a boot: one sentence of cause, one of remedy, and the exit code of `vagrant/run`.

KernelsError
├── UsageError (2)      the command line or kernels.toml is wrong
├── MachineError (3)    this machine lacks something: the kernel's package, qemu, disk space, the environment
└── BootError (4)       the kernel did not come up, or did not end in time
"""


class KernelsError(Exception):
    """A failure the user can understand. `cause` and `remedy` are sentences."""

    exit_code = 1

    def __init__(self, cause: str, remedy: str) -> None:
        """Keep both sentences; str() joins them."""
        super().__init__(f"{cause} {remedy}")
        self.cause = cause
        self.remedy = remedy


class UsageError(KernelsError):
    """The command line or kernels.toml is wrong."""

    exit_code = 2


class MachineError(KernelsError):
    """This machine lacks something that booting needs."""

    exit_code = 3


class BootError(KernelsError):
    """The kernel did not come up, or did not end in time."""

    exit_code = 4
