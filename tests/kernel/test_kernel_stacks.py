"""Native and kernel stacks of small C programs whose chains are known."""

import time
from collections import Counter

import pytest

from agent.recording.recorder import Wanted
from profiles.model import Kind
from tests.kernel.conftest import CBuild
from tests.kernel.recording import names_of, record, running, stacks_by_process

pytestmark = pytest.mark.kernel

CHAIN = ("leaf", "third", "second", "first", "main")
SYSCALL = ("enter", "read_zeros", "main")


@pytest.mark.parametrize("optimize", ["-O0", "-O1"])
def test_a_chain_of_frame_pointers_is_walked_in_exact_order(c_program: CBuild, optimize: str) -> None:
    with running([c_program("chain", optimize)]) as process:
        recording = record(Wanted(hertz=499, pids=(process.pid,)), 1.5)
    walked = recording.walked(process.pid)
    total = sum(one.samples for one in walked)
    assert total >= 100
    right = sum(one.samples for one in walked if tuple(one.names[:5]) == CHAIN)
    # The leaf before its prologue is done, and its callers between two calls, have shorter chains.
    assert right >= 0.98 * total
    order = {name: position for position, name in enumerate(CHAIN)}
    for one in walked:
        places = [order[name] for name in one.names if name in order]
        assert places == sorted(set(places)), one.names


def test_a_system_call_is_shown_with_its_path_in_the_kernel_under_the_user_stack(c_program: CBuild) -> None:
    with running([c_program("syscalls")]) as process:
        profile = record(Wanted(hertz=499, pids=(process.pid,)), 1.5).profile
    inside = Counter()
    for sample in profile.samples:
        locations = [profile.locations[index] for index in profile.stacks[sample.stack]]
        kinds = [location.kind for location in locations]
        kernel = kinds.count(Kind.KERNEL)
        assert all(kind is Kind.KERNEL for kind in kinds[:kernel]), "kernel frames lie on the leaf's side"
        names = [name for location in locations for name in names_of(location)]
        if "ksys_read" in names:
            inside[tuple(names[kernel : kernel + 3])] += sample.values[0]
            assert names.index("ksys_read") < names.index("do_syscall_64") < names.index("enter")
    assert sum(inside.values()) >= 0.7 * profile.total()
    assert inside[SYSCALL] >= 0.98 * sum(inside.values())


def test_user_stacks_alone_and_kernel_stacks_alone(c_program: CBuild) -> None:
    with running([c_program("syscalls")]) as process:
        for user, kernel in ((True, False), (False, True)):
            profile = record(Wanted(hertz=199, pids=(process.pid,), user=user, kernel=kernel), 1.0).profile
            found = {location.kind for location in profile.locations} - {Kind.MARKER}
            used = {
                profile.locations[index].kind for sample in profile.samples for index in profile.stacks[sample.stack]
            } - {Kind.MARKER}
            assert used == ({Kind.KERNEL} if kernel else {Kind.NATIVE})
            assert used <= found
            assert profile.total() >= 30


def test_threads_that_share_a_stack_keep_their_own_names(c_program: CBuild) -> None:
    with running([c_program("threads")]) as process:
        time.sleep(0.2)  # they name themselves first
        profile = record(Wanted(hertz=499, pids=(process.pid,), per_thread=True), 1.5).profile
    threads = Counter()
    for sample in profile.samples:
        labels = profile.labels[sample.labels]
        assert labels.process == "threads"
        assert labels.pid == process.pid
        threads[labels.thread, labels.tid] += sample.values[0]
    assert sorted(name for name, _ in threads) == ["left-hand", "right-hand"]
    assert process.pid not in {tid for _, tid in threads}
    assert min(threads.values()) >= 0.2 * sum(threads.values())


def test_without_per_thread_samples_have_no_thread(c_program: CBuild) -> None:
    with running([c_program("threads")]) as process:
        profile = record(Wanted(hertz=199, pids=(process.pid,)), 1.0).profile
    assert {(labels.tid, labels.thread) for labels in profile.labels} == {(0, "")}


def test_kernel_threads_are_labelled_with_their_own_names() -> None:
    """Asking for many short sleeps and forks keeps kernel threads (RCU, workers, ksoftirqd) at work."""
    with running(["sh", "-c", "while :; do /bin/true; done"]):
        recording = record(Wanted(hertz=999), 3.0)
    stacks = stacks_by_process(recording.profile)
    threads = {
        process: names
        for process, names in stacks
        if names and names[-1] in {"ret_from_fork_asm", "ret_from_fork"} and "kthread" in names
    }
    assert threads
    assert all(threads), "every kernel thread has a name"
    assert "sh" not in threads
