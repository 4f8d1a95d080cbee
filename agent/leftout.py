"""Sentences on the waits that a recording did not keep."""

from bpf.waits import WaitSettings, WaitTotals


def notes_of(settings: WaitSettings, left_out: WaitTotals) -> tuple[str, ...]:
    """One for each kind that there was."""
    notes = []
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


def _note(kind: str, waits: int, total_ns: int) -> str:
    return f"{kind}: {waits:,}, {_duration(total_ns)} in all, not kept"


def _duration(ns: int) -> str:
    """A time as people write it."""
    for unit, size in (("s", 10**9), ("ms", 10**6), ("µs", 10**3)):
        if ns >= size:
            return f"{ns / size:.4g} {unit}"
    return f"{ns} ns"
