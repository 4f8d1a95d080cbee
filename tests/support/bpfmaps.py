"""BPF maps in memory, for what fills them."""

import errno

from bpf import abi


class MemoryMap:
    """A BPF map in memory: an array or a hash of bytes."""

    def __init__(self, value_size: int, max_entries: int) -> None:
        self.value_size = value_size
        self.max_entries = max_entries
        self.elements: dict[int, bytes] = {}

    def update(self, key: int, value: bytes) -> None:
        if key not in self.elements and len(self.elements) >= self.max_entries:
            raise OSError(errno.E2BIG, "full")
        self.elements[key] = value

    def lookup(self, key: int) -> bytes | None:
        return self.elements.get(key)

    def delete(self, key: int) -> bool:
        return self.elements.pop(key, None) is not None

    def update_run(self, first: int, values: bytes) -> None:
        for index in range(len(values) // self.value_size):
            assert 0 <= first + index < self.max_entries
            self.elements[first + index] = values[index * self.value_size : (index + 1) * self.value_size]


def walker_maps() -> dict[str, MemoryMap]:
    """The maps that the walker looks things up in, small."""
    return {
        "tables": MemoryMap(abi.TABLE.size, 8),
        "pages": MemoryMap(abi.PAGE.size, 64),
        "slabs": MemoryMap(4, abi.MAX_SLABS),
        "rules": MemoryMap(abi.RULE.size * abi.MAX_RULES, 1),
        "processes": MemoryMap(abi.PROCESS.size, 4),
        "mappings": MemoryMap(abi.MAPPING.size, 16),
        "rows": MemoryMap(4 * abi.SLAB_ROWS, 1 << 20),
    }
