"""Profiles with time off the CPU for tests: of waits alone, and of both kinds with threads kept apart."""

from hypothesis import strategies as st

from profiles.model import (
    OFF_CPU_TYPES,
    ON_CPU_TYPES,
    Frame,
    Kind,
    Labels,
    Location,
    Loss,
    Metadata,
    Profile,
    ProfileBuilder,
    State,
)
from tests.support.profiles import PERIOD, SHOP, hostile_text

MS = 1_000_000

GOEXIT = Location(Kind.GO, SHOP, 0x46E2A0, (Frame("runtime.goexit", "runtime/asm_amd64.s", 1700, 1698),))
SERVE = Location(Kind.GO, SHOP, 0x612F04, (Frame("net/http.(*conn).serve", "net/http/server.go", 2092, 1966),))
PRICE = Location(Kind.GO, SHOP, 0x655120, (Frame("shop.(*Cart).Price[...]", "shop/price.go", 41, 30),))
LOCK = Location(Kind.GO, SHOP, 0x655900, (Frame("shop.(*Stock).reserve", "shop/stock.go", 77, 70),))
PARK = Location(Kind.GO, SHOP, 0x43D001, (Frame("runtime.stopm", "runtime/proc.go", 2600, 2589),))
FUTEX = Location(Kind.KERNEL, None, 0xFFFFFFFF81190000, (Frame("futex_wait"),))
READ = Location(Kind.KERNEL, None, 0xFFFFFFFF812A4000, (Frame("filemap_read"),))
SCHEDULE = Location(Kind.KERNEL, None, 0xFFFFFFFF81C00000, (Frame("schedule"),))
WOKEN_BY = Location(Kind.MARKER, None, 0, (Frame("[woken by]"),))
IRQ = Location(Kind.KERNEL, None, 0xFFFFFFFF81D00000, (Frame("blk_mq_complete_request"),))

MAIN = Labels(4121, "shop", 4121, "shop")
WORKER = Labels(4121, "shop", 4125, "shop-worker")
NODE = Labels(977, "node", 981, "libuv-worker")

# (thread, state, stack (leaf first), waits, blocked, runnable): nanoseconds that round up, down and to nothing
_WAITS = (
    (MAIN, State.SLEEPING, (SCHEDULE, FUTEX, LOCK, SERVE, GOEXIT), 40, 3_000 * MS + 499, 20 * MS),
    (WORKER, State.SLEEPING, (SCHEDULE, FUTEX, LOCK, SERVE, GOEXIT), 9, 900 * MS + 500, 0),
    (WORKER, State.UNINTERRUPTIBLE, (IRQ, WOKEN_BY, SCHEDULE, READ, SERVE, GOEXIT), 25, 700 * MS, 5 * MS),
    (WORKER, State.PREEMPTED, (SCHEDULE, PRICE, SERVE, GOEXIT), 12, 0, 60 * MS),
    (WORKER, State.GO_IDLE, (SCHEDULE, FUTEX, PARK), 30, 7_000 * MS, 3 * MS),
    (NODE, State.SLEEPING, (SCHEDULE, FUTEX), 5, 2_000 * MS, 1 * MS),
    (NODE, State.STOPPED, (SCHEDULE,), 1, 0, 499),
)
_SAMPLES = ((MAIN, (PRICE, SERVE, GOEXIT), 30), (WORKER, (READ, SERVE, GOEXIT), 20), (NODE, (FUTEX,), 2))

NOTES = ("waits shorter than 1 ms: 120,000, 3.2 s in all, not kept",)
LOSSES = (Loss("waits_full", "the map of waits was full", 14, dropped=True),)


def waits_only(*, threads: bool = False) -> Profile:
    """Waits, as a recording of time off the CPU has them: no period."""
    builder = ProfileBuilder(OFF_CPU_TYPES)
    for thread, state, stack, waits, blocked, runnable in _WAITS:
        _add(builder, _labels(thread, state, threads), stack, (waits, blocked, runnable, blocked + runnable))
    return builder.build(_metadata())


def both(*, threads: bool = True) -> Profile:
    """Samples and waits of the same processes."""
    builder = ProfileBuilder(ON_CPU_TYPES + OFF_CPU_TYPES)
    for thread, stack, count in _SAMPLES:
        _add(builder, _labels(thread, "", threads), stack, (count, count * PERIOD, 0, 0, 0, 0))
    for thread, state, stack, waits, blocked, runnable in _WAITS:
        _add(builder, _labels(thread, state, threads), stack, (0, 0, waits, blocked, runnable, blocked + runnable))
    return builder.build(_metadata(period=PERIOD, rate_hz=49))


def _labels(thread: Labels, state: str, threads: bool) -> Labels:
    tid, name = (thread.tid, thread.thread) if threads else (0, "")
    return Labels(thread.pid, thread.process, tid, name, state=state)


def _add(builder: ProfileBuilder, labels: Labels, stack: tuple[Location, ...], values: tuple[int, ...]) -> None:
    index = builder.stack(tuple(builder.location(location) for location in stack))
    builder.add(index, builder.labels(labels), *values)


def _metadata(period: int = 0, rate_hz: int = 0) -> Metadata:
    return Metadata(
        start_ns=1_785_600_000_000_000_000,
        duration_ns=10_000_000_000,
        period=period,
        rate_hz=rate_hz,
        cpus=2,
        version="0.1.0",
        kernel="6.1.0-28-amd64",
        target="pid 4121, 977",
        losses=LOSSES,
        notes=NOTES,
    )


_states = st.sampled_from(State) | hostile_text
_nanoseconds = st.integers(0, 2**50)
_stacks = st.lists(st.sampled_from((GOEXIT, SERVE, LOCK, FUTEX, SCHEDULE, WOKEN_BY)), max_size=5).map(tuple)


@st.composite
def mixed_profiles(draw: st.DrawFn) -> Profile:
    """Small profiles of both kinds, states that nobody knows and samples of no value at all included."""
    builder = ProfileBuilder(ON_CPU_TYPES + OFF_CPU_TYPES)
    samples = st.tuples(st.sampled_from((MAIN, WORKER, NODE)), _stacks, st.integers(0, 99))
    for thread, stack, count in draw(st.lists(samples, max_size=5)):
        _add(builder, thread, stack, (count, count * PERIOD, 0, 0, 0, 0))
    waits = st.tuples(
        st.sampled_from((MAIN, WORKER, NODE)), _states, _stacks, st.integers(0, 9), _nanoseconds, _nanoseconds
    )
    for thread, state, stack, count, blocked, runnable in draw(st.lists(waits, max_size=6)):
        labels = _labels(thread, state, threads=True)
        _add(builder, labels, stack, (0, 0, count, blocked, runnable, blocked + runnable))
    return builder.build(Metadata(period=PERIOD, notes=NOTES))
