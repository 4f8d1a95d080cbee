"""`goroscope goroutines`: what it refuses, and what it shows of processes that tests make up."""

import gzip
import itertools
import json
import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from agent.cli import main as cli
from agent.cli.reading import reading
from agent.errors import TargetError
from exporters.proto import pprof_pb2 as pb
from profiles.goroutines import Goroutines, Member
from tests.support.goroutines import PUT, goroutines, shop


class Process:
    """Takes the place of Source: gives one take after the other, then Ctrl-C."""

    takes: tuple[Goroutines, ...] = ()
    closed = 0

    def __init__(self, pid: int) -> None:
        if not self.takes:
            raise TargetError(f"Process {pid} is not a Go program.", "Give the id of one.")
        self._takes = itertools.chain(self.takes)

    def take(self, progress) -> Goroutines:
        progress(1, 2)
        try:
            return next(self._takes)
        except StopIteration:
            raise KeyboardInterrupt from None

    def close(self) -> None:
        type(self).closed += 1


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """run(*options, takes=...): status, standard output and standard error."""
    monkeypatch.setattr("agent.goroutines.source.Source", Process)

    def run(*options: object, takes: tuple[Goroutines, ...] = (shop(),)) -> tuple[int, str, str]:
        monkeypatch.setattr(Process, "takes", takes)
        monkeypatch.setattr(Process, "closed", 0)
        status = cli.main(["goroutines", "-p", str(os.getpid()), *map(str, options)])
        assert Process.closed == bool(takes) or status in {2, 4, 5}
        return status, *capsys.readouterr()

    return run


@pytest.mark.parametrize(
    ("options", "cause"),
    [
        (
            ["--by", "colour"],
            "--by colour is not known. Group by one of state, reason, created-by, function, label, stack.",
        ),
        (["--by", "address"], "--by address is not known."),
        (["--by", "label"], "--by label takes a key, such as `--by label request`"),
        (["--by", "state", "request"], "--by label takes a key"),
        (["--full", "--waits"], "--full and --waits cannot be had at once."),
        (["--watch", "1", "-o", "x.html"], "--watch and --output cannot be had at once."),
        (["--full", "--sort", "wait"], "--sort says nothing with --full."),
        (["--waits", "--by", "state"], "--by says nothing with --waits."),
        (["--json", "-o", "x.html"], "--json and --output cannot be had at once."),
        (["--force"], "--per-goroutine and --force without -o say nothing."),
        (["--per-goroutine"], "--per-goroutine and --force without -o say nothing."),
        (["-o", "x.svg"], "x.svg has no extension of a known format"),
        (["--min", "0"], "0 is not a whole number above 0"),
        (["--id", "x"], "x is not a whole number above 0"),
        (["--sort", "size"], "invalid choice"),
        (["--watch", "0"], "0 is not a number of seconds above 0"),
        (["-p", "0"], "0 is not a process id"),
    ],
)
def test_a_wrong_command_line_is_status_2(run, options: list[str], cause: str) -> None:
    status, output, error = run(*options)
    assert (status, output) == (2, "")
    assert cause in error
    assert error.count("\n") == 1


def test_a_process_must_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["goroutines"]) == 2
    assert "-p/--pid" in capsys.readouterr().err


def test_what_is_no_go_process_is_said_in_one_sentence(run) -> None:
    status, _, error = run(takes=())
    assert (status, error.count("\n")) == (4, 1)
    assert "is not a Go program. Give the id of one." in error


def test_a_thread_is_told_with_its_process(run) -> None:
    named = threading.Event()
    ended = threading.Event()
    ids: list[int] = []

    def wait() -> None:
        ids.append(threading.get_native_id())
        named.set()
        ended.wait()

    thread = threading.Thread(target=wait)
    thread.start()
    named.wait()
    try:
        status, _, error = run("-p", ids[0])
    finally:
        ended.set()
        thread.join()
    assert (status, error) == (4, f"goroscope: {ids[0]} is a thread of process {os.getpid()}. Give -p {os.getpid()}.\n")


def test_groups_are_shown_by_default(run) -> None:
    status, output, error = run()
    assert (status, error) == (0, "")
    assert output.startswith("shop (PID 4217, go1.27.3): 55 goroutines in 6 groups; 2 of the runtime left out (--all);")
    assert "runtime.gopark" not in output.split("select (no cases)")[0]
    assert output.count("runtime.gopark") < run("-v")[1].count("runtime.gopark")


def test_groups_can_be_of_labels_sorted_and_limited(run) -> None:
    assert "37  request: checkout · chan send" in run("--by", "label", "request")[1]
    assert "in 3 groups of fewer than 2 (--min)" in run("--min", "2", "--sort", "name")[1]
    assert "55 goroutines in 3 groups" in run("--by", "state")[1]
    assert "57 goroutines in 8 groups" in run("--all")[1]


def test_what_they_wait_for_is_shown_with_the_channel(run) -> None:
    output = run("--waits")[1]
    assert "40 goroutines wait for 2 known things; of 15 others it is not known" in output
    assert "chan 0xc000120000: buffered 10 of 10, 37 senders wait" in output


def test_a_full_listing_keeps_standard_output_to_goroutines(run) -> None:
    status, output, error = run("--full")
    assert status == 0
    assert output.startswith("goroutine 1 [select (no cases), 66 minutes, locked to thread]:\n")
    assert error == "2 of the runtime left out (--all); 2 changed while they were read.\n"
    assert len(json.loads(run("--full", "--json")[1])["goroutines"]) == 55


def test_one_goroutine_is_shown_also_of_the_runtime(run) -> None:
    assert run("--id", 3)[1].startswith("goroutine 3 [GC sweep wait]:\n")
    assert json.loads(run("--id", 104, "--json")[1])["goroutines"][0]["wait_reason"] == "chan send"
    status, output, error = run("--id", 999)
    assert (status, output) == (4, "")
    assert "has no goroutine 999 now." in error


def test_profiles_are_written_and_what_is_left_out_is_said(run, tmp_path: Path) -> None:
    path, page = tmp_path / "now.pb.gz", tmp_path / "now.html"
    status, output, error = run("-o", path, "-o", page, "-o", "-")
    assert status == 0
    assert "shop;runtime.goexit;shop.(*Server).handle;shop.(*Queue).Put" in output
    assert error.splitlines()[:2] == [
        "55 goroutines with 6 stacks.",
        "2 goroutines that the runtime runs for itself are left out",
    ]
    assert f"{path}: go tool pprof -http=: {path}" in error
    profile = pb.Profile.FromString(gzip.decompress(path.read_bytes()))
    assert sum(sample.value[0] for sample in profile.sample) == 55
    assert page.stat().st_size > 0
    assert run("-o", path)[0] == 5
    assert run("-o", path, "--force", "--per-goroutine", "--all")[0] == 0
    assert len(pb.Profile.FromString(gzip.decompress(path.read_bytes())).sample) == 57
    assert run("-o", tmp_path / "none" / "x.html")[0] == 5


def test_watching_shows_groups_then_changes_and_ends_well_at_ctrl_c(run) -> None:
    more = goroutines([*shop().members(), *((PUT, Member(1000 + n)) for n in range(3))])
    status, output, error = run("--watch", "0.001", takes=(shop(), more, replace(more, unsettled=1)))
    assert (status, error) == (0, "")
    first, *rounds = output.split("  58 goroutines: ")
    assert "55 goroutines in 6 groups" in first
    assert rounds[0].startswith("3 came\n      +3  now 40 · chan send · shop.push[...]  shop/queue.go:17 · {request")
    assert rounds[1] == "the same ones; 1 changed while they were read\n"
    assert run("--watch", "0.001", "-v", takes=(shop(),))[2].startswith("57 goroutines read and compared in ")
    lines = run("--watch", "0.001", "--json", takes=(shop(), more))[1].splitlines()
    assert [json.loads(line)["total"] for line in lines] == [55, 58]


def test_a_process_that_goes_while_it_is_watched_ends_the_watch(run, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_self, _progress) -> Goroutines:
        raise TargetError("Process 1 has gone.", "Give the id of a running process.")

    monkeypatch.setattr(Process, "take", gone)
    assert run("--watch", "1")[0] == 4


def test_progress_is_shown_only_after_a_while(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes standard error for a terminal then
    monkeypatch.setenv("TERM", "xterm")
    with reading(show=True) as progress:
        progress(1, 10)
    with reading(show=False, patience=0) as progress:
        progress(1, 10)
    assert capsys.readouterr().err == ""
    with reading(show=True, patience=0) as progress:
        progress(3, 10)
    assert "3/10" in capsys.readouterr().err
