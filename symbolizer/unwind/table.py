"""The unwind rows of a file from all that it has: Go's own tables for its Go code, call frame information elsewhere."""

from symbolizer.binary import Binary
from symbolizer.go.binary import GoBinary
from symbolizer.go.errors import GoError
from symbolizer.unwind.frame_pointers import FrameError
from symbolizer.unwind.frames import Frames
from symbolizer.unwind.gopclntab import write_go_rows
from symbolizer.unwind.pages import PageWriter
from symbolizer.unwind.rows import RuleSet, UnwindTable


def unwind_table(binary: Binary) -> UnwindTable | None:
    """The rows of a file; None where it has no tables that say how to unwind, or none that can be used.

    Where one source is damaged, the other still counts.
    """
    go = binary.go
    for program, frames_wanted in ((go, True), (go, False), (None, True)):
        try:
            return _merged(binary, program, frames_wanted=frames_wanted)
        except (GoError, FrameError):
            continue
    return None


def _merged(binary: Binary, go: GoBinary | None, *, frames_wanted: bool) -> UnwindTable | None:
    """Raises GoError and FrameError where a source is damaged."""
    rules = RuleSet()
    # The .debug_frame of a Go program is of its Go code: the function table knows that better.
    frames = Frames.of(binary.elf, binary.debug, rules, loaded_only=go is not None) if frames_wanted else None
    if go is None:
        return frames.table() if frames else None
    start, end = go.text_range
    pages = PageWriter(min(start, frames.first) if frames else start)
    if frames:
        frames.write(pages, high=start)
    write_go_rows(go, rules, pages)
    if frames:
        frames.write(pages, low=end)
    return pages.table(rules.in_order())
