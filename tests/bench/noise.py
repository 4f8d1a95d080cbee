"""What the machine was, and what else it did meanwhile."""

import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Moment:
    """Seconds of CPU time since boot, all CPUs together, at a time (monotonic seconds), and the load average then."""

    time: float
    busy: float
    stolen: float
    load_average: float


def now() -> Moment:
    """This moment. /proc/stat: user nice system idle iowait irq softirq steal (Documentation/filesystems/proc.rst)."""
    fields = [
        int(word) / os.sysconf("SC_CLK_TCK") for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    ]
    idle = fields[3] + fields[4]
    return Moment(time.monotonic(), sum(fields[:7]) - idle, fields[7], os.getloadavg()[0])


def machine() -> str:
    """Processor, CPUs, memory, kernel and Python."""
    info = Path("/proc/cpuinfo").read_text()
    models = [line.split(":", 1)[1].strip() for line in info.splitlines() if line.startswith("model name")]
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    virtual = ", virtual machine" if " hypervisor" in info else ""
    model = models[0] if models else platform.machine()
    return (
        f"{model}, {os.cpu_count()} CPUs, {memory:.0f} GiB{virtual}; Linux {platform.release().split('-')[0]}, "
        f"Python {platform.python_version()}"
    )


def cpu_ns(pid: int) -> int:
    """CPU time of a process so far, all threads, ended ones too. Source: include/linux/posix-timers_types.h."""
    return time.clock_gettime_ns(~pid << 3 | 2)
