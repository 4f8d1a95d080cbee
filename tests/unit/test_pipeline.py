"""From raw windows to samples, with address spaces, kernel names and counts made by hand."""

import struct
from dataclasses import dataclass, field

import pytest

from agent.processes.spaces import AddressSpace, Region
from agent.recording.pipeline import Pipeline
from bpf import abi, causes
from bpf.capture import Count, RawWindow
from profiles.model import ON_CPU_TYPES, Frame, Kind, Labels, Location, Mapping, Metadata, Profile, ProfileBuilder

STOPS = {cause.name: cause for cause in causes.stops()}
LOSSES = {cause.name: cause for cause in causes.losses()}
NO_LOSSES = dict.fromkeys(LOSSES, 0)
PERIOD = 10_000_000
BIAS = 0x5500_0000_0000
MAPPING = Mapping(0x1000, 0x9000, 0x1000, "/bin/thing", "ab" * 20)


@dataclass
class FakeBinary:
    """Functions of 0x100 bytes by their first address; what was asked is kept."""

    functions: dict[int, tuple[str, ...]]
    asked: list[int] = field(default_factory=list)

    def symbolize(self, vaddr: int) -> tuple[Kind, tuple[Frame, ...]]:
        self.asked.append(vaddr)
        names = self.functions.get(vaddr & ~0xFF)
        if names is None:
            return Kind.NATIVE, ()
        return Kind.GO, tuple(Frame(name, "x.go", vaddr & 0xFF) for name in names)


@dataclass
class FakeProcesses:
    spaces: dict[int, AddressSpace] = field(default_factory=dict)
    latest: dict[int, AddressSpace] = field(default_factory=dict)
    refreshes: int = 0


class FakeKernel:
    def symbolize(self, address: int) -> tuple[Frame, ...]:
        return (Frame(f"k_{address & 0xFFF:x}"),)

    def module_of(self, address: int) -> str:
        return "[ext4]" if address & 0x1000 else "[kernel.kallsyms]"


@pytest.fixture
def binary() -> FakeBinary:
    return FakeBinary(
        {
            0x1000: ("main.leaf",),
            0x2000: ("main.inlined", "main.outer"),
            0x4000: ("runtime.goexit",),
            0x5000: ("runtime.morestack",),
            0x6000: ("runtime.schedule",),
        }
    )


@dataclass
class Bench:
    """A pipeline with one process of one program."""

    pipeline: Pipeline
    builder: ProfileBuilder
    processes: FakeProcesses

    def profile(self) -> Profile:
        return self.builder.build(Metadata())

    def stacks(self) -> dict[tuple[str, ...], int]:
        profile = self.profile()
        found: dict[tuple[str, ...], int] = {}
        for sample in profile.samples:
            names = []
            for index in profile.stacks[sample.stack]:
                location = profile.locations[index]
                names += [frame.function for frame in location.frames] or [f"{location.address:#x}"]
            found[tuple(names)] = found.get(tuple(names), 0) + sample.values[0]
        return found


def region_of(binary: FakeBinary) -> Region:
    return Region(BIAS + 0x1000, BIAS + 0x9000, BIAS, "/bin/thing", binary, MAPPING)


@pytest.fixture
def bench(binary: FakeBinary) -> Bench:
    space = AddressSpace(7, 4217, "thing", "c0ffee", [region_of(binary)])
    processes = FakeProcesses({7: space}, {4217: space})
    builder = ProfileBuilder(ON_CPU_TYPES)
    return Bench(
        Pipeline(builder, processes, FakeKernel(), lambda pid: f"k{pid}", period_ns=PERIOD), builder, processes
    )


def record(
    hash_: int,
    user: tuple[int, ...],  # the first becomes EXACT, as that of every leaf
    kernel: tuple[int, ...] = (),
    *,
    stop: str = "complete",
    space: int = 7,
    comm: str = "worker",
    tgid: int = 4217,
    goroutine: tuple[int, int, int] = (0, 0, 0),
) -> bytes:
    head = abi.STACK_HEAD.pack(
        *(hash_, space, tgid, tgid, len(user), len(kernel), STOPS[stop].id, comm.encode().ljust(16, b"\0")),
        *goroutine,
    )
    user = (user[0] | abi.EXACT, *user[1:]) if user else ()
    return head + struct.pack(f"<{len(user) + len(kernel)}Q", *user, *kernel)


def window(
    counts: dict[int, int], *stacks: bytes, tgid: int = 4217, tid: int = 0, losses: dict[str, int] | None = None
):
    known = {struct.unpack_from("<Q", stack)[0]: stack for stack in stacks}
    listed = tuple(Count(stack, tgid, tid, samples) for stack, samples in counts.items())
    return RawWindow(0, 1, listed, known, {**NO_LOSSES, **(losses or {})})


def at(vaddr: int) -> int:
    return BIAS + vaddr


def test_callers_are_looked_up_inside_the_call_and_the_leaf_where_it_is(bench: Bench) -> None:
    samples = bench.pipeline.add(window({1000: 3}, record(1000, (at(0x1010), at(0x2020), at(0x4001)))))
    assert samples == 3
    assert bench.stacks() == {("main.leaf", "main.inlined", "main.outer", "runtime.goexit"): 3}
    addresses = [location.address for location in bench.profile().locations if location.kind is Kind.GO]
    assert addresses == [0x1010, 0x201F, 0x4000]
    assert bench.profile().locations[-1].mapping == MAPPING


def test_what_was_interrupted_is_looked_up_where_it_is(bench: Bench) -> None:
    bench.pipeline.add(window({1000: 1}, record(1000, (at(0x1010), at(0x6001), at(0x2000) | abi.EXACT))))
    assert bench.stacks() == {("main.leaf", "runtime.schedule", "main.inlined", "main.outer"): 1}


def test_the_same_address_is_kept_apart_as_leaf_and_as_caller(bench: Bench) -> None:
    bench.pipeline.add(window({1000: 1, 1001: 1}, record(1000, (at(0x2000),)), record(1001, (at(0x1010), at(0x2000)))))
    assert ("main.inlined", "main.outer") in bench.stacks()
    assert ("main.leaf", "0x1fff") in bench.stacks()


def test_a_scheduler_under_morestack_has_left_its_goroutine(bench: Bench) -> None:
    scheduling = record(1000, (at(0x6010), at(0x5020), at(0x2020), at(0x4001)))
    growing = record(1001, (at(0x1010), at(0x5020), at(0x2020), at(0x4001)))
    bench.pipeline.add(window({1000: 1, 1001: 1}, scheduling, growing))
    assert bench.stacks() == {
        ("runtime.schedule", "runtime.morestack"): 1,
        ("main.leaf", "runtime.morestack", "main.inlined", "main.outer", "runtime.goexit"): 1,
    }


def test_kernel_frames_lie_on_the_leafs_side(bench: Bench) -> None:
    kernel = (0xFFFF_8000_0000_0010, 0xFFFF_8000_0000_1021)
    bench.pipeline.add(window({1000: 1}, record(1000, (at(0x1010),), kernel)))
    assert bench.stacks() == {("k_10", "k_20", "main.leaf"): 1}
    modules = [location.mapping.filename for location in bench.profile().locations if location.kind is Kind.KERNEL]
    assert modules == ["[kernel.kallsyms]", "[ext4]"]


@pytest.mark.parametrize("stop", [name for name in STOPS if name != "complete"])
def test_an_incomplete_stack_ends_in_a_marker_with_the_cause(bench: Bench, stop: str) -> None:
    bench.pipeline.add(window({1000: 1}, record(1000, (at(0x1010),), stop=stop)))
    assert bench.stacks() == {("main.leaf", f"[{STOPS[stop].sentence}]"): 1}
    profile = bench.profile()
    assert profile.locations[profile.stacks[profile.samples[0].stack][-1]].kind is Kind.MARKER


def test_a_sample_whose_stack_was_lost_is_kept_under_a_placeholder(bench: Bench) -> None:
    lost = LOSSES["stack_ring_full"]
    bench.pipeline.add(window({lost.id: 5}, losses={"stack_ring_full": 5, "counts_full": 2}))
    assert bench.stacks() == {(f"[{lost.sentence}]",): 5}
    assert bench.pipeline.losses["stack_ring_full"] == 5
    assert bench.pipeline.losses["counts_full"] == 2


def test_a_count_without_its_stack_is_kept_under_a_placeholder_too(bench: Bench) -> None:
    assert bench.pipeline.add(window({12345: 2})) == 2
    assert bench.stacks() == {(f"[{LOSSES['stack_ring_full'].sentence}]",): 2}


def test_a_record_that_came_late_is_used_from_then_on(bench: Bench) -> None:
    bench.pipeline.add(window({1000: 1}))
    bench.pipeline.add(window({1000: 2}, record(1000, (at(0x1010),))))
    assert bench.stacks() == {(f"[{LOSSES['stack_ring_full'].sentence}]",): 1, ("main.leaf",): 2}


def test_losses_add_up_over_windows(bench: Bench) -> None:
    for _ in range(3):
        bench.pipeline.add(window({}, losses={"missed_ticks": 4}))
    assert bench.pipeline.losses["missed_ticks"] == 12


def test_a_stack_seen_one_window_early_is_remembered(bench: Bench, binary: FakeBinary) -> None:
    bench.pipeline.add(window({1000: 1}, record(1000, (at(0x1010),))))
    asked = len(binary.asked)
    bench.pipeline.add(window({1000: 2}))
    assert bench.stacks() == {("main.leaf",): 3}
    assert len(binary.asked) == asked


def test_a_stack_is_resolved_again_once_mappings_were_read_again(bench: Bench, binary: FakeBinary) -> None:
    bench.pipeline.add(window({1000: 1}, record(1000, (BIAS + 0xA010,))))
    bench.processes.spaces[7].regions.append(Region(BIAS + 0xA000, BIAS + 0xB000, BIAS + 0x9000, "/bin/late", binary))
    bench.processes.spaces[7].locations.clear()
    bench.processes.refreshes += 1
    bench.pipeline.add(window({1000: 2}, record(1000, (BIAS + 0xA010,))))
    assert bench.stacks() == {(hex(BIAS + 0xA010),): 1, ("main.leaf",): 2}


def test_addresses_are_symbolized_once_in_all_windows(bench: Bench, binary: FakeBinary) -> None:
    for number in range(1000, 1050):
        bench.pipeline.add(window({number: 1}, record(number, (at(0x1010), at(0x2021)))))
    assert binary.asked.count(0x1010) == 1
    assert bench.stacks() == {("main.leaf", "main.inlined", "main.outer"): 50}


def test_labels_say_process_container_and_thread(bench: Bench) -> None:
    bench.pipeline.add(window({1000: 1}, record(1000, (at(0x1010),), comm="pool-1"), tid=4219))
    assert bench.profile().labels == (Labels(4217, "thing", 4219, "pool-1", "c0ffee"),)


def test_without_threads_kept_apart_there_is_no_thread(bench: Bench) -> None:
    bench.pipeline.add(window({1000: 1}, record(1000, (at(0x1010),), comm="pool-1")))
    assert bench.profile().labels == (Labels(4217, "thing", container="c0ffee"),)


def test_a_kernel_thread_is_named_by_its_comm(bench: Bench) -> None:
    bench.pipeline.add(window({1000: 1}, record(1000, (), (1 << 63,), space=0, tgid=12), tgid=12))
    assert [labels.process for labels in bench.profile().labels] == ["k12"]


def test_a_process_that_has_gone_unseen_is_named_by_what_the_stack_says() -> None:
    builder = ProfileBuilder(ON_CPU_TYPES)
    pipeline = Pipeline(builder, FakeProcesses(), FakeKernel(), lambda _: "")
    pipeline.add(window({1000: 1}, record(1000, (at(0x1010),), comm="gone")))
    profile = builder.build(Metadata())
    assert profile.labels[0].process == "gone"
    assert Location(Kind.NATIVE, None, at(0x1010)) in profile.locations


def test_two_programs_in_one_process_keep_their_names(bench: Bench) -> None:
    after = AddressSpace(8, 4217, "after", "", [region_of(FakeBinary({0x1000: ("other",)}))])
    bench.processes.spaces[8] = bench.processes.latest[4217] = after
    bench.pipeline.add(window({1000: 1, 1001: 2}, record(1000, (at(0x1010),)), record(1001, (at(0x1010),), space=8)))
    profile = bench.profile()
    by_process = {profile.labels[sample.labels].process: sample for sample in profile.samples}
    assert bench.stacks() == {("main.leaf",): 1, ("other",): 2}
    assert by_process["thing"].values == (1, PERIOD)
    assert by_process["after"].values == (2, 2 * PERIOD)


def test_code_without_a_file_is_shown_with_its_address_and_mapping(bench: Bench) -> None:
    space = bench.processes.spaces[7]
    space.regions.append(Region(BIAS + 0x10000, BIAS + 0x20000, 0, ""))
    bench.pipeline.add(window({1000: 1}, record(1000, (BIAS + 0x10010, 0x10))))
    profile = bench.profile()
    jit, unmapped = (profile.locations[index] for index in profile.stacks[profile.samples[0].stack])
    assert (jit.kind, jit.mapping.filename, jit.frames) == (Kind.JIT, "//anon", ())
    assert (unmapped.kind, unmapped.mapping, unmapped.address) == (Kind.NATIVE, None, 0xF)


def test_samples_bear_what_was_read_of_their_goroutine(bench: Bench) -> None:
    labels = b"".join(struct.pack("<Q", 8) + text for text in (b"trace_id", b"deadbeef"))
    known = abi.LABEL_HEAD.pack(900, abi.IS_LABELS, 1, len(labels), 0, 0) + labels
    stacks = (record(300, (at(0x10),), goroutine=(17, at(0x10), 900)), record(301, (at(0x10),)), known)
    bench.pipeline.add(window({300: 3, 301: 2}, *stacks))
    profile = bench.profile()
    found = {profile.labels[sample.labels]: sample.values[0] for sample in profile.samples}
    assert {(one.goroutine, one.more): value for one, value in found.items()} == {
        (17, (("trace_id", "deadbeef"),)): 3,
        (0, ()): 2,
    }
