"""Fills what the walker looks things up in: rows of files, and mappings of processes.

Layouts: bpf/abi.h. Elements that programs may still be reading are reused only after `settle()`, a window later.
"""

import errno
import os
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

from bpf import abi
from bpf.maps import Map, create_array
from symbolizer.unwind.rows import FRAME_POINTER, Rule, UnwindTable


class Runs:
    """Hands out runs of consecutive indexes of an array, first fit."""

    def __init__(self, size: int, first: int = 0) -> None:
        """All of [first, size) is free."""
        self._free = [(first, size - first)]
        self._leaving: list[tuple[int, int]] = []

    def take(self, length: int) -> int | None:
        """The first index of a free run of that length, or None."""
        for position, (start, free) in enumerate(self._free):
            if free >= length:
                self._free[position] = (start + length, free - length)
                return start
        return None

    def give(self, start: int, length: int) -> None:
        """Return a run; it is free again after `settle()`."""
        self._leaving.append((start, length))

    def settle(self) -> None:
        """Make returned runs free and join neighbours."""
        if not self._leaving:
            return
        merged: list[tuple[int, int]] = []
        for start, length in sorted(self._free + self._leaving):
            if merged and sum(merged[-1]) == start:
                merged[-1] = (merged[-1][0], merged[-1][1] + length)
            elif length:
                merged.append((start, length))
        self._free, self._leaving = merged, []


class RowTables:
    """The unwind rows of files. A file has its own slabs, so taking it out again is simple."""

    def __init__(self, maps: dict[str, Map]) -> None:
        """Start with the frame-pointer rule alone, as rule 0."""
        self._maps = maps
        self._rules: dict[Rule, int] = {}
        self._rule_bytes = bytearray(abi.RULE.size * abi.MAX_RULES)
        self._tables = Runs(maps["tables"].max_entries, first=1)
        self._pages = Runs(maps["pages"].max_entries)
        self._slabs = Runs(abi.MAX_SLABS)
        self._placed: dict[int, tuple[int, int, list[int]]] = {}
        self.memory = 0
        self._rule(FRAME_POINTER)
        self._write_rules()

    def _rule(self, rule: Rule) -> int:
        index = self._rules.get(rule)
        if index is None:
            index = len(self._rules)
            if index >= abi.MAX_RULES:
                return 0
            self._rules[rule] = index
            abi.RULE.pack_into(self._rule_bytes, index * abi.RULE.size, rule.cfa, rule.rbp, int(rule.kind), 0)
        return index

    def _write_rules(self) -> None:
        self._maps["rules"].update(0, bytes(self._rule_bytes))

    def add(self, table: UnwindTable) -> int:
        """Place the rows of a file: its table index, or 0 when there is no room (frame pointers then)."""
        pages = len(table.starts) - 1
        if pages <= 0:
            return 0
        index, first = self._tables.take(1), self._pages.take(pages)
        if index is None or first is None:
            if index is not None:
                self._tables.give(index, 1)
            if first is not None:
                self._pages.give(first, pages)
            return 0
        known = len(self._rules)
        renumber = [self._rule(rule) for rule in table.rules]
        rows = table.rows
        if renumber != list(range(len(renumber))):
            rows = array("I", [row & 0xFFFF0000 | renumber[row & 0xFFFF] for row in rows])
        if len(self._rules) != known:
            self._write_rules()
        slabs: list[int] = []
        descriptions = bytearray()
        begin = 0
        for page in range(pages):
            start, end = table.starts[page], table.starts[page + 1]
            if end - begin > abi.SLAB_ROWS:
                slabs.append(self._add_slab(rows[begin:start]))
                begin = start
            descriptions += abi.PAGE.pack(len(slabs), start - begin, end - start)
        slabs.append(self._add_slab(rows[begin:]))
        # Pages name slabs by their number within the file up to here.
        for offset in range(0, len(descriptions), abi.PAGE.size):
            local, position, count = abi.PAGE.unpack_from(descriptions, offset)
            abi.PAGE.pack_into(descriptions, offset, slabs[local], position, count)
        self._maps["pages"].update_run(first, bytes(descriptions))
        self._maps["tables"].update(index, abi.TABLE.pack(table.first_page, pages, first, 0))
        self._placed[index] = (first, pages, slabs)
        return index

    def _add_slab(self, rows: "array[int]") -> int:
        number = self._slabs.take(1)
        if number is None:
            return abi.MAX_SLABS  # not there: the walker falls back to frame pointers
        descriptor = create_array(4 * abi.SLAB_ROWS, 1, "rows")
        try:
            Map(descriptor).update(0, rows.tobytes().ljust(4 * abi.SLAB_ROWS, b"\0"))
            self._maps["slabs"].update(number, descriptor.to_bytes(4, "little"))
        finally:
            os.close(descriptor)
        self.memory += 4 * abi.SLAB_ROWS
        return number

    def remove(self, index: int) -> None:
        """Take a file's rows out. No process may name the table any more."""
        first, pages, slabs = self._placed.pop(index)
        self._maps["tables"].update(index, bytes(abi.TABLE.size))
        for number in slabs:
            if number < abi.MAX_SLABS:
                self._maps["slabs"].delete(number)
                self._slabs.give(number, 1)
                self.memory -= 4 * abi.SLAB_ROWS
        self._pages.give(first, pages)
        self._tables.give(index, 1)

    def settle(self) -> None:
        """Allow reuse of what was removed before the last window."""
        for runs in (self._tables, self._pages, self._slabs):
            runs.settle()


@dataclass(frozen=True, slots=True)
class ProcessMapping:
    """An executable mapping: addresses [start, end), bias to file virtual addresses, table index, Go or not."""

    start: int
    end: int
    bias: int
    table: int = 0
    go: bool = False


def _packed(one: ProcessMapping) -> bytes:
    pages = (one.end - one.start) >> 12
    return abi.MAPPING.pack(one.start, one.bias % 2**64, pages, one.table | one.go * abi.GO_CODE)


@dataclass(frozen=True, slots=True)
class GoThreads:
    """What the walker needs of a Go program: addresses in the process, offsets in runtime.g and runtime.m."""

    mcall: tuple[int, int] = (0, 0)
    morestack: tuple[int, int] = (0, 0)
    mstart: tuple[int, int] = (0, 0)
    async_preempt: tuple[int, int] = (0, 0)
    sigpanic: tuple[int, int] = (0, 0)
    tls: int = 0
    g_m: int = 0
    m_curg: int = 0
    sched_sp: int = 0
    sched_pc: int = 0
    sched_bp: int = 0


class ProcessTable:
    """The mappings of processes, keyed by thread group id."""

    def __init__(self, maps: dict[str, Map]) -> None:
        """Nothing is known yet."""
        self._processes = maps["processes"]
        self._mappings = maps["mappings"]
        self._runs = Runs(self._mappings.max_entries)
        self._placed: dict[int, tuple[int, int]] = {}

    def space_of(self, tgid: int) -> int | None:
        """The address space the kernel side now knows this process by."""
        value = self._processes.lookup(tgid)
        return None if value is None else int(abi.PROCESS.unpack(value)[0])

    def set(self, tgid: int, space: int, mappings: Sequence[ProcessMapping], go: GoThreads | None) -> bool:
        """Tell the walker of a process; `mappings` sorted by start. False when there is no room: the old ones stay."""
        mappings = mappings[: abi.MAX_MAPPINGS]
        first = self._runs.take(len(mappings))
        if first is None:
            return False
        self._mappings.update_run(first, b"".join(map(_packed, mappings)))
        threads = go or GoThreads()
        ranges = (threads.mcall, threads.morestack, threads.mstart, threads.async_preempt, threads.sigpanic)
        value = abi.PROCESS.pack(
            *(space, 0, *(start for start, _ in ranges)),
            *(end - start for start, end in ranges),
            *(first, len(mappings), abi.MAPPINGS_KNOWN, threads.tls),
            *(threads.g_m, threads.m_curg, threads.sched_sp, threads.sched_pc, threads.sched_bp, 0),
        )
        try:
            self._processes.update(tgid, value)
        except OSError as error:
            self._runs.give(first, len(mappings))
            if error.errno == errno.E2BIG:
                return False
            raise
        self.forget(tgid)
        self._placed[tgid] = (first, len(mappings))
        return True

    def exited(self, tgid: int, space: int) -> None:
        """Give back what the kernel side has removed; take it out where `set` came too late and put it back."""
        current = self.space_of(tgid)
        if current not in {None, space}:
            return  # another program runs in this process by now
        self.forget(tgid)
        if current == space:
            self._processes.delete(tgid)

    def forget(self, tgid: int) -> None:
        """Give back a process's run of mappings (its entry is removed by the kernel side, or replaced)."""
        run = self._placed.pop(tgid, None)
        if run is not None:
            self._runs.give(*run)

    def settle(self) -> None:
        """Allow reuse of what was given back before the last window."""
        self._runs.settle()
