"""The CPUs that are sampled."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpf.attach import parse_cpu_list


@pytest.mark.parametrize(
    ("text", "cpus"), [("0\n", [0]), ("0-3\n", [0, 1, 2, 3]), ("0,2-4,8", [0, 2, 3, 4, 8]), ("\n", [])]
)
def test_the_kernels_lists_are_read(text: str, cpus: list[int]) -> None:
    assert parse_cpu_list(text) == cpus


@pytest.mark.parametrize("text", ["x", "-3", "0,a"])
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        parse_cpu_list(text)


@given(st.sets(st.integers(0, 300)))
def test_every_set_of_cpus_survives_the_list(cpus: set[int]) -> None:
    assert parse_cpu_list(",".join(map(str, sorted(cpus)))) == sorted(cpus)
