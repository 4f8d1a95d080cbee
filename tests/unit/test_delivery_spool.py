"""The spool on real files: killed processes, locks, full disks and files that somebody else wrote."""

import errno
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporters.delivery.disk import Disk
from exporters.delivery.folder import SpoolRefused
from exporters.delivery.segments import HEAD, RECORD, pack_head, pack_record
from exporters.delivery.spool import Spool, SpoolSettings
from exporters.delivery.writer import Sync

ROOT = Path(__file__).parents[2]
SMALL = SpoolSettings(total=1 << 20, segment=2000, largest=1000)


def drained(spool: Spool) -> list[bytes]:
    payloads = []
    while (record := spool.take(0)) is not None:
        payloads.append(record.payload)
        spool.acknowledge(record.sequence)
    return payloads


@pytest.mark.parametrize("round_number", range(30))
def test_a_killed_process_loses_at_most_the_record_being_written(tmp_path, round_number):
    chance = random.Random(round_number)
    policy = list(Sync)[round_number % 3]
    command = [sys.executable, "-m", "tests.support.spoolchild", str(tmp_path / "spool"), policy.value]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as child:
        lines = [child.stdout.readline() for _ in range(chance.randrange(1, 300))]
        for _ in range(chance.randrange(3000)):
            pass  # to be somewhere within the next call
        child.kill()
        lines += child.stdout.read().splitlines(keepends=True)
    assert child.returncode == -signal.SIGKILL
    assert lines[0] == b"+0\n"
    appended = [int(line[1:]) for line in lines if line.startswith(b"+")]
    acknowledged = [int(line[1:]) for line in lines if line.startswith(b"-")]
    spool = Spool(tmp_path / "spool", SMALL)
    left = [int(payload.split()[0]) for payload in drained(spool)]
    begin = len(acknowledged)
    # One acknowledgement, and one record, may have been under way.
    assert left[:1] in ([begin], [begin + 1], [])
    first = left[0] if left else begin
    assert left == list(range(first, first + len(left)))
    assert first + len(left) - len(appended) in {0, 1} or (not left and len(appended) - begin <= 1)
    assert sum(spool.dropped.values()) <= 1
    assert set(spool.dropped) <= {"torn"}
    spool.close()


def test_two_spools_on_one_folder_are_refused_with_a_sentence(tmp_path):
    spool = Spool(tmp_path / "spool")
    with pytest.raises(SpoolRefused, match=r"is in use by another process\.$"):
        Spool(tmp_path / "spool")
    spool.close()
    Spool(tmp_path / "spool").close()


def test_a_folder_that_is_none_is_refused_with_a_sentence(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "link").symlink_to(tmp_path)
    for path in (tmp_path / "file", tmp_path / "link", tmp_path / "file" / "below"):
        with pytest.raises(SpoolRefused, match=r"^The spool .*\.$"):
            Spool(path)


def test_an_open_folder_is_closed_to_others(tmp_path):
    tmp_path.chmod(0o755)
    Spool(tmp_path).close()
    assert tmp_path.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("policy", list(Sync))
def test_a_full_disk_is_counted_and_survived(tmp_path, policy):
    full = os.open("/dev/full", os.O_WRONLY)

    class Full(Disk):
        filled = False

        def write(self, descriptor, data):
            super().write(full if self.filled else descriptor, data)

    disk = Full()
    spool = Spool(tmp_path, SpoolSettings(total=1 << 20, segment=2000, largest=1000, sync=policy), disk)
    assert spool.append(b"before", 0) == 0
    disk.filled = True
    for _ in range(3):
        assert spool.append(b"during", 0) is None
        spool.tick(0)
    assert spool.refused == {"disk full": 3}
    disk.filled = False
    assert spool.append(b"after", 0) == 1
    assert drained(spool) == [b"before", b"after"]
    spool.close()
    os.close(full)


@pytest.mark.parametrize("call", ["create", "open", "size", "read", "write", "cut", "sync", "sync_folder", "remove"])
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EMFILE])
@pytest.mark.parametrize("policy", [Sync.ALWAYS, Sync.INTERVAL])
def test_no_failing_system_call_reaches_the_caller(tmp_path, call, error, policy):
    class Failing(Disk):
        failing = False

    def failing(self, *arguments):
        if self.failing:
            raise OSError(error, os.strerror(error))
        return getattr(Disk, call)(self, *arguments)

    setattr(Failing, call, failing)
    disk = Failing()
    spool = Spool(tmp_path, SpoolSettings(total=4000, segment=200, largest=1000, sync=policy, sync_every=0), disk)
    for number in range(45):
        disk.failing = 15 <= number < 30
        spool.append(b"%d" % number * 40, number)
        spool.tick(number)
        if number % 3 == 0 and (record := spool.take(number)) is not None:
            spool.acknowledge(record.sequence)
    assert spool.append(b"alive", 200) is not None
    assert drained(spool)[-1] == b"alive"
    spool.close()
    Spool(tmp_path, SMALL).close()


def segment_file(data: bytes, *records: bytes, first: int = 0) -> bytes:
    return pack_head(first) + b"".join(pack_record(first + i, 0, r) for i, r in enumerate(records)) + data


hostile = st.one_of(
    st.binary(max_size=200),
    st.builds(
        lambda tail, records, first: segment_file(tail, *records, first=first),
        st.binary(max_size=60),
        st.lists(st.binary(max_size=30), max_size=4),
        st.integers(0, 20) | st.integers(2**62 - 3, 2**64 - 10),
    ),
)


@given(st.dictionaries(st.sampled_from(["00000001", "00000002", "00000007", "99999999"]), hostile), hostile)
def test_files_of_others_never_crash(tmp_path_factory, files, position):
    folder = tmp_path_factory.mktemp("hostile")
    for name, data in files.items():
        (folder / f"{name}.seg").write_bytes(data)
    (folder / "position").write_bytes(position)
    spool = Spool(folder, SMALL)
    sequence = spool.append(b"ours", 0)
    assert (sequence is None) == ("99999999" in files)
    got = drained(spool)
    assert got[-1:] == ([b"ours"] if sequence is not None else got[-1:])
    assert spool.pending == 0
    spool.close()


def test_things_in_the_place_of_segments_are_left_alone(tmp_path):
    (tmp_path / "00000001.seg").mkdir()
    os.mkfifo(tmp_path / "00000002.seg")
    (tmp_path / "00000003.seg").symlink_to("/dev/zero")
    (tmp_path / "4.seg").write_bytes(b"not ours")
    spool = Spool(tmp_path, SMALL)
    spool.append(b"ours", 0)
    assert drained(spool) == [b"ours"]
    spool.close()
    assert (tmp_path / "00000001.seg").is_dir()
    assert (tmp_path / "4.seg").read_bytes() == b"not ours"


def test_a_damaged_payload_costs_itself_and_a_damaged_header_the_rest_of_its_segment(tmp_path):
    spool = Spool(tmp_path, SpoolSettings(total=1 << 20, segment=300, largest=200))
    for number in range(12):
        spool.append(bytes([number]) * 50, 0)
    spool.close()
    first, second, *_ = sorted(tmp_path.glob("*.seg"))
    for path, offset in ((first, HEAD.size + RECORD.size + 3), (second, HEAD.size + RECORD.size + 50 + 3)):
        data = bytearray(path.read_bytes())
        data[offset] ^= 1
        path.write_bytes(data)
    spool = Spool(tmp_path, SMALL)
    # Three records a segment: the first of one, the second and third of the next.
    assert [payload[0] for payload in drained(spool)] == [1, 2, 3, 6, 7, 8, 9, 10, 11]
    assert spool.dropped == {"corrupt": 3}
    spool.close()


def test_memory_is_bounded_by_a_record_when_a_large_segment_is_read(tmp_path):
    import tracemalloc

    spool = Spool(tmp_path, SpoolSettings(total=64 << 20, segment=32 << 20, largest=1 << 20, sync=Sync.NEVER))
    for _ in range(300):
        spool.append(b"x" * 100_000, 0)
    spool.close()
    tracemalloc.start()
    spool = Spool(tmp_path)
    assert len(spool.take(0).payload) == 100_000
    assert tracemalloc.get_traced_memory()[1] < 600_000
    tracemalloc.stop()
    spool.close()


def test_bounds_that_leave_no_room_are_refused():
    for wrong in ({"total": 100}, {"largest": 0}, {"largest": 1 << 40}, {"max_age": 0}, {"segment": 0}):
        with pytest.raises(ValueError, match=r"\.$"):
            SpoolSettings(**wrong)
