import pytest
from hypothesis import given
from hypothesis import strategies as st

from symbolizer.unwind.pages import MAX_ADDRESS, MAX_ROWS, PageWriter, Spans
from symbolizer.unwind.rows import FRAME_POINTER, PAGE_SHIFT, Rule, RuleKind

RULES = (FRAME_POINTER, *(Rule(RuleKind.RSP, 8 * number) for number in range(1, 6)))

functions = st.lists(
    st.tuples(
        st.integers(0, 9000),
        st.dictionaries(st.integers(1, 9500), st.integers(0, 5), max_size=12),
        st.integers(0, 5),
    ),
    min_size=1,
    max_size=8,
)


@given(st.integers(0, 3 * 4096), functions)
def test_every_address_has_the_rule_of_its_function(first: int, made: list[tuple[int, dict[int, int], int]]) -> None:
    writer, start, expected = PageWriter(first), first, {}
    for size, later, rule in made:
        spans: Spans = [rule, *(offset << 16 | later[offset] for offset in sorted(later))]
        writer.add(start, start + size, spans)
        in_force = rule
        for offset in range(size):
            in_force = later.get(offset, in_force)
            expected[start + offset] = in_force
        start += size
    if start == first:
        return
    table = writer.table(RULES)
    for vaddr, rule in list(expected.items())[:: max(1, len(expected) // 400)]:
        assert table.rule_at(vaddr) == RULES[rule], hex(vaddr)
    for vaddr in (first - 1, start):
        if vaddr >> PAGE_SHIFT in range(first >> PAGE_SHIFT, (start - 1 >> PAGE_SHIFT) + 1):
            assert table.rule_at(vaddr) == FRAME_POINTER
    assert len(table.starts) == (start - 1 >> PAGE_SHIFT) - (first >> PAGE_SHIFT) + 2


@given(st.integers(0, 2 * 4096), functions)
def test_each_page_begins_with_a_row_at_its_first_byte_and_rows_ascend(
    first: int, made: list[tuple[int, dict[int, int], int]]
) -> None:
    writer, start = PageWriter(first), first
    for size, later, rule in made:
        writer.add(start, start + size, [rule, *(offset << 16 | later[offset] for offset in sorted(later))])
        start += size
    if start == first:
        return
    table = writer.table(RULES)
    for low, high in zip(table.starts, table.starts[1:], strict=False):
        offsets = [row >> 16 for row in table.rows[low:high]]
        assert offsets[0] == 0
        assert offsets == sorted(set(offsets))


def test_a_row_that_repeats_the_rule_before_it_is_left_out() -> None:
    writer = PageWriter(0x1000)
    for start in range(0x1000, 0x1100, 0x10):
        writer.add(start, start + 0x10, [1])
    assert list(writer.table(RULES).rows) == [1, 0x100 << 16]


def test_a_function_of_more_pages_than_any_program_has_is_refused() -> None:
    with pytest.raises(OverflowError):
        PageWriter(0).add(0, (MAX_ROWS + 2) << PAGE_SHIFT, [1])


def test_between_functions_is_rule_0() -> None:
    writer = PageWriter(0x1000)
    writer.add(0x1000, 0x1020, [1])
    writer.add(0x1021, 0x1060, [1])
    writer.add(0x3010, 0x3020, [1])
    table = writer.table(RULES)
    assert list(table.rows) == [1, 0x20 << 16, 0x21 << 16 | 1, 0x60 << 16, 0, 0, 0x10 << 16 | 1, 0x20 << 16]
    assert list(table.starts) == [0, 4, 5, 8]


def test_addresses_that_the_walker_cannot_hold_are_refused() -> None:
    PageWriter(MAX_ADDRESS - 0x2000).add(MAX_ADDRESS - 0x2000, MAX_ADDRESS, [1])
    with pytest.raises(OverflowError):
        PageWriter(MAX_ADDRESS - 0x1000).add(MAX_ADDRESS - 0x1000, MAX_ADDRESS + 1, [1])
