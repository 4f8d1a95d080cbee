"""What a profile says about itself, in words; every format that has room for words shows the same ones."""

from datetime import UTC, datetime

from exporters.text import printable
from profiles.model import Loss, Metadata
from profiles.offcpu import OffCpu

_TIMES = ((10**9, "s"), (10**6, "ms"), (10**3, "µs"))


def facts(metadata: Metadata) -> tuple[tuple[str, str], ...]:
    """Pairs of a name and a text, such as ("rate", "49 Hz on 8 CPUs"); what is not known is left out."""
    pairs = (
        ("version", f"goroscope {metadata.version}".rstrip()),
        ("target", metadata.target),
        ("start", _start(metadata.start_ns)),
        ("duration", f"{metadata.duration_ns / 1e9:.1f} s" if metadata.duration_ns else ""),
        ("rate", f"{metadata.rate_hz} Hz" if metadata.rate_hz else ""),
        ("CPUs", str(metadata.cpus) if metadata.cpus else ""),
        ("kernel", metadata.kernel),
    )
    return tuple((name, printable(text)) for name, text in pairs if text)


def human_time(nanoseconds: int) -> str:
    """Such as "83.2 s", "3.1 ms" or "250 ns"."""
    for size, unit in _TIMES:
        if nanoseconds >= size:
            return f"{nanoseconds / size:,.1f} {unit}"
    return f"{nanoseconds} ns" if nanoseconds else "0 s"


def off_cpu_words(totals: OffCpu) -> str:
    """Such as "83.2 s off CPU (blocked 80.1 s, runnable 3.1 s)"."""
    parts = f"blocked {human_time(totals.blocked)}, runnable {human_time(totals.runnable)}"
    return f"{human_time(totals.total)} off CPU ({parts})"


def _start(start_ns: int) -> str:
    """The start in UTC, to the second; empty where unknown or beyond what a calendar holds."""
    try:
        return datetime.fromtimestamp(start_ns // 10**9, UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if start_ns else ""
    except (OverflowError, ValueError, OSError):
        return ""


def loss_sentences(metadata: Metadata) -> tuple[str, ...]:
    """One sentence for each cause that lost samples, or that kept samples in part."""
    return tuple(loss_sentence(loss) for loss in metadata.losses if loss.samples)


def loss_sentence(loss: Loss) -> str:
    """Such as "37 samples lost (counts_full): the count map was full: the sample is missing."."""
    samples = f"{loss.samples:,} sample{'s' if loss.samples != 1 else ''} lost" if loss.dropped else f"{loss.samples:,}"
    return f"{samples} ({printable(loss.name)}): {printable(loss.sentence).rstrip('.')}."


def comments(metadata: Metadata) -> tuple[str, ...]:
    """The facts, the losses, what was left out and the recorder's own comments, one a line."""
    lines = tuple(text if name == "version" else f"{name}: {text}" for name, text in facts(metadata))
    return lines + loss_sentences(metadata) + tuple(map(printable, metadata.notes + metadata.comments))
