"""Programs that stay in known places (programs/stations.*), recorded together, and what is true of each sample.

A station is a process of its own, so that its samples are told apart. What is true of them:
- Of a station without paths, which spins in one place: its callers are those that gdb finds.
- Of the others: the program's own functions on the stack are on one of its paths, from the outermost frame on.
- Of all: each call on the stack leads, by the code, into the frame below it, and nothing called the last.
A sample is not asked whether the thread was running: the same can be asked of stacks of blocked threads.
"""

import os
import signal
import subprocess
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from agent.recording.recorder import Wanted
from bpf import causes
from tests.kernel.chains import Step, described, fault_in, gdb_chains, steps, without_call
from tests.kernel.livecode import Code
from tests.kernel.recording import Recording, Walked, cpu_seconds, record, running, wait_for

HERTZ = 999
CPUS = os.cpu_count() or 1
SAMPLES = 180
"""Of each station, about; a third of them must be there, for other work may take the CPUs."""
SHARE = 0.998
"""Of the samples of each program that must equal the truth."""
INJECTED = frozenset({"runtime.asyncPreempt", "runtime.sigpanic"})
"""Go's signal handler makes it look as if these had been called where the signal came."""
SCHEDULER_ROOTS = frozenset({"runtime.mcall", "runtime.mstart", "runtime.morestack"})
"""Where stacks of Go's scheduler end."""
OUTERMOST = frozenset({"runtime.goexit", *SCHEDULER_ROOTS})
STOPS = {cause.id: cause.name for cause in causes.stops()}


@dataclass(frozen=True)
class Station:
    """A place that a program stays in.

    A path is the program's own functions from the outermost frame on, "." for one or more frames of others. A
    sample's stack ends anywhere on a path, but not before "|". Without paths gdb says what is true.
    """

    name: str
    paths: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    arguments: tuple[str, ...] = ()
    below: tuple[str, int] | None = None
    """All frames below the nth of this name stay what they are, so that gdb says what is true of them, too."""
    says_ready: bool = False
    """Whether the program writes a line when it is there."""

    @property
    def by_gdb(self) -> bool:
        """Whether gdb is asked."""
        return not self.paths or self.below is not None


@dataclass
class Told:
    """What the samples of one station were found to be."""

    station: Station
    samples: int = 0
    right: int = 0
    in_kernel: int = 0
    in_kernel_right: int = 0
    no_call: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Return addresses that follow no call, with the file that the leaf is in."""
    faults: Counter[str] = field(default_factory=Counter)
    stops: Counter[str] = field(default_factory=Counter)
    depths: Counter[int] = field(default_factory=Counter)
    modules: Counter[str] = field(default_factory=Counter)
    """Samples by the file that the leaf is in."""
    leaves_of_faults: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    """Of each fault, a whole stack, leaf first."""

    def __str__(self) -> str:
        share = f"{100 * self.right / self.samples:.2f} %" if self.samples else "-"
        faults = dict(self.faults.most_common(8)) or ""
        return f"{self.station.name:18} {self.samples:6} samples {share:>9} right  {faults}".rstrip()


@dataclass(frozen=True)
class Language:
    """How names of a program become words of a path; see Program."""

    own: frozenset[str]
    foreign_inside: bool

    def words(self, walked: Walked, program: str) -> list[str]:
        """The frames of a stack as words of a path, outermost first."""
        found: list[str] = []
        for location in reversed(walked.user):
            inside = location.mapping is not None and location.mapping.filename == program
            name = plain(location.frames[-1].function) if location.frames else f"{location.address:#x}"
            word = name if inside and (name in self.own or not self.foreign_inside) else "."
            if found and name in OUTERMOST:
                word = "."  # in the midst of a stack it is a call like others
            if word != "." or found[-1:] != ["."]:
                found.append(word)
        if found and (found[-1].endswith("@plt") or found[-1].startswith("0x")):
            del found[-1]  # in the procedure linkage table, on its way into the next function
        return found


def plain(name: str) -> str:
    """A function's name without parameters and without what the compiler made of it."""
    name = name.partition(" [clone")[0]
    name = name if name.startswith("<") else name.partition("(")[0]
    return name.removesuffix(".cold").replace(" ", "")


def on_path(words: list[str], paths: Sequence[str]) -> bool:
    """Whether words lead along a path from its begin, beyond its "|"."""
    for path in paths:
        begin, _, rest = path.partition("|")
        whole = [*begin.split(), *rest.split()]
        if len(begin.split()) <= len(words) and whole[: len(words)] == words:
            return True
    return False


@dataclass(frozen=True)
class Program:
    """A program with its stations, and how to read the names on its stacks."""

    path: Path
    stations: tuple[Station, ...]
    foreign_inside: bool = False
    """Whether the file holds functions of others, too: of a library linked in, instances of templates."""
    own: frozenset[str] = frozenset()
    """Functions of it that paths tell of; otherwise those that its paths name."""

    @cached_property
    def language(self) -> Language:
        words = {word for station in self.stations for path in station.paths for word in path.split()}
        return Language(self.own or frozenset(words - {".", "|"}), self.foreign_inside)


def start(stack: ExitStack, program: Program) -> list[subprocess.Popen]:
    """Each station as a process."""
    processes = []
    for station in program.stations:
        environment = {**os.environ, "STATION": station.name, **dict(station.environment)}
        # Nice: where many go round at once, the recorder must not wait for its turn behind all of them.
        command = ["nice", "-n", "10", program.path, *(station.arguments or (station.name,))]
        output = subprocess.PIPE if station.says_ready else subprocess.DEVNULL
        processes.append(stack.enter_context(running(command, env=environment, stdout=output)))
    return processes


def record_standing(processes: Sequence[subprocess.Popen], seconds: float) -> Recording:
    """Record processes that stand still before, while programs are compiled, and after, so that all can be asked."""

    def send(number: int) -> None:
        for process in processes:
            process.send_signal(number)

    for process in processes:
        if process.stdout is not None:
            process.stdout.readline()
        wait_for(lambda pid=process.pid: cpu_seconds(pid) > 0.03, f"{process.args} runs")
    send(signal.SIGSTOP)
    wanted = Wanted(hertz=HERTZ, pids=tuple(process.pid for process in processes))
    recording = record(wanted, seconds, [(0.0, lambda: send(signal.SIGCONT))], lambda: send(signal.SIGSTOP))
    losses = recording.losses()
    assert not {name for name in losses if losses[name]} - {"missed_ticks"}, losses
    return recording


def visit(programs: Sequence[Program], samples: int = SAMPLES) -> list[dict[str, Told]]:
    """Record all stations of some programs together, about so many samples of each, and tell what is true of them."""
    with ExitStack() as stack:
        started = [(program, start(stack, program)) for program in programs]
        processes = [process for _, some in started for process in some]
        recording = record_standing(processes, max(2.0, len(processes) * samples / (HERTZ * CPUS)))
        visits = [
            (program, station, process.pid)
            for program, some in started
            for station, process in zip(program.stations, some, strict=True)
        ]
        with ThreadPoolExecutor(CPUS) as pool:
            chains = list(pool.map(lambda one: gdb_chains(one[2]) if one[1].by_gdb else (), visits))
        found: list[dict[str, Told]] = [{} for _ in programs]
        for (program, station, pid), known in zip(visits, chains, strict=True):
            found[programs.index(program)][station.name] = tell(station, recording, pid, program, known)
        return found


def tell(station: Station, recording: Recording, pid: int, program: Program, chains: Sequence[tuple[int, ...]]) -> Told:
    """Judge all samples of a process, which still runs."""
    told = Told(station)
    code = Code(pid)
    callers = {chain[1:] for chain in chains}
    try:
        for walked in recording.walked(pid):
            judge(told, code, walked, callers, program.language.words(walked, str(program.path)))
    finally:
        code.close()
    assert told.samples == recording.samples(pid)  # none was without a stack
    return told


def lasting_frames(walked: Walked, name: str, nth: int) -> int:
    """How many frames there are below the nth of a name, counted from the outermost."""
    for position, location in enumerate(reversed(walked.user)):
        nth -= bool(location.frames) and location.frames[-1].function == name
        if nth == 0:
            return position
    return 0


def judge(told: Told, code: Code, walked: Walked, callers: set[tuple[int, ...]], words: list[str]) -> None:
    """Add one distinct stack to what is told."""
    user = walked.addresses
    injected = {
        position
        for position, location in enumerate(walked.user)
        if location.frames and location.frames[-1].function in INJECTED
    }
    kinds = steps(code, user, injected)
    fault = ""
    if walked.raw.stop:
        fault = f"{STOPS[walked.raw.stop]} at {described(code, user[-1]) if user else 'no frame'}"
    elif not told.station.paths:
        fault = "" if user[1:] in callers else f"gdb says otherwise: {len(user)} frames, {' '.join(words)}"
    elif not on_path(words, told.station.paths):
        fault = f"on no path: {' '.join(words)}"
    elif told.station.below is not None:
        lasting = lasting_frames(walked, *told.station.below)
        same = lasting and any(user[-lasting:] == chain[-lasting:] for chain in callers)
        fault = "" if same else f"gdb says otherwise of the last {lasting} frames"
    fault = fault or fault_in(code, user, kinds, ended=words[:1] != [] and words[0] in SCHEDULER_ROOTS)
    if walked.exact != tuple(step in {Step.EXACT, Step.SIGNAL} for step in kinds):
        fault = fault or "return addresses and others are mistaken for each other"
    right = 0 if fault else walked.samples
    told.samples += walked.samples
    told.right += right
    told.stops[STOPS[walked.raw.stop]] += walked.samples
    told.depths[len(user)] += walked.samples
    if walked.raw.kernel:
        told.in_kernel += walked.samples
        told.in_kernel_right += right
    if fault:
        told.faults[fault] += walked.samples
        names = [location.frames[-1].function if location.frames else "?" for location in walked.user]
        told.examples[fault] = " <- ".join(
            f"{described(code, address)} {name}" for address, name in zip(user, names, strict=True)
        )
    mapped = code.mapping(user[0]) if user else None
    leaf = Path(mapped.path).name if mapped else ""
    told.modules[leaf] += walked.samples
    if fault:
        told.leaves_of_faults[leaf] += walked.samples
    for address in without_call(code, user, kinds):
        told.no_call[leaf, described(code, address)] += walked.samples


def report(told: dict[str, Told]) -> str:
    """All stations, a line each, and the whole."""
    samples = sum(one.samples for one in told.values())
    right = sum(one.right for one in told.values())
    lines = [str(one) for one in told.values()]
    whole = f"{'all':18} {samples:6} samples {100 * right / max(samples, 1):.3f} % right"
    examples = [
        f"  {fault}\n    {one.examples[fault]}" for one in told.values() for fault, _ in one.faults.most_common(8)
    ]
    return "\n".join(["", *lines, whole, *examples])


def assert_true(told: dict[str, Told], least: int = SAMPLES // 3) -> None:
    """SHARE of all samples of a program are right, and there are some of each station."""
    text = report(told)
    print(text)
    samples = sum(one.samples for one in told.values())
    assert min(one.samples for one in told.values()) >= least, text
    assert sum(one.right for one in told.values()) >= SHARE * samples, text


def assert_calls(told: dict[str, Told], except_in: str = "-") -> None:
    """Every return address of every sample follows a call, unless the leaf is in one file."""
    found = {
        (one.station.name, leaf, address): samples
        for one in told.values()
        for (leaf, address), samples in one.no_call.items()
        if not leaf.startswith(except_in)
    }
    assert not found, found
