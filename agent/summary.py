"""What a recording says at its end: counts, what is missing or incomplete and why, and what to do about it."""

from collections import Counter
from dataclasses import dataclass

from agent.recording.stacks import KERNEL_CODE, USER_CODE
from exporters.describe import human_time, off_cpu_words
from exporters.text import printable
from profiles.model import GOROUTINE_WAIT, SAMPLES, WAITS, Kind, Loss, Profile
from profiles.offcpu import OffCpu, is_idle, off_cpu_totals

_REMEDIES = {
    "counts_full": "Lower the rate (-F): there were more distinct stacks than the map holds.",
    "stack_ring_full": "Lower the rate (-F): new stacks came faster than they could be read.",
    "waits_full": "Raise --min-block: there were more distinct waits than the map holds.",
    "waiting_full": "Name processes (-p): there were more threads than the table holds.",
}
_SHOWN_STATES = 5
_UNASKED = (KERNEL_CODE, USER_CODE)
"""Markers of what -U and -K leave out."""
_FRAMES_REMEDY = (
    "Frames without a name are from stripped binaries or generated code: install debug symbols, or let the runtime"
    " write /tmp/perf-PID.map."
)
_STACKS_REMEDY = (
    "Incomplete stacks say why in their outermost frame; `goroscope doctor PID` shows which files cannot be unwound."
)


@dataclass(frozen=True, slots=True)
class Quality:
    """How complete a profile is, in samples, waits or both, and in frames weighted by them; Go's idle time aside."""

    samples: int
    lost: tuple[Loss, ...]
    incomplete: int
    frames: int
    unnamed: int

    @property
    def lost_samples(self) -> int:
        """Samples missing from the counts."""
        return sum(loss.samples for loss in self.lost if loss.dropped)


def quality(profile: Profile) -> Quality:
    """Judge a profile: a stack is incomplete when its root, or all of it, is a marker."""
    samples = incomplete = frames = unnamed = 0
    known = (profile.column(SAMPLES.type), profile.column(WAITS.type))
    columns = [column for column in known if column is not None]
    for sample in profile.samples:
        if is_idle(profile.labels[sample.labels]):
            continue
        count = sum(sample.values[column] for column in columns)
        stack = profile.stacks[sample.stack]
        samples += count
        root = profile.locations[stack[-1]]
        if root.kind is Kind.MARKER and root not in _UNASKED:
            incomplete += count
        frames += count * len(stack)
        unnamed += count * sum(1 for index in stack if not profile.locations[index].frames)
    lost = tuple(sorted(profile.metadata.losses, key=lambda loss: -loss.samples))
    return Quality(samples, lost, incomplete, frames, unnamed)


def share(part: int, whole: int) -> str:
    """A percentage that does not round something to nothing."""
    percent = 100.0 * part / whole if whole else 0.0
    if part and percent < 0.05:
        return "< 0.1 %"
    return f"{percent:.1f} %"


def summarize(profile: Profile) -> list[str]:
    """The lines of the summary, most important first."""
    judged = quality(profile)
    everything = judged.samples + judged.lost_samples
    lines = _counted(profile, judged)
    lines += [f"  {loss.samples:,} ({share(loss.samples, everything)}): {loss.sentence}." for loss in judged.lost]
    lines += [f"{note[:1].upper()}{note[1:].rstrip('.')}." for note in profile.metadata.notes]
    if judged.frames:
        lines.append(
            f"{share(judged.incomplete, judged.samples)} of stacks incomplete, "
            f"{share(judged.unnamed, judged.frames)} of frames without a name."
        )
    remedy = _remedy(judged)
    if remedy:
        lines.append(remedy)
    return lines


def _counted(profile: Profile, judged: Quality) -> list[str]:
    """How much was seen, a line for each kind; what was lost of either is told in the first."""
    metadata = profile.metadata
    off = off_cpu_totals(profile)
    samples = profile.column(SAMPLES.type)
    if judged.lost_samples:
        everything = judged.samples + judged.lost_samples
        lost = f"lost {judged.lost_samples:,} ({share(judged.lost_samples, everything)})"
    else:
        lost = "none lost"
    when = f"in {metadata.duration_ns / 1e9:.1f} s"
    lines = []
    if samples is not None:
        cpus = f"{metadata.cpus} CPU{'s' if metadata.cpus != 1 else ''}"
        lines.append(f"{profile.total(samples):,} samples {when} on {cpus}; {lost}.")
    if off is not None:
        lines.append(f"{_waits(off)} {when}{'' if lines else f'; {lost}'}{_idle(off)}.")
    looked = profile.column(GOROUTINE_WAIT.type)
    return lines if looked is None else [*lines, f"{_goroutines(profile, looked)} {when}."]


def _goroutines(profile: Profile, column: int) -> str:
    """What goroutines waited for, the longest first."""
    by_state: Counter[str] = Counter()
    for sample in profile.samples:
        by_state[profile.labels[sample.labels].state] += sample.values[column]
    total = by_state.total()
    parts = [f"{printable(state)} {share(time, total)}" for state, time in by_state.most_common(_SHOWN_STATES) if time]
    return f"Goroutines waited {human_time(total)}{_in_brackets(parts)}"


def _in_brackets(parts: list[str]) -> str:
    return f" ({', '.join(parts)})" if parts else ""


def _waits(off: OffCpu) -> str:
    return f"{off.waits:,} wait{'s' if off.waits != 1 else ''}, {off_cpu_words(off)}"


def _idle(off: OffCpu) -> str:
    return f"; go idle {human_time(off.idle)} left out" if off.idle else ""


def _remedy(judged: Quality) -> str:
    """What to do about the largest of the shortcomings; empty where all of them are small."""
    if judged.lost and judged.lost[0].samples * 100 > judged.samples and judged.lost[0].name in _REMEDIES:
        return _REMEDIES[judged.lost[0].name]
    incomplete = judged.incomplete / judged.samples if judged.samples else 0.0
    unnamed = judged.unnamed / judged.frames if judged.frames else 0.0
    if max(incomplete, unnamed) < 0.01:
        return ""
    return _STACKS_REMEDY if incomplete >= unnamed else _FRAMES_REMEDY
