"""The code of a running process, and what calls what in it: an account that nothing of ours takes part in.

It is read from the memory of the process; which bytes are one function, from the linker's table of them.
"""

import os
import re
import struct
import subprocess
import tempfile
from bisect import bisect_right
from collections import deque
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

SIGNAL_RETURN = bytes.fromhex("48c7c00f0000000f05")
"""mov $15,%rax; syscall: where the kernel lets signal handlers return to."""
EXIT = bytes.fromhex("b83c0000000f05")
"""mov $60,%eax; syscall: what clone does when the function of a thread has returned."""
HALT = b"\xf4"
"""What _start does when main has returned to it, which never happens."""
_LONGEST_CALL = 8
_LONGEST_STUB = 16
_MOST_JUMPS = 100
_PREFIXES = frozenset({*range(0x40, 0x50), 0x3E, 0xF2, 0x67})
_ENDBR64 = bytes.fromhex("f30f1efa")
_NO_FRAME = "rsp+8"
"""The rule where a function begins, and where its frame has been given back: the return address is on top."""
_JUMP = re.compile(r"^ *([0-9a-f]+):\t(?:(?:bnd|data16|rex\.W) )*j\w+ +(\*?)(?:0x)?([0-9a-f]+)?(?:.*# 0x([0-9a-f]+))?")


@dataclass(frozen=True)
class Mapped:
    """A file (or the vDSO) in a process: where its functions are, as pairs of addresses."""

    start: int
    end: int
    path: str
    offset: int
    bias: int
    """Address - bias = virtual address in the file."""
    starts: tuple[int, ...] = ()
    ends: tuple[int, ...] = ()


class Code:
    """The code of a process that is running."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
        self.call_before = cache(self._call_before)
        self.function = cache(self._function)
        self._reaches = cache(self._follow)

    def close(self) -> None:
        os.close(self._memory)

    def read(self, address: int, size: int) -> bytes:
        """Bytes of its memory; fewer, or none, where there is no memory."""
        try:
            return os.pread(self._memory, size, address)
        except (OSError, OverflowError):
            return b""

    def _word(self, address: int) -> int:
        return int.from_bytes(self.read(address, 8), "little")

    @cached_property
    def mapped(self) -> list[Mapped]:
        """Its executable mappings, sorted."""
        lines = [line.split(None, 5) for line in Path(f"/proc/{self.pid}/maps").read_text().splitlines()]
        ranges = [(*(int(end, 16) for end in line[0].split("-")), line) for line in lines]
        first: dict[str, int] = {}
        for start, _, line in ranges:
            if len(line) == 6 and int(line[2], 16) == 0:
                first.setdefault(line[5], start)
        found = []
        for start, end, line in ranges:
            if "x" in line[1]:
                path = line[5] if len(line) == 6 else ""
                bias, functions = self._functions(first[path], path) if path in first else (0, [])
                here = sorted(one for one in functions if start <= one[0] < end)
                starts, ends = tuple(one[0] for one in here), tuple(one[1] for one in here)
                found.append(Mapped(start, end, path, int(line[2], 16), bias, starts, ends))
        return found

    def mapping(self, address: int) -> Mapped | None:
        for one in self.mapped:
            if one.start <= address < one.end:
                return one
        return None

    def _functions(self, base: int, path: str) -> tuple[int, list[tuple[int, int]]]:
        """The bias of the file mapped at `base`, and start and end of its functions.

        Those that its .eh_frame_hdr lists, or its .eh_frame; where they have none, those of its symbols (Go).
        """
        header = self.read(base, 64)
        if header[:4] != b"\x7fELF":
            return 0, []
        offset, (size, count) = *struct.unpack_from("<Q", header, 32), struct.unpack_from("<HH", header, 54)
        segments = [struct.unpack("<IIQQQQQQ", self.read(base + offset + i * size, 56)) for i in range(count)]
        bias = base - min(segment[3] & ~0xFFF for segment in segments if segment[0] == 1)  # PT_LOAD
        at = next((segment[3] + bias for segment in segments if segment[0] == 0x6474E550), None)  # PT_GNU_EH_FRAME
        found = [(start + bias, end + bias) for start, end in symbol_ranges(path)]
        if at is None:  # static programs look for their frames without it
            return bias, merged([(start + bias, end + bias) for start, end in frame_rows(path)[0]], found)
        if self.read(at, 4) != b"\x01\x1b\x03\x3b":
            return bias, found
        number = int.from_bytes(self.read(at + 8, 4), "little")
        pairs = list(struct.iter_unpack("<ii", self.read(at + 12, number * 8)))
        low = min((entry for _, entry in pairs), default=0)
        frames = self.read(at + low, max((entry for _, entry in pairs), default=0) - low + 16)
        sizes = (struct.unpack_from("<I", frames, entry - low + 12)[0] for _, entry in pairs)
        listed = [(at + start, at + start + length) for (start, _), length in zip(pairs, sizes, strict=True)]
        return bias, merged(listed, found)

    def _function(self, address: int) -> tuple[int, int] | None:
        one = self.mapping(address)
        index = bisect_right(one.starts, address) - 1 if one else -1
        if one is None or index < 0 or address >= one.ends[index]:
            return None
        return one.starts[index], one.ends[index]

    def is_signal_return(self, address: int) -> bool:
        return self.read(address, len(SIGNAL_RETURN)) == SIGNAL_RETURN

    def in_signal_return(self, address: int) -> bool:
        """Likewise behind its first instruction, or inside the kernel that it has called."""
        return self.is_signal_return(address - 7) or self.is_signal_return(address - 9)

    def is_outermost(self, address: int) -> bool:
        """Whether nothing called what is at this return address: _start, the clone of a thread, Go's goexit."""
        return self.read(address, 1) == HALT or EXIT in self.read(address, 12) or self.is_goexit(address)

    def is_goexit(self, address: int) -> bool:
        """Go's goexit (nop; call goexit1; nop), whose second byte is put on every new stack."""
        code = self.read(address - 1, 7)
        return address % 16 == 1 and (code[:2], code[6:]) == (b"\x90\xe8", b"\x90")

    def _call_before(self, address: int) -> tuple[int | None, ...]:
        """Targets of the calls that may end at an address: None where it is only known at run time; () for no call."""
        code = self.read(address - _LONGEST_CALL, _LONGEST_CALL)
        found: list[int | None] = []
        if len(code) == _LONGEST_CALL and code[-5] == 0xE8:
            target = address + int.from_bytes(code[-4:], "little", signed=True)
            found += [target] if self.mapping(target) else []
        for length in range(2, len(code) + 1):
            one = code[-length:]
            one = one[1:] if one[0] in _PREFIXES else one
            if one[0] != 0xFF or len(one) < 2 or one[1] >> 3 & 7 != 2 or _modrm_length(one[1:]) != len(one) - 1:
                continue
            in_memory = one[1] == 0x15  # call *displacement(%rip)
            slot = address + int.from_bytes(one[2:6], "little", signed=True)
            found.append(self._word(slot) if in_memory else None)
        return tuple(found)

    def called(self, address: int, callee: int) -> bool:
        """Whether a call that returns to `address` leads into the function that holds `callee`."""
        return any(target is None or self._reaches(target, callee) for target in self.call_before(address))

    def _follow(self, target: int, callee: int) -> bool:
        """By jumps: entries of the procedure linkage table, tail calls, parts of functions that were moved away."""
        wanted = self.function(callee)
        new, known = deque([target]), {target}
        for _ in range(_MOST_JUMPS):
            if not new:
                return False
            address = new.popleft()
            function, stub = self.function(address), self._stub(address)
            if function is None and stub is None:
                return True  # assembly, of which the file says nothing
            if (function and function == wanted) or 0 <= callee - address < _LONGEST_STUB:
                return True
            jumps = {stub} if stub else self._jumps(function)
            if None in jumps:
                return True
            # All of a procedure linkage table is one function in the linker's table.
            places = {jump if self._stub(jump) else self.function(jump) or jump: jump for jump in jumps}
            new += [jump for place, jump in places.items() if place not in known]
            known |= places.keys()
        return False

    def _frame(self, address: int) -> str | None:
        """The rule for the frame's address (CFA) at an instruction, such as "rsp+8"; None where none is known."""
        one = self.mapping(address)
        if one is None:
            return None
        _, addresses, rules = frame_rows(one.path)
        index = bisect_right(addresses, address - one.bias) - 1
        return rules[index] if index >= 0 else None

    def _stub(self, address: int) -> int | None:
        """Where code that only jumps leads to: PLT entries, before and after their function was looked up."""
        code = self.read(address, 32)
        at = 0
        for skipped, length in ((_ENDBR64, 4), (b"\x68", 5), (b"\xff\x35", 6), (b"\xf2", 1)):
            at += length if code[at:].startswith(skipped) else 0
        after = address + at
        if code[at : at + 2] == b"\xff\x25":
            return self._word(after + 6 + int.from_bytes(code[at + 2 : at + 6], "little", signed=True))
        if code[at : at + 1] == b"\xe9":
            return after + 5 + int.from_bytes(code[at + 1 : at + 5], "little", signed=True)
        return None

    @cached_property
    def _jumps(self):
        return cache(self._disassembled_jumps)

    def _disassembled_jumps(self, function: tuple[int, int]) -> frozenset[int | None]:
        """Where the jumps of a function lead to outside of it; None: one goes by a register.

        A jump leads to where the frame is the same, and by a register only where there is none any more.
        """
        start, end = function
        with tempfile.NamedTemporaryFile() as file:
            file.write(self.read(start, end - start))
            file.flush()
            command = ["objdump", "-D", "-w", "-b", "binary", "-m", "i386:x86-64", "--no-show-raw-insn"]
            text = subprocess.check_output([*command, f"--adjust-vma={start:#x}", file.name], text=True, timeout=60)
        found: set[int | None] = set()
        for match in filter(None, map(_JUMP.match, text.splitlines())):
            source, indirect, direct, slot = int(match[1], 16), *match.group(2, 3, 4)
            target = None if indirect else int(direct, 16) if direct else None
            if indirect and slot:
                target = self._word(int(slot, 16))
            begins = target is None or self._stub(target)
            frame, wanted = self._frame(source), _NO_FRAME if begins else self._frame(target) or _NO_FRAME
            if (target is None or not start <= target < end) and frame in {None, wanted}:
                found.add(target)
        # A fall through: hand-written code has several entries of the table one after the other.
        return frozenset(found | {end} if self.function(end) and end % 16 else found)


@cache
def frame_rows(path: str) -> tuple[list[tuple[int, int]], list[int], list[str | None]]:
    """What readelf says of .eh_frame: start and end of each entry, and from which address on which rule holds."""
    if not Path(path).exists():
        return [], [], []
    text = subprocess.run(["readelf", "-wF", path], capture_output=True, text=True, timeout=60, check=False).stdout
    entries: list[tuple[int, int]] = []
    rows: dict[int, str | None] = {}
    for line in text.splitlines():
        if match := re.search(r" FDE .*pc=(\w+)\.\.(\w+)", line):
            start, end = int(match[1], 16), int(match[2], 16)
            entries.append((start, end))
            rows.setdefault(end, None)
            rows[start] = _NO_FRAME
        elif entries and (match := re.match(r"([0-9a-f]{16}) (\S+)", line)):
            rows[int(match[1], 16)] = match[2]
        elif " CIE " in line:
            entries.append((0, 0))  # the row that follows is of no function
    addresses = sorted(rows)
    return [entry for entry in entries if entry[1]], addresses, [rows[address] for address in addresses]


@cache
def symbol_ranges(path: str) -> list[tuple[int, int]]:
    """Start and end of the functions in a file's symbol table."""
    if not Path(path).exists():
        return []
    command = ["nm", "--numeric-sort", "--print-size", "--defined-only", path]
    text = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout
    found = re.findall(r"^(\w+) (\w+) [tTwW] ", text, re.MULTILINE)
    return sorted({(int(start, 16), int(start, 16) + int(size, 16)) for start, size in found if int(size, 16)})


def merged(some: list[tuple[int, int]], more: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges, and those of others that begin in none of them."""
    some = sorted(some)
    starts = [start for start, _ in some]

    def inside(address: int) -> bool:
        index = bisect_right(starts, address) - 1
        return index >= 0 and address < some[index][1]

    return sorted([*some, *(one for one in more if not inside(one[0]))])


def _modrm_length(code: bytes) -> int:
    """Bytes of modrm, sib and displacement."""
    mode, register = code[0] >> 6, code[0] & 7
    if mode == 3:
        return 1
    sib = register == 4
    if mode == 0:
        base = code[1] & 7 if sib and len(code) > 1 else register
        return 1 + sib + (4 if base == 5 else 0)
    return 1 + sib + (1 if mode == 1 else 4)
