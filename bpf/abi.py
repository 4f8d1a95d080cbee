"""What bpf/abi.h says, for Python: record layouts (little-endian) and numbers. tests/unit/test_abi.py compares them."""

import struct
from dataclasses import dataclass
from enum import IntEnum, IntFlag

CONFIG = struct.Struct("<IIIIQ")
COUNT_KEY = struct.Struct("<QII")
STACK_HEAD = struct.Struct("<QQIIHHI16s")
EVENT = struct.Struct("<IIQQ16s")
PROCESS = struct.Struct("<QQQQQQQIIIIIIIIiHHHHHH")
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
MAPPINGS_KNOWN = 1
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

    `space` names the address space (0: no user stack), `stop` is the id of a cause in bpf/causes.h.
    """

    hash: int
    space: int
    tgid: int
    tid: int
    user: tuple[int, ...]
    kernel: tuple[int, ...]
    stop: int
    comm: str


def text(raw: bytes) -> str:
    """A NUL-terminated kernel string such as a comm."""
    return raw.split(b"\0", 1)[0].decode("utf-8", "replace")


def parse_stack(record: bytes | memoryview) -> RawStack:
    """A record of the ring `stacks`. Raises struct.error when it is short."""
    hash_, space, tgid, tid, user, kernel, stop, comm = STACK_HEAD.unpack_from(record)
    frames = struct.unpack_from(f"<{user + kernel}Q", record, STACK_HEAD.size)
    return RawStack(hash_, space, tgid, tid, frames[:user], frames[user:], stop, text(comm))


def parse_event(record: bytes | memoryview) -> Event:
    """A record of the ring `events`. Raises struct.error and ValueError."""
    kind, tgid, space, address, comm = EVENT.unpack_from(record)
    return Event(EventKind(kind), tgid, space, address, text(comm))
