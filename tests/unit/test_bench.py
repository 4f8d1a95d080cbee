"""The arithmetic of the bench, and the part of its load that is generated."""

import pytest

from tests.bench.slowdown import ratios
from tests.bench.stats import estimate, interpolate
from tests.go.programs.load.generate import go_source


def test_an_estimate_is_the_median_inside_its_interval():
    found = estimate([1.01, 0.99, 1.0, 1.02, 0.98, 1.0, 1.0, 5.0])
    assert found.median == 1.0
    assert found.low <= found.median <= found.high < 5.0
    assert found.count == 8


def test_an_estimate_of_the_same_values_is_the_same():
    values = [float(value % 7) for value in range(40)]
    assert estimate(values) == estimate(values)


def test_values_that_agree_leave_no_doubt():
    found = estimate([2.0] * 5)
    assert (found.low, found.high) == (2.0, 2.0)


def test_interpolation_between_readings():
    assert interpolate([(0.0, 0.0), (2.0, 10.0), (3.0, 10.0)], 0.5) == 2.5
    assert interpolate([(0.0, 0.0), (2.0, 10.0), (3.0, 10.0)], 2.5) == 10.0
    assert interpolate([(1.0, 4.0), (1.0, 4.0)], 1.0) == 4.0


def test_there_is_no_reading_outside_of_what_was_measured():
    with pytest.raises(ValueError, match="outside"):
        interpolate([(0.0, 0.0), (2.0, 10.0)], 2.1)


def test_generated_chains_depend_on_the_arguments_alone():
    assert go_source(20, seed=3) == go_source(20, seed=3)
    assert go_source(20, seed=3) != go_source(20, seed=4)


def test_every_generated_function_is_there_once_and_calls_only_those():
    text = go_source(20)
    for number in range(20):
        assert text.count(f"func chain{number:03d}(") == 1
    assert "chain020" not in text


def test_speed_on_by_speed_off_does_not_see_a_steady_drift():
    done = []
    for four in range(20):
        done += [(1000 - four, 10**6), (900 - four, 10**6), (900 - four, 10**6), (1000 - four, 10**6)]
    found = ratios(done)
    assert len(found) == 2
    assert all(abs(ratio - 0.9) < 0.01 for ratio in found)
