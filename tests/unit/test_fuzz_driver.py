"""The fuzz driver finds what is planted, and gives the same inputs for the same seed."""

import itertools
import signal
import struct
import time

import pytest

from tests.fuzz import run as driver
from tests.fuzz.run import Target, attempt, fuzz, inputs

SEED = struct.pack("<IIQQ", 0x1234, 24, 0, 16) + bytes(range(40))


@pytest.fixture(autouse=True)
def timer():
    before = signal.signal(signal.SIGALRM, driver._out_of_time)
    yield
    signal.signal(signal.SIGALRM, before)


def trusting(data: bytes) -> None:
    """A parser that refuses a wrong magic, but believes the length in its header."""
    if len(data) < 24 or data[:4] != SEED[:4]:
        return
    size = int.from_bytes(data[4:8], "little")
    _ = data[size - 1] if size else 0


def test_a_length_that_is_believed_is_found() -> None:
    ran, failure = fuzz(Target("trusting", (SEED,), trusting), seed=1, count=20_000, seconds=30)
    assert failure is not None
    assert ran > 1
    assert "IndexError" in failure.reason
    assert attempt(Target("trusting", (SEED,), trusting), failure.data) is not None


def test_an_input_that_never_ends_is_found_although_the_parser_catches_everything() -> None:
    def endless(_data: bytes) -> None:
        while True:
            try:
                time.sleep(10)
            except Exception:
                continue

    failure = attempt(Target("endless", (SEED,), endless), SEED, time_limit=0.05)
    assert failure is not None
    assert "longer than" in failure.reason


def test_a_clean_parser_runs_all_its_inputs() -> None:
    assert fuzz(Target("clean", (SEED,), lambda _data: None), seed=1, count=500, seconds=30) == (500, None)


def test_the_same_seed_gives_the_same_inputs_and_another_seed_others() -> None:
    target = Target("any", (SEED, b"text\n"), lambda _data: None)
    first, again, other = (list(itertools.islice(inputs(target, seed), 200)) for seed in (1, 1, 2))
    assert first == again
    assert first[2:] != other[2:]
    assert first[:2] == [SEED, b"text\n"]
    assert len(set(first)) > 150


def test_empty_seeds_are_survived_by_every_mutation() -> None:
    assert len(list(itertools.islice(inputs(Target("empty", (b"",), lambda _data: None), 1), 2000))) == 2000
