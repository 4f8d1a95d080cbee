"""A kernel whose lockdown forbids BPF programs to read its memory: user code in full, and what is lacking is said.

Runs where `vagrant/run` boots such a kernel (vagrant/kernels.toml); elsewhere there is nothing to see.
"""

import json
import os
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.errors import MachineError
from agent.recording.recorder import Recorder, Wanted
from bpf.waits import WaitSettings
from tests.boot.build import shares
from tests.boot.goroutines import GO_OUTERMOST, state_of_threads
from tests.kernel.cli import goroscope
from tests.kernel.recording import cpu_seconds, record, running, wait_for

LOCKDOWN = Path("/sys/kernel/security/lockdown")
CONFIDENTIAL = LOCKDOWN.exists() and "[confidentiality]" in LOCKDOWN.read_text()
HERTZ, CPU_SECONDS = 199, 4.0

Say = Callable[[str, object], None]

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not CONFIDENTIAL, reason="this kernel is not locked down so")]


def test_user_code_is_recorded_in_full(record_property: Say, record_testsuite_property: Say) -> None:
    record_testsuite_property("release", os.uname().release)
    record_property("column", "on-cpu")
    with running([shares()], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as go:
        used: list[float] = []

        def end() -> None:
            wait_for(lambda: cpu_seconds(go.pid) >= used[0] + CPU_SECONDS, "the Go program has had its CPU time")
            used.append(cpu_seconds(go.pid))

        begin = (0.0, lambda: used.append(cpu_seconds(go.pid)))
        recording = record(Wanted(hertz=HERTZ, pids=(go.pid,)), 4.0, (begin,), before_stop=end)
        expected = HERTZ * (used[1] - used[0])
        go.stdin.write("\n")
        go.stdin.flush()
        told = json.loads(go.stdout.readline())
    found: Counter[str] = Counter()
    whole = told_why = total = 0
    for walked in recording.walked(go.pid):
        total += walked.samples
        told_why += walked.samples * bool(walked.raw.stop)
        whole += walked.samples * (not walked.raw.stop and walked.names[-1] in GO_OUTERMOST)
        found.update({name: walked.samples for name in told if name in walked.names})
    record_property("cell", f"user code; {whole} of {total} whole")
    # It runs on while sampling ends, and ticks that came too late are told.
    missed = recording.losses()["missed_ticks"]
    assert 0.85 * expected - missed <= total <= 1.3 * expected + 50, (total, expected, missed)
    assert whole >= 0.8 * total
    assert whole + told_why >= 0.99 * total
    for name, time in told.items():
        share = 100 * found[name] / found.total()
        record_property(f"share.{name}", round(share, 1))
        assert share == pytest.approx(100 * time / sum(told.values()), abs=5)
    assert any("its lockdown forbids" in note for note in recording.profile.metadata.notes)


def test_waits_are_refused_in_a_sentence(record_property: Say) -> None:
    record_property("column", "off-cpu")
    record_property("cell", "refused, with the cause")
    with (
        running(["sleep", "1000"]) as process,
        Recorder(Wanted(pids=(process.pid,), waits=WaitSettings())) as recorder,
        pytest.raises(MachineError, match="Waits cannot be followed on this kernel: its lockdown forbids"),
    ):
        recorder.start()


def test_doctor_names_the_mode_and_the_remedy(record_property: Say) -> None:
    record_property("column", "load")
    record_property("cell", "blind")
    done = goroscope("doctor", "--json")
    (found,) = (check for check in json.loads(done.output)["checks"] if check["name"] == "lockdown")
    assert (found["status"], "confidentiality" in found["cause"]) == ("warn", True)
    assert "lockdown=integrity" in found["remedy"]


def test_goroutines_are_read_as_ever(record_property: Say) -> None:
    record_property("column", "goroutines")
    record_property("cell", state_of_threads())
