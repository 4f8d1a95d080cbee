"""How each mapping of a process will be unwound and symbolized, and why not. Pure but for the files themselves.

What is said of a file is what the recorder would do with it: the same rows are made, the same tables of names read.
"""

from collections.abc import Callable
from pathlib import Path

from agent.doctor.mapped import (
    ANONYMOUS,
    KERNELS,
    ROW_BYTES,
    Mapped,
    Names,
    NameSource,
    Origin,
    ProcessReport,
    Symbols,
    Unwinding,
)
from agent.processes.spaces import VDSO, AddressSpace, Region
from agent.procfs.process import namespace_pid
from bpf.programs import Sizes
from bpf.rows import BUDGET
from symbolizer.binary import Binary
from symbolizer.coverage import Coverage, RowSource, coverage
from symbolizer.elf.file import EM_X86_64
from symbolizer.go.binary import GoBinary
from symbolizer.go.errors import GoError
from symbolizer.native import SymbolSource
from symbolizer.unwind.frame_pointers import FrameError
from symbolizer.unwind.frames import frame_unwind_table
from symbolizer.unwind.gopclntab import go_unwind_table
from symbolizer.unwind.rows import FRAME_POINTER, PAGE_SHIFT, RuleKind, UnwindTable
from symbolizer.unwind.table import unwind_table

_SOME_C = 256
"""Bytes beside the Go code from which on they are C code, and no mere padding."""
_ROOT = "Run as root."
_UNUSABLE = "none of the entries can be used"


def examine_process(
    space: AddressSpace,
    proc_root: Path = Path("/proc"),
    *,
    privileged: bool = True,
    watch: Callable[[Binary], None] = lambda _binary: None,
) -> ProcessReport:
    """Look at all that a process has mapped. `watch` is called before the tables of each file are read."""
    groups: dict[object, list[Region]] = {}
    for region in space.regions:
        groups.setdefault(region.binary or (region.path, region.cause), []).append(region)
    root = f"{proc_root}/{space.tgid}/root"
    mappings, version = [], ""
    for regions in groups.values():
        binary = regions[0].binary
        if binary is None:
            unwinding, symbols = _without_file(space, regions[0], proc_root, privileged=privileged)
        else:
            watch(binary)
            unwinding, symbols = _of_file(binary, root)
            version = version or next((one.place for one in symbols.tables if one.source is NameSource.GO), "")
        mappings.append(
            Mapped(
                ranges=tuple((region.start, region.end) for region in regions),
                file=regions[0].path or ANONYMOUS,
                origin=_origin(regions, root),
                build_id=binary.build_id if binary else "",
                unwinding=unwinding,
                symbols=symbols,
            )
        )
    return ProcessReport(space.tgid, space.command, space.container, version, tuple(mappings))


def _origin(regions: list[Region], root: str) -> Origin:
    if not any(region.deleted for region in regions):
        return Origin.PRESENT
    path = regions[0].path
    try:
        return Origin.REPLACED if path.startswith("/") and Path(root + path).exists() else Origin.DELETED
    except OSError:
        return Origin.DELETED


def _without_file(
    space: AddressSpace, region: Region, proc_root: Path, *, privileged: bool
) -> tuple[Unwinding, Symbols]:
    """Generated code, or a file that cannot be used. Both are named by the perf map."""
    size = region.end - region.start
    remedy = "" if privileged or not region.cause else _ROOT
    if region.cause:
        unwinding = Unwinding(cause=f"the file cannot be used: {region.cause}", remedy=remedy)
    elif region.path in KERNELS:
        unwinding = Unwinding(cause="no program keeps functions here")
    else:
        keep = "Node.js and .NET keep frame pointers there; give java -XX:+PreserveFramePointer."
        unwinding = Unwinding(code=size, uncovered=size, cause="code made at run time has no tables", remedy=keep)
    path = f"/tmp/perf-{namespace_pid(space.tgid, proc_root)}.map"  # noqa: S108 - where runtimes write it
    if space.perf_map is not None:
        count = len(space.perf_map)
        cause = "" if count else "the perf map names nothing"
        return unwinding, Symbols((Names(NameSource.PERF_MAP, count, path),), few=not count, cause=cause)
    if region.cause:
        return unwinding, Symbols(few=True, cause="the file cannot be used", remedy=remedy)
    if region.path in KERNELS:
        return unwinding, Symbols(cause="no program keeps functions here")
    write = "Let the runtime write one, such as node --perf-basic-prof or python3 -X perf."
    return unwinding, Symbols(few=True, cause=f"there is no {path}", remedy=write)


def _of_file(binary: Binary, root: str) -> tuple[Unwinding, Symbols]:
    """A file's answer; whatever is wrong with it is told there."""
    try:
        found = coverage(binary)
        return _unwinding(binary, found), _symbols(binary, found, root)
    except Exception as error:  # one file, possibly made to break us, must not hide what is said of all others
        cause = f"the file broke its reader ({type(error).__name__}: {error})"
        return Unwinding(cause=cause), Symbols(few=True, cause=cause)


def _unwinding(binary: Binary, found: Coverage) -> Unwinding:
    nothing = Unwinding(code=found.code, uncovered=found.code, cause="the file is for another kind of processor")
    if binary.elf.machine != EM_X86_64:
        return nothing
    table = unwind_table(binary)
    sources = _used(binary, found, table) if table else ()
    if table is None or not sources:
        cause = _damage(binary, go=True, frames=True) or binary.go_error
        if cause or found.sources:
            cause = cause or _UNUSABLE
            return Unwinding(code=found.code, uncovered=found.code, cause=f"damaged: {cause}")
        remedy = "Build it with -fno-omit-frame-pointer, or with -fasynchronous-unwind-tables."
        return Unwinding(code=found.code, uncovered=found.code, cause="no call frame information", remedy=remedy)
    rows = len(table.rows)
    if rows * ROW_BYTES > BUDGET or len(table.starts) > Sizes().pages:
        cause = f"its {rows:,} rows are more than the walker has room for"
        return Unwinding((), rows, code=found.code, uncovered=found.code, cause=cause)
    lost = [source for source in found.sources if source not in sources]
    if lost:
        damage = _damage(binary, go=RowSource.GO in lost, frames=lost != [RowSource.GO]) or _UNUSABLE
        cause = f"{' and '.join(lost)} unused, damaged: {damage}"
    else:
        cause = _go_unused(binary)
    unsupported = {index for index, rule in enumerate(table.rules) if rule.kind is RuleKind.UNSUPPORTED}
    return Unwinding(
        sources=sources,
        rows=rows,
        unsupported=sum(row & 0xFFFF in unsupported for row in table.rows) if unsupported else 0,
        code=found.code,
        uncovered=found.native if lost and RowSource.GO in sources else found.uncovered,
        cause=cause,
    )


def _go_unused(binary: Binary) -> str:
    return f"Go's tables are not used: {binary.go_error}" if binary.go_error else ""


def _used(binary: Binary, found: Coverage, table: UnwindTable) -> tuple[RowSource, ...]:
    """The sources that left rows in a table: of damaged ones it has none, and only the code's first rule."""
    by_frames = any(table.rule_at(start) not in {None, FRAME_POINTER} for start in found.starts)
    by_go = binary.go is not None and _has_rows(table, *binary.go.text_range)
    return tuple(source for source in found.sources if (by_go if source is RowSource.GO else by_frames))


def _has_rows(table: UnwindTable, start: int, end: int) -> bool:
    """Whether any page from the one of `start` to the one of `end` has another rule than that of frame pointers."""
    last = len(table.starts) - 1
    first, behind = (min(max(0, page - table.first_page), last) for page in (start >> PAGE_SHIFT, end >> PAGE_SHIFT))
    rows = range(table.starts[first], table.starts[min(behind + 1, last)])
    return any(table.rows[index] & 0xFFFF for index in rows)


def _damage(binary: Binary, *, go: bool, frames: bool) -> str:
    """What the tables that were asked for are refused for, empty if for nothing."""
    found = []
    try:
        if go and binary.go is not None:
            go_unwind_table(binary.go)
    except GoError as error:
        found.append(str(error))
    try:
        if frames:
            frame_unwind_table(binary.elf, binary.debug)
    except FrameError as error:
        found.append(str(error))
    return "; ".join(found)


def _symbols(binary: Binary, found: Coverage, root: str) -> Symbols:
    go = binary.go
    tables: list[Names] = []
    causes: list[str] = []
    if go is not None:
        tables.append(Names(NameSource.GO, go.table.count, _version(go)))
        causes += go.limits
        if found.native < _SOME_C:
            return Symbols(tuple(tables), cause=" ".join(causes))
    else:
        causes += filter(None, [_go_unused(binary)])
    source, functions = next(iter(binary.symbol_sources), (None, 0))
    if source is not None:
        debug = binary.debug.path.removeprefix(root) if binary.debug and source is SymbolSource.DEBUG_FILE else ""
        tables.append(Names(source, functions, debug))
    if binary.path == VDSO or source not in {None, SymbolSource.DYNSYM}:  # what the vDSO exports is all of it
        return Symbols(tuple(tables), few=bool(binary.go_error), cause=" ".join(causes))
    whose = " of its C code" if go else ""
    missing = f"there are no symbols{whose}" if source is None else f"static functions{whose} have no name"
    which = f"build id {binary.build_id}" if binary.build_id else "of this very build: it has no build id"
    return Symbols(
        tuple(tables),
        few=found.native * 10 > found.code,
        cause=" ".join([*causes, missing]),
        remedy=f"Install its debug symbols ({which}).",
    )


def _version(go: GoBinary) -> str:
    return "go" + ".".join(map(str, go.version)) if go.version else "go of an unknown version"
