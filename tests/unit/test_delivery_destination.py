"""One destination in simulated time: outages, full queues, stops; and many that flap."""

import random
import threading
import time
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exporters.delivery.backoff import Backoff
from exporters.delivery.destination import Destination, DestinationSettings
from exporters.delivery.disk import Disk
from exporters.delivery.fanout import Fanout, spool_folder
from exporters.delivery.outcome import Drop, Ok, Partial, RetryAfter
from exporters.delivery.spool import Spool, SpoolSettings
from exporters.delivery.worker import Worker
from exporters.delivery.writer import Sync

BOUNDS = DestinationSettings(queue_items=8, queue_bytes=10_000, largest=2000, replay_items=10)
QUICK = SpoolSettings(total=1 << 20, segment=10_000, largest=2000, sync=Sync.NEVER)


class World:
    """A clock, and what arrived at the far end."""

    def __init__(self, folder=None, bounds=BOUNDS, spool=QUICK, disk=None) -> None:
        self.now = 0.0
        self.arrived: list[bytes] = []
        self.attempts = 0
        self.answer = Ok()
        opened = None if folder is None else Spool(folder, spool, disk, clock=lambda: self.now)
        chance = random.Random(1).random
        self.destination = Destination("far", bounds, opened, wall=lambda: int(self.now * 1e9), chance=chance)

    def send(self, payload: bytes):
        self.attempts += 1
        if isinstance(self.answer, Ok | Partial):
            self.arrived.append(payload)
        return self.answer

    def step(self) -> float:
        return self.destination.step(self.now, self.send)

    def run_until(self, end: float) -> None:
        """Step whenever that is due."""
        while (due := self.step()) <= end:
            assert due >= self.now
            self.now = due
        self.now = end

    def stats(self):
        stats = self.destination.stats(self.now)
        assert stats.offered + stats.recovered == stats.sent + sum(stats.dropped.values()) + stats.waiting
        return stats


def test_a_healthy_destination_never_touches_the_disk(tmp_path):
    world = World(tmp_path)
    for number in range(20):
        assert world.destination.offer(b"%d" % number)
        world.run_until(world.now + 5)
    assert world.arrived == [b"%d" % number for number in range(20)]
    stats = world.stats()
    assert (stats.sent, stats.spooled, stats.waiting, stats.bytes_sent, stats.state) == (20, 0, 0, 30, "sending")
    assert not list(tmp_path.glob("*.seg"))


def test_an_outage_of_ten_minutes_loses_nothing_and_is_caught_up_in_order(tmp_path):
    world = World(tmp_path)
    offered = 0
    held = 0
    for window in range(240):
        world.answer = RetryAfter(None, "HTTP 503") if 24 <= window < 144 else Ok()
        assert world.destination.offer(b"%d" % window)
        offered += 1
        world.run_until(world.now + 5)
        held = max(held, len(world.destination._queue))
        if window == 100:
            assert "HTTP 503" in world.stats().state
        if window == 144 + 36:
            assert world.stats().waiting == 0, "caught up within three minutes"
    assert world.arrived == [b"%d" % number for number in range(offered)]
    stats = world.stats()
    assert (stats.sent, stats.dropped, stats.waiting) == (240, {}, 0)
    assert held <= 2
    assert world.attempts - 240 == stats.retried <= 600 / 15


def test_replay_is_paced_by_count_and_by_bytes(tmp_path):
    bounds = DestinationSettings(largest=2000, replay_items=4, replay_bytes=2000, backoff=Backoff(1, 1))
    world = World(tmp_path, bounds)
    world.answer = RetryAfter(None)
    for _ in range(8):
        world.destination.offer(b"x" * 1000)
        world.step()
    world.run_until(100)
    world.answer = Ok()
    times = []
    while len(world.arrived) < 8:
        before = len(world.arrived)
        due = world.step()
        times += [world.now] * (len(world.arrived) - before)
        world.now = max(due, world.now)
    assert all(b - a == pytest.approx(0.5) for a, b in pairwise(times))


def test_what_the_server_asks_for_is_waited(tmp_path):
    world = World(tmp_path)
    world.answer = RetryAfter(100.0, "HTTP 429")
    world.destination.offer(b"x")
    world.step()
    world.run_until(99.0)
    assert world.attempts == 1
    world.answer = Ok()
    world.run_until(102.0)
    assert world.arrived == [b"x"]


def test_what_is_refused_for_good_is_counted_and_passed(tmp_path):
    world = World(tmp_path)
    for answer in (Drop("HTTP 400"), Partial(3, "three were odd"), Ok()):
        world.answer = answer
        world.destination.offer(b"x")
        world.run_until(world.now + 1)
    stats = world.stats()
    assert (stats.sent, stats.rejected, stats.retried, stats.dropped) == (2, 3, 0, {"HTTP 400": 1})


def test_without_a_spool_memory_is_the_bound_and_age_the_end():
    world = World(None)
    world.answer = RetryAfter(None, "connection refused")
    taken = [world.destination.offer(b"%d" % number) for number in range(8)]
    world.step()
    taken += [world.destination.offer(b"more"), world.destination.offer(b"much")]
    assert taken == [True] * 9 + [False]
    assert world.stats().dropped == {"queue full": 1}
    assert not world.destination.offer(b"x" * 2001)
    world.run_until(3700)
    assert world.stats().dropped["expired"] >= 1
    world.answer = Ok()
    world.run_until(3800)
    assert world.arrived == [*sorted(world.arrived[:-1]), b"more"]
    assert world.stats().waiting == 0


def test_a_full_queue_goes_to_disk_while_a_send_hangs(tmp_path):
    world = World(tmp_path)
    world.destination.offer(b"0")
    assert world.destination.due(0.0) == b"0"
    for number in range(1, 100):
        assert world.destination.offer(b"%d" % number)
        world.destination.keep()
    assert world.destination.due(1.0) == float("inf"), "at most one is being sent"
    world.destination.done(Ok(), 10.0)
    world.arrived.append(b"0")
    world.now = 10.0
    world.run_until(100)
    assert world.arrived == [b"%d" % number for number in range(100)]
    assert world.stats().sent == 100


def test_a_full_disk_leaves_memory_and_counts_the_rest(tmp_path):
    class Full(Disk):
        full = True

        def write(self, descriptor, data):
            if self.full:
                raise OSError(28, "full")
            super().write(descriptor, data)

    disk = Full()
    world = World(tmp_path, disk=disk)
    world.answer = RetryAfter(None)
    for number in range(20):
        world.destination.offer(b"%02d" % number)
        world.run_until(world.now + 1)
    stats = world.stats()
    assert stats.dropped == {"disk full": 11}
    assert stats.waiting == 9
    disk.full = False
    world.run_until(world.now + 60)
    world.answer = Ok()
    world.run_until(world.now + 100)
    assert world.arrived == [b"%02d" % number for number in range(9)]


def test_close_spools_the_rest_and_the_next_process_sends_it(tmp_path):
    world = World(tmp_path)
    for number in range(5):
        world.destination.offer(b"%d" % number)
    assert world.destination.due(0.0) == b"0"
    world.destination.close()
    world.destination.done(Ok(), 1.0)  # too late: it is sent again
    assert not world.destination.offer(b"late")
    stats = world.stats()
    assert (stats.waiting, stats.dropped, stats.state) == (5, {"stopped": 1}, "stopped")
    again = World(tmp_path)
    again.run_until(10)
    assert again.arrived == [b"%d" % number for number in range(5)]
    assert again.stats().recovered == 5


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_any_course_of_events_keeps_order_and_the_books(tmp_path_factory, data):
    spool = SpoolSettings(total=6000, segment=700, largest=500, max_age=200, sync=Sync.NEVER)
    bounds = DestinationSettings(queue_items=4, queue_bytes=1500, largest=500, max_age=100, threshold=2)
    world = World(tmp_path_factory.mktemp("spool") if data.draw(st.booleans()) else None, bounds, spool)
    answers = st.sampled_from([Ok(), Ok(), RetryAfter(None), RetryAfter(5.0), Drop("HTTP 400"), Partial(1, "")])
    number = 0
    for action in data.draw(
        st.lists(st.sampled_from(["offer", "offer", "step", "hang", "answer", "wait"]), max_size=80)
    ):
        if action == "offer":
            world.destination.offer(b"%06d" % number + b"x" * data.draw(st.integers(0, 520)))
            number += 1
        elif action == "step":
            world.step()
        elif action == "hang" and isinstance(payload := world.destination.due(world.now), bytes):
            for _ in range(data.draw(st.integers(0, 20))):
                world.destination.offer(b"%06d" % number + b"x" * 400)
                number += 1
                world.destination.keep()
                world.stats()
            world.destination.done(world.send(payload), world.now)
        elif action == "answer":
            world.answer = data.draw(answers)
        else:
            world.now += data.draw(st.sampled_from([0.1, 1, 30, 150]))
        stats = world.stats()
        assert stats.waiting_bytes <= 6000 + 1500 + 500
    numbers = [int(payload[:6]) for payload in world.arrived]
    assert numbers == sorted(set(numbers))
    world.destination.close()
    world.stats()


def test_fifty_flapping_destinations_do_bounded_work_a_step(tmp_path):
    calls = Counter()

    class Counting(Disk):
        def write(self, descriptor, data):
            calls["write"] += 1
            super().write(descriptor, data)

        def read(self, descriptor, size, offset):
            calls["read"] += 1
            return super().read(descriptor, size, offset)

    chance = random.Random(7)
    worlds = [World(tmp_path / str(number), disk=Counting()) for number in range(50)]
    offered = 0
    for second in range(300):
        for world in worlds:
            world.now = float(second)
            if chance.random() < 0.1:
                world.answer = RetryAfter(None) if isinstance(world.answer, Ok) else Ok()
            if second % 5 == 0:
                world.destination.offer(b"%d" % second)
                offered += 1
            calls.clear()
            attempts = world.attempts
            world.step()
            assert world.attempts - attempts <= 1
            assert calls["write"] <= 2 * (BOUNDS.queue_items + 1) + 2
            assert calls["read"] <= 20
    for world in worlds:
        world.answer = Ok()
        world.run_until(600)
        assert world.arrived == [b"%d" % second for second in range(0, 300, 5)]
        assert world.stats().dropped == {}


def test_a_payload_that_the_spool_would_not_take_is_no_setting(tmp_path):
    spool = Spool(tmp_path, SpoolSettings(largest=10))
    with pytest.raises(ValueError, match="far takes payloads"):
        Destination("far", BOUNDS, spool)
    spool.close()


class Far:
    """A far end that may hang, for real threads."""

    def __init__(self, hangs: bool = False) -> None:
        self.arrived: list[bytes] = []
        self.some = threading.Semaphore(0)
        self.go = threading.Event()
        if not hangs:
            self.go.set()

    def __call__(self, payload: bytes):
        self.go.wait(30)
        if payload == b"bug":
            raise KeyError("bug")
        self.arrived.append(payload)
        self.some.release()
        return Ok()


def test_a_slow_destination_delays_no_other(tmp_path):
    ends = {"slow": Far(hangs=True), "quick": Far()}
    workers = [
        Worker(Destination(name, BOUNDS, Spool(spool_folder(tmp_path, name), QUICK)), end) for name, end in ends.items()
    ]
    fanout = Fanout(workers)
    fanout.start()
    for number in range(5):
        assert fanout.offer_all(b"%d" % number) == 2
        assert ends["quick"].some.acquire(timeout=30)
    assert ends["quick"].arrived == [b"%d" % number for number in range(5)]
    assert ends["slow"].arrived == []
    while fanout.stats()["quick"].sent < 5:
        time.sleep(0.01)  # it arrived; that it did is noted in a moment
    fanout.stop(0.2)
    stats = fanout.stats()
    assert (stats["quick"].sent, stats["quick"].waiting) == (5, 0)
    assert (stats["slow"].sent, stats["slow"].waiting) == (0, 5), "spooled, that too which hangs"
    ends["slow"].go.set()


def test_a_stop_sends_what_is_queued_and_a_failing_sender_is_survived(tmp_path):
    end = Far(hangs=True)
    worker = Worker(Destination("far", BOUNDS, Spool(tmp_path, QUICK)), end)
    for number in range(4):
        worker.offer(b"%d" % number)
    worker.start()
    end.go.set()
    worker.stop(worker._clock() + 30)
    assert worker.stats().sent == 4
    worker = Worker(Destination("far", BOUNDS, Spool(tmp_path, QUICK)), end)
    worker.offer(b"bug")
    worker.start()
    worker.stop(worker._clock() + 30)
    stats = worker.stats()
    assert (stats.retried, stats.waiting) == (1, 1)
    assert worker.destination._cause == "the sender failed (KeyError)"


def test_names_that_are_no_folders_are_refused(tmp_path):
    assert spool_folder(tmp_path, "otlp-1.eu") == tmp_path / "otlp-1.eu"
    for name in ("", ".", "..", "a/b", "A", "x" * 65, ".hidden", "a\n", "-"):
        with pytest.raises(ValueError, match="destination's name"):
            spool_folder(tmp_path, name)
    worker = Worker(Destination("one"), Far())
    with pytest.raises(ValueError, match="Two destinations are named one"):
        Fanout([worker, worker])
