"""Stacks of Go programs as the kernel walked them, against the program's own account and its disassembly.

One recording a Go version, of the truth program in all link modes at once: most of them have their code at the
same addresses, which also shows that no process is walked by the tables of another.
"""

import itertools
import json
import subprocess
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest

from agent.recording.recorder import Wanted
from bpf import causes
from profiles.model import Kind
from symbolizer.go.binary import GoBinary
from tests.go import toolchains
from tests.go.truth import agree, frames_of
from tests.kernel.calls import Calls, disassemble
from tests.kernel.recording import Recording, Walked, record, running

pytestmark = [pytest.mark.kernel, pytest.mark.go, pytest.mark.slow]

SOURCE = Path(__file__).parents[1] / "go" / "programs" / "truth"
MODES = ("plain", "stripped", "pie", "cgo", "static")
HERTZ = 499
SECONDS = 6.0
INJECTED = frozenset({"runtime.sigpanic", "runtime.asyncPreempt", "runtime.sigreturn__sigaction"})
"""Nothing calls these: what is above them was interrupted. A handler returns to the first byte of the last."""
CALLERS_OF_LEAF = frozenset(
    {"main.callsLeaf", "main.base.Size", "main.deferred.func1.1", "main.recurse", "main.calledFromC"}
)
SCHEDULER_ROOTS = frozenset({"runtime.mcall", "runtime.mstart", "runtime.rt0_go", "gogo", "runtime.gogo"})
JUMPING_BY_REGISTER = frozenset({"runtime.systemstack", "runtime.reflectcall"})
"""They jump to a function that they are told of, so that the call of them is the only one on the stack."""


@dataclass(frozen=True)
class Step:
    """A physical frame of a stack. `exact`: the address is that of an instruction, not of a return."""

    address: int
    exact: bool
    kind: Kind

    @property
    def inside(self) -> int:
        return self.address if self.exact else self.address - 1


@dataclass
class Run:
    """A program of the recording, and all that is known of it."""

    path: Path
    pid: int
    recording: Recording
    answers: dict[tuple[str, int], tuple[object, ...] | None]
    walked: list[Walked]

    @cached_property
    def region(self) -> object:
        regions = [
            region for space in self.recording.spaces.values() if space.tgid == self.pid for region in space.regions
        ]
        return next(region for region in regions if region.binary is not None and region.binary.go is not None)

    @property
    def go(self) -> GoBinary:
        return self.region.binary.go

    @cached_property
    def calls(self) -> Calls:
        return disassemble(self.path)

    @cached_property
    def entries(self) -> list[int]:
        return [self.go.text + entry for entry in self.go.table.entries]

    @cached_property
    def tail_calls(self) -> dict[int, set[int]]:
        return self.calls.tail_calls(self.entries)

    def steps(self, walked: Walked) -> list[Step]:
        """The user frames with file virtual addresses in the program (0 elsewhere)."""
        return [
            Step(address - self.region.bias if location.kind is Kind.GO else 0, exact, location.kind)
            for address, exact, location in zip(walked.addresses, walked.exact, walked.user, strict=False)
        ]

    @cached_property
    def entry_set(self) -> set[int]:
        return set(self.entries)

    def name(self, step: Step) -> str:
        return self.go.function_name(step.inside)

    def entry(self, vaddr: int) -> int:
        return self.entries[bisect_right(self.entries, vaddr) - 1]


def ask(process: subprocess.Popen, questions: list[tuple[str, int]]) -> dict[tuple[str, int], object]:
    output, _ = process.communicate(
        "".join(f"{kind} {address:x}\n" for kind, address in questions) + "quit\n", timeout=60
    )
    answers = [json.loads(line) for line in output.splitlines()]
    assert len(answers) == len(questions)
    return {question: frames_of(answer["frames"]) for question, answer in zip(questions, answers, strict=True)}


def questions_of(run: Run) -> dict[tuple[str, int], tuple[object, ...]]:
    """What to ask the program, and what we say: every distinct address of its own code that was sampled."""
    ours = {}
    for walked in run.walked:
        for address, location, step in zip(walked.addresses, walked.user, run.steps(walked), strict=False):
            if step.kind is Kind.GO:
                # The program itself tells the first byte of sigreturn from a return address.
                first = step.exact and not (run.name(step) in INJECTED and step.address in run.entry_set)
                ours["leaf" if first else "caller", address] = location.frames
    return ours


@pytest.fixture(scope="module", params=toolchains.VERSIONS)
def runs(request: pytest.FixtureRequest) -> Iterator[dict[str, Run]]:
    """The truth program of one Go version in all modes, recorded together for a few seconds."""
    with ExitStack() as stack:
        processes = {}
        for mode in MODES:
            path = toolchains.build(request.param, mode, SOURCE)
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
            processes[mode] = path, stack.enter_context(running([path], **pipes))
        pids = tuple(json.loads(process.stdout.readline())["pid"] for _, process in processes.values())
        recording = record(Wanted(hertz=HERTZ, pids=pids), SECONDS)
        found = {}
        for mode, (path, process) in processes.items():
            run = found[mode] = Run(path, process.pid, recording, {}, recording.walked(process.pid))
            run.answers = ask(process, list(questions_of(run)))
        yield found


@pytest.fixture(params=MODES)
def run(request: pytest.FixtureRequest, runs: dict[str, Run]) -> Run:
    return runs[request.param]


def test_every_sampled_address_has_the_frames_that_the_program_itself_says(run: Run) -> None:
    ours = questions_of(run)
    answered = {question: answer for question, answer in run.answers.items() if answer is not None}
    assert len(answered) >= 200
    assert len(answered) >= 0.98 * len(ours)
    wrong = {
        question: (ours[question], answer) for question, answer in answered.items() if not agree(ours[question], answer)
    }
    assert not wrong
    assert any(len(answer) > 1 for answer in answered.values())


def test_every_caller_made_the_call_that_the_disassembly_shows(run: Run) -> None:
    edges, wrong = 0, Counter()
    for walked in run.walked:
        steps = run.steps(walked)
        for callee, caller in itertools.pairwise(steps):
            if caller.kind is not Kind.GO or caller.exact or run.name(caller) == "runtime.goexit":
                continue  # goexit has called nothing: its address is put on every new stack
            edges += 1
            fault = fault_of(run, callee, caller)
            if fault:
                wrong[fault, run.name(callee), run.name(caller), hex(callee.address)] += walked.samples
    assert edges >= 500
    assert not wrong


def fault_of(run: Run, callee: Step, caller: Step) -> str:
    if caller.address not in run.calls.returns:
        return "no call"
    target = run.calls.returns[caller.address]
    if target is None or callee.kind is not Kind.GO:
        return ""  # an indirect call, or C code, where callees without frame pointers lose callers of theirs
    if run.go.function_name(target) in JUMPING_BY_REGISTER:
        return ""
    wanted, reached, new = run.entry(callee.inside), set(), [run.entry(target)]
    while new:
        function = new.pop()
        if function == wanted:
            return ""
        reached.add(function)
        new += run.tail_calls.get(function, set()) - reached
    return f"a call of {run.go.function_name(target)}"


def test_no_stack_goes_on_where_the_scheduler_or_a_thread_begins(runs: dict[str, Run]) -> None:
    seen = Counter()
    for run in runs.values():
        for walked in run.walked:
            for position, step in enumerate(run.steps(walked)):
                name = run.name(step) if step.kind is Kind.GO else ""
                # A leaf in mcall has not switched stacks yet.
                if position and name in {"runtime.mcall", "runtime.mstart"}:
                    assert position == len(walked.user) - 1, walked.names
                    seen[name] += walked.samples
    assert seen["runtime.mcall"] > 0
    assert seen["runtime.mstart"] > 0


def samples_without(runs: dict[str, Run], chosen: object, holds: object) -> tuple[int, list[list[str]]]:
    """Samples of chosen stacks, and the stacks among them of which something does not hold."""
    total, missing = 0, []
    for run in runs.values():
        for walked in run.walked:
            if chosen(walked):
                total += walked.samples
                missing += [walked.names] * (0 if holds(walked) else walked.samples)
    return total, missing


def test_a_frameless_leaf_keeps_its_caller(runs: dict[str, Run]) -> None:
    total, missing = samples_without(
        runs,
        lambda walked: walked.user and walked.names[0] == "main.leaf",
        lambda walked: len(walked.user) > 1 and walked.names[1] in CALLERS_OF_LEAF,
    )
    assert total >= 200
    assert len(missing) <= 0.001 * total, missing


def on_goroutine(walked: Walked) -> bool:
    """Whether a stack is a goroutine's: not the scheduler's or a thread's, and without C code.

    C code here is built without frame pointers: its callers are not found (and the stack ends in a marker).
    """
    if not walked.user or any(location.kind is not Kind.GO for location in walked.user):
        return False
    names = walked.names
    scheduling = names[-1] == "runtime.morestack" and "runtime.schedule" in names
    scheduling |= names[-1] == "runtime.morestack" and "runtime.goschedImpl" in names
    return not (scheduling or names[-1] in SCHEDULER_ROOTS or "crosscall2" in names)


def test_goroutine_stacks_reach_goexit(runs: dict[str, Run]) -> None:
    total, missing = samples_without(runs, on_goroutine, lambda walked: walked.names[-1] == "runtime.goexit")
    assert total >= 0.9 * sum(walked.samples for run in runs.values() for walked in run.walked)
    assert len(missing) <= 0.001 * total, missing


def test_stacks_without_c_code_have_no_marker(runs: dict[str, Run]) -> None:
    stops = {cause.id: cause.name for cause in causes.stops()}
    for mode in ("plain", "stripped", "pie"):
        marked = [
            (stops[walked.raw.stop], walked.samples, walked.names, [hex(address) for address in walked.addresses])
            for walked in runs[mode].walked
            if walked.raw.stop
        ]
        assert not marked, mode
