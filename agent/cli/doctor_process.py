"""`goroscope doctor PID`: what is mapped in a process, how it will be unwound and symbolized, and why not."""

import json
import os
import sys
import textwrap
import time
from collections.abc import Callable

from agent import __version__
from agent.cli.limits import raise_file_limit
from agent.doctor.mapped import Mapped, Names, NameSource, ProcessReport, Symbols, Unwinding
from agent.doctor.process import examine_process
from agent.errors import MachineError, TargetError
from agent.processes.spaces import SpaceReader
from agent.procfs.maps import read_maps
from agent.procfs.process import command_name, process_of
from bpf.rows import BUDGET
from exporters.text import printable
from symbolizer.binary import Binary
from symbolizer.coverage import RowSource
from symbolizer.elf.file import LARGE
from symbolizer.elf.truncation import survive_truncation
from symbolizer.files import FileCache
from symbolizer.native import SymbolSource

_REMEDY = "Give the id of a running process."
_PATIENCE = 1.0
_MAX_NAMED = 3
_INDENT = "  "
_HEADS = ("unwound by  ", "named by    ")
_ROWS_BY = {
    RowSource.GO: "Go stack tables (pcsp), frame pointers between",
    RowSource.EH_FRAME: ".eh_frame",
    RowSource.DEBUG_FRAME: ".debug_frame",
}


def look_at(pid: int) -> ProcessReport:
    """Look at a process. Raises TargetError where there is none, MachineError where it may not be looked at."""
    process = process_of(pid)
    if process is None:
        raise TargetError(f"There is no process {pid}.", _REMEDY)
    if process != pid:
        raise TargetError(f"{pid} is a thread of process {process}.", f"Give {process}.")
    try:
        maps = read_maps(pid)
    except PermissionError as error:
        raise MachineError(f"What process {pid} has mapped is not ours to read.", "Run as root.") from error
    except OSError as error:
        raise _ended(pid) from error
    if not maps:
        what = f"Process {pid} ({printable(command_name(pid))}) has no code mapped: it is a kernel thread, or ending."
        raise TargetError(what, _REMEDY)
    survive_truncation()
    raise_file_limit()
    space = SpaceReader(FileCache()).read(0, pid)
    if not space.regions:
        raise _ended(pid)
    return examine_process(space, privileged=os.geteuid() == 0, watch=_watch())


def _ended(pid: int) -> TargetError:
    return TargetError(f"Process {pid} has ended.", _REMEDY)


def _watch() -> Callable[[Binary], None]:
    """Tells a person at a terminal what takes so long, once."""
    told, start = not sys.stderr.isatty(), time.monotonic()

    def watch(binary: Binary) -> None:
        nonlocal told
        if not told and (len(binary.elf.data) > LARGE or time.monotonic() - start > _PATIENCE):
            told = True
            print(f"Reading the tables of {printable(binary.path)} ..", file=sys.stderr)

    return watch


def as_json(report: ProcessReport) -> str:
    """The findings as one JSON object; see docs/troubleshooting.md."""
    found = {
        "goroscope": __version__,
        "pid": report.pid,
        "name": report.name,
        "container": report.container,
        "go_version": report.go_version,
        "unwindable": report.unwindable,
        "mappings": [_as_object(mapped) for mapped in report.mappings],
    }
    return json.dumps(found, indent=2) + "\n"


def _as_object(mapped: Mapped) -> dict[str, object]:
    unwinding, symbols = mapped.unwinding, mapped.symbols
    return {
        "start": f"{mapped.ranges[0][0]:#x}",
        "end": f"{mapped.ranges[-1][1]:#x}",
        "ranges": [{"start": f"{start:#x}", "end": f"{end:#x}"} for start, end in mapped.ranges],
        "size": mapped.size,
        "file": mapped.file,
        "origin": mapped.origin,
        "build_id": mapped.build_id,
        "unwind": {
            "method": unwinding.method,
            "rows": unwinding.rows,
            "bytes": unwinding.bytes,
            "unsupported": unwinding.unsupported,
            "code_bytes": unwinding.code,
            "uncovered_bytes": unwinding.uncovered,
            "cause": unwinding.cause,
            "remedy": unwinding.remedy,
        },
        "symbols": {
            "method": symbols.method,
            "functions": sum(table.functions for table in symbols.tables),
            "tables": [
                {"method": table.source, "functions": table.functions, "place": table.place} for table in symbols.tables
            ],
            "cause": symbols.cause,
            "remedy": symbols.remedy,
        },
    }


def as_text(report: ProcessReport, columns: int) -> str:
    """A paragraph for each mapping, then a verdict."""
    about = [
        f"PID {report.pid} ({report.name})",
        report.go_version,
        report.container and f"container {report.container[:12]}",
    ]
    lines = [printable(", ".join(filter(None, about))), ""]
    for mapped in report.mappings:
        lines += _paragraph(mapped, max(columns, 60))
    lines.append("")
    for sentence in _verdict(report):
        lines += textwrap.wrap(printable(sentence), max(columns, 60), break_on_hyphens=False)
    return "\n".join(lines) + "\n"


def _paragraph(mapped: Mapped, columns: int) -> list[str]:
    unwinding, symbols = mapped.unwinding, mapped.symbols
    mark = "✗" if mapped.doubtful else "!" if unwinding.has_gaps or unwinding.cause or symbols.few else "✓"
    (start, end), more = mapped.ranges[0], len(mapped.ranges) - 1
    words = [f"{mark} {start:x}-{end:x}", f"and {more} more" if more else "", _size(mapped.size), mapped.file]
    lines = [printable("  ".join(filter(None, words)) + (f" ({mapped.origin})" if mapped.origin else ""))]
    told = ((_unwound(unwinding), unwinding.remedy), (_named(symbols), symbols.remedy))
    for head, texts in zip(_HEADS, told, strict=True):
        blank = _INDENT + " " * len(head)
        for index, text in enumerate(filter(None, texts)):
            first = blank if index else _INDENT + head
            lines += textwrap.wrap(
                printable(text),
                columns,
                initial_indent=first,
                subsequent_indent=blank,
                break_on_hyphens=False,
                break_long_words=False,
            )
    return lines


def _unwound(found: Unwinding) -> str:
    if not found.sources:
        return f"frame pointers: {found.cause}"
    parts = ["; ".join(_ROWS_BY[source] for source in found.sources)]
    parts.append(f"{_counted(found.rows, 'row')} ({_size(found.bytes)})")
    if found.has_gaps:
        share = 100 * found.uncovered / found.code
        parts.append(f"frame pointers in the {share:.1f} % of it that have no entry (code or constants)")
    if found.unsupported:
        parts.append(f"{_counted(found.unsupported, 'row')} that the walker cannot follow")
    if found.cause:
        parts.append(found.cause)
    return ", ".join(parts)


def _named(symbols: Symbols) -> str:
    if not symbols.tables:
        return f"nothing: {symbols.cause}"
    return "; ".join([*map(_table, symbols.tables), *filter(None, [symbols.cause])])


def _table(table: Names) -> str:
    functions = _counted(table.functions, "function")
    if table.source is NameSource.GO:
        return f"Go function table ({table.place}, {functions})"
    if table.source is NameSource.PERF_MAP:
        return f"perf map {table.place} ({_counted(table.functions, 'symbol')})"
    if table.source is SymbolSource.DEBUG_FILE:
        return f"separate debug file {table.place} ({functions})"
    if table.source is SymbolSource.DYNSYM:
        return f".dynsym only: {_counted(table.functions, 'exported function')}"
    return f"{table.source} ({functions})"


def _verdict(report: ProcessReport) -> list[str]:
    """What profiles of this process will lack."""
    total = len(report.mappings)
    doubtful = [mapped.file for mapped in report.mappings if mapped.doubtful]
    gaps = [mapped.file for mapped in report.mappings if mapped.unwinding.has_gaps]
    few = sum(mapped.symbols.few for mapped in report.mappings)
    stacks = f"Stacks of PID {report.pid} ({report.name})"
    if doubtful:
        first = f"{stacks} may end early in {_share(len(doubtful), total)} ({_some(doubtful)})"
    elif gaps:
        first = f"{stacks} will be complete, but for code without entries in {_some(gaps)}"
    else:
        first = f"{stacks} will be complete"
    sentences = [
        f"{first}; {_share(few, total)} {'has' if few == 1 else 'have'} few names."
        if few
        else f"{first}, with all names."
    ]
    rows = sum(mapped.unwinding.bytes for mapped in report.mappings)
    if rows > BUDGET:
        sentences.append(f"Its rows take {_size(rows)}, of {_size(BUDGET)} for all processes: some will be missing.")
    return sentences


def _some(files: list[str]) -> str:
    """The first of the files, by their last names."""
    names = list(dict.fromkeys(file.rpartition("/")[2] or file for file in files))
    return ", ".join(names[:_MAX_NAMED]) + (", .." if len(names) > _MAX_NAMED else "")


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _share(part: int, total: int) -> str:
    return f"{part} of {_counted(total, 'file')}"


def _size(number: int) -> str:
    """A number of bytes in the unit that suits it."""
    if number < 10 << 10:
        return f"{number:,} bytes"
    return f"{number >> 10} KiB" if number < 1 << 20 else f"{number / (1 << 20):,.1f} MiB"
