"""Rows of real libraries, compared with what binutils reads from the same call frame information."""

import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from symbolizer.binary import Binary
from symbolizer.unwind.rows import RBP_AT_RBP, RBP_LOST, RBP_UNCHANGED, Rule, RuleKind, UnwindTable
from symbolizer.unwind.table import unwind_table
from tests.support.cprograms import needs_compiler, run
from tests.support.readelf import Told, needs_readelf, rows

pytestmark = needs_readelf

FOLDERS = ("/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib", "/lib64")
ENOUGH = 40_000
"""Rows of one library that are compared."""
_BASES = {"rsp": RuleKind.RSP, "rbp": RuleKind.RBP}
_BY_EXPRESSION = frozenset(
    {
        RuleKind.PLT,
        RuleKind.DEREF_RSP,
        RuleKind.DEREF_RBP,
        RuleKind.DEREF_RSP_8,
        RuleKind.DEREF_RBP_8,
        RuleKind.UNSUPPORTED,
    }
)
SOURCE = """
#include <stdarg.h>
typedef float wide __attribute__((vector_size(32)));
void use(void *, ...);
int plain(int x) { int a[40]; use(a, x); return a[x]; }
int grows(int n) { char *p = __builtin_alloca(n); use(p); return p[n / 2]; }
int realigned(int n) { wide w; use(&w, n); char *p = __builtin_alloca(n); use(p, &w); return p[1] + (int)w[0]; }
int many(int a, int b, int c, int d, int e, int f, int g, int h) {
    for (int i = a; i < b; i++) use(&i, a, b, c, d, e, f, g, h);
    return a < b ? plain(c) : grows(d) + realigned(e);
}
double variadic(int n, ...) { va_list l; va_start(l, n); double x = va_arg(l, double); va_end(l); use(&x); return x; }
void never(void) { use(0); __builtin_trap(); }
"""


def fits(told: Told, rule: Rule) -> bool:
    """Whether a rule says what readelf says."""
    if told.ra == "u":
        return rule == Rule(RuleKind.END)
    if told.signal and (told.cfa, told.ra) == ("exp", "exp"):
        return rule == Rule(RuleKind.SIGNAL)
    if told.ra != "c-8" or told.rsp not in {"u", "v+0"}:
        return rule == Rule(RuleKind.UNSUPPORTED)
    if told.cfa == "exp":
        return rule.kind in _BY_EXPRESSION
    base, distance = re.fullmatch(r"(\w+?)([+-]\d+)", told.cfa).groups()  # type: ignore[union-attr]
    kind = _BASES.get(base, RuleKind.REGISTER)
    return (rule.kind, rule.cfa) == (kind, int(distance)) and fits_rbp(told.rbp, rule.rbp)


def fits_rbp(told: str, rbp: int) -> bool:
    if told in {"u", "s"}:
        return rbp == RBP_UNCHANGED
    if told == "exp":
        return rbp in {RBP_AT_RBP, RBP_LOST}
    return rbp == int(told[1:]) if told.startswith("c") else rbp == RBP_LOST


def differences(table: UnwindTable, all_told: Iterator[Told]) -> tuple[int, list[str]]:
    """How many rows were compared, and those that differ."""
    count, found = 0, []
    for told in all_told:
        if not told.start <= told.at < told.end:
            continue
        count += 1
        rule = table.rule_at(told.at)
        if rule is None or not fits(told, rule):
            found.append(f"{told} but {rule}")
    return count, found


def libraries() -> list[str]:
    names = ("libc.so.6", "ld-linux-x86-64.so.2", "libstdc++.so.6", "libcrypto.so.3", "libLLVM-14.so.1", "libaom.so.3")
    found = (next((f"{folder}/{name}" for folder in FOLDERS if Path(folder, name).exists()), "") for name in names)
    return [*filter(None, found), str(Path(sys.executable).resolve())]


@pytest.mark.parametrize("path", libraries(), ids=lambda path: Path(path).name)
def test_every_row_of_a_library(path: str) -> None:
    table = unwind_table(Binary.open(path, path))
    assert table is not None
    count, found = differences(table, rows(path, most=ENOUGH))
    assert count > 1500
    assert found == []


def test_the_c_library_has_a_signal_trampoline_and_ends_of_stacks() -> None:
    path = next(path for path in libraries() if "libc.so" in path)
    table = unwind_table(Binary.open(path, path))
    assert table is not None
    kinds = Counter(table.rules[row & 0xFFFF].kind for row in table.rows)
    assert kinds[RuleKind.SIGNAL] == 1
    assert kinds[RuleKind.END]
    assert kinds[RuleKind.UNSUPPORTED] < 20  # setcontext, __longjmp and their like, and vfork


@needs_compiler
@pytest.mark.parametrize("table_name", [".eh_frame", ".debug_frame"])
@pytest.mark.parametrize("flags", ["-O0", "-O2", "-O2 -fno-omit-frame-pointer", "-O2 -mavx -mstackrealign"])
def test_every_row_of_a_compiled_library(tmp_path: Path, table_name: str, flags: str) -> None:
    source, library = tmp_path / "library.c", tmp_path / "library.so"
    source.write_text(SOURCE)
    kind = ["-fno-asynchronous-unwind-tables", "-fno-exceptions"] if table_name == ".debug_frame" else []
    run("gcc", "-g", "-shared", "-fPIC", "-nostdlib", *flags.split(), *kind, "-o", library, source)
    binary = Binary.open(str(library), str(library))
    assert binary.elf.section(table_name) is not None
    table = unwind_table(binary)
    assert table is not None
    count, found = differences(table, rows(library, table_name))
    assert found == []
    assert count > 20
    if "-mavx" in flags:
        assert {rule.kind for rule in table.rules} >= {RuleKind.DEREF_RBP, RuleKind.REGISTER}
        assert RBP_AT_RBP in {rule.rbp for rule in table.rules}


def test_the_comparison_notices_every_column() -> None:
    told = Told(0, 16, 0, "rsp+16", "c-16", "u", "c-8", signal=False)
    assert fits(told, Rule(RuleKind.RSP, 16, -16))
    for other in ((RuleKind.RBP, 16, -16), (RuleKind.RSP, 24, -16), (RuleKind.RSP, 16), (RuleKind.END,)):
        assert not fits(told, Rule(*other))
