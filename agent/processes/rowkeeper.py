"""Decides which files' unwind rows the walker has: all that it asks for, as long as there is room.

The walker asks for the rows of a file when it first meets code of it, and ever again while they are missing, so
files that no sample touches cost nothing. Where room runs out, the rows that were not looked at for longest go;
they are made again, or read from the directory of rows, when a sample wants them.
"""

from collections.abc import Iterable

from agent.processes.rows import FileRows, Making, RowBuilder
from agent.processes.spaces import AddressSpace, Region
from bpf.abi import RowsState
from bpf.processes import ProcessMapping
from bpf.rows import RowTables
from symbolizer.binary import Binary
from symbolizer.unwind.gocode import pieces
from symbolizer.unwind.rows import UnwindTable

_MAX_FILES = 3072
"""Files that have a table; there are more of them only while as many are mapped."""
_MAX_REFUSALS = 6


class RowKeeper:
    """The rows of all files, between the thread that makes them and the walker's tables."""

    def __init__(self, builder: RowBuilder, tables: RowTables) -> None:
        """Nothing is placed yet."""
        self._builder = builder
        self._tables = tables
        self._placed: dict[int, FileRows] = {}
        self._refused: dict[FileRows, int] = {}
        self._window = 1
        self._kept: dict[FileRows, UnwindTable] | None = {}

    def mappings(self, region: Region) -> list[ProcessMapping]:
        """What the walker is told of a region: its file's table, and where in it Go code lies."""
        binary = region.binary
        if binary is None:
            return [ProcessMapping(region.start, region.end, region.bias)]
        rows = self._with_table(binary)
        if rows.pieces is None:
            rows.pieces = pieces(binary.go) if binary.go is not None else ()
        found, at = [], region.start
        for first, end, go in (*rows.pieces, (2**64, 2**64, False)):
            start, stop = max(at, min(first + region.bias, region.end)), min(end + region.bias, region.end)
            if at < start:
                found.append(ProcessMapping(at, start, region.bias, rows.table))
            if start < stop:
                found.append(ProcessMapping(start, stop, region.bias, rows.table, go))
            at = max(start, stop)
        return found

    def _with_table(self, binary: Binary) -> FileRows:
        rows = self._builder.file_of(binary)
        if not rows.table:
            rows.table = self._tables.reserve()
        return rows

    def asked(self, space: AddressSpace, table: int) -> None:
        """The walker met code of the file that has this table, and there are no rows."""
        for region in space.regions:
            if region.binary is not None and self._builder.file_of(region.binary).table == table:
                self._builder.want(region.binary)
                return

    def place(self, timeout: float = 0.0) -> None:
        """Give the walker what has been made, waiting up to `timeout` seconds for each that is pending."""
        while self._builder.pending:
            made = self._builder.finished(timeout)
            if made is None:
                return
            rows = made.rows
            if not rows.table:
                rows.table = self._tables.reserve()
            if made.table is None:
                self._tables.set_state(rows.table, RowsState.NONE)
                continue
            if self._kept is not None:
                self._kept[rows] = made.table
            if self._placed_with_room(rows.table, made.table):
                self._placed[rows.table] = rows
            else:
                self._tables.set_state(rows.table, RowsState.REFUSED)
                if not self._tables.too_large(made.table):
                    self._refuse(rows)

    def _refuse(self, rows: FileRows) -> None:
        """No room now: it may be asked for again after 1, 2, 4.. windows."""
        rows.refusals += 1
        self._refused[rows] = self._window + (1 << min(rows.refusals, _MAX_REFUSALS) - 1)

    def _placed_with_room(self, table: int, rows: UnwindTable) -> bool:
        """Place rows, taking out others that no sample of this window or the last has used."""
        if self._tables.too_large(rows):
            return False
        while not self._tables.place(table, rows, self._window):
            used = self._tables.last_used()
            oldest = min(used, key=used.__getitem__, default=None)
            if oldest is None or used[oldest] >= self._window - 1:
                return False
            self._tables.take_out(oldest)
            self._placed.pop(oldest).making = Making.UNASKED
        return True

    def rows_of(self, binary: Binary) -> UnwindTable | None:
        """The rows of a file that have been made, until `forget_rows()`."""
        return self._kept.get(self._builder.file_of(binary)) if self._kept is not None else None

    def forget_rows(self) -> None:
        """From now on only the walker has the rows."""
        self._kept = None

    def settle(self, window: int, spaces: Iterable[AddressSpace]) -> None:
        """After a window, whose successor is `window`: allow reuse of what was given back, and asking again."""
        self._window = window
        self._tables.settle()
        for rows in [rows for rows, again in self._refused.items() if again <= window]:
            del self._refused[rows]
            rows.making = Making.UNASKED
            self._tables.set_state(rows.table, RowsState.WANTED)
        if len(self._builder) > _MAX_FILES:
            mapped = {
                self._builder.file_of(region.binary)
                for space in spaces
                for region in space.regions
                if region.binary is not None
            }
            for rows in self._builder.forget(mapped):
                self._placed.pop(rows.table, None)
                self._refused.pop(rows, None)
                self._tables.release(rows.table)
