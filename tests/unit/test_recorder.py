"""The recorder's own decisions, without the kernel."""

from pathlib import Path

import pytest

from agent.errors import MachineError
from agent.recording.recorder import Recorder, value_types
from agent.recording.wanted import Wanted
from bpf import programs
from bpf.abi import Target, Want
from bpf.programs import Sizes, sizes_for
from bpf.waits import WaitSettings


@pytest.mark.parametrize(
    ("wanted", "target", "flags"),
    [
        (Wanted(), Target.ALL, Want.USER | Want.KERNEL | Want.LABELS),
        (Wanted(pids=(17,), labels=False), Target.PIDS, Want.USER | Want.KERNEL),
        (Wanted(cgroup=Path("/x"), user=False), Target.CGROUP, Want.KERNEL | Want.LABELS),
        (Wanted(kernel=False, per_thread=True, labels=False), Target.ALL, Want.USER | Want.PER_THREAD),
        (Wanted(user=False, per_goroutine=True, labels=False), Target.ALL, Want.KERNEL | Want.PER_GOROUTINE),
    ],
)
def test_what_is_wanted_becomes_what_the_programs_are_told(wanted: Wanted, target: Target, flags: Want) -> None:
    assert wanted.target is target
    assert wanted.flags == flags


@pytest.mark.parametrize(
    ("wanted", "columns"),
    [
        (Wanted(), ["samples", "cpu"]),
        (Wanted(on_cpu=False, waits=WaitSettings()), ["waits", "blocked", "runnable", "off_cpu"]),
        (Wanted(waits=WaitSettings()), ["samples", "cpu", "waits", "blocked", "runnable", "off_cpu"]),
    ],
)
def test_the_columns_are_those_of_what_is_wanted(wanted: Wanted, columns: list[str]) -> None:
    assert [column.type for column in value_types(wanted)] == columns


@pytest.mark.parametrize("python", ["/bin/false", "/nowhere/python3"])
def test_a_loader_that_fails_is_a_fault_of_the_machine_and_leaves_nothing_open(
    monkeypatch: pytest.MonkeyPatch, python: str
) -> None:
    monkeypatch.setattr(programs, "DISTRIBUTION_PYTHONS", (python,))
    monkeypatch.setattr(programs.shutil, "which", lambda path: path)
    with pytest.raises(MachineError) as caught, Recorder(Wanted()) as recorder:
        recorder.start()
    assert caught.value.exit_code == 3
    assert caught.value.remedy


@pytest.mark.parametrize(("hertz", "cpus", "seconds"), [(49, 1, 10), (19, 2, 10), (499, 8, 10), (1000, 128, 10)])
def test_the_maps_hold_a_window_of_samples_where_that_is_affordable(hertz: int, cpus: int, seconds: float) -> None:
    sizes = sizes_for(hertz, cpus, seconds)
    assert sizes.counts >= min(hertz * cpus * seconds, 65536)
    assert sizes.counts <= 65536
    assert sizes.stack_ring_pages & (sizes.stack_ring_pages - 1) == 0


def test_all_sizes_are_told_to_the_compiler() -> None:
    told = Sizes(counts=64).definitions(4)
    assert told["COUNTS"] == 64
    assert told["WAKE_BYTES"] == 256 * 4096 // 16
    assert set(told) == {name.upper() for name in Sizes.__slots__} | {"WAKE_BYTES"}
