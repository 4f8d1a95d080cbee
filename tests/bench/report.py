"""The report, in Markdown: the same text on the screen and in docs/overhead.md."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median

from tests.bench.lookups import Lookups
from tests.bench.noise import Moment, machine
from tests.bench.recording import Recording
from tests.bench.stats import Estimate

_MIB = 2**20


@dataclass(frozen=True, slots=True)
class Rate:
    """All that was measured at one rate."""

    hertz: int
    idle_tick_ns: float
    recording: Recording
    stacks: list[int]
    starts: list[float]
    slowdown: Estimate | None


@dataclass(frozen=True, slots=True)
class Results:
    """All that was measured."""

    rates: list[Rate]
    timers: Estimate | None
    """Speed of the load while the timers run at the highest rate and nothing of it is sampled."""
    control: Estimate | None
    few_stacks: list[Rate]
    lookups: list[Lookups]
    before: Moment
    after: Moment
    own_load: bool

    @property
    def noise(self) -> float:
        """CPU time of other processes, in shares of one core: the median of all steady windows."""
        return median(step.others_share for one in (*self.rates, *self.few_stacks) for step in one.recording.steps)


def render(results: Results) -> str:
    """The whole report."""
    parts = [_HEAD, _circumstances(results), _rates(results)]
    if results.few_stacks:
        parts.append(_few_stacks(results.few_stacks))
    parts += [_lookups(results.lookups), _METHOD]
    return "\n".join(parts)


_HEAD = """# What Goroscope costs

Written by `make bench`; how each figure is taken is said below. Shares are of one core.
"""

_METHOD = """## How it is measured
The load (tests/go/programs/load) keeps all CPUs busy with 200 generated functions, 10 to 40 calls deep, that end in
JSON, hashing, allocation, sorting, maps, formatting, system calls, inlined chains and a frameless leaf, beside 2,000
parked goroutines. Nearly every sample of it is a stack of its own: a hard case.

- **User space**: CPU time of the process of `goroscope record -p PID -F HZ -d SECONDS -o FILE.pb.gz -q`, by its CPU
  clock. A steady window is 10 s long and begins in the middle of the third window, so symbols are warm and each holds
  one hand-over.
- **BPF**: run_time_ns of the sampling program with BPF statistics on, the programs it tail-calls included. Per sample
  of the load: less the ticks that hit other processes, at the median cost of a tick without a target, measured while
  the load runs. The interrupt around the program is not in it; it is in the slowdown.
- **Expected samples**: rate times the CPU time the load used while sampling was on, by its CPU clock.
- **First sample**: from the start of the command until a count map has its first entry.
- **Speed of the load**: timers off and on every 100 ms in the order A B B A; what the load gets done for each second of
  its own CPU time, on by off; the median of such ratios over 4 s each, and its 95 % interval by bootstrap. The control
  switches nothing on; "the timers alone" has a process that sleeps as its target.
- **Rows and names**: in one process, medians of three fresh openings of the file, names at random addresses of its
  text.
"""


def _circumstances(results: Results) -> str:
    before, after = results.before, results.after
    elapsed = after.time - before.time
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {machine()}. The bench took {elapsed / 60:.0f} min; load average "
        f"{before.load_average:.1f} before and {after.load_average:.1f} at its end. Other work than the load and the "
        f"recording took {results.noise * 100:.0f} % of one core (median of all steady windows), and the hypervisor "
        f"{(after.stolen - before.stolen) / elapsed * 100:.1f} %."
        + ("" if results.own_load else " The load was another program than the one described below.")
        + "\n"
    )


Cell = Callable[[Rate], str]


def _rates(results: Results) -> str:
    rows: list[tuple[str, Cell]] = [
        ("user space, median of windows", lambda one: _percent(one.recording.median("user_share"))),
        ("user space, least and most of a window", _user_range),
        ("BPF", lambda one: _percent(one.recording.median("bpf_share"))),
        ("BPF per sample of the load", lambda one: f"{one.recording.median('sample_ns') / 1000:.1f} µs"),
        ("BPF per tick of others", lambda one: f"{one.idle_tick_ns / 1000:.2f} µs"),
        ("resident memory (private)", _resident),
        ("resident memory at most", lambda one: f"{one.recording.memory.peak / _MIB:.0f} MiB"),
        ("BPF maps", lambda one: f"{one.recording.memory.maps / _MIB:.1f} MiB"),
        ("loader process", lambda one: "gone" if one.recording.loader_gone else "still there"),
        ("distinct stacks in a window", lambda one: f"{median(one.stacks):,.0f}"),
        ("samples expected", lambda one: f"{one.recording.expected:,.0f}"),
        ("samples counted", _counted),
        ("lost, by cause", lambda one: _losses(one.recording.counted.lost)),
        ("noted, by cause", lambda one: _losses(one.recording.counted.noted)),
        ("start to first sample, median (most)", _starts),
        ("CPU time to start", lambda one: f"{one.recording.start_cpu:.2f} s"),
        ("CPU time of the last window and the output", lambda one: f"{one.recording.finish_cpu:.2f} s"),
        ("from the end of sampling to exit", lambda one: f"{one.recording.finish_seconds:.2f} s"),
        ("size of the profile", lambda one: f"{one.recording.counted.size / 1024:,.0f} KiB"),
    ]
    if any(one.slowdown for one in results.rates):
        rows.append(("speed of the load while sampled", lambda one: _estimate(one.slowdown)))
    lines = _table("", results.rates, rows)
    if results.timers and results.control:
        lines.append(
            f"\nSpeed of the load with the timers alone, at {results.rates[-1].hertz} Hz and none of its samples "
            f"taken: {_estimate(results.timers)}. Control, nothing switched on: {_estimate(results.control)}."
        )
    return "\n".join(lines) + "\n"


def _few_stacks(rates: Sequence[Rate]) -> str:
    rows: list[tuple[str, Cell]] = [
        ("distinct stacks in all", lambda one: f"{one.recording.counted.stacks:,}"),
        ("distinct stacks in a window", lambda one: f"{median(one.stacks):,.0f}"),
        ("user space, median of windows", lambda one: _percent(one.recording.median("user_share"))),
        ("user space, least and most of a window", _user_range),
        ("BPF per sample of the load", lambda one: f"{one.recording.median('sample_ns') / 1000:.1f} µs"),
        ("samples expected", lambda one: f"{one.recording.expected:,.0f}"),
        ("samples counted", _counted),
    ]
    low, high = rates[0], rates[-1]
    ratio = high.recording.median("user_share") / low.recording.median("user_share")
    text = (
        "## Few distinct stacks\nThe same load with few chains, which all end in one loop. Counting is done in the "
        f"kernel: at {high.hertz} Hz user space costs {ratio:.2f} times what it does at {low.hertz} Hz.\n\n"
    )
    return text + "\n".join(_table("", rates, rows)) + "\n"


def _table(title: str, rates: Sequence[Rate], rows: Sequence[tuple[str, Cell]]) -> list[str]:
    head = [f"| {title} | " + " | ".join(f"{one.hertz} Hz" for one in rates) + " |", "|---" * (len(rates) + 1) + "|"]
    return head + [f"| {name} | " + " | ".join(cell(one) for one in rates) + " |" for name, cell in rows]


def _lookups(found: Sequence[Lookups]) -> str:
    lines = [
        "## Names and unwind rows of Go programs",
        "| program | size | open | name, cold (slowest) | name, cached | rows |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {one.name} | {one.size / 1e6:.0f} MB | {one.open_seconds * 1000:.1f} ms | {one.cold_us:.0f} µs "
        f"({one.slowest_us:,.0f}) | {one.cached_us:.2f} µs | {one.rows:,} in {one.rows_seconds:.2f} s |"
        for one in found
    ]
    return "\n".join(lines) + "\n"


def _percent(share: float) -> str:
    return f"{share * 100:.2f} %"


def _user_range(one: Rate) -> str:
    shares = [step.user_share for step in one.recording.steps]
    return f"{min(shares) * 100:.2f} to {max(shares) * 100:.2f} %"


def _resident(one: Rate) -> str:
    memory = one.recording.memory
    return f"{memory.resident / _MIB:.0f} MiB ({memory.private / _MIB:.0f})"


def _counted(one: Rate) -> str:
    counted = one.recording.counted.samples
    return f"{counted:,} ({counted / one.recording.expected * 100 - 100:+.2f} %)"


def _losses(causes: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in sorted(causes.items())) or "none"


def _starts(one: Rate) -> str:
    return f"{median(one.starts):.2f} s ({max(one.starts):.2f})" if one.starts else ""


def _estimate(value: Estimate | None) -> str:
    return f"{value.median:.4f} ({value.low:.4f} to {value.high:.4f}, {value.count})" if value else ""
