import mmap
import os
import shutil

import pytest

from profiles.model import Frame, Kind
from symbolizer.files import Candidate, FileCache, FileUnavailableError, candidates
from tests.support.elfwriter import Sec, Sym, image


def put(path, name: str = "f") -> Candidate:
    path.write_bytes(image([Sym(name, 0x1000, 8)]))
    return Candidate(str(path))


def names(binary) -> str:
    return "".join(frame.function for frame in binary.symbolize(0x1000)[1])


def test_file_is_opened_once_whatever_name_leads_to_it(tmp_path):
    cache = FileCache()
    first = cache.open([put(tmp_path / "a")], "/a")
    os.link(tmp_path / "a", tmp_path / "b")
    assert cache.open([Candidate(str(tmp_path / "b"))], "/b") is first
    assert (len(cache), first.path) == (1, "/a")
    assert first.key.inode == (tmp_path / "a").stat().st_ino


def test_file_changed_in_place_is_another_one_and_the_old_keeps_its_names(tmp_path):
    cache = FileCache()
    old = cache.open([put(tmp_path / "a", "before")], "/a")
    assert names(old) == "before"
    put(tmp_path / "new", "after")
    (tmp_path / "new").replace(tmp_path / "a")
    assert names(cache.open([Candidate(str(tmp_path / "a"))], "/a")) == "after"
    assert names(old) == "before"


def test_replaced_file_is_passed_over_for_the_next_candidate(tmp_path):
    right = put(tmp_path / "right", "right")
    wrong = put(tmp_path / "wrong", "wrong")
    status = (tmp_path / "right").stat()
    cache = FileCache()
    missing = Candidate(str(tmp_path / "missing"))
    assert names(cache.open([missing, wrong, right], "/x", status.st_dev, status.st_ino)) == "right"
    with pytest.raises(FileUnavailableError, match="replaced"):
        cache.open([missing, wrong], "/x", status.st_dev, status.st_ino)
    with pytest.raises(FileUnavailableError, match="No such file"):
        cache.open([wrong, missing], "/x", status.st_dev, status.st_ino)


def test_exact_candidate_is_taken_whatever_its_numbers(tmp_path):
    put(tmp_path / "a")
    assert FileCache().open([Candidate(str(tmp_path / "a"), exact=True)], "/a", 1, 2)


def test_other_device_is_accepted_only_from_file_systems_without_one_of_their_own(tmp_path):
    candidate = put(tmp_path / "a")
    status = (tmp_path / "a").stat()
    if os.major(status.st_dev) == 0:
        FileCache().open([candidate], "/a", status.st_dev + 1, status.st_ino)
    else:
        with pytest.raises(FileUnavailableError):
            FileCache().open([candidate], "/a", status.st_dev + 1, status.st_ino)


def test_file_that_is_no_elf_file_is_refused_with_its_reason_each_time(tmp_path):
    (tmp_path / "text").write_text("just text")
    (tmp_path / "empty").touch()
    os.mkfifo(tmp_path / "fifo")
    cache = FileCache()
    for name, reason in (("text", "not an ELF file"), ("empty", "empty"), ("fifo", "not a regular file")):
        for _ in range(2):
            with pytest.raises(FileUnavailableError, match=reason):
                cache.open([Candidate(str(tmp_path / name))], "/x")
    with pytest.raises(FileUnavailableError, match="no name"):
        cache.open([], "/x")


def test_longest_unused_file_is_dropped_first(tmp_path):
    a, b, c = (put(tmp_path / name) for name in "abc")
    cache = FileCache(max_files=2)
    first = cache.open([a], "/a")
    second = cache.open([b], "/b")
    assert cache.open([a], "/a") is first
    cache.open([c], "/c")
    assert len(cache) == 2
    assert cache.open([a], "/a") is first
    assert cache.open([b], "/b") is not second
    assert names(second) == "f"


def test_what_was_read_is_forgotten_above_the_bound_and_names_stay_right(tmp_path):
    cache = FileCache(max_footprint=0)
    binary = cache.open([put(tmp_path / "a")], "/a")
    assert names(binary) == "f"
    assert binary.footprint > 0
    cache.trim()
    assert binary.footprint == 0
    assert names(binary) == "f"


def test_number_of_maps_is_bounded(tmp_path):
    cache = FileCache(max_maps=1)
    cache.open([put(tmp_path / "a")], "/a")
    cache.open([put(tmp_path / "b")], "/b")
    assert len(cache) == 1


def _map_lines(path: str):
    with open("/proc/self/maps") as file:
        for line in file:
            fields = line.split(maxsplit=5)
            if len(fields) == 6 and fields[5].startswith(path) and "x" in fields[1]:
                start, end = (int(word, 16) for word in fields[0].split("-"))
                major, minor = (int(word, 16) for word in fields[3].split(":"))
                yield start, end, int(fields[2], 16), os.makedev(major, minor), int(fields[4]), fields[5].strip()


def test_mapped_file_that_was_deleted_is_found_through_map_files(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("map_files needs root")
    path = tmp_path / "deleted"
    put(path)
    with path.open("rb") as file:
        held = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ | mmap.PROT_EXEC)
    path.unlink()
    ((start, end, offset, device, inode, name),) = _map_lines(str(path))
    assert name.endswith("(deleted)")
    binary = FileCache().open(candidates("/proc", os.getpid(), start, end, name), name, device, inode)
    assert (names(binary), binary.path) == ("f", str(path))
    assert binary.vaddr_of(0x1000 + offset) == 0x1000
    held.close()


def test_every_executable_mapping_of_this_process_is_opened_and_placed():
    cache = FileCache()
    seen = 0
    for start, end, offset, device, inode, name in _map_lines("/"):
        binary = cache.open(candidates("/proc", os.getpid(), start, end, name), name, device, inode)
        mapping = binary.mapping_for(offset)
        assert binary.vaddr_of(offset) - mapping.start == offset - mapping.offset
        assert mapping.limit - mapping.start >= end - start
        seen += 1
    assert seen


def test_candidates_of_what_has_no_name_are_map_files_only():
    for name in ("/memfd:x (deleted)", "//anon", "[heap]", ""):
        found = candidates("/proc", 7, 0x1000, 0x2000, name)
        assert found[0] == Candidate("/proc/7/map_files/1000-2000", exact=True, root="/proc/7/root")
    assert candidates("/proc", 7, 0, 1, "/lib/x")[1] == Candidate("/proc/7/root/lib/x", root="/proc/7/root")


def test_go_program_is_symbolized_by_go_before_its_symbol_table():
    if not (go := shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")):
        pytest.skip("needs a Go program")
    binary = FileCache().open([Candidate(go)], go)
    kind, frames = binary.symbolize(binary.elf.entry)
    assert kind is Kind.GO
    assert frames[-1].function.startswith("_rt0_")
    assert frames[-1].file.endswith(".s")
    assert binary.go_error == ""


def test_damaged_go_program_keeps_its_symbols_and_says_why(tmp_path):

    (tmp_path / "a").write_bytes(image([Sym("f", 0x1000, 8)], sections=[Sec(".go.buildinfo", bytes(64))]))
    binary = FileCache().open([Candidate(str(tmp_path / "a"))], "/a")
    assert binary.symbolize(0x1000) == (Kind.NATIVE, (Frame("f"),))
    assert binary.go_error
