"""Profiles for tests: one that has a little of everything, and strategies that make hostile ones."""

from hypothesis import strategies as st

from profiles.model import (
    Frame,
    Kind,
    Labels,
    Location,
    Loss,
    Mapping,
    Metadata,
    Profile,
    ProfileBuilder,
    ValueType,
)

CPU_TYPES = (ValueType("samples", "count"), ValueType("cpu", "nanoseconds"))
PERIOD = 20_408_163

SHOP = Mapping(0x401000, 0x8F2000, 0x1000, "/usr/local/bin/shop", "5f0c" * 10)
LIBC = Mapping(0x26000, 0x19F000, 0x26000, "/usr/lib/x86_64-linux-gnu/libc.so.6", "c1bc" * 10)
PLUGIN = Mapping(0x1000, 0x9000, 0x1000, "/memfd:plugin.so")


def everything() -> Profile:
    """Two processes; Go with inlining, native with and without symbols, kernel, JIT, a marker, losses."""
    builder = ProfileBuilder(CPU_TYPES)
    goexit = Location(Kind.GO, SHOP, 0x46E2A0, (Frame("runtime.goexit", "runtime/asm_amd64.s", 1700, 1698),))
    serve = Location(Kind.GO, SHOP, 0x612F04, (Frame("net/http.(*conn).serve", "net/http/server.go", 2092, 1966),))
    price = Location(
        Kind.GO,
        SHOP,
        0x655120,
        (Frame("shop.round", "shop/price.go", 12, 10), Frame("shop.(*Cart).Price[...]", "shop/price.go", 41, 30)),
    )
    memcpy = Location(Kind.NATIVE, LIBC, 0x8F3A0, (Frame("operator new(unsigned long)", system_name="_Znwm"),))
    bare = Location(Kind.NATIVE, PLUGIN, 0x1A01)
    lost = Location(Kind.NATIVE, None, 0x7F0000001000)
    write = Location(Kind.KERNEL, None, 0xFFFFFFFF812A0000, (Frame("ksys_write"),))
    jit = Location(Kind.JIT, None, 0x7F11_0000_0040, (Frame("LazyCompile:~render app.js:3"),))
    cut = Location(Kind.MARKER, None, 0, (Frame("[stack truncated: 127 frames]"),))
    shop = Labels(4121, "shop", container="8d1f0c2b7a9e")
    worker = Labels(977, "node", tid=981, thread="libuv-worker")
    for labels, stack, count in (
        (shop, (price, serve, goexit), 60),
        (shop, (write, serve, goexit), 21),
        (shop, (bare, memcpy, serve, goexit), 9),
        (shop, (price, serve, cut), 3),
        (worker, (lost, jit), 7),
    ):
        add(builder, labels, stack, count)
    losses = (
        Loss("map_full", "The kernel's table of counts was full.", 31, dropped=True),
        Loss("truncated", "Stacks deeper than 127 frames end in a marker.", 3, dropped=False),
        Loss("ring_full", "The ring buffer was full.", 0, dropped=True),
    )
    return builder.build(
        Metadata(
            start_ns=1_785_600_000_000_000_000,
            duration_ns=30_000_000_000,
            period=PERIOD,
            rate_hz=49,
            cpus=8,
            version="0.1.0",
            kernel="6.1.0-28-amd64",
            target="pid 4121, 977",
            losses=losses,
            comments=("recorded for a test",),
        )
    )


def add(builder: ProfileBuilder, labels: Labels, stack: tuple[Location, ...], count: int) -> None:
    """Count a stack (leaf first) `count` times."""
    index = builder.stack(tuple(builder.location(location) for location in stack))
    builder.add(index, builder.labels(labels), count, count * PERIOD)


# Names as a hostile binary may hold them: separators of our formats, ends of lines, NUL, terminal escapes, text
# that closes an HTML script element, bidirectional overrides, bytes that are not UTF-8 (lone surrogates).
_NASTY = st.sampled_from(
    (
        ";",
        "\n",
        "\r\n",
        "\0",
        "\x1b[2J",
        "</script>",
        "<!--",
        "\u2028",
        "\u202e",
        "\udc80",
        "\ud83d",
        '"',
        "\\",
        "{{x}}",
    )
)
hostile_text = st.lists(_NASTY | st.text(max_size=4), max_size=5).map("".join)
_number = st.integers(0, 2**64 - 1)
_frame = st.builds(Frame, hostile_text, hostile_text, st.integers(-1, 2**70), st.integers(-1, 2**70), hostile_text)
_mapping = st.builds(Mapping, _number, _number, _number, hostile_text, hostile_text)
_location = st.builds(
    Location, st.sampled_from(Kind), st.none() | _mapping, _number, st.lists(_frame, max_size=3).map(tuple)
)
_labels = st.builds(Labels, st.integers(0, 2**31), hostile_text, st.integers(0, 2**31), hostile_text, hostile_text)
_loss = st.builds(Loss, hostile_text, hostile_text, st.integers(0, 2**40), st.booleans())
_metadata = st.builds(
    Metadata,
    start_ns=st.integers(0, 2**63 - 1),
    duration_ns=st.integers(0, 2**63 - 1),
    period=st.integers(0, 2**40),
    target=hostile_text,
    kernel=hostile_text,
    losses=st.lists(_loss, max_size=2).map(tuple),
    comments=st.lists(hostile_text, max_size=2).map(tuple),
)


@st.composite
def hostile_profiles(draw: st.DrawFn) -> Profile:
    """Small profiles with hostile text and lying numbers everywhere; also empty ones."""
    builder = ProfileBuilder(CPU_TYPES)
    locations = draw(st.lists(_location, min_size=1, max_size=6))
    stack = st.lists(st.sampled_from(locations), max_size=6).map(tuple)
    for labels, path, count in draw(st.lists(st.tuples(_labels, stack, st.integers(1, 2**30)), max_size=6)):
        add(builder, labels, path, count)
    return builder.build(draw(_metadata))
