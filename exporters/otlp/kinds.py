"""Which profiles of OTLP the columns of a profile become: OTLP has one kind of value a profile, we have several.

- `samples` and `cpu` become samples/count, with the period of CPU time that each stands for
- `off_cpu` becomes off_cpu/nanoseconds, without a period: it is measured. What it is the sum of (`blocked`,
  `runnable`), and `waits`, is left out unless asked for
- all others become themselves. Readers name a profile after its period's type and refuse it without one: they are
  their own period's type, and a period is 1
"""

from collections.abc import Sequence
from dataclasses import dataclass

from exporters.otlp.dictionary import MAX_INT64
from profiles.model import BLOCKED, CPU, OFF_CPU, OFF_CPU_TYPES, RUNNABLE, SAMPLES, WAITS, Profile, ValueType

_PARTS = (WAITS, BLOCKED, RUNNABLE)


@dataclass(frozen=True, slots=True)
class SampleKind:
    """One profile to make: of `column`, and with no period where `period_type` is None.

    `origin` are the columns that it stands for, those that a pprof file of it would have. `counts` is the one that
    says how often samples were seen; None where nothing does.
    """

    column: int
    type: ValueType
    period_type: ValueType | None
    period: int
    origin: tuple[int, ...]
    counts: int | None

    def times(self, values: Sequence[int]) -> int:
        """How often a sample with these values was seen, as far as is known: once at least."""
        return 1 if self.counts is None else max(1, values[self.counts])


def sample_kinds(profile: Profile, *, parts: bool) -> tuple[SampleKind, ...]:
    """The kinds that a profile's columns are told as; with `parts` all of time off the CPU, not only its sum."""
    kinds = []
    types = profile.value_types
    for column, value_type in enumerate(types):
        if value_type == SAMPLES:
            origin = _columns(profile, (SAMPLES, CPU))
            kinds.append(SampleKind(column, SAMPLES, CPU, _period(profile), origin, column))
        elif value_type == OFF_CPU:
            origin = _columns(profile, OFF_CPU_TYPES)
            kinds.append(SampleKind(column, OFF_CPU, None, 0, origin, profile.column(WAITS.type)))
        elif value_type == CPU and SAMPLES in types:
            continue
        elif value_type not in _PARTS or OFF_CPU not in types or parts:
            counts = column if value_type.unit == SAMPLES.unit else None
            kinds.append(SampleKind(column, value_type, value_type, 1, (column,), counts))
    return tuple(kinds)


def _columns(profile: Profile, wanted: tuple[ValueType, ...]) -> tuple[int, ...]:
    return tuple(column for column, known in enumerate(profile.value_types) if known in wanted)


def _period(profile: Profile) -> int:
    """CPU time a sample stands for: as recorded, else what it was on average. Readers refuse a period of 0."""
    metadata = profile.metadata
    if metadata.period > 0 and metadata.period_type == CPU:
        return min(metadata.period, MAX_INT64)
    samples = profile.total(profile.value_types.index(SAMPLES))
    if CPU not in profile.value_types or samples <= 0:
        return 1
    return min(max(1, round(profile.total(profile.value_types.index(CPU)) / samples)), MAX_INT64)
