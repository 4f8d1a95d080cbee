"""Where in a Go program the walker may go by frame pointers, which costs half of what rows do.

Every Go function that calls has set up its frame, so of Go code only the leaf needs its row. Exceptions are the
few assembly functions below, which leave rbp as their caller or the interrupted code had it, and whatever C code
was linked in beside the Go code.
"""

from symbolizer.go.binary import GoBinary

_BY_ROW = (
    "crosscall2",  # runtime/cgo: called by C, saves rbp as any other register
    "runtime.sigtramp",  # called by the kernel: rbp is that of the interrupted code
    "runtime.cgoSigtramp",
    "runtime.sigreturn",  # where a signal handler returns to
    "runtime.sigreturn__sigaction",
)

Piece = tuple[int, int, bool]
"""First address, end, and whether callers there go by frame pointers."""
_ALIGNMENT = 16
"""Of functions, in Go's linker and in C compilers, and of what the walker's table of mappings can tell apart."""


def pieces(program: GoBinary) -> tuple[Piece, ...]:
    """The Go code in pieces, ascending, without gaps; addresses are file virtual ones, whole multiples of 16."""
    start, end = program.text_range
    by_row = program.function_ranges(_BY_ROW).values()
    found: list[Piece] = []
    at = _down(start)
    for first, last in sorted((_down(first - 1), _up(last)) for first, last in by_row):
        if at < first:
            found.append((at, first, True))
        if max(at, first) < last:
            found.append((max(at, first), last, False))
            at = last
    if at < _up(end):
        found.append((at, _up(end), True))
    return tuple(found)


def _down(address: int) -> int:
    return address // _ALIGNMENT * _ALIGNMENT


def _up(address: int) -> int:
    return -(-address // _ALIGNMENT) * _ALIGNMENT
