"""Time off the CPU, added up over a profile: what its summaries say of it."""

from dataclasses import dataclass

from profiles.model import BLOCKED, OFF_CPU, RUNNABLE, WAITS, Labels, Profile, State


@dataclass(frozen=True, slots=True)
class OffCpu:
    """Waits and nanoseconds off the CPU. `idle` is Go's idle time, which is in none of the others."""

    waits: int
    blocked: int
    runnable: int
    total: int
    idle: int


def is_idle(labels: Labels) -> bool:
    """Whether samples under these labels are of threads with nothing to do, which default views leave out."""
    return labels.state == State.GO_IDLE


def off_cpu_totals(profile: Profile) -> OffCpu | None:
    """The sums of a profile's columns of time off the CPU; None where it has none."""
    total = profile.column(OFF_CPU.type)
    if total is None:
        return None
    idle = [is_idle(labels) for labels in profile.labels]

    def add_up(column: int | None, *, of_idle: bool = False) -> int:
        if column is None:
            return 0
        return sum(sample.values[column] for sample in profile.samples if idle[sample.labels] == of_idle)

    waits, blocked, runnable = (add_up(profile.column(known.type)) for known in (WAITS, BLOCKED, RUNNABLE))
    return OffCpu(waits, blocked, runnable, add_up(total), add_up(total, of_idle=True))
