import pytest

from symbolizer.elf.file import ElfFile
from symbolizer.go.binary import GoBinary
from symbolizer.go.errors import GoError
from symbolizer.unwind import rows
from symbolizer.unwind.gopclntab import go_unwind_table
from symbolizer.unwind.rows import FRAME_POINTER, Rule, RuleKind
from tests.support.goimage import PROGRAM, go_image

ENTRY = Rule(RuleKind.RSP, 8)
END, CURG, SIGNAL = Rule(RuleKind.END), Rule(RuleKind.CURG), Rule(RuleKind.SIGNAL)


def rules_of(name: str, *offsets: int) -> list[Rule | None]:
    program = GoBinary.open(ElfFile(go_image()))
    assert program is not None
    found = program.function_range(name)
    assert found is not None
    table = go_unwind_table(program)
    return [table.rule_at(found[0] + offset) for offset in offsets]


def test_compiled_code_goes_by_its_distance_from_entry() -> None:
    framed = Rule(RuleKind.RSP, 16, -16)
    large = Rule(RuleKind.RSP, 32, -16)
    assert rules_of("main.outer[go.shape.int]", 0, 1, 3, 4, 59, 60, 61, 63) == [
        ENTRY, framed, framed, large, large, framed, ENTRY, ENTRY,
    ]  # fmt: skip


def test_systemstack_is_crossed_by_rbp_once_rbp_is_its_own() -> None:
    rules = rules_of("runtime.systemstack", 0, 1, 3, 4, 59, 60)
    pushed = Rule(RuleKind.RSP, 16, -16)
    assert rules == [ENTRY, pushed, pushed, FRAME_POINTER, FRAME_POINTER, ENTRY]


def test_mcall_and_morestack_leave_the_stack_at_the_instruction_that_loads_rsp() -> None:
    assert rules_of("runtime.mcall", 0, 7, 8, 31) == [ENTRY, Rule(RuleKind.RSP, 16, -16), END, END]
    assert rules_of("runtime.morestack", 0, 5, 6, 31) == [ENTRY, ENTRY, CURG, CURG]


def test_goexit_ends_the_stack() -> None:
    assert rules_of("runtime.goexit", 0, 30) == [END, END]


def test_the_signal_frame_begins_one_byte_before_its_function() -> None:
    assert rules_of("runtime.sigreturn__sigaction", -2, -1, 0, 31) == [END, SIGNAL, SIGNAL, SIGNAL]


def test_assembly_that_stores_rbp_has_it_saved_behind_the_store() -> None:
    assert rules_of("main.store", 0, 4, 8, 9) == [
        ENTRY,
        Rule(RuleKind.RSP, 56),
        Rule(RuleKind.RSP, 56),
        Rule(RuleKind.RSP, 56, -16),
    ]


def test_behind_the_text_is_the_frame_pointer_rule() -> None:
    assert rules_of("main.large", PROGRAM[-1].size, 2000) == [FRAME_POINTER, FRAME_POINTER]


def test_more_rules_than_any_program_has_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "MAX_RULES", 3)
    program = GoBinary.open(ElfFile(go_image()))
    assert program is not None
    with pytest.raises(GoError):
        go_unwind_table(program)
