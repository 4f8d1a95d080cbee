"""Starting the loader process and taking over the descriptors of what it loaded."""

import json
import os
import shutil
import socket
import subprocess
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from bpf.maps import Map

LOADER = Path(__file__).with_name("loader.py")
DISTRIBUTION_PYTHONS = ("/usr/bin/python3",)
_MAX_ANSWER = 64 * 1024
_MAX_DESCRIPTORS = 64


class LoadError(Exception):
    """The programs could not be loaded. `log` is what the compiler or the verifier printed."""

    def __init__(self, sentence: str, log: str) -> None:
        """Keep the sentence and the log apart."""
        super().__init__(sentence)
        self.log = log


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large the maps are made. Counts are elements unless the name says otherwise."""

    targets: int = 8192
    processes: int = 4096
    mappings: int = 65536
    tables: int = 4096
    pages: int = 262144
    counts: int = 8192
    threads: int = 16384
    waits: int = 8192
    stack_ring_pages: int = 256
    event_ring_pages: int = 16

    def definitions(self, cpus: int) -> dict[str, int]:
        """The compile-time names that bpf/maps.h and the programs use."""
        sizes = {name.upper(): getattr(self, name) for name in self.__slots__}
        # Together the CPUs wake the reader before a quarter of the ring is full.
        return {**sizes, "WAKE_BYTES": self.stack_ring_pages * 4096 // 4 // max(cpus, 1)}


def sizes_for(hertz: int, cpus: int, window_seconds: float) -> Sizes:
    """Maps that cannot overflow at this rate where that is affordable: a window has no more stacks than samples."""
    samples = int(hertz * cpus * window_seconds)
    counts = 1 << max(12, min(16, (samples * 5 // 4).bit_length()))
    ring = 1 << max(7, min(10, (samples * 300 // 4096 // 4).bit_length()))
    return Sizes(counts=counts, stack_ring_pages=ring)


@dataclass(frozen=True, slots=True)
class Programs:
    """The loaded programs and maps, as descriptors of ours."""

    programs: dict[str, int]
    maps: dict[str, Map]
    plain: bool
    """Whether tracepoint programs are for plain ones."""
    blind: str
    """Why the programs may not look into the kernel; empty where they may."""
    verified: dict[str, int] = field(default_factory=dict)
    """By program, how many instructions the verifier went through: where that was asked for."""

    def memory(self) -> int:
        """Bytes of kernel memory all maps use."""
        return sum(one.memory() for one in self.maps.values())

    def close(self) -> None:
        """Give everything back to the kernel."""
        for descriptor in (*self.programs.values(), *(one.descriptor for one in self.maps.values())):
            os.close(descriptor)


class Loading:
    """A loader process at work: started at once, waited for by `finish()`."""

    def __init__(
        self,
        sizes: Sizes,
        cpus: int,
        python: str | None = None,
        *,
        off_cpu: bool = False,
        plain: bool = False,
        statistics: bool = False,
    ) -> None:
        """Start the loader; `off_cpu` loads those programs too, `plain` makes all for plain tracepoints.

        With `statistics` the programs come with how much of them was verified.

        Raises LoadError when there is no Python to run it.
        """
        python = python or next((path for path in DISTRIBUTION_PYTHONS if shutil.which(path)), None)
        if python is None:
            raise LoadError("the distribution's Python (/usr/bin/python3) is not installed.", "")
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                self._process = subprocess.Popen(
                    [python, "-E", str(LOADER), str(theirs.fileno())],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    pass_fds=[theirs.fileno()],
                )
            except OSError as error:
                self._channel.close()
                raise LoadError(f"{python} cannot be started: {error.strerror}.", "") from error
        assert self._process.stdin is not None
        with suppress(BrokenPipeError), self._process.stdin as request:  # if it has died, finish() says so
            wanted = {"sizes": sizes.definitions(cpus), "off_cpu": off_cpu, "plain": plain, "statistics": statistics}
            request.write(json.dumps(wanted).encode())
        self._process.stdin = None

    def finish(self, timeout: float = 400.0) -> Programs:
        """Wait for the loader to hand over and leave. Raises LoadError."""
        try:
            _, log = self._process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired as error:
            self.cancel()
            raise LoadError(f"the BPF programs were not ready after {timeout:.0f} s.", "") from error
        with self._channel:
            message, descriptors, _, _ = socket.recv_fds(self._channel, _MAX_ANSWER, _MAX_DESCRIPTORS)
        text = log.decode("utf-8", "replace")
        if not message:
            raise LoadError(f"the BPF loader ended with status {self._process.returncode}.", text)
        answer = json.loads(message)
        if "error" in answer:
            raise LoadError(answer["error"], text)
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        named = dict(zip(answer["names"], descriptors, strict=True))
        programs = {name: fd for name, fd in named.items() if not _is_map(fd)}
        maps = {name: Map(fd) for name, fd in named.items() if name not in programs}
        return Programs(programs, maps, answer["plain"], answer["blind"], answer.get("verified", {}))

    def cancel(self) -> None:
        """End the loader."""
        self._process.kill()
        self._process.communicate()
        self._channel.close()


def _is_map(descriptor: int) -> bool:
    return str(Path(f"/proc/self/fd/{descriptor}").readlink()) == "anon_inode:bpf-map"
