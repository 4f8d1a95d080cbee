"""The part of the report on time off the CPU, in Markdown."""

from tests.bench.noise import machine
from tests.bench.offcpu import PerfPipe, Switching
from tests.bench.stats import Estimate

_HEAD = (
    "| the pair | round trip | BPF per switch | per wake-up | switches/s | kept of expected | others stand for | "
    "time off the CPU | lost |"
)
_METHOD = """
- **Round trip**: how much longer it is with the tracepoints attached than without them; segments of 0.1 s in the order
  A B B A, the median of ratios over 4 s each, and its 95 % interval. On one CPU, where a round trip is two switches, by
  the CPU time of the pair, so that what else runs does not count; anywhere, by the time that goes by.
- **BPF per switch, per wake-up**: run_time_ns by run_cnt of on_switch and on_wakeup, in a run of its own because
  statistics cost time too; reading the clock twice is in it. All switches of the machine are in it: mostly the pair's.
- **Counted**: waits kept, those left out for being short and those that others stand for. Expected is what
  the kernel counted of the pair (voluntary_ctxt_switches and nonvoluntary_ctxt_switches).
- **Time off the CPU**: time gone by less CPU time of the pair against all that was kept.
"""


def render_offcpu(found: list[Switching], perf: list[PerfPipe]) -> str:
    """The section."""
    lines = [
        "# Time off the CPU",
        f"\n{machine()}. Two processes that do nothing but wake each other over two pipes.\n",
        _HEAD,
        "|---" * 9 + "|",
    ]
    lines += [_row(one) for one in found]
    if perf:
        lines += [
            "\n`perf bench sched pipe`, wherever the scheduler puts its two processes, seconds by seconds without:\n",
            "| perf bench | time of a round trip | without |",
            "|---|---|---|",
        ]
        lines += [f"| {one.name} | {_change(one.ratio)} | {one.loop_us:.1f} µs |" for one in perf]
    return "\n".join(lines) + "\n" + _METHOD


def _row(one: Switching) -> str:
    steady = one.steady
    target = one.name != "not a target"
    kept = f"{(steady.kept + steady.short) / steady.expected * 100 - 100:+.2f} %" if target else ""
    everything = target and not steady.short
    time = f"{steady.kept_ns / steady.off_ns * 100 - 100:+.1f} %" if everything else ""
    lost = ", ".join(f"{name} {number:,}" for name, number in steady.losses.items()) or "nothing"
    where = "one CPU" if one.pinned else "anywhere"
    return (
        f"| {where}, {one.name} | {_change(one.longer)} | "
        f"{steady.switch_ns:.0f} ns | {steady.wakeup_ns:.0f} ns | {steady.switches_per_second:,.0f} | {kept} | "
        f"{steady.thinned:,} | {time} | {lost} |"
    )


def _change(ratio: Estimate) -> str:
    return f"{(ratio.median - 1) * 100:+.1f} % ({(ratio.low - 1) * 100:+.1f} to {(ratio.high - 1) * 100:+.1f})"
