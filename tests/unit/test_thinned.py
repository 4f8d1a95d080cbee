"""Waits that were not walked: their time goes to others of their kind, and none is lost or made up."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from bpf import abi
from bpf.thinned import spread
from bpf.waits import Wait, WaitState, class_of


def wait(stack: int, blocked: int, runnable: int = 0, *, waits: int = 1, thinned: int = 3, tid: int = 0) -> Wait:
    return Wait(stack, 0, 40, tid, WaitState.SLEEPING, waits, blocked, runnable, blocked + runnable, thinned)


UNWALKED = abi.THINNED_STACK


def test_waits_of_which_each_was_walked_stay_as_they_are() -> None:
    waits = [wait(999, 50, thinned=0), wait(998, 70, 3, thinned=0)]
    assert spread(waits) == waits


def test_those_that_were_walked_stand_for_the_others_in_proportion() -> None:
    found = {one.stack: one for one in spread([wait(999, 30), wait(998, 10), wait(UNWALKED, 400, waits=20)])}
    assert {stack: one.blocked_ns for stack, one in found.items()} == {999: 330, 998: 110}
    assert sum(one.waits for one in found.values()) == 22
    assert found[999].longest_ns == 400


def test_how_much_was_waiting_for_a_cpu_is_told_by_those_that_were_walked() -> None:
    (found,) = spread([wait(999, 30, 10), wait(UNWALKED, 400)])
    assert (found.blocked_ns, found.runnable_ns) == (330, 110)


def test_waits_of_another_length_thread_or_state_do_not_stand_for_them() -> None:
    waits = [wait(999, 30, thinned=2), wait(998, 30, tid=7), wait(UNWALKED, 400)]
    assert sorted(spread(waits), key=lambda one: one.stack) == sorted(waits, key=lambda one: one.stack)


@given(
    st.lists(
        st.builds(
            wait,
            st.sampled_from([UNWALKED, 997, 998, 999]),
            st.integers(0, 10**15),
            st.integers(0, 10**15),
            waits=st.integers(0, 10**9),
            thinned=st.integers(0, abi.THINNED_CLASSES),
            tid=st.integers(0, 1),
        )
    )
)
def test_the_sums_are_the_same_to_the_nanosecond(waits: list[Wait]) -> None:
    def sums(of: list[Wait]) -> Counter[str]:
        found: Counter[str] = Counter()
        for one in of:
            found["waits"] += one.waits
            found["ns"] += one.blocked_ns + one.runnable_ns
        return found

    found = spread(waits)
    assert sums(found) == sums(waits)
    assert all(min(one.waits, one.blocked_ns, one.runnable_ns) >= 0 for one in found)


@given(st.integers(0, 2**62))
def test_a_class_is_four_times_as_long_as_the_one_before(duration: int) -> None:
    found = class_of(duration)
    assert 1 <= found <= abi.THINNED_CLASSES
    if found > 1:
        assert duration >= 2 ** (abi.THINNED_BITS + 2 * (found - 2))
    if found < abi.THINNED_CLASSES:
        assert duration < 2 ** (abi.THINNED_BITS + 2 * (found - 1))
