"""What a recording says at its end: counts, what is missing or incomplete and why, and what to do about it."""

from dataclasses import dataclass

from agent.pipeline import KERNEL_CODE, USER_CODE
from profiles.model import Kind, Loss, Profile

_REMEDIES = {
    "counts_full": "Lower the rate (-F): there were more distinct stacks than the map holds.",
    "stack_ring_full": "Lower the rate (-F): new stacks came faster than they could be read.",
}
_UNASKED = (KERNEL_CODE, USER_CODE)
"""Markers of what -U and -K leave out."""
_FRAMES_REMEDY = (
    "Frames without a name are from stripped binaries or generated code: install debug symbols, or let the runtime"
    " write /tmp/perf-PID.map."
)
_STACKS_REMEDY = "Incomplete stacks are from code built without frame pointers: build it with -fno-omit-frame-pointer."


@dataclass(frozen=True, slots=True)
class Quality:
    """How complete a profile is, in samples of its first value column and in frames weighted by samples."""

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
    for sample in profile.samples:
        count = sample.values[0]
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
    seconds = profile.metadata.duration_ns / 1e9
    cpus = profile.metadata.cpus
    first = f"{judged.samples:,} samples in {seconds:.1f} s on {cpus} CPU{'s' if cpus != 1 else ''}"
    everything = judged.samples + judged.lost_samples
    if judged.lost_samples:
        first += f"; lost {judged.lost_samples:,} ({share(judged.lost_samples, everything)})"
    else:
        first += "; none lost"
    lines = [first + "."]
    lines += [f"  {loss.samples:,} ({share(loss.samples, everything)}): {loss.sentence}." for loss in judged.lost]
    lines.append(
        f"{share(judged.incomplete, judged.samples)} of stacks incomplete, "
        f"{share(judged.unnamed, judged.frames)} of frames without a name."
    )
    remedy = _remedy(judged)
    if remedy:
        lines.append(remedy)
    return lines


def _remedy(judged: Quality) -> str:
    """What to do about the largest of the shortcomings; empty where all of them are small."""
    if judged.lost and judged.lost[0].samples * 100 > judged.samples and judged.lost[0].name in _REMEDIES:
        return _REMEDIES[judged.lost[0].name]
    incomplete = judged.incomplete / judged.samples if judged.samples else 0.0
    unnamed = judged.unnamed / judged.frames if judged.frames else 0.0
    if max(incomplete, unnamed) < 0.01:
        return ""
    return _STACKS_REMEDY if incomplete >= unnamed else _FRAMES_REMEDY
