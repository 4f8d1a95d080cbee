"""What bpf/abi.h says, for Python: record layouts (little-endian) and numbers. tests/unit/test_abi.py compares them."""

import struct
from dataclasses import dataclass
from enum import IntEnum, IntFlag

CONFIG = struct.Struct("<IIIIQ")
COUNT_KEY = struct.Struct("<QII")
STACK_HEAD = struct.Struct("<QQIIHHI16sQQQ")
LABEL_HEAD = struct.Struct("<QQIIII")
EVENT = struct.Struct("<IIQQ16s")
PROCESS = struct.Struct("<QQQQQQQIIIIIIIIiHHHHHHHHI")
MAPPING = struct.Struct("<QQII")
TABLE = struct.Struct("<IIIIIIII")
PAGE = struct.Struct("<IHH")
RULE = struct.Struct("<ihBB")

OFF_CONFIG = struct.Struct("<QQQIIII")
WAIT_KEY = struct.Struct("<QQIIII")
WAIT_SUM = struct.Struct("<QQQQ")
WAIT = struct.Struct("<QQQQQIIIIII")
REPORTED = struct.Struct("<QQ")
OFF_TOTALS = struct.Struct("<QQQQQQQII")

MAX_FRAMES = 127
MAX_MAPPINGS = 4096
SLAB_ROWS = 16384
MAX_SLABS = 2048
MAX_RULES = 65536
MAPPING_UNIT = 16
"""Bytes that the length of a mapping is counted in."""
RULE_DEFAULT = 255
"""In place of a rule's register: the frame-pointer rule for want of another."""
GO_CODE = 0x80000000
EXACT = 1 << 63
"""Set in a user address of a stack that is no return address: the leaf's, and those of interrupted code."""
MAPPINGS_KNOWN, LABELS_ARE_MAP = 1, 2
THINNED_STACK = 255
"""In place of the hash of a wait's stack: it was not walked."""
STARTED_STACK = 254
"""Likewise: the thread had just been made, and had not run yet."""
THINNED_BITS, THINNED_CLASSES = 14, 10
FIRST_STACK_HASH = 256
"""Smaller stack hashes in a count key are ids of losses: samples without a stack."""


class Target(IntEnum):
    """What is sampled: enum target_mode."""

    ALL = 0
    PIDS = 1
    CGROUP = 2


class Want(IntFlag):
    """What of a sample is kept: enum config_flags."""

    USER = 1
    KERNEL = 2
    PER_THREAD = 4
    LABELS = 8
    PER_GOROUTINE = 16


class EventKind(IntEnum):
    """enum event_kind."""

    NEW_SPACE = 1
    STALE = 2
    EXIT = 3
    ROWS = 4


class RowsState(IntEnum):
    """enum rows_state."""

    WANTED = 0
    READY = 1
    NONE = 2
    REFUSED = 3


@dataclass(frozen=True, slots=True)
class Event:
    """Something user space is told of a process. `space` names the address space.

    `address`: of STALE the one that no mapping holds, of ROWS the index of the table without rows.
    """

    kind: EventKind
    tgid: int
    space: int
    address: int
    comm: str


@dataclass(frozen=True, slots=True)
class RawStack:
    """A stack as the kernel walked it: addresses leaf first. User addresses without EXACT are return addresses.

    `space` names the address space (0: no user stack), `stop` is the id of a cause in bpf/causes.h. `goroutine`, the
    address `start` of its first function and the hash `labels` are 0 where there is none or it was not asked for.
    """

    hash: int
    space: int
    tgid: int
    tid: int
    user: tuple[int, ...]
    kernel: tuple[int, ...]
    stop: int
    comm: str
    goroutine: int = 0
    start: int = 0
    labels: int = 0


IS_LABELS = 2**64 - 1
"""In a record of the ring `stacks` where a stack has its address space: it is a set of labels."""


def text(raw: bytes) -> str:
    """A NUL-terminated kernel string such as a comm."""
    return raw.split(b"\0", 1)[0].decode("utf-8", "replace")


def parse_stack(record: bytes | memoryview) -> RawStack:
    """A record of the ring `stacks`. Raises struct.error when it is short."""
    hash_, space, tgid, tid, user, kernel, stop, comm, *goroutine = STACK_HEAD.unpack_from(record)
    frames = struct.unpack_from(f"<{user + kernel}Q", record, STACK_HEAD.size)
    return RawStack(hash_, space, tgid, tid, frames[:user], frames[user:], stop, text(comm), *goroutine)


def labels_of(record: bytes | memoryview) -> int:
    """The hash of the labels of a stack's record; 0 where it has none, or is a set of labels itself."""
    _, space, *_, labels = STACK_HEAD.unpack_from(record) if len(record) >= STACK_HEAD.size else (0, 0, 0)
    return 0 if space == IS_LABELS else int(labels)


def parse_labels(record: bytes | memoryview) -> tuple[tuple[str, str], ...]:
    """A set of labels of the ring `stacks`, sorted by key. Raises struct.error when it is short."""
    _, _, count, _, _, _ = LABEL_HEAD.unpack_from(record)
    at, texts = LABEL_HEAD.size, list[str]()
    while len(texts) < 2 * count and at + 8 <= len(record):
        (length,) = struct.unpack_from("<Q", record, at)
        texts.append(bytes(record[at + 8 : at + 8 + length]).decode("utf-8", "replace"))
        at += 8 + (length + 7 & ~7)
    return tuple(sorted(dict(zip(texts[::2], texts[1::2], strict=False)).items()))


def parse_event(record: bytes | memoryview) -> Event:
    """A record of the ring `events`. Raises struct.error and ValueError."""
    kind, tgid, space, address, comm = EVENT.unpack_from(record)
    return Event(EventKind(kind), tgid, space, address, text(comm))
