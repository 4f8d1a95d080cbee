"""Makes the unwind rows of files, in a thread of its own: off the sampling path, the most wanted file first.

A file's rows are made once for all processes. Those of large files are made by a process that ends with it, and
what took long is kept in a directory for the next time.
"""

import os
import queue
import threading
import time
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from symbolizer.binary import Binary, FileKey
from symbolizer.unwind.gocode import Piece
from symbolizer.unwind.rows import UnwindTable
from symbolizer.unwind.store import RowStore, StoreError, encode, identity
from symbolizer.unwind.table import unwind_table


class Making(Enum):
    """Where the rows of a file are: not asked for, being made, or made (and placed, unless there was no room)."""

    UNASKED = 0
    ASKED = 1
    MADE = 2


@dataclass(slots=True, eq=False)
class FileRows:
    """One file. `table` is its table in the walker's maps, 0 until it has one; `wanted` how much its rows matter."""

    table: int = 0
    making: Making = Making.UNASKED
    wanted: int = 0
    refusals: int = 0
    """How often there was no room for its rows."""
    pieces: tuple[Piece, ...] | None = None
    """Its Go code, once somebody asked."""
    binary: Binary | None = field(default=None, repr=False)
    """While its rows are being made."""


@dataclass(frozen=True, slots=True)
class Made:
    """What became of a file: its rows, or None if it has no tables. `seconds` of wall time."""

    rows: FileRows
    table: UnwindTable | None
    seconds: float
    kept: bool = False
    """Whether they came from the directory."""
    failure: str = ""
    """What broke the builder: an error of ours, after which the file counts as one without tables."""


def default_store(environment: "os._Environ[str] | dict[str, str]" = os.environ) -> Path:
    """Where rows are kept: $GOROSCOPE_CACHE, else /var/cache/goroscope for root, else in the user's cache."""
    chosen = environment.get("GOROSCOPE_CACHE")
    if chosen:
        return Path(chosen) / "rows"
    if os.geteuid() == 0:
        return Path("/var/cache/goroscope/rows")
    home = environment.get("XDG_CACHE_HOME") or str(Path(environment.get("HOME", "/")) / ".cache")
    return Path(home) / "goroscope" / "rows"


class RowBuilder:
    """Turns files into unwind tables. All methods but the thread's own are for one thread."""

    def __init__(self, store: Path | None = None) -> None:
        """Start the thread; it ends with the program, or by `close()`. `store` is the directory that keeps rows."""
        self._store = RowStore(store or default_store())
        self._of_file: dict[FileKey | Binary, FileRows] = {}
        self._changed = threading.Condition()
        self._waiting: list[FileRows] = []
        self._closed = False
        self._ready: queue.SimpleQueue[Made] = queue.SimpleQueue()
        self._asked = 0
        threading.Thread(target=self._run, name="unwind-rows", daemon=True).start()

    def file_of(self, binary: Binary) -> FileRows:
        """What is known of the rows of a file. Nothing is made yet."""
        key = binary.key or binary
        rows = self._of_file.get(key)
        if rows is None:
            rows = self._of_file[key] = FileRows()
        return rows

    def want(self, binary: Binary) -> FileRows:
        """Have a file's rows made; asked again, they are made sooner."""
        rows = self.file_of(binary)
        with self._changed:
            rows.wanted += 1
            if rows.making is Making.UNASKED:
                rows.making, rows.binary = Making.ASKED, binary
                self._asked += 1
                self._waiting.append(rows)
                self._changed.notify()
        return rows

    def forget(self, keep: set[FileRows]) -> list[FileRows]:
        """Forget the files that are not to be kept and not being made; returns them."""
        gone = {
            key: rows for key, rows in self._of_file.items() if rows not in keep and rows.making is not Making.ASKED
        }
        for key in gone:
            del self._of_file[key]
        return list(gone.values())

    def __len__(self) -> int:
        return len(self._of_file)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return
                rows = max(self._waiting, key=lambda one: one.wanted)
                self._waiting.remove(rows)
            try:
                made = self._make(rows)
            except Exception as error:  # a file that breaks the builder must not leave others without rows
                made = Made(rows, None, 0.0, failure=f"{type(error).__name__}: {error}")
            self._ready.put(made)

    def _make(self, rows: FileRows) -> Made:
        start = time.monotonic()
        binary = rows.binary
        assert binary is not None, "it has been asked for"
        name = identity(binary)
        if name and (table := self._store.get(name)) is not None:
            return Made(rows, table, time.monotonic() - start, kept=True)
        table, encoded = _made(binary)
        binary.elf.release()  # its tables have been read from end to end, and are not needed again
        if name and table is not None:
            self._store.put(name, encoded or encode(table))
        return Made(rows, table, time.monotonic() - start)

    @property
    def pending(self) -> bool:
        """Whether something asked for has not been taken yet."""
        return self._asked > 0

    def finished(self, timeout: float = 0.0) -> Made | None:
        """One file whose rows were made; None when there is none within the time."""
        try:
            made = self._ready.get(timeout=timeout) if timeout else self._ready.get_nowait()
        except queue.Empty:
            return None
        self._asked -= 1
        made.rows.making, made.rows.binary = Making.MADE, None
        return made

    def close(self) -> None:
        """End the thread after what it is doing."""
        with self._changed:
            self._closed = True
            self._changed.notify()


def _made(binary: Binary) -> tuple[UnwindTable | None, bytes]:
    """The rows of a file, by another process where it is large; encoded too if they come from there."""
    if binary.elf.descriptor is not None:
        from symbolizer.unwind.build import made_elsewhere

        try:
            return made_elsewhere(binary)
        except (OSError, StoreError):
            pass  # then here: slower for the rest of us, but not lost
    return unwind_table(binary), b""
