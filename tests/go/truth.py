"""Running the truth program, and asking it about addresses of its own code."""

import json
import random
import struct
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from profiles.model import Frame
from symbolizer.elf.file import ET_DYN, PF_X, ElfFile
from symbolizer.go.binary import GoBinary


@dataclass(frozen=True, slots=True)
class Question:
    """`leaf`: the frames of exactly this address; `caller`: of this return address. A file virtual address."""

    kind: str
    vaddr: int

    @property
    def symbolized(self) -> int:
        """The address that is to be symbolized: inside the call, for a return address."""
        return self.vaddr - (self.kind == "caller")


def frames_of(answer: list[dict[str, object]] | None) -> tuple[Frame, ...] | None:
    """An answer of the program as frames; None where it could not say."""
    if answer is None:
        return None
    return tuple(
        Frame(
            function=str(frame["function"]),
            file="" if frame["file"] == "?" else str(frame["file"]),
            line=int(str(frame["line"])),
            start_line=int(str(frame["start_line"])),
            system_name=str(frame["system_name"]) if frame["system_name"] != frame["function"] else "",
        )
        for frame in answer
    )


def agree(ours: tuple[Frame, ...], theirs: tuple[Frame, ...]) -> bool:
    """Whether our frames equal the program's.

    The runtime takes offset 0 of its name table for "no name" (moduledata.funcName). In externally linked
    programs a real function has that offset: the runtime calls it "" and we call it by its name.
    """
    named = tuple(
        mine._replace(function="", system_name="") if not their.function else mine
        for mine, their in zip(ours, theirs, strict=False)
    )
    return len(ours) == len(theirs) and named == theirs


def load_bias(elf: ElfFile, pid: int, path: Path) -> int:
    """How far the program was loaded from its file virtual addresses, by /proc/PID/maps."""
    if elf.type != ET_DYN:
        return 0
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        fields = line.split(None, 5)
        if len(fields) == 6 and fields[5] == str(path) and "x" in fields[1]:
            start, offset = int(fields[0].split("-")[0], 16), int(fields[2], 16)
            vaddr = elf.vaddr_of(max(offset, next(load.offset for load in elf.loads if load.flags & PF_X)))
            assert vaddr is not None
            return start - (vaddr & ~0xFFF)
    raise AssertionError(f"{path} is not mapped in process {pid}")


def ask_program(path: Path, elf: ElfFile, questions: list[Question]) -> list[tuple[Frame, ...] | None]:
    """The answers of a fresh process of the program, idle."""
    with subprocess.Popen(
        [path, "-workers=0"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        assert process.stdout
        hello = json.loads(process.stdout.readline())
        bias = load_bias(elf, hello["pid"], path)
        lines = [f"{question.kind} {question.vaddr + bias:x}\n" for question in questions]
        output, _ = process.communicate("".join([*lines, "quit\n"]), timeout=120)
    answers = [json.loads(line) for line in output.splitlines()]
    assert len(answers) == len(questions)
    return [frames_of(answer["frames"]) for answer in answers]


_HOST = """
import ctypes, json, sys
library = ctypes.CDLL(sys.argv[1])
describe = library.describeAddress
describe.argtypes, describe.restype = [ctypes.c_ulonglong, ctypes.c_int], ctypes.c_void_p
library.freeText.argtypes = [ctypes.c_void_p]
symbol = ctypes.cast(describe, ctypes.c_void_p).value
questions = json.loads(sys.stdin.readline())
bias = symbol - questions["symbol"]
for kind, vaddr in questions["asked"]:
    text = describe(vaddr + bias, kind == "caller")
    print(ctypes.string_at(text).decode())
    library.freeText(text)
"""


def ask_library(path: Path, describe_address: int, questions: list[Question]) -> list[tuple[Frame, ...] | None]:
    """The answers of the program as a shared library in a Python process; its exported function lies at an address."""
    asked = {"symbol": describe_address, "asked": [(question.kind, question.vaddr) for question in questions]}
    result = subprocess.run(
        [sys.executable, "-c", _HOST, str(path)],
        input=json.dumps(asked) + "\n",
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return [frames_of(json.loads(line)) for line in result.stdout.splitlines()]


def questions_about(program: GoBinary, seed: int, size: int = 2000) -> list[Question]:
    """A fixed choice of function entries, addresses anywhere in the text, and return addresses of direct calls."""
    chooser = random.Random(seed)
    table = program.table
    start, end = program.text_range
    asked = [Question("leaf", chooser.randrange(start, end)) for _ in range(size // 4)]
    asked += [Question("leaf", program.text + table.entries[chooser.randrange(table.count)]) for _ in range(size // 4)]
    entries = set(table.entries)
    while len(asked) < size:
        index = chooser.randrange(table.count)
        low, high = table.entries[index], table.entries[index + 1]
        offset = program.elf.offset_of(program.text + low)
        assert offset is not None
        code = program.elf.data[offset : offset + min(high - low, 8192)]
        for at in range(len(code) - 5):
            # CALL rel32 to the entry of a function. A call that never returns may end the function: what
            # follows it is another function's, so Go cannot be asked.
            if code[at] == 0xE8 and at + 5 < high - low:
                target = low + at + 5 + struct.unpack_from("<i", code, at + 1)[0]
                if target in entries:
                    asked.append(Question("caller", program.text + low + at + 5))
    return asked
