"""Code that has no call frame information and is known for what it is.

- Linkage tables: static programs have none for theirs (`.plt`, `.iplt`), nor have `.plt.got` and `.plt.sec`
  everywhere. A stub has pushed nothing when it jumps.
- musl: its assembly has none. A program begins at its entry, a thread at the call in `__clone` (src/thread/x86_64/
  clone.s), and a signal handler returns to `__restore_rt` (src/signal/x86_64/restore.s).
"""

from symbolizer.elf.file import PF_X, ElfFile
from symbolizer.unwind.rows import Rule, RuleKind

_LINKAGE = (".plt", ".iplt", ".plt.got", ".plt.sec")
_ENTRY_SIZE = 64
_CLONE = bytes.fromhex("31ed5f41ffd1")
"""xor ebp, ebp; pop rdi; call *r9: the thread's function. What follows it ends the thread."""
_CLONE_SIZE = 16
_MAX_SEARCHED = 8 << 20
"""Bytes of a segment: musl lies at the end of small programs, or is a library of its own of 0.6 MB."""
_RESTORE = bytes.fromhex("48c7c00f0000000f05")
"""mov $15 (rt_sigreturn), rax; syscall"""

Stub = tuple[int, int, Rule]
"""Address, end, and the one rule of all of it."""


def linkage_stubs(elf: ElfFile) -> list[Stub]:
    """The linkage tables."""
    return [
        (section.addr, section.addr + section.size, Rule(RuleKind.RSP, 8))
        for section in elf.sections
        if section.name in _LINKAGE
    ]


def musl_stubs(elf: ElfFile) -> list[Stub]:
    """Those of musl's assembly, in no order. To be asked of files whose entry has no call frame information."""
    found: list[Stub] = [(elf.entry, elf.entry + _ENTRY_SIZE, Rule(RuleKind.END))]
    for segment in elf.loads:
        if segment.flags & PF_X:
            end = segment.offset + min(segment.filesz, _MAX_SEARCHED)
            at = elf.data.find(_CLONE, segment.offset, end)
            if at >= 0:
                address = at - segment.offset + segment.vaddr
                found.append((address, address + _CLONE_SIZE, Rule(RuleKind.END)))
            at = elf.data.find(_RESTORE, segment.offset, end)
            if at >= 0:  # callers are looked up one byte before their return address, and the kernel's pc is behind it
                address = at - segment.offset + segment.vaddr
                found.append((address - 1, address + len(_RESTORE) + 1, Rule(RuleKind.SIGNAL)))
    return found
