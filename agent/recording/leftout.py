"""Sentences on what a recording did not keep or could not see, and on the longest of its waits."""

from agent.recording.pipeline import LongestWait
from bpf.waits import WaitSettings, WaitTotals
from profiles.model import Kind, Profile

_PLUMBING = ("runtime.", "syscall.", "internal/")
"""Go functions that everything that waits has on its leaf's side."""


def notes_of(settings: WaitSettings, left_out: WaitTotals, longest: LongestWait, profile: Profile) -> tuple[str, ...]:
    """One for each thing that there is to say."""
    notes = []
    if longest.ns:
        notes.append(f"the longest wait: {_duration(longest.ns)}{_place(longest, profile)}, in process {longest.tgid}")
    if left_out.short_waits:
        notes.append(_note(f"waits shorter than {_duration(settings.min_ns)}", left_out.short_waits, left_out.short_ns))
    if left_out.long_waits:
        notes.append(_note(f"waits longer than {_duration(settings.max_ns)}", left_out.long_waits, left_out.long_ns))
    if left_out.thinned_waits:
        notes.append(
            f"{left_out.thinned_waits:,} waits ({_duration(left_out.thinned_ns)} in all) came too fast to walk each: "
            "others like them, chosen at random, stand for them"
        )
    return tuple(notes)


def notes_on_kernel(blind: str) -> tuple[str, ...]:
    """What it means that the programs may not look into the kernel, and why; nothing where they may."""
    if not blind:
        return ()
    consequence = "stacks of threads that are in the kernel go by frame pointers, which Go has and most C code has not"
    return (f"this kernel does not let BPF programs see all ({blind}): {consequence}",)


def _place(longest: LongestWait, profile: Profile) -> str:
    """Where it was: the function of the program nearest to the wait."""
    locations = [profile.locations[index] for index in profile.stacks[longest.stack]]
    names = [one.frames[0].function for one in locations if one.frames and one.kind in {Kind.GO, Kind.NATIVE}]
    name = next((name for name in names if not name.startswith(_PLUMBING)), "")
    return f" in {name}" if name else ""


def _note(kind: str, waits: int, total_ns: int) -> str:
    return f"{kind}: {waits:,}, {_duration(total_ns)} in all, not kept"


def _duration(ns: int) -> str:
    """A time as people write it."""
    for unit, size in (("s", 10**9), ("ms", 10**6), ("µs", 10**3)):
        if ns >= size:
            return f"{ns / size:.4g} {unit}"
    return f"{ns} ns"
