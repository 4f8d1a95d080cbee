"""Waits of threads that keep their own account (programs/waits.c), against that account and the kernel's.

What is compared with what. A thread measures each wait as time gone by less CPU time used, so that what it computes
around the wait is in neither; the recorder measures from sched_switch to sched_switch. The two differ by a few
microseconds a wait, hence waits of 1 ms and 1 %. Counts are compared with the kernel's own counters of voluntary and
involuntary switches, which are kept where the tracepoint is. Nothing depends on how long a wait takes: on a busy
machine all become longer, for both accounts alike.
"""

import pytest

from agent.recording.recorder import Wanted
from bpf.waits import WaitSettings, WaitState
from tests.kernel.conftest import CBuild
from tests.kernel.waiting import Account, Truth, Waiting, Waits, record_waits, waiters

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

THRESHOLD_US = 300
NO_LIMIT = 10**9
ASLEEP = (WaitState.SLEEPING, WaitState.UNINTERRUPTIBLE)
PREEMPTED = (WaitState.PREEMPTED,)
BARRIERS = {"wait_for_start", "wait_for_end"}

ROUNDS = 1300
EXACT = ("sleep", "sleep", "sleep", "pipe", "pipe", "futex", "futex", "migrate")
"""One thread each."""
WAIT_OF = {"sleep": "wait_asleep", "pipe": "wait_read", "futex": "wait_condition", "migrate": "wait_condition"}
BELOW = {
    "sleep": ("wait_asleep", "cause_sleep", "thread_main"),
    "pipe": ("wait_read", "cause_pipe", "thread_main"),
    "futex": ("wait_condition", "cause_futex", "thread_main"),
    "migrate": ("wait_condition", "cause_futex", "cause_migrate", "thread_main"),
}
ALL_OF_IT = (
    *("sleep=800", "pipe=800", "futex=800", "migrate=300", "disk=500", "stop=80,3000"),
    *("spin=2500", "spin=2500", "spin=2500"),
)


class Run:
    """A recording of programs/waits.c, and what it said of itself."""

    def __init__(self, truth: Truth, wanted: Wanted) -> None:
        begin, end = [], []
        begin.append(truth.switches())
        self.waiting: Waiting = record_waits(
            wanted, truth.go, truth.done, before_stop=lambda: end.append(truth.switches())
        )
        self.switches = end[0] - begin[0]
        self.accounts = truth.accounts
        self.pid = truth.pid

    def of(self, account: Account) -> Waits:
        """The waits of a thread between the marks of its account."""
        mine = self.waiting.waits.of(account.tid)
        return Waits(tuple(one for one in mine.waits if not BARRIERS & set(one.user)))

    @property
    def unreported(self) -> int:
        """How many switches the kernel may have counted without running the tracepoint.

        Measured on a virtual machine: about one a second, always away from a thread of its first process, with a BPF
        program of nothing but a counter as well (/proc/stat `ctxt` says more than it saw).
        """
        return 1 + int(self.waiting.wall_ns / 1e9)


@pytest.fixture(scope="module")
def exact(c_program: CBuild) -> Run:
    """Waits from a threshold on, all of them walked."""
    settings = WaitSettings(min_ns=THRESHOLD_US * 1000, thread_walks=NO_LIMIT, cpu_walks=NO_LIMIT)
    with waiters(c_program("waits"), THRESHOLD_US, *(f"{cause}={ROUNDS}" for cause in EXACT)) as truth:
        return Run(truth, Wanted(pids=(truth.pid,), per_thread=True, on_cpu=False, waits=settings))


@pytest.fixture(scope="module")
def whole(c_program: CBuild) -> Run:
    """All waits however short, and CPU time as well, in windows of a second."""
    settings = WaitSettings(min_ns=0, thread_walks=NO_LIMIT, cpu_walks=NO_LIMIT)
    with waiters(c_program("waits"), THRESHOLD_US, *ALL_OF_IT) as truth:
        return Run(truth, Wanted(hertz=499, pids=(truth.pid,), per_thread=True, window_seconds=1.0, waits=settings))


@pytest.mark.parametrize("cause", sorted(set(EXACT)))
def test_waits_are_counted_exactly_and_their_time_is_right_within_1_percent(exact: Run, cause: str) -> None:
    mine = [account for account in exact.accounts if account.cause == cause]
    kept = [exact.of(account).of(within=WAIT_OF[cause], states=ASLEEP) for account in mine]
    slack = sum(account.near + account.several for account in mine) + exact.unreported
    missing = sum(account.waits for account in mine) - sum(one.count for one in kept)
    assert -slack <= missing <= slack
    total = sum(account.total for account in mine)
    # Of a wait in which the thread was preempted too, its own account cannot tell the two apart.
    disturbed = sum(account.disturbed for account in mine)
    unseen = max(0, missing) * max(account.longest for account in mine)
    assert abs(sum(one.off_ns for one in kept) - total) <= 0.01 * total + disturbed + unseen
    assert disturbed <= 0.1 * total


def test_the_longest_wait_of_a_stack_is_one_of_its_waits(exact: Run) -> None:
    for account in exact.accounts:
        if account.cause in WAIT_OF:
            kept = exact.of(account).of(within=WAIT_OF[account.cause], states=ASLEEP)
            longest = max(one.wait.longest_ns for one in kept.waits)
            assert longest == pytest.approx(account.longest, rel=0.01, abs=1_000_000)


def test_ten_thousand_waits_and_none_of_them_lost(exact: Run) -> None:
    accounts = [account for account in exact.accounts if account.cause in EXACT]
    assert sum(account.waits for account in accounts) >= 10_000
    assert not exact.waiting.losses()
    assert not exact.waiting.left_out.thinned_waits


def test_what_is_kept_and_what_is_shorter_are_all_switches_that_the_kernel_counted(exact: Run) -> None:
    """When the recording begins and when it ends every thread waits: the first wait is seen, and began before."""
    left_out = exact.waiting.left_out
    seen = exact.waiting.waits.count + left_out.short_waits
    threads = len(exact.accounts) + 1
    assert exact.switches + threads - exact.unreported <= seen <= exact.switches + threads
    off = sum(exact.of(account).off_ns for account in exact.accounts) + left_out.short_ns
    assert off == pytest.approx(sum(account.off_cpu for account in exact.accounts), rel=0.01)


def test_waits_that_begin_on_one_cpu_and_end_on_another_are_all_there(exact: Run) -> None:
    (account,) = [account for account in exact.accounts if account.cause == "migrate"]
    if account.moved == 0:
        pytest.skip("there is only one CPU")
    assert account.moved >= 0.9 * account.rounds
    kept = exact.of(account).of(within="wait_condition", states=ASLEEP)
    assert account.waits - exact.unreported <= kept.count <= account.waits + account.several


@pytest.mark.parametrize("cause", sorted(set(EXACT)))
def test_the_functions_of_the_program_stand_below_the_wait(exact: Run, cause: str) -> None:
    for account in exact.accounts:
        if account.cause != cause:
            continue
        waits = exact.of(account).of(within=WAIT_OF[cause], states=ASLEEP)
        for one in waits.waits:
            assert one.stop == 0, one
            at = one.user.index(WAIT_OF[cause])
            assert one.user[at : at + len(BELOW[cause])] == BELOW[cause]
            assert one.user[-2:] == ("start_thread", "clone3")
            assert one.kernel[0] in {"__schedule", "schedule"}
        assert waits.states.keys() == {WaitState.SLEEPING}


def test_voluntary_and_involuntary_switches_are_told_apart_and_each_is_a_wait(whole: Run) -> None:
    for account in whole.accounts:
        mine = whole.of(account)
        waited = mine.of(states=(*ASLEEP, WaitState.STOPPED)).count
        # The marks themselves can be preempted: that is counted by the thread, and not below its cause.
        assert abs(account.voluntary - waited) <= whole.unreported, account
        assert abs(account.involuntary - mine.of(states=PREEMPTED).count) <= whole.unreported + 2, account


def test_time_off_the_cpu_is_the_time_gone_by_less_the_cpu_time(whole: Run) -> None:
    for account in whole.accounts:
        mine = whole.of(account)
        # Each wait may be off by some microseconds; most waits of the helpers are shorter than 0.1 ms.
        each = 5_000 * (account.voluntary + account.involuntary)
        # What interrupts and the hypervisor take of a thread that runs is in no account, neither CPU time nor a wait.
        stolen = account.cpu // 20
        assert 0.99 * account.off_cpu - each - stolen <= mine.off_ns <= 1.01 * account.off_cpu + each, account
        # Of that the time on the run queue: how long a thread that could run had to wait for a CPU.
        assert mine.runnable_ns == pytest.approx(account.delay, rel=0.02, abs=each), account


def test_cpu_time_and_time_off_the_cpu_are_the_time_gone_by(whole: Run) -> None:
    """CPU time by counting samples: each stands for a period of the timer."""
    period = 1_000_000_000 // 499
    samples = {account.tid: 0 for account in whole.accounts}
    for window in whole.waiting.recording.windows:
        for count in window.counts:
            if count.tid in samples:
                samples[count.tid] += count.samples
    for account in whole.accounts:
        if account.wall < 1_000_000_000:
            continue
        both = samples[account.tid] * period + whole.of(account).off_ns
        # Of few samples one more or less matters.
        assert both == pytest.approx(account.wall, rel=0.02, abs=5 * period), account


def test_states_are_those_of_the_cause(whole: Run) -> None:
    found = {}
    for account in whole.accounts:
        states = found.setdefault(account.cause, whole.of(account).states)
        if account.cause == "stop":
            assert states[WaitState.STOPPED] == account.rounds
            stopped = whole.of(account).of(states=(WaitState.STOPPED,))
            assert stopped.blocked_ns >= 0.99 * account.total
            assert "cause_stop" in stopped.waits[0].user
    assert found["spin"][WaitState.PREEMPTED] >= 50
    assert found["disk"][WaitState.UNINTERRUPTIBLE] >= 200
    assert found["disk"][WaitState.SLEEPING] <= 0.1 * found["disk"][WaitState.UNINTERRUPTIBLE]
    for cause in ("sleep", "pipe", "futex"):
        assert found[cause].keys() <= {WaitState.SLEEPING, WaitState.PREEMPTED}


def test_no_thread_waits_longer_than_the_time_that_went_by(exact: Run, whole: Run) -> None:
    for run in (exact, whole):
        for account in run.accounts:
            assert 0 <= run.waiting.waits.of(account.tid).off_ns <= 1.001 * run.waiting.wall_ns
        for one in run.waiting.waits.waits:
            assert min(one.wait.waits, one.wait.blocked_ns, one.wait.runnable_ns) >= 0


def test_states_are_labels_of_the_profile(whole: Run) -> None:
    profile = whole.waiting.recording.profile
    columns = [kind.type for kind in profile.value_types]
    waits = columns.index("waits")
    states = {profile.labels[one.labels].state for one in profile.samples if one.values[waits]}
    assert states == {"sleeping", "uninterruptible", "preempted", "stopped"}
    assert sum(one.values[waits] for one in profile.samples) == whole.waiting.waits.count
