"""Words for goroutines that all their texts share: times, places, labels as Go prints them, and the heading."""

import re
from datetime import UTC, datetime

from exporters.text import printable
from profiles.goroutines import Channel, GoFrame, Goroutines
from profiles.grouping import By, Groups

_SECOND = 10**9
_PLAIN = re.compile(r"[A-Za-z0-9./_]*")
_ESCAPES = {"\n": r"\n", "\r": r"\r", "\t": r"\t", "\\": r"\\", '"': r"\""}


def lasting(nanoseconds: int, *, up: bool = False) -> str:
    """Such as "3m12s", "2h05m" or "4d03h", rounded down, or `up`, so that a bound stays one."""
    seconds = -(-nanoseconds // _SECOND) if up else nanoseconds // _SECOND
    if seconds < 60:
        return f"{seconds}s"
    coarse = seconds < 3600
    small = 1 if coarse else 60 if seconds < 86400 else 3600
    if up:
        seconds = -(-seconds // small) * small
    if seconds < 3600:
        return f"{seconds // 60}m{seconds % 60:02}s"
    if seconds < 86400:
        return f"{seconds // 3600}h{seconds % 3600 // 60:02}m"
    return f"{seconds // 86400}d{seconds % 86400 // 3600:02}h"


def waited(waiting_ns: int, at_most_ns: int) -> str:
    """What is known of a wait: "seen ≥ 3m12s, ≤ 5m00s by GC"; empty where nothing is."""
    seen = f"seen ≥ {lasting(waiting_ns)}" if waiting_ns >= _SECOND else ""
    bound = f"≤ {lasting(at_most_ns, up=True)} by GC" if at_most_ns else ""
    return ", ".join(filter(None, (seen, bound)))


def quoted(text: str) -> str:
    """A label's key or value as Go's traceback prints it: in quotes where it has other than letters, digits and ./_."""
    if _PLAIN.fullmatch(text):
        return text
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(letter: str) -> str:
    code = ord(letter)
    if letter in _ESCAPES:
        return _ESCAPES[letter]
    if 0xDC80 <= code <= 0xDCFF:  # a byte that was no UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if " " <= letter <= "~":
        return letter
    if code < 127:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def labels_text(labels: tuple[tuple[str, str], ...]) -> str:
    """Such as `{request: checkout, "user name": Ann}`; empty without labels."""
    pairs = ", ".join(f"{quoted(key)}: {quoted(value)}" for key, value in labels)
    return f"{{{pairs}}}" if pairs else ""


def place(file: str, line: int) -> str:
    """The last two elements of a path, and the line; empty where unknown."""
    return printable(f"{'/'.join(file.split('/')[-2:])}:{line}") if file else ""


def frame_place(frame: GoFrame) -> str:
    """Where a call is, shortened."""
    return place(frame.file, frame.line)


def channel_text(address: int, channel: Channel | None) -> str:
    """Such as "chan 0xc000120000: buffered 0 of 10, 37 senders wait"; the address alone where it is no channel."""
    if channel is None:
        return f"{address:#x}"
    facts = [f"buffered {channel.buffered:,} of {channel.capacity:,}" if channel.capacity else "unbuffered"]
    facts += ["closed"] if channel.closed else []
    for number, word in ((channel.senders, "sender"), (channel.receivers, "receiver")):
        if number:
            facts.append(f"{number:,} {word}{'s wait' if number > 1 else ' waits'}")
    return f"chan {address:#x}: {', '.join(facts)}"


def counted(number: int, word: str) -> str:
    """Such as "1 group" or "1,207 groups"."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def process_text(goroutines: Goroutines) -> str:
    """Such as "shop (PID 4217, go1.27.3)"."""
    return printable(f"{goroutines.process or '?'} (PID {goroutines.pid}, {goroutines.version})")


def left_out(goroutines: Goroutines, groups: Groups) -> str:
    """What the numbers do not say by themselves, to follow them; empty where there is nothing."""
    parts = []
    if groups.in_none and groups.grouping.by is By.ADDRESS:
        parts.append(f"of {groups.in_none:,} others it is not known, or they wait for nothing")
    if groups.system:
        parts.append(f"{groups.system:,} of the runtime left out (--all)")
    if goroutines.unsettled:
        parts.append(f"{goroutines.unsettled:,} changed while they were read")
    return "".join(f"; {part}" for part in parts)


def clock(taken_ns: int) -> str:
    """The local time of day."""
    return datetime.fromtimestamp(taken_ns / _SECOND, UTC).astimezone().strftime("%H:%M:%S")
