"""The memory queue in front of a destination: bounded by count and bytes, and never waited for."""

import threading
from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Item:
    """One payload; `when` is UNIX time in nanoseconds."""

    payload: bytes
    when: int


class MemoryQueue:
    """Oldest first. Any thread may put; one at a time takes out. The lock is held for a few instructions."""

    def __init__(self, most_items: int, most_bytes: int) -> None:
        if most_items < 1 or most_bytes < 1:
            raise ValueError("A queue must have room for something.")
        self._most_items = most_items
        self._most_bytes = most_bytes
        self._items: deque[Item] = deque()
        self._bytes = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._items)

    @property
    def size(self) -> int:
        """Bytes of the payloads."""
        return self._bytes

    @property
    def half_full(self) -> bool:
        """Whether it is time to move what is here to the disk."""
        return 2 * len(self._items) >= self._most_items or 2 * self._bytes >= self._most_bytes

    def put(self, item: Item) -> bool:
        """Add one at the end; False, and nothing added, where that exceeds a bound."""
        with self._lock:
            if len(self._items) >= self._most_items or self._bytes + len(item.payload) > self._most_bytes:
                return False
            self._items.append(item)
            self._bytes += len(item.payload)
            return True

    def first(self) -> Item | None:
        """The oldest, left where it is."""
        with self._lock:
            return self._items[0] if self._items else None

    def pop(self) -> Item | None:
        """The oldest, taken out."""
        with self._lock:
            if not self._items:
                return None
            item = self._items.popleft()
            self._bytes -= len(item.payload)
            return item
