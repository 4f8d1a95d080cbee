"""What became of one request: done, done in part, to be tried again, or given up. One classifier for all protocols.

The rules are OTLP's, which the other receivers are compatible with:

    HTTP   2xx done; 429, 502, 503, 504 again, after Retry-After where it is given; all else given up.
    gRPC   OK done; CANCELLED, DEADLINE_EXCEEDED, ABORTED, OUT_OF_RANGE, UNAVAILABLE, DATA_LOSS again;
           RESOURCE_EXHAUSTED again only with RetryInfo; all else given up, UNKNOWN and INTERNAL too.
    none   refused connection, time-out, lost answer: again. The receiver may have it already; that is accepted.

Causes are short, for people and for counters by cause: they hold codes, never bodies, which a server chooses.
Nothing here raises: what a server sends is hostile until read.
"""

import math
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime

LONGEST_WAIT = 3600.0  # seconds; no server makes us wait longer at once
LONGEST_MESSAGE = 512  # characters of a server's own words that are kept

_HTTP_AGAIN = frozenset({429, 502, 503, 504})
_GRPC_NAMES = (
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)
_GRPC_AGAIN = frozenset({"CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS"})


@dataclass(frozen=True, slots=True)
class Ok:
    """Taken, all of it."""


@dataclass(frozen=True, slots=True)
class Partial:
    """Taken but for `rejected` profiles; `message` is the server's. 0 rejected is a warning. Never sent again."""

    rejected: int
    message: str


@dataclass(frozen=True, slots=True)
class RetryAfter:
    """Not taken now. `seconds` is what the server asked for, within 0..3600; None where it did not say."""

    seconds: float | None
    cause: str = "no answer"


@dataclass(frozen=True, slots=True)
class Drop:
    """Never taken, however often it is sent."""

    cause: str


Outcome = Ok | Partial | RetryAfter | Drop


def bounded_wait(seconds: float | None) -> float | None:
    """A wait that somebody asked for, within 0..3600 seconds; None for none and for what is no number."""
    if seconds is None or math.isnan(seconds):
        return None
    return min(max(float(seconds), 0.0), LONGEST_WAIT)


def parse_retry_after(header: str | None, now: float) -> float | None:
    """The seconds that a Retry-After header asks for: a number of seconds or an HTTP date, held against `now`.

    `now` is UNIX time in seconds. A date that has passed is 0; what cannot be read is None.
    """
    text = (header or "").strip()
    if not text or len(text) > 64:
        return None
    if text.isascii() and text.isdigit():
        return bounded_wait(float(text))
    try:
        date = parsedate_to_datetime(text)
        if date.tzinfo is None:  # "-0000": UTC of unknown origin
            date = date.replace(tzinfo=UTC)
        return bounded_wait(date.timestamp() - now)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def of_http(status: int, retry_after: str | None, now: float) -> Outcome:
    """The outcome of an HTTP answer; `now` is UNIX time in seconds, for a Retry-After that is a date."""
    if 200 <= status <= 299:
        return Ok()
    cause = f"HTTP {status}"
    if status in _HTTP_AGAIN:
        return RetryAfter(parse_retry_after(retry_after, now), cause)
    return Drop(cause)


def of_grpc(code: int, retry_info: float | None = None) -> Outcome:
    """The outcome of a gRPC status code (0..16); `retry_info` is RetryInfo's delay in seconds, None without one."""
    name = _GRPC_NAMES[code] if 0 <= code < len(_GRPC_NAMES) else f"code {code}"
    if name == "OK":
        return Ok()
    wait = bounded_wait(retry_info)
    if name in _GRPC_AGAIN or (name == "RESOURCE_EXHAUSTED" and wait is not None):
        return RetryAfter(wait, f"gRPC {name}")
    return Drop(f"gRPC {name}")


def of_partial(rejected: int, message: str) -> Outcome:
    """The outcome of a success that came with a partial_success; an empty one is full success."""
    if rejected <= 0 and not message:
        return Ok()
    return Partial(max(rejected, 0), message[:LONGEST_MESSAGE])


def no_answer(cause: str) -> Outcome:
    """The outcome of a request that got no answer; `cause` in few words, as "connection refused"."""
    return RetryAfter(None, cause[:LONGEST_MESSAGE])
