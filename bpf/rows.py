"""Gives the walker the unwind rows of files. Layouts: bpf/abi.h.

Every file has a table, reserved when a process that maps it is first seen; rows may come later, go again when
others need the room, and come back: mappings name the table all the while. Rows lie in slabs of 64 KiB that
belong to one file each, so that taking a file's rows out gives their memory back.
"""

import os
from array import array
from dataclasses import dataclass
from itertools import pairwise

from bpf import abi
from bpf.abi import RowsState
from bpf.maps import Map, create_array
from bpf.runs import Runs
from symbolizer.unwind.rows import FRAME_POINTER, Rule, UnwindTable

BUDGET = 64 << 20
"""Bytes of rows for the whole node."""
_SLAB_BYTES = 4 * abi.SLAB_ROWS
_NO_ROOM_TABLE = 1
"""The table of all files for which there is none left: without rows, which stacks say."""
_REGISTERS = (10, 12, 11, 5, 13, 14, 4, 19, 9, 8, 7, 6, 3, 2, 1, 0)
"""Index in struct pt_regs by DWARF number (System V ABI AMD64 supplement, figure 3.36): rax, rdx, rcx, rbx, rsi, .."""


@dataclass(frozen=True, slots=True)
class _Placed:
    """What the rows of one file take: runs of elements, and slabs."""

    first_page: int
    pages: int
    first_rule: int
    rules: int
    slabs: tuple[int, ...]


class RowTables:
    """The unwind rows of files, within a budget of memory."""

    def __init__(self, maps: dict[str, Map], budget: int = BUDGET) -> None:
        """Start with the frame-pointer rule alone, as rule 0. `budget` is in bytes."""
        self._maps = maps
        self._budget = budget
        self._rule_bytes = bytearray(abi.RULE.size * abi.MAX_RULES)
        default = abi.RULE.pack(FRAME_POINTER.cfa, FRAME_POINTER.rbp, FRAME_POINTER.kind, abi.RULE_DEFAULT)
        self._rule_bytes[: abi.RULE.size] = default
        self._maps["rules"].update(0, bytes(self._rule_bytes))
        self._tables = Runs(maps["tables"].max_entries, first=_NO_ROOM_TABLE + 1)
        self._pages = Runs(maps["pages"].max_entries)
        self._rules = Runs(abi.MAX_RULES, first=1)
        self._slabs = Runs(abi.MAX_SLABS)
        self._placed: dict[int, _Placed] = {}
        self.memory = 0
        """Bytes of slabs in use."""
        self.set_state(_NO_ROOM_TABLE, RowsState.REFUSED)

    def reserve(self) -> int:
        """A table for a file, its rows WANTED. Where all are taken: one that serves all further files, without rows."""
        index = self._tables.take(1)
        if index is None:
            return _NO_ROOM_TABLE
        self.set_state(index, RowsState.WANTED)
        return index

    def set_state(self, index: int, state: RowsState) -> None:
        """Say why a table has no rows."""
        self._maps["tables"].update(index, abi.TABLE.pack(0, 0, 0, 0, state, 0, 0, 0))

    def too_large(self, table: UnwindTable) -> bool:
        """Whether there would be no room for these rows even if there were no others."""
        needed = len(_in_slabs(table)[1]) * _SLAB_BYTES
        return needed > self._budget or len(table.starts) > self._maps["pages"].max_entries

    def place(self, index: int, table: UnwindTable, window: int) -> bool:
        """Give a reserved table its rows. False where there is no room for them: then nothing has changed.

        `window` is the current one: fresh rows count as used in it.
        """
        slabs_of_page, slabs = _in_slabs(table)
        if self.memory + len(slabs) * _SLAB_BYTES > self._budget:
            return False
        taken: list[tuple[Runs, int, int]] = []
        wanted = ((self._pages, len(table.starts) - 1), (self._rules, len(table.rules) - 1))
        for runs, length in (*wanted, *((self._slabs, 1) for _ in slabs)):
            start = runs.take(length)
            if start is None:
                for others, first, count in taken:
                    others.give(first, count)
                return False
            taken.append((runs, start, length))
        (_, first_page, pages), (_, first_rule, rules), *rest = taken
        numbers = tuple(number for _, number, _ in rest)
        for number, (begin, end) in zip(numbers, slabs, strict=True):
            self._add_slab(number, table.rows[begin:end])
        self._maps["pages"].update_run(first_page, _descriptions(table, slabs_of_page, slabs, numbers))
        self._rule_bytes[abi.RULE.size * first_rule : abi.RULE.size * (first_rule + rules)] = b"".join(
            map(_packed, table.rules[1:])
        )
        self._maps["rules"].update(0, bytes(self._rule_bytes))
        self._maps["tables"].update(
            index,
            abi.TABLE.pack(
                *(table.first_page % 2**32, pages, first_page, first_rule - 1),
                *(RowsState.READY, 0, window % 2**32, 0),
            ),
        )
        self._placed[index] = _Placed(first_page, pages, first_rule, rules, numbers)
        return True

    def _add_slab(self, number: int, rows: "array[int]") -> None:
        descriptor = create_array(_SLAB_BYTES, 1, "rows")
        try:
            Map(descriptor).update(0, rows.tobytes().ljust(_SLAB_BYTES, b"\0"))
            self._maps["slabs"].update(number, descriptor.to_bytes(4, "little"))
        finally:
            os.close(descriptor)
        self.memory += _SLAB_BYTES

    def last_used(self) -> dict[int, int]:
        """For each table with rows the number of the window in which the walker last looked at them."""
        found = {}
        for index in self._placed:
            value = self._maps["tables"].lookup(index)
            found[index] = abi.TABLE.unpack(value)[6] if value else 0
        return found

    def take_out(self, index: int, state: RowsState = RowsState.WANTED) -> None:
        """Give back the room of a table's rows; it says `state` from now on."""
        self.set_state(index, state)
        placed = self._placed.pop(index, None)
        if placed is None:
            return
        for number in placed.slabs:
            self._maps["slabs"].delete(number)
            self._slabs.give(number, 1)
            self.memory -= _SLAB_BYTES
        self._pages.give(placed.first_page, placed.pages)
        self._rules.give(placed.first_rule, placed.rules)

    def release(self, index: int) -> None:
        """Give a table back, with its rows. No process may name it any more."""
        if index > _NO_ROOM_TABLE:
            self.take_out(index)
            self._tables.give(index, 1)

    def settle(self) -> None:
        """Allow reuse of what was given back before the last window."""
        for runs in (self._tables, self._pages, self._rules, self._slabs):
            runs.settle()


def _packed(rule: Rule) -> bytes:
    return abi.RULE.pack(rule.cfa, rule.rbp, int(rule.kind), _REGISTERS[rule.register & 15])


def _in_slabs(table: UnwindTable) -> tuple[list[int], list[tuple[int, int]]]:
    """For each page the number of its slab, and for each slab the rows that it holds: no page is split."""
    slabs: list[tuple[int, int]] = []
    of_page: list[int] = []
    begin = 0
    starts = table.starts
    for start, end in pairwise(starts):
        if end - begin > abi.SLAB_ROWS:
            slabs.append((begin, start))
            begin = start
        of_page.append(len(slabs))
    slabs.append((begin, starts[-1]))
    return of_page, slabs


def _descriptions(
    table: UnwindTable, of_page: list[int], slabs: list[tuple[int, int]], numbers: tuple[int, ...]
) -> bytes:
    """The elements of `pages`: struct page as one little-endian u64 each."""
    firsts = [begin for begin, _ in slabs]
    starts = table.starts
    return array(
        "Q",
        [
            numbers[slab] | start - firsts[slab] << 32 | end - start << 48
            for slab, (start, end) in zip(of_page, pairwise(starts), strict=True)
        ],
    ).tobytes()
