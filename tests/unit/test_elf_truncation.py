import signal
import subprocess
import sys
from pathlib import Path

from tests.support.elfwriter import Sym, image

PROGRAM = """
import ctypes, mmap, os, sys, threading
from symbolizer.binary import Binary
from symbolizer.elf.truncation import survive_truncation

if sys.argv[2] == "guarded":
    survive_truncation()
    survive_truncation()
binary = Binary.open(sys.argv[1], "/x")
os.truncate(sys.argv[1], 64)

def look():
    print(binary.symbolize(0x1000)[1], bytes(binary.elf.data[-4:]), binary.elf.data.find(b"x", 8192))

worker = threading.Thread(target=look)
worker.start()
worker.join()
look()
"""
ROOT = Path(__file__).parents[2]


def run(tmp_path, mode: str, program: str = PROGRAM) -> subprocess.CompletedProcess[str]:
    path = tmp_path / "library.so"
    path.write_bytes(image([Sym(f"function_{i}", 0x1000 + i, 1) for i in range(2000)]))
    return subprocess.run(
        [sys.executable, "-c", program, path, mode], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )


def test_truncated_file_ends_an_unprotected_process(tmp_path):
    assert run(tmp_path, "bare").returncode == -signal.SIGBUS


def test_truncated_file_reads_as_zeros_in_a_protected_process(tmp_path):
    done = run(tmp_path, "guarded")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "() b'\\x00\\x00\\x00\\x00' -1\n" * 2


def test_other_bus_errors_still_end_a_protected_process(tmp_path):
    program = """
import mmap, os, sys
from symbolizer.elf.truncation import survive_truncation
survive_truncation()
with open(sys.argv[1], "r+b") as file:
    writable = mmap.mmap(file.fileno(), 0)
    os.truncate(sys.argv[1], 64)
    writable[8192]
"""
    assert run(tmp_path, "", program).returncode == -signal.SIGBUS
