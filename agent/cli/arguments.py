"""Kinds of arguments that commands take, as argparse types: each says in a few words what is wrong."""

import argparse
import re

MAX_HERTZ = 1000
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s)")
_NANOSECONDS = {"ns": 1, "us": 1_000, "µs": 1_000, "ms": 1_000_000, "s": 1_000_000_000}
_LONGEST = 365 * 86400 * 10**9


def seconds(text: str) -> float:
    """A positive number of seconds."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value <= 86400 * 365:
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds above 0")
    return value


def pids(text: str) -> tuple[int, ...]:
    """Process ids, separated by commas."""
    words = text.split(",")
    if not all(word.isascii() and word.isdigit() and 0 < int(word) < 2**22 for word in words):
        raise argparse.ArgumentTypeError(f"{text} is not a list of process ids such as 17,42")
    return tuple(int(word) for word in words)


def hertz(text: str) -> int:
    """A sampling rate."""
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= MAX_HERTZ):
        raise argparse.ArgumentTypeError(f"{text} is not a whole number of hertz from 1 to {MAX_HERTZ}")
    return int(text)


def nanoseconds(text: str) -> int:
    """A length of time with its unit, in ns; 0 needs none."""
    match = _DURATION.fullmatch(text)
    value = 0 if text == "0" else int(float(match[1]) * _NANOSECONDS[match[2]]) if match else -1
    if not 0 <= value <= _LONGEST:
        raise argparse.ArgumentTypeError(f"{text} is not a time such as 500us, 1ms or 2s")
    return value
