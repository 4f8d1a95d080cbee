"""Makes the unwind rows of files, in a thread of its own: off the sampling path, once for all processes of a file."""

import queue
import threading
from dataclasses import dataclass

from symbolizer.binary import Binary, FileKey
from symbolizer.unwind.gopclntab import go_unwind_table
from symbolizer.unwind.rows import UnwindTable


@dataclass(slots=True)
class FileRows:
    """The walker's table of one file: 0 until its rows are made and placed."""

    binary: Binary
    table: int = 0


class RowBuilder:
    """Turns files into unwind tables, in the order in which they are first asked for."""

    def __init__(self) -> None:
        """Start the thread; it ends with the program, or by `close()`."""
        self._of_file: dict[FileKey, FileRows] = {}
        self._wanted: queue.SimpleQueue[FileRows | None] = queue.SimpleQueue()
        self._ready: queue.SimpleQueue[tuple[FileRows, UnwindTable | None]] = queue.SimpleQueue()
        self._asked = 0
        threading.Thread(target=self._run, name="unwind-rows", daemon=True).start()

    def rows_of(self, binary: Binary | None) -> FileRows | None:
        """The table of a file, asked for at first sight. None where frame pointers are the rule."""
        if binary is None or binary.key is None or binary.go is None:
            return None
        rows = self._of_file.get(binary.key)
        if rows is None:
            rows = self._of_file[binary.key] = FileRows(binary)
            self._asked += 1
            self._wanted.put(rows)
        return rows

    def _run(self) -> None:
        while (rows := self._wanted.get()) is not None:
            go = rows.binary.go
            table = None
            try:
                table = go_unwind_table(go) if go is not None else None
            finally:  # a file that breaks the builder must not leave its askers waiting
                self._ready.put((rows, table))

    @property
    def pending(self) -> bool:
        """Whether something asked for has not been taken yet."""
        return self._asked > 0

    def finished(self, timeout: float = 0.0) -> tuple[FileRows, UnwindTable | None] | None:
        """One file whose rows were made; None when there is none within the time."""
        try:
            made = self._ready.get(timeout=timeout) if timeout else self._ready.get_nowait()
        except queue.Empty:
            return None
        self._asked -= 1
        return made

    def close(self) -> None:
        """End the thread after what it is doing."""
        self._wanted.put(None)
