"""`goroscope doctor PID`: address spaces of files in memory and small C libraries, and what is said of them."""

import json
import os
import shutil
import struct
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from agent.cli import doctor_process, main
from agent.doctor import process
from agent.doctor.mapped import Mapped, ProcessReport
from agent.doctor.process import examine_process
from agent.errors import MachineError, TargetError
from agent.processes.spaces import AddressSpace, Region
from symbolizer.binary import Binary
from symbolizer.coverage import Coverage, RowSource, coverage
from symbolizer.perfmap import PerfMap
from symbolizer.unwind.frame_pointers import FrameError
from symbolizer.unwind.gopclntab import go_unwind_table
from tests.support.cprograms import library, needs_compiler, run
from tests.support.elfwriter import Sec, Sym, image
from tests.support.goimage import PROGRAM, ImageFunc, go_image

ROOT = Path(__file__).parents[2]
AARCH64 = 183
_LARGE = 4096 - sum(function.size for function in PROGRAM[:-1])
FULL = go_image((*PROGRAM[:-1], ImageFunc("main.large", _LARGE, ((0, 1), (8, _LARGE)), ((1, _LARGE),), start_line=3)))
"""Whose code is Go's altogether."""
ID = bytes(range(20))
WITHOUT_ENTRY = (
    'asm(".text\\n.globl bare\\n.type bare, @function\\nbare: .skip 4096, 0x90\\nret\\n.size bare, .-bare");'
)


def region(binary: Binary | None, path: str = "/srv/prog", start: int = 0x1000, **more) -> Region:
    return Region(start, start + 0x1000, 0, path, binary, None, **more)


def report(*regions: Region, root: Path = Path("/nonexistent"), **more) -> ProcessReport:
    return examine_process(AddressSpace(0, 4217, "server", "", list(regions)), root, **more)


def only(*regions: Region, **more) -> Mapped:
    (found,) = report(*regions, **more).mappings
    return found


def in_memory(data: bytes) -> Mapped:
    return only(region(Binary.from_memory(data, "/srv/prog")))


def in_file(path: Path) -> Mapped:
    return only(region(Binary.open(str(path), str(path)), str(path)))


def text(*regions: Region, columns: int = 100, **more) -> str:
    return doctor_process.as_text(report(*regions, **more), columns)


def test_a_file_without_call_frame_information_depends_on_frame_pointers_and_says_how_to_build_it() -> None:
    found = in_memory(image([Sym("f", 0x1000, 16), Sym("g", 0x1010, 16)]))
    assert found.doubtful
    assert (found.unwinding.method, found.unwinding.cause) == ("frame pointers", "no call frame information")
    assert "-fno-omit-frame-pointer" in found.unwinding.remedy
    assert found.unwinding.uncovered == found.unwinding.code == 0x1000
    assert (found.symbols.method, found.symbols.tables[0].functions, found.symbols.few) == (".symtab", 2, False)


def test_a_stripped_file_is_named_by_its_exports_and_the_remedy_tells_its_build_id() -> None:
    found = in_memory(image(dynamic=[Sym("exported", 0x1000, 16)], build_id=ID))
    assert (found.symbols.method, found.symbols.few, found.build_id) == (".dynsym", True, ID.hex())
    assert ID.hex() in found.symbols.remedy
    assert ".dynsym only: 1 exported function; static functions have no name" in doctor_process._named(found.symbols)
    nothing = in_memory(image())
    assert (nothing.symbols.method, nothing.symbols.cause) == ("none", "there are no symbols")


def test_a_file_for_another_processor_says_so() -> None:
    data = bytearray(image([Sym("f", 0x1000, 16)]))
    struct.pack_into("<H", data, 18, AARCH64)
    assert in_memory(bytes(data)).unwinding.cause == "the file is for another kind of processor"


def test_a_go_program_is_unwound_and_named_by_its_own_tables() -> None:
    found = report(region(Binary.from_memory(FULL, "/srv/prog")))
    (mapped,) = found.mappings
    assert found.go_version == "go1.26.6"
    assert found.unwindable
    assert mapped.unwinding.method == "go"
    assert mapped.unwinding.rows > 10
    assert mapped.symbols.tables[0].functions == 10
    shown = doctor_process.as_text(found, 100)
    assert "Go stack tables (pcsp), frame pointers between" in shown
    assert "Go function table (go1.26.6, 10 functions)" in shown


def test_damaged_go_tables_are_a_cause_and_no_exception() -> None:
    found = in_memory(image([Sym("f", 0x1000, 16)], sections=[Sec(".gopclntab", b"\xf1\xff\xff\xff\0\0\x01\x08" * 20)]))
    assert found.unwinding.cause.startswith("damaged: ")
    assert found.symbols.cause.startswith("Go's tables are not used: ")
    assert found.symbols.method == ".symtab"


def test_generated_code_is_named_by_the_perf_map_or_told_to_write_one(tmp_path: Path) -> None:
    nameless = only(region(None, ""))
    assert (nameless.file, nameless.symbols.method) == ("[anonymous]", "none")
    assert nameless.symbols.cause == "there is no /tmp/perf-4217.map"
    assert nameless.doubtful
    (tmp_path / "4217/root/tmp").mkdir(parents=True)
    (tmp_path / "4217/root/tmp/perf-3.map").write_text("1000 10 f\n1010 10 g\n")
    (tmp_path / "4217/status").write_text("NSpid:\t4217\t3\n")
    space = AddressSpace(0, 4217, "node", "", [region(None, "")], PerfMap.read(str(tmp_path), 4217, 3))
    (named,) = examine_process(space, tmp_path).mappings
    assert "perf map /tmp/perf-3.map (2 symbols)" in doctor_process._named(named.symbols)
    assert not named.symbols.few


def test_a_file_that_cannot_be_used_has_its_own_cause_and_others_are_told_all_the_same() -> None:
    good = region(Binary.from_memory(FULL, "/srv/prog"), start=0x401000)
    bad = region(None, "/srv/secret", cause="Permission denied")
    found = report(bad, good, privileged=False)
    assert [mapped.unwinding.method for mapped in found.mappings] == ["frame pointers", "go"]
    assert found.mappings[0].unwinding.cause == "the file cannot be used: Permission denied"
    assert found.mappings[0].unwinding.remedy == "Run as root."
    assert only(bad).unwinding.remedy == ""
    assert "may end early in 1 of 2 files (secret); 1 of 2 files has few names." in " ".join(
        doctor_process.as_text(found, 100).split()
    )


def test_a_file_that_breaks_its_reader_is_one_line_and_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_binary: Binary) -> None:
        raise RecursionError("too deep")

    monkeypatch.setattr(process, "unwind_table", broken)
    assert in_memory(image()).unwinding.cause == "the file broke its reader (RecursionError: too deep)"


def test_memory_where_no_program_keeps_functions_spoils_no_verdict() -> None:
    found = report(region(None, "[uprobes]"), region(Binary.from_memory(FULL, "/p"), start=0x401000))
    assert found.unwindable
    assert "will be complete, with all names." in doctor_process.as_text(found, 100)


def test_deleted_and_replaced_files_are_told_apart(tmp_path: Path) -> None:
    binary = Binary.from_memory(FULL, "/prog")
    assert only(region(binary, "/prog", deleted=True), root=tmp_path).origin == "deleted"
    (tmp_path / "4217/root").mkdir(parents=True)
    (tmp_path / "4217/root/prog").touch()
    replaced = only(region(binary, "/prog", deleted=True), root=tmp_path)
    assert replaced.origin == "replaced by another file"
    assert only(region(binary, "/prog"), root=tmp_path).origin == ""


def test_pieces_of_one_file_are_shown_once() -> None:
    binary = Binary.from_memory(FULL, "/srv/prog")
    found = only(region(binary), region(binary, start=0x5000))
    assert found.ranges == ((0x1000, 0x2000), (0x5000, 0x6000))
    assert found.size == 0x2000
    assert "1000-2000  and 1 more  8,192 bytes  /srv/prog" in text(region(binary), region(binary, start=0x5000))


def test_more_rows_than_there_is_room_for_are_a_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "BUDGET", 64)
    found = in_memory(FULL)
    assert found.doubtful
    assert "more than the walker has room for" in found.unwinding.cause


def test_rows_of_more_than_the_budget_altogether_are_said_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_process, "BUDGET", 64)
    assert "of 64 bytes for all processes" in text(region(Binary.from_memory(FULL, "/srv/prog")))


@needs_compiler
def test_a_c_library_is_unwound_by_eh_frame(tmp_path: Path) -> None:
    found = in_file(library(tmp_path))
    assert found.unwinding.method == ".eh_frame"
    assert found.unwinding.rows * 4 == found.unwinding.bytes > 0
    assert not found.unwinding.has_gaps
    assert found.symbols.method == ".symtab"


@needs_compiler
def test_debug_frame_fills_what_eh_frame_leaves_out(tmp_path: Path) -> None:
    found = in_file(library(tmp_path, "-fno-asynchronous-unwind-tables", "-nostdlib", "-Wl,-z,now"))
    assert RowSource.DEBUG_FRAME in found.unwinding.sources
    assert found.unwinding.rows > 0


@needs_compiler
def test_code_without_entries_is_measured(tmp_path: Path) -> None:
    (tmp_path / "bare.c").write_text(WITHOUT_ENTRY + "int f(int x) { return x * 3; }")
    run("gcc", "-shared", "-fPIC", "-o", tmp_path / "bare.so", tmp_path / "bare.c")
    found = in_file(tmp_path / "bare.so")
    assert 4097 <= found.unwinding.uncovered < 4097 + 512
    assert found.unwinding.has_gaps
    assert not found.doubtful
    assert "that have no entry" in doctor_process._unwound(found.unwinding)
    shown = " ".join(text(region(Binary.open(str(tmp_path / "bare.so"), "/x/bare.so"), "/x/bare.so")).split())
    assert "will be complete, but for code without entries in bare.so, with all names." in shown


@needs_compiler
def test_a_separate_debug_file_is_named_as_the_process_sees_it(tmp_path: Path) -> None:
    path, root = library(tmp_path), tmp_path / "4217/root"
    place = f"usr/lib/debug/.build-id/{Binary.open(str(path), '/x').build_id[:2]}"
    (root / place).mkdir(parents=True)
    debug = f"{place}/{Binary.open(str(path), '/x').build_id[2:]}.debug"
    run("objcopy", "--only-keep-debug", path, root / debug)
    run("strip", path)
    binary = Binary.open(str(path), "/library.so", root=str(root))
    (names,) = only(region(binary), root=tmp_path).symbols.tables
    assert (names.source, names.place) == ("debug file", f"/{debug}")
    assert names.functions >= 4


@needs_compiler
def test_a_damaged_source_is_named_whether_or_not_another_remains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_arguments: object) -> None:
        raise FrameError("more rows than any real file has")

    path = library(tmp_path)
    monkeypatch.setattr(process, "unwind_table", lambda _binary: None)
    monkeypatch.setattr(process, "frame_unwind_table", refused)
    assert in_file(path).unwinding.cause == "damaged: more rows than any real file has"
    only_go = go_unwind_table(Binary.from_memory(FULL).go)
    monkeypatch.setattr(process, "unwind_table", lambda _binary: only_go)
    monkeypatch.setattr(process, "coverage", lambda _binary: Coverage(tuple(RowSource)[:2], 0x1000, 64, 0, (0x900000,)))
    found = in_memory(FULL).unwinding
    assert (found.method, found.uncovered) == ("go", 64)
    assert found.cause == ".eh_frame unused, damaged: more rows than any real file has"


def test_coverage_of_lying_sections_stays_within_the_file() -> None:
    sections = [Sec(".lie", b"", flags=4, addr=0, size=1 << 63), Sec(".eh_frame", b"\xff" * 64, addr=0x9000)]
    found = coverage(Binary.from_memory(image(sections=sections)))
    assert (found.code, found.uncovered, found.sources) == (0x1000, 0x1000, ())


def test_text_keeps_within_the_terminal_and_shows_hostile_names_harmlessly() -> None:
    evil = region(None, "/tmp/\x1b[2J\n", cause="not an ELF file")
    shown = text(evil, region(Binary.from_memory(image(build_id=ID), "/x"), "/x"), columns=80)
    assert "\x1b" not in shown
    assert r"/tmp/\x1b[2J\x0a" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_json_has_one_object_for_each_file() -> None:
    found = json.loads(doctor_process.as_json(report(region(Binary.from_memory(FULL, "/srv/prog")))))
    assert {"goroscope", "pid", "name", "container", "go_version", "unwindable", "mappings"} == set(found)
    (mapped,) = found["mappings"]
    assert (mapped["start"], mapped["end"], mapped["file"]) == ("0x1000", "0x2000", "/srv/prog")
    assert mapped["unwind"]["method"] == "go"
    assert mapped["symbols"] == {
        "method": "go",
        "functions": 10,
        "tables": [{"method": "go", "functions": 10, "place": "go1.26.6"}],
        "cause": mapped["symbols"]["cause"],
        "remedy": "",
    }


@pytest.mark.parametrize("word", ["0", "-7", "x", "99999999999"])
def test_what_is_no_process_id_is_a_usage_error(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["doctor", word]) == 2
    assert capsys.readouterr().err.startswith("goroscope: ")


def test_a_process_that_is_not_there_is_a_target_error() -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    with pytest.raises(TargetError, match=f"There is no process {child.pid}"):
        doctor_process.look_at(child.pid)


def test_a_zombie_and_a_thread_are_target_errors() -> None:
    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    with pytest.raises(TargetError, match="kernel thread, or ending"):
        doctor_process.look_at(child.pid)
    child.wait()
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:
        with pytest.raises(TargetError, match=f"a thread of process {os.getpid()}"):
            doctor_process.look_at(thread.native_id)
    finally:
        done.set()
        thread.join()


def test_a_process_that_ends_half_way_is_a_target_error(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = AddressSpace(0, os.getpid(), "", "")
    monkeypatch.setattr(doctor_process.SpaceReader, "read", lambda *_arguments: gone)
    with pytest.raises(TargetError, match="has ended"):
        doctor_process.look_at(os.getpid())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give its rights away")
def test_without_rights_another_users_process_is_a_machine_error() -> None:
    os.seteuid(65534)
    try:
        with pytest.raises(MachineError, match="is not ours to read") as caught:
            doctor_process.look_at(1)
    finally:
        os.seteuid(0)
    assert caught.value.remedy == "Run as root."


@needs_compiler
@pytest.mark.parametrize("replaced", [False, True])
def test_a_program_whose_file_was_deleted_is_told_all_the_same(tmp_path: Path, *, replaced: bool) -> None:
    (tmp_path / "wait.c").write_text('#include <unistd.h>\nint main(void) { puts(""); fflush(stdout); pause(); }')
    (tmp_path / "wait.c").write_text("#include <stdio.h>\n" + (tmp_path / "wait.c").read_text())
    run("gcc", "-o", tmp_path / "wait", tmp_path / "wait.c")
    with subprocess.Popen([tmp_path / "wait"], stdout=subprocess.PIPE) as child:
        try:
            child.stdout.readline()
            (tmp_path / "wait").unlink()
            if replaced:
                shutil.copy(sys.executable, tmp_path / "wait")
            found = {mapped.file: mapped for mapped in doctor_process.look_at(child.pid).mappings}
        finally:
            child.kill()
    mine = found[str(tmp_path / "wait")]
    assert mine.origin == ("replaced by another file" if replaced else "deleted")
    if os.geteuid() == 0:
        assert mine.unwinding.method == ".eh_frame"
        assert mine.symbols.method == ".symtab"
    assert found["[vdso]"].unwinding.rows
    assert not found["[vdso]"].symbols.few
