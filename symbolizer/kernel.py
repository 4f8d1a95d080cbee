"""Function names of the kernel and its modules, from /proc/kallsyms.

Source of the format: the kernel's kernel/kallsyms.c, `s_show`: "ADDRESS TYPE NAME", and a tab and "[MODULE]"
behind it; types as in nm(1). Without the right to see them all addresses are 0 (kernel.kptr_restrict).
"""

import re
from array import array
from bisect import bisect_right
from collections.abc import Iterable
from itertools import chain

from profiles.model import Frame

KERNEL = "[kernel.kallsyms]"
MAX_SIZE = 64 << 20
"""Bytes of kallsyms that are read; a distribution's kernel with its modules has about 15 MB."""
MAX_SYMBOLS = 1 << 20
MAX_NAME = 600
"""Bytes of a name and its module; the kernel's own limit for a name, KSYM_NAME_LEN, is 512."""
PAGE = 4096
MAX_FUNCTION = 1 << 20
"""Bytes. Sizes are not listed, so a function reaches to the next; but not across gaps, such as between modules."""

_CHUNK = 1 << 18
_MAX_LINE = 1024
_LINE = re.compile(rb"^([0-9a-f]{1,16}) ([TtWw]) ([^\n]{1,%d})" % MAX_NAME, re.MULTILINE)
_RANKS = {b"T": 0, b"W": 1, b"w": 1, b"t": 2}
_CACHED_FRAMES = 16384
_ENDS = frozenset({b"_etext", b"_einittext"})
"""Markers behind the last function of a text section: no function begins there."""


class KernelSymbols:
    """The functions of the running kernel, about 25 bytes each. They are read when first asked for."""

    def __init__(self, proc_root: str = "/proc") -> None:
        """`proc_root` is where procfs is mounted. Nothing is opened yet."""
        self._path = f"{proc_root}/kallsyms"
        self._table: _Table | None = None
        self._frames: dict[int, tuple[Frame, ...]] = {}

    @classmethod
    def read(cls, proc_root: str = "/proc") -> "KernelSymbols":
        """The symbols below that procfs; the file is read at the first use."""
        return cls(proc_root)

    @property
    def restricted(self) -> bool:
        """Whether the kernel keeps its addresses secret from this process (kernel.kptr_restrict)."""
        return self._symbols.restricted

    @property
    def count(self) -> int:
        """How many functions are known; 0 also where the file cannot be read."""
        return len(self._symbols.starts)

    @property
    def footprint(self) -> int:
        """Bytes of memory that the table takes; 0 before the first use."""
        return self._table.footprint if self._table else 0

    def reload(self) -> None:
        """Forget the table: modules and BPF programs may have come or gone. It is read again at the next use."""
        self._table = None
        self._frames = {}

    def symbolize(self, address: int) -> tuple[Frame, ...]:
        """One frame without file and line for a kernel address, or none where no function is listed."""
        frames = self._frames.get(address)
        if frames is None:
            if len(self._frames) >= _CACHED_FRAMES:
                self._frames = {}
            frames = self._frames[address] = self._look_up(address)
        return frames

    def _look_up(self, address: int) -> tuple[Frame, ...]:
        found = self._symbols.find(address)
        if found < 0:
            return ()
        name = self._symbols.entry(found).partition(b"\t")[0]
        return (Frame(name.decode("utf-8", "replace")),)

    def address_of(self, place: str) -> int | None:
        """The address of `function+0x1f`, None where no function has that name; of several the first is taken."""
        name, _, offset = place.partition("+")
        try:
            distance = int(offset, 16) if offset else 0
        except ValueError:
            return None
        start = self._symbols.start_of(name.encode())
        return None if start is None else start + distance

    def module_of(self, address: int) -> str:
        """The module that holds a kernel address, in brackets; `[kernel.kallsyms]` for the kernel and where unknown."""
        found = self._symbols.find(address)
        module = self._symbols.entry(found).partition(b"\t")[2] if found >= 0 else b""
        return module.decode("utf-8", "replace") or KERNEL

    @property
    def _symbols(self) -> "_Table":
        if self._table is None:
            self._table = _read(self._path)
        return self._table


class _Table:
    """Sorted addresses, and for each where its entry (name, then a tab and module if any) begins in `blob`."""

    __slots__ = ("_blob", "_offsets", "restricted", "starts")

    def __init__(self, starts: "array[int]", offsets: "array[int]", blob: bytearray, *, restricted: bool) -> None:
        self.starts = starts
        self.restricted = restricted
        self._offsets = offsets
        self._blob = blob

    @property
    def footprint(self) -> int:
        return len(self.starts) * 8 + len(self._offsets) * 4 + len(self._blob)

    def find(self, address: int) -> int:
        """The position of the function that holds an address, or -1.

        The last function before a gap ends with its page, since its size is not known.
        """
        position = bisect_right(self.starts, address) - 1
        if position < 0:
            return -1
        start = self.starts[position]
        following = self.starts[position + 1] if position + 1 < len(self.starts) else start + 2 * MAX_FUNCTION
        end = following if following - start <= MAX_FUNCTION else (start | PAGE - 1) + 1
        return position if address < end and self.entry(position) not in _ENDS else -1

    def start_of(self, name: bytes) -> int | None:
        """The address of the first function of that name."""
        at = self._blob.find(b"\n" + name + b"\n")
        if at < 0:
            at = self._blob.find(b"\n" + name + b"\t")
        if at < 0:
            return None
        try:
            return self.starts[self._offsets.index(at + 1)]
        except ValueError:
            return None

    def entry(self, position: int) -> bytes:
        start = self._offsets[position]
        return bytes(self._blob[start : self._blob.index(b"\n", start)])


def _read(path: str) -> _Table:
    """The functions listed in a file; none if it cannot be read."""
    reader = _Reader()
    try:
        with open(path, "rb", buffering=0) as file:
            rest, total = b"", 0
            while len(reader.starts) < MAX_SYMBOLS and total < MAX_SIZE and (chunk := file.read(_CHUNK)):
                total += len(chunk)
                whole, _, rest = (rest + chunk).rpartition(b"\n")
                reader.add(whole)
                rest = rest[:_MAX_LINE]
            reader.add(rest)
    except OSError:
        pass  # what was read until then is still right
    return reader.table()


class _Reader:
    """Takes lines of kallsyms and keeps the functions among them."""

    def __init__(self) -> None:
        self.starts = array("Q")
        self._offsets = array("I")
        self._ranks = bytearray()
        self._blob = bytearray()
        self._zeros = 0

    def add(self, lines: bytes) -> None:
        """Keep the functions of whole lines; lines of another form are passed over."""
        starts, offsets, ranks, blob = self.starts, self._offsets, self._ranks, self._blob
        for digits, kind, entry in _LINE.findall(lines):
            address = int(digits, 16)
            if not address:
                self._zeros += 1
                continue
            starts.append(address)
            offsets.append(len(blob))
            ranks.append(_RANKS[kind])
            blob += entry
            blob += b"\n"

    def table(self) -> _Table:
        """The functions sorted by address, one for each: global before local names, few underscores before many."""
        starts, offsets = array("Q"), array("I")
        best = 0
        for index in self._order():
            address = self.starts[index]
            if not starts or address != starts[-1]:
                starts.append(address)
                offsets.append(self._offsets[index])
                best = index
            elif self._rank(index) < self._rank(best):
                offsets[-1] = self._offsets[index]
                best = index
        return _Table(starts, offsets, self._blob, restricted=bool(self._zeros) and not starts)

    def _order(self) -> Iterable[int]:
        """The indexes by address. The kernel lists its own functions in order, and those of modules behind them."""
        starts = self.starts
        count = len(starts)
        ordered = next((index for index in range(1, count) if starts[index] < starts[index - 1]), count)
        if ordered < count and min(starts[ordered:]) < starts[ordered - 1]:
            ordered = 0
        return chain(range(ordered), sorted(range(ordered, count), key=starts.__getitem__))

    def _rank(self, index: int) -> tuple[int, int]:
        start = self._offsets[index]
        name = self._blob[start : start + 16]
        return self._ranks[index], len(name) - len(name.lstrip(b"_"))
