"""The matrix of kernels: what works on which, as the boot tests recorded it, in Markdown."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vagrant.booting.errors import UsageError
from vagrant.booting.results import FAILED, SKIPPED, Report

COLUMNS = ("load", "on-cpu", "off-cpu", "goroutines", "unwinding", "kprobes", "btf", "headers-free")
NOTHING = "–"  # noqa: RUF001 - a dash is meant
BEGIN = "<!-- made by `vagrant/run all --update`: begin -->"
END = "<!-- made by `vagrant/run all --update`: end -->"
# What the kernel's verifier is ready to look at in one program, for root: BPF_COMPLEXITY_LIMIT_INSNS.
_LIMIT = 1_000_000


@dataclass(frozen=True, slots=True)
class Boot:
    """How a kernel did: `release` of uname -r, `date` as YYYY-MM-DD; without a report `problem` says why."""

    kernel: str
    date: str
    release: str = ""
    report: Report | None = None
    problem: str = ""


def cells(report: Report) -> dict[str, str]:
    """What stands in the columns that tests have recorded; one failed test of a column is enough for FAILED."""
    found: dict[str, list[str]] = {}
    for case in report.cases:
        if column := case.last("column"):
            text = {FAILED: "FAILED", SKIPPED: "skipped"}.get(case.outcome) or case.last("cell") or "yes"
            found.setdefault(column, []).append(text)
    return {
        column: "FAILED" if "FAILED" in texts else ", ".join(dict.fromkeys(texts)) for column, texts in found.items()
    }


def matrix(boots: Sequence[Boot]) -> str:
    """The table of kernels and columns, and below it each failure that no column tells."""
    rows = []
    for boot in boots:
        known = cells(boot.report) if boot.report else {}
        rows.append([boot.kernel, *(known.get(column, NOTHING) for column in COLUMNS)])
    return _joined(_table(["kernel", *COLUMNS], rows), _list(_failures(boots)))


def verified(boots: Sequence[Boot]) -> str:
    """The table of instructions that the verifier looked at, per program; empty where none were recorded."""
    counts = {boot.kernel: boot.report.numbers("verified.") for boot in boots if boot.report}
    rows = []
    for program in _names(counts):
        most = max(of.get(program, 0) for of in counts.values())
        rows.append([program, *(_number(of, program, "{:,.0f}") for of in counts.values()), f"{most / _LIMIT:.1%}"])
    return _table(["program", *counts, f"most, of {_LIMIT:,}"], rows) if rows else ""


def shares(boots: Sequence[Boot]) -> str:
    """The table of what functions had of the CPU time, in percent, and how far kernels differ; may be empty."""
    percents = {boot.kernel: boot.report.numbers("share.") for boot in boots if boot.report}
    rows = []
    for function in _names(percents):
        known = [of[function] for of in percents.values() if function in of]
        spread = f"{max(known) - min(known):.1f} points"
        rows.append([f"`{function}`", *(_number(of, function, "{:.1f} %") for of in percents.values()), spread])
    return _table(["function", *percents, "spread"], rows) if rows else ""


def document(boots: Sequence[Boot]) -> str:
    """What docs/kernels.md shows between its marks."""
    booted = [[boot.kernel, boot.release or NOTHING, boot.date] for boot in boots]
    parts = [
        ("", matrix(boots)),
        ("Instructions that the verifier looked at while loading, per program:", verified(boots)),
        ("Share of the CPU time that functions of the test program got:", shares(boots)),
        ("What was booted:", _table(["kernel", "release", "on"], booted)),
    ]
    return _joined(*(_joined(title, text) for title, text in parts if text))


def update(path: Path, text: str) -> None:
    """Put the text between the marks of the document. Raises UsageError where they are missing."""
    try:
        old = path.read_text()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.", "git checkout it.") from error
    before, begin, rest = old.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise UsageError(f"{path} has not the two marks between which the matrix stands.", "git checkout it.")
    path.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")


def _failures(boots: Iterable[Boot]) -> list[str]:
    told = [f"{boot.kernel}: {boot.problem}" for boot in boots if boot.problem]
    for boot in boots:
        cases = boot.report.cases if boot.report else ()
        told += [
            f"{boot.kernel}: {case.name} failed" for case in cases if case.outcome == FAILED and not case.last("column")
        ]
    return told


def _names(values: Mapping[str, Mapping[str, float]]) -> list[str]:
    """All names, in the order of their first appearance."""
    return list(dict.fromkeys(name for of in values.values() for name in of))


def _number(values: Mapping[str, float], name: str, form: str) -> str:
    return form.format(values[name]) if name in values else NOTHING


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose columns line up, so that it reads well in a terminal too."""
    lines = [[cell.replace("|", "\\|") for cell in line] for line in (head, *rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(head))]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    )


def _list(items: Iterable[str]) -> str:
    return "\n".join(f"- {item}" for item in items)


def _joined(*parts: str) -> str:
    return "\n\n".join(part for part in parts if part)
