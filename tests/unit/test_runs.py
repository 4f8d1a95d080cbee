"""Runs of elements: nothing is handed out twice, and what came back is free a window later."""

from hypothesis import given
from hypothesis import strategies as st

from bpf.runs import Runs


def test_runs_are_handed_out_in_order_until_nothing_is_left() -> None:
    runs = Runs(10, first=1)
    assert [runs.take(4), runs.take(5), runs.take(1)] == [1, 5, None]


def test_what_was_returned_is_free_only_after_a_window() -> None:
    runs = Runs(4)
    assert runs.take(4) == 0
    runs.give(0, 4)
    assert runs.take(1) is None
    runs.settle()
    assert runs.take(4) == 0


def test_neighbours_are_joined() -> None:
    runs = Runs(6)
    starts = [runs.take(2) for _ in range(3)]
    for start in starts:
        runs.give(start, 2)
    runs.settle()
    assert runs.take(6) == 0


@given(st.lists(st.integers(0, 12), max_size=60), st.randoms())
def test_no_index_is_ever_handed_out_twice(lengths: list[int], chance: object) -> None:
    runs, taken = Runs(32), []
    for length in lengths:
        if length == 12 or (taken and chance.random() < 0.3):
            if taken:
                runs.give(*taken.pop(chance.randrange(len(taken))))
            runs.settle()
            continue
        start = runs.take(length)
        if start is not None:
            taken.append((start, length))
        used = sorted(index for start, length in taken for index in range(start, start + length))
        assert len(set(used)) == len(used)
        assert all(0 <= index < 32 for index in used)
