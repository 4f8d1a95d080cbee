"""What calls what in a program, by objdump: the independent account that walked stacks are checked against."""

import re
import subprocess
from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

_INSTRUCTION = re.compile(
    r"^ *([0-9a-f]+):\t(?:(?:bnd|rex\.W|notrack|data16|lock|cs|ds) )*(\S+) *(?:(?:0x)?([0-9a-f]+)(?: <|$))?"
)


@dataclass(frozen=True)
class Calls:
    """`returns` maps the address after each CALL to its target, None where it is indirect; `jumps` are direct jumps."""

    returns: dict[int, int | None]
    jumps: list[tuple[int, int]]

    def tail_calls(self, entries: list[int]) -> dict[int, set[int]]:
        """For each function the other functions that it jumps to, all by their entries; `entries` are sorted."""

        def entry(address: int) -> int:
            return entries[max(0, bisect_right(entries, address) - 1)]

        found: dict[int, set[int]] = defaultdict(set)
        for source, target in self.jumps:
            if entry(source) != entry(target):
                found[entry(source)].add(entry(target))
        return found


def disassemble(path: Path) -> Calls:
    """All calls and direct jumps of a program's sections of code."""
    output = subprocess.run(
        ["objdump", "-d", "-w", "--no-show-raw-insn", str(path)],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout
    returns: dict[int, int | None] = {}
    jumps: list[tuple[int, int]] = []
    pending: list[int | None] = []
    for line in output.splitlines():
        match = _INSTRUCTION.match(line)
        if match is None:
            continue
        address, mnemonic, target = int(match[1], 16), match[2], int(match[3], 16) if match[3] else None
        if pending:
            returns[address] = pending.pop()
        if mnemonic.startswith("call"):
            pending.append(target)
        elif mnemonic.startswith("j") and target is not None:
            jumps.append((address, target))
    return Calls(returns, jumps)
