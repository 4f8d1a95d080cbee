"""Writes the rows of an UnwindTable, function by function in the order of their addresses."""

from array import array
from bisect import bisect_left

from symbolizer.unwind.rows import PAGE_SHIFT, Rule, UnwindTable

MAX_ROWS = 1 << 24
"""Rows of one table, 64 MiB. A program of 220 MB has 1.4 million."""
MAX_ADDRESS = 1 << 44
"""Page numbers are 32 bits wide in the walker's tables."""

_LOW = (1 << PAGE_SHIFT) - 1
_NONE = -1

Spans = list[int]
"""Of one function: offset from its start << 16 | index of the rule from there on; ascending, the first at 0."""


class PageWriter:
    """Collects rows from the page that holds `first` on; before the first function rule 0 is in force.

    A row that repeats the rule before it is left out. Between functions rule 0 is in force.
    """

    def __init__(self, first: int) -> None:
        """`first` is the file virtual address of the first function."""
        self._first_page = self._page = first >> PAGE_SHIFT
        self._rows = array("I", [0] if first & _LOW else [])
        self._starts = array("I", [0])
        self._rule = 0 if first & _LOW else _NONE
        self._end = first

    @property
    def end(self) -> int:
        """Where the last function ended."""
        return self._end

    def add(self, start: int, end: int, spans: Spans) -> None:
        """Add a function from `start` to `end`, at addresses above those of the one before.

        Raises OverflowError if there are too many rows, or addresses too high for the walker.
        """
        size = end - start
        if size <= 0:
            return
        if start > self._end:
            self.add(self._end, start, [0])
        if (end - 1) >> PAGE_SHIFT == self._page and spans[-1] >> 16 < size and len(spans) <= size:
            base = (start & _LOW) << 16
            if spans[0] & 0xFFFF != self._rule:
                self._rows.append(base + spans[0])
            if len(spans) > 1:
                self._rows.extend([base + span for span in spans[1:]])
                self._rule = spans[-1] & 0xFFFF
            else:
                self._rule = spans[0]
        else:
            self._add_across(start, end, spans)
        self._end = end

    def table(self, rules: tuple[Rule, ...]) -> UnwindTable:
        """The table; behind the last function rule 0 is in force."""
        if self._end & _LOW and self._rule:
            self._rows.append((self._end & _LOW) << 16)
        return UnwindTable(self._first_page, array("I", [*self._starts, len(self._rows)]), self._rows, rules)

    def _add_across(self, start: int, end: int, spans: Spans) -> None:
        """Add a function that leaves the current page, or whose spans reach beyond it or repeat offsets."""
        spans = [offset << 16 | rule for offset, rule in {span >> 16: span & 0xFFFF for span in spans}.items()]
        if len(self._rows) + (end - start >> PAGE_SHIFT) + len(spans) > MAX_ROWS or end > MAX_ADDRESS:
            raise OverflowError("more unwind rows than any real file has")
        position, done = start, int(spans[0] & 0xFFFF == self._rule)
        while position < end:
            page = position >> PAGE_SHIFT
            if page > self._page:
                self._open(page)
            limit = min(end, (page + 1) << PAGE_SHIFT)
            upto = bisect_left(spans, (limit - start) << 16, done)
            if upto > done:
                base = (start - (page << PAGE_SHIFT)) << 16
                if spans[done] + base < 1 << 16 and len(self._rows) > self._starts[-1]:
                    self._rows.pop()  # the inherited rule: this page begins with one of its own
                self._rows.extend([base + span for span in spans[done:upto]])
                self._rule = spans[upto - 1] & 0xFFFF
                done = upto
            position = limit

    def _open(self, page: int) -> None:
        """Begin a page, and those before it that are missing, with the rule in force."""
        for _ in range(page - self._page):
            self._starts.append(len(self._rows))
            self._rows.append(self._rule)
        self._page = page
