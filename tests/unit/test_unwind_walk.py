"""The walk of a standing thread from outside, over stacks and rules made by hand."""

import pytest

from symbolizer.unwind.rows import FRAME_POINTER, RBP_AT_RBP, RBP_LOST, Rule, RuleKind
from symbolizer.unwind.walk import MAX_FRAMES, Walk

SP = 0x7000
LEAF, CALLER, ROOT, TRAMPOLINE = 0x1000, 0x2000, 0x3000, 0x4000
END = Rule(RuleKind.END)


def walk(rules: dict[int, Rule], words: dict[int, int], pc: int = LEAF) -> Walk:
    return Walk(pc, SP, lambda address: rules.get(address & ~0xFFF), words.get)


def test_callers_are_found_by_the_stack_pointer() -> None:
    rules = {LEAF: Rule(RuleKind.RSP, 8), CALLER: Rule(RuleKind.RSP, 32), ROOT: END}
    done = walk(rules, {SP: CALLER + 5, SP + 32: ROOT + 7})
    assert (done.addresses, done.exact, done.stop) == (
        [LEAF, CALLER + 5, ROOT + 7],
        [True, False, False],
        "complete",
    )


def test_a_call_that_ends_a_function_belongs_to_it() -> None:
    rules = {LEAF: Rule(RuleKind.RSP, 8), CALLER: END}
    assert walk(rules, {SP: CALLER + 0x1000}).addresses == [LEAF, CALLER + 0x1000]


def test_the_frame_pointer_is_known_once_a_callee_has_saved_it() -> None:
    rules = {LEAF: Rule(RuleKind.RSP, 24, -16), CALLER: Rule(RuleKind.RBP, 16, -16), ROOT: END}
    words = {SP + 16: CALLER + 5, SP + 8: SP + 64, SP + 72: ROOT + 7, SP + 64: 0}
    assert walk(rules, words).addresses == [LEAF, CALLER + 5, ROOT + 7]


@pytest.mark.parametrize("saved", [0, RBP_AT_RBP, RBP_LOST])
def test_without_it_the_walk_ends_with_a_cause(saved: int) -> None:
    rules = {LEAF: Rule(RuleKind.RSP, 8, saved), CALLER: FRAME_POINTER}
    done = walk(rules, {SP: CALLER + 5})
    assert (done.addresses, done.stop) == ([LEAF, CALLER + 5], "bad_frame")


def test_a_frame_pointer_of_zero_ends_a_chain_of_frame_pointers() -> None:
    rules = {LEAF: Rule(RuleKind.RSP, 24, -16), CALLER: FRAME_POINTER}
    assert walk(rules, {SP + 16: CALLER + 5, SP + 8: 0}).stop == "complete"


def test_realigned_stacks_and_linkage_tables() -> None:
    rules = {
        LEAF: Rule(RuleKind.PLT, 8),
        CALLER: Rule(RuleKind.DEREF_RSP_8, 0),
        ROOT: END,
    }
    words = {SP + 8: CALLER + 5, SP + 16: SP + 64, SP + 64: ROOT + 7}
    assert walk(rules, words, pc=LEAF + 11).addresses == [LEAF + 11, CALLER + 5, ROOT + 7]


def test_through_a_signal_to_what_it_interrupted() -> None:
    rules = {LEAF: Rule(RuleKind.RSP, 8), TRAMPOLINE: Rule(RuleKind.SIGNAL), CALLER: END}
    context = SP + 8
    words = {SP: TRAMPOLINE + 1, context + 120: 1, context + 160: SP + 4096, context + 168: CALLER}
    done = walk(rules, words)
    assert done.addresses == [LEAF, TRAMPOLINE + 1, CALLER]
    assert done.exact == [True, True, True]


@pytest.mark.parametrize(
    ("rule", "words", "stop"),
    [
        (Rule(RuleKind.UNSUPPORTED), {}, "unsupported"),
        (Rule(RuleKind.REGISTER, 8, 0, 10), {}, "unsupported"),
        (Rule(RuleKind.RSP, 8), {}, "bad_read"),
        (Rule(RuleKind.RSP, 8), {SP: 0x9999}, "no_mapping"),
        (Rule(RuleKind.RSP, 0), {SP - 8: CALLER}, "bad_frame"),
        (Rule(RuleKind.RSP, 12), {SP + 4: CALLER}, "bad_frame"),
        (Rule(RuleKind.RSP, 8), {SP: 0}, "complete"),
    ],
)
def test_every_end_has_its_cause(rule: Rule, words: dict[int, int], stop: str) -> None:
    assert walk({LEAF: rule}, words).stop == stop


def test_a_stack_without_end_is_cut() -> None:
    done = Walk(LEAF, SP, lambda _: Rule(RuleKind.RSP, 8), lambda _: LEAF)
    assert (len(done.addresses), done.stop) == (MAX_FRAMES, "depth")
