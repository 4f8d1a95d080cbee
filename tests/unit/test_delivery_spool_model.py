"""Any sequence of appends, reads, acknowledgements, crashes, damage and full disks, held against a plain list."""

import errno
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from exporters.delivery.segments import RECORD, read_position
from exporters.delivery.spool import Spool, SpoolSettings, Sync
from tests.support.forgetful import ForgetfulDisk

SECOND = 10**9
MAX_AGE = 1000


@dataclass(eq=False)
class Entry:
    """One appended payload and what may have become of it."""

    payload: bytes
    sequence: int
    when: int
    path: Path
    start: int
    end: int
    acknowledged: bool = False
    may_be_lost: bool = False


class SpoolMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp()) / "spool"
        self.disk = ForgetfulDisk()
        self.time = 0
        self.entries: list[Entry] = []
        self.given_up = 0
        self.damaged: set[Path] = set()  # in a header, behind which nothing is found

    @initialize(sync=st.sampled_from([Sync.ALWAYS, Sync.INTERVAL]))
    def begin(self, sync):
        self.settings = SpoolSettings(total=3000, segment=500, largest=600, max_age=MAX_AGE, sync=sync, sync_every=5.0)
        self.open()

    def open(self) -> None:
        self.spool = Spool(self.folder, self.settings, self.disk, clock=lambda: float(self.time))
        self.acknowledged = 0
        self.given_up = 0

    def note_given_up(self) -> None:
        """Segments that the bounds removed took their records with them."""
        given_up = self.spool.dropped["spool full"] + self.spool.dropped["expired"] + self.spool.adrift
        if given_up != self.given_up:
            for entry in self.entries:
                entry.may_be_lost |= not entry.path.exists()
        self.given_up = given_up

    def stop_dead(self) -> None:
        self.spool._writer.let_go()
        os.close(self.spool._lock)

    @rule(fill=st.integers(0, 620))
    def append(self, fill):
        payload = len(self.entries).to_bytes(4, "little") + b"x" * fill
        sequence = self.spool.append(payload, self.time * SECOND)
        self.note_given_up()
        if sequence is None:
            assert len(payload) > 600
            return
        assert len(payload) <= 600
        active = self.spool._writer.active
        path = self.folder / f"{active.number:08d}.seg"
        start = active.size - len(payload) - RECORD.size
        entry = Entry(payload, sequence, self.time * SECOND, path, start, active.size)
        entry.may_be_lost = path in self.damaged
        self.entries.append(entry)

    def taken(self) -> Entry | None:
        record = self.spool.take(self.time * SECOND)
        expired = [entry for entry in self.entries if (self.time * SECOND - entry.when) > MAX_AGE * SECOND]
        for entry in expired:
            entry.may_be_lost = True
        owed = next((e for e in self.entries if not e.acknowledged and not e.may_be_lost), None)
        if record is None:
            assert owed is None
            return None
        entry = self.entries[int.from_bytes(record.payload[:4], "little")]
        assert (entry.payload, entry.sequence, entry.when) == (record.payload, record.sequence, record.when)
        assert not entry.acknowledged, "acknowledged records do not come again"
        assert entry not in expired
        assert owed is None or self.entries.index(entry) <= self.entries.index(owed), "in order, none left out"
        self.note_given_up()
        return entry

    @rule(acknowledge=st.sampled_from([True, True, True, False]))
    def take(self, acknowledge):
        entry = self.taken()
        if entry is not None and acknowledge:
            self.spool.acknowledge(entry.sequence)
            self.acknowledged += 1
            # Whatever came before it can only be what was lost.
            for earlier in self.entries[: self.entries.index(entry) + 1]:
                earlier.acknowledged = True

    @rule()
    def release(self):
        self.spool.release()

    @rule(seconds=st.sampled_from([1, 6, 400]))
    def wait(self, seconds):
        self.time += seconds
        for entry in self.entries:
            entry.may_be_lost |= self.time * SECOND - entry.when > MAX_AGE * SECOND
        self.spool.tick(self.time * SECOND)
        self.note_given_up()

    @rule()
    def restart(self):
        self.spool.close()
        self.open()

    @rule(torn=st.binary(max_size=60))
    def killed(self, torn):
        self.stop_dead()
        files = sorted(self.folder.glob("*.seg"))
        if files and torn:
            with files[-1].open("ab") as stream:
                stream.write(torn)
        self.open()

    @rule(data=st.data())
    def power_lost(self, data):
        self.stop_dead()
        for entry in self.entries:
            durable = entry.path in self.disk.durable and self.disk.synced.get(entry.path, 0) >= entry.end
            if self.settings.sync is Sync.ALWAYS:
                assert durable or entry.acknowledged or entry.may_be_lost
            entry.may_be_lost |= not durable
        before = read_position(self.disk, self.folder / "position")
        self.disk.lose_power(self.folder, lambda low, high: data.draw(st.integers(low, high)))
        after = read_position(self.disk, self.folder / "position")
        if after != before:
            assert self.settings.sync is not Sync.ALWAYS
            self.forget_acknowledgements(after or 0)
        self.open()

    def forget_acknowledgements(self, position: int) -> None:
        """They may come again, as far as they are there."""
        for entry in self.entries:
            if entry.acknowledged and entry.sequence >= position:
                entry.acknowledged = False
                entry.may_be_lost = True

    @rule(data=st.data(), running=st.booleans())
    def byte_flipped(self, data, running):
        files = sorted(path for path in self.folder.iterdir() if path.name != "lock" and path.stat().st_size)
        if not files:
            return
        path = data.draw(st.sampled_from(files))
        running = running and path.suffix == ".seg"
        if not running:
            self.stop_dead()
        content = bytearray(path.read_bytes())
        offset = data.draw(st.integers(0, len(content) - 1))
        content[offset] ^= data.draw(st.integers(1, 255))
        with path.open("r+b") as stream:
            stream.write(content)
        if path.name == "position":
            self.disk.position = bytes(content)
            self.forget_acknowledgements(0)
        inside = [e for e in self.entries if e.path == path and e.start + RECORD.size <= offset < e.end]
        if not inside:
            self.damaged.add(path)
        for entry in inside or self.entries:
            entry.may_be_lost |= entry.path == path and entry.end > offset
        if not running:
            self.open()

    @rule(error=st.sampled_from([errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO]), cut=st.booleans())
    def disk_fails_once(self, error, cut):
        self.disk.fail, self.disk.cut_fails = error, cut
        refused = sum(self.spool.refused.values())
        assert self.spool.append(b"refused", self.time * SECOND) is None
        assert sum(self.spool.refused.values()) == refused + 1
        self.note_given_up()
        self.disk.fail, self.disk.cut_fails = None, False
        self.spool.tick(self.time * SECOND)  # a position that could not be saved is saved now

    @invariant()
    def counters_add_up(self):
        if not hasattr(self, "spool"):
            return
        spool = self.spool
        lost = sum(spool.dropped.values())
        assert spool.recovered + spool.appended == self.acknowledged + lost + spool.pending + spool.adrift
        assert spool.pending >= 0
        assert spool.size <= self.settings.total
        modes = {path.stat().st_mode & 0o777 for path in self.folder.iterdir()}
        assert modes <= {0o600}
        assert self.folder.stat().st_mode & 0o777 == 0o700

    def teardown(self):
        if hasattr(self, "spool"):
            self.killed(b"")
            while (entry := self.taken()) is not None:
                self.spool.acknowledge(entry.sequence)
                entry.acknowledged = True
            self.spool.close()
        shutil.rmtree(self.folder.parent)


TestSpool = SpoolMachine.TestCase
TestSpool.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
