"""Samples of Go code bear the labels that their goroutine had at that moment, and its id where that is asked for."""

from collections import Counter
from pathlib import Path

import pytest

from agent.recording.recorder import Wanted
from profiles.model import Profile
from tests.go import toolchains
from tests.kernel.recording import Recording, record, running

pytestmark = [pytest.mark.kernel, pytest.mark.go, pytest.mark.slow]

SOURCE = Path(toolchains.__file__).parent / "programs/labelled"
MANY = {f"key{number:02}": f"value {number}" for number in range(30)}


def recorded(version: str, mode: str, **wanted: object) -> Recording:
    with running([toolchains.build(version, mode, SOURCE)], stdout=-1, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        return record(Wanted(hertz=499, pids=(process.pid,), **wanted), 4.0)


def by_function(profile: Profile) -> dict[str, Counter]:
    """Samples by label set, for each function main.burn* that is in their stack."""
    found: dict[str, Counter] = {}
    for sample in profile.samples:
        names = {frame.function for _, frame in profile.frames_of(sample.stack)}
        for name in (name for name in names if name.startswith("main.burn")):
            labels = profile.labels[sample.labels].more
            found.setdefault(name, Counter())[labels] += sample.values[0]
    return found


@pytest.mark.parametrize("version", toolchains.VERSIONS)
def test_labels_are_those_of_the_goroutine_at_that_moment(version: str) -> None:
    found = by_function(recorded(version, "stripped").profile)
    for which in range(3):
        sets = found[f"main.burn{which}"]
        assert sum(sets.values()) > 50
        assert len(sets) > 20  # each request has its own
        for labels in map(dict, sets):
            assert labels.keys() == {"worker", "request", "trace_id"}, labels
            assert labels["worker"] == str(which)
            assert labels["request"].startswith(f"{which}-")
            assert labels["trace_id"] == str(which) * 32
    assert [dict(labels) for labels in found["main.burnMany"]] == [MANY]
    long = {"long": "é" * 120, "empty": "", "longer": "x" * 255}
    assert [dict(labels) for labels in found["main.burnLong"]] == [long]
    assert list(found["main.burnPlain"]) == [()]


def test_goroutines_are_told_apart_where_that_is_asked_for() -> None:
    profile = recorded(toolchains.VERSIONS[-1], "plain", per_goroutine=True).profile
    goroutines: dict[str, set[tuple[int, str]]] = {}
    for sample in profile.samples:
        labels = profile.labels[sample.labels]
        for _, frame in profile.frames_of(sample.stack):
            if frame.function.startswith("main.burn"):
                goroutines.setdefault(frame.function, set()).add((labels.goroutine, labels.start_function))
    ids = {name: {number for number, _ in found} for name, found in goroutines.items()}
    assert all(len(found) == 1 and 0 not in found for found in ids.values()), ids
    assert ids["main.burn0"] == ids["main.burn1"] == ids["main.burn2"]
    assert len({frozenset(found) for found in ids.values()}) == 4
    starts = {name: start for name, found in goroutines.items() for _, start in found}
    assert starts["main.burn0"] == "main.requests"
    assert starts["main.burnPlain"] == "main.main.func1"


def test_labels_can_be_left_out() -> None:
    profile = recorded(toolchains.VERSIONS[-1], "plain", labels=False).profile
    assert all(not labels.more for labels in profile.labels)
