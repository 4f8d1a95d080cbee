"""Unwind rows of real Go programs: at every address against a plain reading of pcsp, and the special functions."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from symbolizer.elf.file import ElfFile
from symbolizer.go.binary import GoBinary
from symbolizer.unwind.gopclntab import go_unwind_table
from symbolizer.unwind.rows import FRAME_POINTER, Rule, RuleKind, UnwindTable
from tests.go.toolchains import VERSIONS

pytestmark = pytest.mark.go

GoBuild = Callable[[str, str, str], Path]
TOP_FRAME, SP_WRITE, ASSEMBLY = 1, 2, 4
CROSSED = ("systemstack", "asmcgocall", "cgocallback", "nanotime1")


def opened(path: Path) -> GoBinary:
    program = GoBinary.open(ElfFile.open(str(path)))
    assert program is not None
    return program


def plain_pcsp(data: bytes, position: int) -> Iterator[tuple[int, int]]:
    """(code offset, delta) for every pair, as runtime.step reads them, one byte at a time."""

    def varint() -> int:
        nonlocal position
        value = shift = 0
        while True:
            byte = data[position]
            position += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    pc, delta, first = 0, -1, True
    while True:
        zigzag = varint()
        if zigzag == 0 and not first:
            return
        first = False
        delta += -(zigzag + 1) // 2 if zigzag & 1 else zigzag // 2
        yield pc, delta
        pc += varint()


def expanded(table: UnwindTable) -> dict[int, Rule]:
    """The rule at each address at which a row begins."""
    found = {}
    for page in range(len(table.starts) - 1):
        for row in table.rows[table.starts[page] : table.starts[page + 1]]:
            found[(table.first_page + page << 12) + (row >> 16)] = table.rules[row & 0xFFFF]
    return found


@pytest.mark.parametrize("mode", ["plain", "pie", "cgo"])
@pytest.mark.parametrize("version", VERSIONS)
def test_compiled_code_has_the_rule_of_its_pcsp_at_every_address(go_build: GoBuild, version: str, mode: str) -> None:
    program = opened(go_build(version, mode, "truth"))
    table = go_unwind_table(program)
    rows = expanded(table)
    whole = bytes(program.elf.data)
    values = program.table.offset + program.table.offsets[3]
    compiled = framed = 0
    for index in range(program.table.count):
        func = program.table.function(index)
        start, end = (program.text + program.table.entries[at] for at in (index, index + 1))
        if func.flag & (TOP_FRAME | SP_WRITE | ASSEMBLY) or not func.pcsp:
            continue
        steps = dict(plain_pcsp(whole, values + func.pcsp))
        assert table.rule_at(start) == Rule(RuleKind.RSP, steps[0] + 8)
        delta, rule = steps[0], table.rule_at(start)
        # The end may be one byte early: a signal trampoline's rule begins in the padding before it.
        for vaddr in range(start, end - 1):
            delta = steps.get(vaddr - start, delta)
            rule = rows.get(vaddr, rule)
            assert rule == Rule(RuleKind.RSP, delta + 8, -16 if delta >= 8 else 0), hex(vaddr)
            framed += delta > 8
        compiled += 1
    assert compiled > 1500
    assert framed > 300_000


@pytest.mark.parametrize("version", VERSIONS)
def test_looking_up_an_address_finds_the_row_before_it(go_build: GoBuild, version: str) -> None:
    program = opened(go_build(version, "cgo", "truth"))
    table = go_unwind_table(program)
    rows = expanded(table)
    start, end = program.text_range
    rule = FRAME_POINTER
    for vaddr in range(start & ~4095, end):
        rule = rows.get(vaddr, rule)
        if vaddr % 61 == 0:
            assert table.rule_at(vaddr) == rule, hex(vaddr)
    assert table.rule_at(start - 1) in {None, FRAME_POINTER}
    assert table.rule_at(end) in {None, FRAME_POINTER}


def disassembly(path: Path, program: GoBinary, name: str) -> list[tuple[int, str]]:
    """(address, instruction) of a function, by objdump."""
    found = program.function_range(name)
    assert found is not None
    printed = subprocess.run(
        ["objdump", "-d", "--no-show-raw-insn", f"--start-address={found[0]}", f"--stop-address={found[1]}", path],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    lines = [line.split(":", 1) for line in printed.splitlines() if line.startswith(" ") and ":" in line]
    return [(int(address, 16), " ".join(text.split())) for address, text in lines]


@pytest.mark.parametrize("version", VERSIONS)
def test_functions_crossed_by_rbp_push_it_first_and_restore_it_last(go_build: GoBuild, version: str) -> None:
    path = go_build(version, "cgo", "truth")
    program = opened(path)
    table = go_unwind_table(program)
    for name in ("time.now", *(f"runtime.{name}" for name in CROSSED)):
        code = disassembly(path, program, name)
        assert [text for _, text in code[:2]] == ["push %rbp", "mov %rsp,%rbp"], name
        by_rbp = [vaddr for vaddr, _ in code[2:] if table.rule_at(vaddr) == FRAME_POINTER]
        assert len(by_rbp) > len(code) / 2, name
        assert table.rule_at(code[0][0]) == Rule(RuleKind.RSP, 8), name
        assert table.rule_at(code[1][0]) == Rule(RuleKind.RSP, 16, -16), name
        for vaddr, text in code:
            if text == "ret":  # rbp is the caller's again
                assert table.rule_at(vaddr) == Rule(RuleKind.RSP, 8), name
            if text.startswith("call"):
                assert table.rule_at(vaddr) == FRAME_POINTER or name == "runtime.systemstack", name


@pytest.mark.parametrize("version", VERSIONS)
def test_mcall_and_morestack_switch_rules_where_they_switch_stacks(go_build: GoBuild, version: str) -> None:
    path = go_build(version, "cgo", "truth")
    program = opened(path)
    table = go_unwind_table(program)
    for name, after in (("runtime.mcall", RuleKind.END), ("runtime.morestack", RuleKind.CURG)):
        switched = False
        for vaddr, text in disassembly(path, program, name):
            rule = table.rule_at(vaddr)
            assert rule is not None
            assert rule.kind == (after if switched else RuleKind.RSP), (name, text)
            switched = switched or (text.startswith("mov 0x38(") and text.endswith(",%rsp"))
        assert switched, name


@pytest.mark.parametrize("version", VERSIONS)
def test_stacks_end_where_goroutines_and_threads_begin(go_build: GoBuild, version: str) -> None:
    program = opened(go_build(version, "cgo", "truth"))
    table = go_unwind_table(program)
    for name in ("runtime.goexit", "runtime.mstart", "runtime.rt0_go", "gogo"):
        found = program.function_range(name)
        assert found is not None
        assert {table.rule_at(vaddr) for vaddr in range(found[0], found[1] - 1)} == {Rule(RuleKind.END)}, name


@pytest.mark.parametrize("version", VERSIONS)
def test_a_signal_handler_leads_to_the_signal_frame(go_build: GoBuild, version: str) -> None:
    path = go_build(version, "plain", "truth")
    program = opened(path)
    table = go_unwind_table(program)
    found = program.function_range("runtime.sigreturn__sigaction")
    assert found is not None
    # The kernel makes the first byte the handler's return address; callers are looked up one byte before.
    assert table.rule_at(found[0] - 1) == table.rule_at(found[0]) == Rule(RuleKind.SIGNAL)
    calls = [vaddr for vaddr, text in disassembly(path, program, "runtime.sigtramp") if text.startswith("call")]
    assert [table.rule_at(vaddr) for vaddr in calls] == [Rule(RuleKind.RSP, 0x30 + 0x18 + 8, -16)]
