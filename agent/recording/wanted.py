"""What is to be recorded: target, kind, rate."""

from dataclasses import dataclass, field
from pathlib import Path

from bpf.abi import Target, Want
from bpf.waits import WaitSettings

WINDOW_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to record. Of `pids` and `cgroup` at most one is given; neither means the whole node."""

    hertz: int = 49
    pids: tuple[int, ...] = ()
    cgroup: Path | None = None
    user: bool = True
    kernel: bool = True
    per_thread: bool = False
    labels: bool = True
    """Whether samples of Go code have the labels that the program gave its goroutines."""
    per_goroutine: bool = False
    goroutines_hertz: int = 0
    """How often all goroutines of `pids` are looked at; 0: not at all."""
    on_cpu: bool = True
    waits: WaitSettings | None = None
    """What is kept of time off the CPU; None: nothing."""
    window_seconds: float = WINDOW_SECONDS
    program: str = ""
    """A program that is about to be executed, so that its rows are ready when it begins."""
    plain_tracepoints: bool = False
    """Not to try raw ones, which cost less, first."""
    proc_root: Path = field(default=Path("/proc"))

    @property
    def flags(self) -> Want:
        """What of a sample the kernel side keeps."""
        flags = Want.PER_THREAD if self.per_thread else Want(0)
        flags |= Want.LABELS if self.labels else Want(0)
        flags |= Want.PER_GOROUTINE if self.per_goroutine else Want(0)
        return flags | (Want.USER if self.user else Want(0)) | (Want.KERNEL if self.kernel else Want(0))

    @property
    def target(self) -> Target:
        """How the kernel side filters."""
        return Target.PIDS if self.pids else Target.CGROUP if self.cgroup else Target.ALL

    @property
    def period_ns(self) -> int:
        """CPU time that one sample stands for."""
        return 1_000_000_000 // self.hertz
