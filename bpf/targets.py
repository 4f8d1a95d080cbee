"""Tells the programs which processes are targets, before anything is attached."""

from collections.abc import Iterable

from bpf.maps import Map

_TARGET, _WAITING = 1, 2
"""enum maybe."""


class Targets:
    """The maps `targets` and `maybe`. Once attached, the kernel side itself adds children and threads to them."""

    def __init__(self, maps: dict[str, Map]) -> None:
        """Nothing is a target yet."""
        self._targets, self._maybe = maps["targets"], maps["maybe"]
        self._bytes = bytearray(1 << 16)

    def add(self, pid: int, threads: Iterable[int]) -> None:
        """Make a process a target; its threads may be told to wait already. Raises OSError."""
        self._targets.update(pid, b"\1")
        self._bytes[pid & 0xFFFF] |= _TARGET
        for tid in threads:
            self._bytes[tid & 0xFFFF] |= _WAITING

    def expects(self, tid: int) -> bool:
        """Whether the kernel side would find what it is told of a thread."""
        return bool(self._bytes[tid & 0xFFFF] & _WAITING)

    def add_later(self, pid: int) -> None:
        """Make a process a target while the programs run; `expect_any()` came first. Raises OSError."""
        self._targets.update(pid, b"\1")

    def expect_any(self) -> None:
        """Any process may become a target later: the short cut past the others is given up."""
        self._bytes = bytearray(byte | _TARGET for byte in self._bytes)

    def publish(self) -> None:
        """Tell of all that was added; only once, since the kernel side adds to it. Raises OSError."""
        self._maybe.update(0, bytes(self._bytes))
