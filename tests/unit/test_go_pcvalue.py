import pytest
from hypothesis import given
from hypothesis import strategies as st

from symbolizer.go.errors import GoError
from symbolizer.go.pcvalue import MAX_PAIRS, PcValues, whole_table
from tests.support.goimage import Pairs, encode_pairs


@st.composite
def tables(draw: st.DrawFn) -> Pairs:
    """Tables as the linker writes them: values that change, at growing offsets; some longer than a chunk."""
    steps = draw(st.lists(st.tuples(st.integers(-300_000, 300_000), st.integers(1, 70_000)), min_size=1, max_size=40))
    steps *= draw(st.sampled_from([1, 1, 200]))
    value, pc, pairs = -1, 0, []
    for index, (delta, length) in enumerate(steps):
        value += delta if delta or not index else 1
        pc += length
        pairs.append((value, pc))
    return tuple(pairs)


@given(tables(), st.binary(max_size=8), st.sets(st.integers(0, 3_000_000), max_size=20))
def test_values_are_those_that_were_encoded_in_whatever_order_asked(
    pairs: Pairs, behind: bytes, offsets: set[int]
) -> None:
    data = b"\1" + encode_pairs(pairs) + behind
    values = PcValues(data, 1, len(data), 1)
    for offset in offsets:
        expected = next((value for value, end in pairs if offset < end), -1)
        assert values.at(offset) == expected
    ends, found = whole_table(data, 1, len(data), 1)
    assert list(zip(found, ends, strict=True)) == list(pairs)


def test_offsets_count_in_instruction_quanta() -> None:
    data = encode_pairs(((5, 3), (6, 4)))
    values = PcValues(data, 0, len(data), 4)
    assert [values.at(offset) for offset in (0, 11, 12, 15, 16)] == [5, 5, 6, 6, -1]


@pytest.mark.parametrize(
    "damaged",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\x02", id="ends within a pair"),
        pytest.param(b"\x02\x01", id="has no end"),
        pytest.param(b"\x80" * 9000, id="varint without end"),
        pytest.param(b"\xff\xff\xff\xff\x7f\x01" * 3 + b"\0", id="values beyond 32 bits"),
        pytest.param(b"\x01\x01" * (MAX_PAIRS + 4096) + b"\0", id="too many pairs"),
    ],
)
def test_damaged_tables_are_refused_every_time_they_are_asked(damaged: bytes) -> None:
    values = PcValues(damaged, 0, len(damaged), 1)
    with pytest.raises(GoError):
        values.at(1 << 31)
    assert values.at(1 << 31) == -1
    assert len(values) == 0
