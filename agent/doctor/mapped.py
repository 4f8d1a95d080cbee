"""What is found about a process: how each file that it has mapped will be unwound and symbolized."""

from dataclasses import dataclass
from enum import StrEnum

from symbolizer.coverage import RowSource
from symbolizer.native import SymbolSource

ANONYMOUS = "[anonymous]"
KERNELS = frozenset({"[heap]", "[stack]", "[uprobes]"})
"""Memory that may be executed, but where no program keeps functions."""
ROW_BYTES = 4


class NameSource(StrEnum):
    """What gives names, besides the symbol tables of SymbolSource."""

    GO = "go"
    PERF_MAP = "perf map"


class Origin(StrEnum):
    """What has become of a mapped file's name."""

    PRESENT = ""
    DELETED = "deleted"
    REPLACED = "replaced by another file"


@dataclass(frozen=True, slots=True)
class Unwinding:
    """How callers are found in one file: by the rows made from `sources`, or without any by frame pointers alone.

    `cause` says why not by more; sizes are in bytes.
    """

    sources: tuple[RowSource, ...] = ()
    rows: int = 0
    unsupported: int = 0
    """Rows from which no rule of the walker leads to the caller."""
    code: int = 0
    uncovered: int = 0
    cause: str = ""
    remedy: str = ""

    @property
    def method(self) -> str:
        """In a word."""
        return "+".join(self.sources) or "frame pointers"

    @property
    def bytes(self) -> int:
        """What the rows take in the walker's memory."""
        return self.rows * ROW_BYTES

    @property
    def has_gaps(self) -> bool:
        """Whether more than one percent of the code has no rows, and more than a few functions."""
        return bool(self.sources) and self.uncovered * 100 > self.code and self.uncovered >= 1024


@dataclass(frozen=True, slots=True)
class Names:
    """A table that gives functions their names. `place` is the file, where that is another; of Go its version."""

    source: NameSource | SymbolSource
    functions: int
    place: str = ""


@dataclass(frozen=True, slots=True)
class Symbols:
    """Where the names of one file's functions come from. `few`: most of its functions have none."""

    tables: tuple[Names, ...] = ()
    few: bool = False
    cause: str = ""
    remedy: str = ""

    @property
    def method(self) -> str:
        """In a word."""
        return "+".join(table.source for table in self.tables) or "none"


@dataclass(frozen=True, slots=True)
class Mapped:
    """One file, or memory without one, with the address ranges where it is mapped for execution."""

    ranges: tuple[tuple[int, int], ...]
    file: str
    origin: Origin
    build_id: str
    unwinding: Unwinding
    symbols: Symbols

    @property
    def size(self) -> int:
        """Bytes that are mapped."""
        return sum(end - start for start, end in self.ranges)

    @property
    def doubtful(self) -> bool:
        """Whether stacks may end early here: without rows all hangs on frame pointers, if there are any."""
        return not self.unwinding.sources and self.file not in KERNELS


@dataclass(frozen=True, slots=True)
class ProcessReport:
    """A process. `go_version` is empty where it has no Go code."""

    pid: int
    name: str
    container: str
    go_version: str
    mappings: tuple[Mapped, ...]

    @property
    def unwindable(self) -> bool:
        """Whether all of its code can be unwound by rows."""
        return not any(mapped.doubtful for mapped in self.mappings)
