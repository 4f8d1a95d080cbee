"""Goroutines for tests: a shop that piles up on a queue, and as many as wanted."""

from collections.abc import Iterable
from dataclasses import replace

from profiles.goroutines import Channel, Creation, GoFrame, Goroutines, GoState, Kind, Member

SECOND = 10**9
GOROOT = "/usr/local/go/src/"
SRC = "/home/dev/shop/"
QUEUE = 0xC000120000
MUTEX = 0xC0000A4010


def frame(function: str, place: str = "", *, inlined: bool = False) -> GoFrame:
    """A call; `place` is file:line below the folder that the function's package suggests."""
    file, _, line = place.partition(":")
    root = SRC if function.startswith(("shop", "main")) else GOROOT
    return GoFrame(function, root + file if file else "", int(line or 0), inlined)


PARK = frame("runtime.gopark", "runtime/proc.go:462")
EXIT = frame("runtime.goexit", "runtime/asm_amd64.s:1771")
SERVE = Creation("shop.(*Server).Serve", SRC + "server.go", 88)

PUT = Kind(
    frames=(
        PARK,
        frame("runtime.chansend", "runtime/chan.go:283"),
        frame("runtime.chansend1", "runtime/chan.go:161"),
        frame("shop.push[...]", "queue.go:17", inlined=True),
        frame("shop.(*Queue).Put", "queue.go:41"),
        frame("shop.(*Server).handle", "server.go:120"),
        EXIT,
    ),
    state=GoState.WAITING,
    wait_reason="chan send",
    start_function="shop.(*Server).handle",
    created_by=SERVE,
    labels=(("request", "checkout"), ("user name", "Zoë")),
)
READ = Kind(
    frames=(
        PARK,
        frame("runtime.netpollblock", "runtime/netpoll.go:575"),
        frame("internal/poll.runtime_pollWait", "runtime/netpoll.go:351"),
        frame("internal/poll.(*pollDesc).wait", "internal/poll/fd_poll_runtime.go:84"),
        frame("internal/poll.(*FD).Read", "internal/poll/fd_unix.go:165"),
        frame("net.(*conn).Read", "net/net.go:196"),
        frame("net/http.(*conn).serve", "net/http/server.go:2027"),
        EXIT,
    ),
    state=GoState.WAITING,
    wait_reason="IO wait",
    start_function="net/http.(*conn).serve",
    created_by=Creation("net/http.(*Server).Serve", GOROOT + "net/http/server.go", 3454),
)
LOCK = Kind(
    frames=(
        PARK,
        frame("sync.runtime_SemacquireMutex", "runtime/sema.go:95"),
        frame("sync.(*Mutex).Lock", "sync/mutex.go:46"),
        frame("shop.(*Stock).reserve", "stock.go:77"),
        frame("shop.(*Server).handle", "server.go:131"),
        EXIT,
    ),
    state=GoState.WAITING,
    wait_reason="sync.Mutex.Lock",
    start_function="shop.(*Server).handle",
    created_by=SERVE,
)
MAIN = Kind(
    frames=(PARK, frame("main.main", "main.go:12"), frame("runtime.main", "runtime/proc.go:290"), EXIT),
    state=GoState.WAITING,
    wait_reason="select (no cases)",
    start_function="runtime.main",
    locked=True,
)
RUNNING = Kind(
    frames=(),
    state=GoState.RUNNING,
    start_function="shop.(*Pricer).loop",
    created_by=Creation("main.main", SRC + "main.go", 9),
    why_not="running",
)
CUT = Kind(
    frames=(frame("shop.cgoCall"), frame("shop.(*Image).Scale", "image.go:5")),
    state=GoState.SYSCALL,
    start_function="shop.(*Image).Scale",
    created_by=Creation("main.main", SRC + "main.go", 10),
    why_not="stack could not be followed further",
)
SWEEP = Kind(
    frames=(PARK, frame("runtime.bgsweep", "runtime/mgcsweep.go:323"), EXIT),
    state=GoState.WAITING,
    wait_reason="GC sweep wait",
    start_function="runtime.bgsweep",
    created_by=Creation("runtime.gcenable", GOROOT + "runtime/mgc.go", 212),
    system=True,
)


def goroutines(members: Iterable[tuple[Kind, Member]], **more) -> Goroutines:
    """Of these members, in the order of their ids, with as many kinds as there are different ones."""
    rows = sorted(members, key=lambda row: row[1].id)
    kinds = list(dict.fromkeys(kind for kind, _ in rows))
    columns = zip(*(member for _, member in rows), strict=True) if rows else ((),) * 6
    return Goroutines(
        4217,
        "shop",
        "go1.27.3",
        1_785_600_000_250_000_000,
        tuple(kinds),
        [kinds.index(kind) for kind, _ in rows],
        *map(tuple, columns),
        **more,
    )


def shop() -> Goroutines:
    """37 on a full queue, 12 that read, 3 on a lock, and one each of everything else."""
    put = [Member(100 + n, 7, (n % 5) * 48 * SECOND, 300 * SECOND, QUEUE) for n in range(37)]
    read = [Member(20 + n, 6, 0, 290 * SECOND if n else 0) for n in range(12)]
    lock = [Member(50 + n, 7, 7 * SECOND + n, 0, MUTEX) for n in range(3)]
    members = [
        *((PUT, member) for member in put),
        *((READ, member) for member in read),
        *((LOCK, member) for member in lock),
        (MAIN, Member(1, 0, 4000 * SECOND)),
        (RUNNING, Member(8, 1, thread=4219)),
        (CUT, Member(9, 1, 90 * SECOND, thread=4220)),
        (SWEEP, Member(3)),
        (replace(SWEEP, wait_reason="GC scavenge wait"), Member(4)),
    ]
    channels = {QUEUE: Channel(buffered=10, capacity=10, closed=False, senders=37, receivers=0)}
    return goroutines(members, dead=5, unsettled=2, channels=channels)


def many(count: int, kinds: int = 1000) -> Goroutines:
    """A process of `count` goroutines in `kinds` kinds, each 20 calls deep."""
    alike = tuple(
        replace(
            PUT,
            frames=(
                *PUT.frames[:3],
                *(frame(f"shop.f{kind}_{depth}", f"f.go:{depth + 1}") for depth in range(16)),
                EXIT,
            ),
            labels=(("n", str(kind % 7)),),
        )
        for kind in range(kinds)
    )
    ids = range(1, count + 1)
    zeros = [0] * count
    of = [number % kinds for number in ids]
    waits = [number % 977 for number in ids]
    return Goroutines(
        1, "shop", "go1.27.3", 0, alike, of, ids, zeros, waits, waits, [QUEUE + n % 50 for n in ids], zeros
    )
