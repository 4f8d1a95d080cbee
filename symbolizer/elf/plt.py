"""Names for the stubs of a procedure linkage table on x86-64, which symbol tables do not list.

Source of the layouts: System V ABI AMD64 supplement, sections "Procedure Linkage Table" and the one with
indirect branch tracking (`.plt.sec`); `Elf64_Rela`: r_offset u64, r_info u64 (symbol << 32 | type), r_addend s64.
"""

import struct

from symbolizer.elf.file import EM_X86_64, ElfFile, Section
from symbolizer.elf.symbols import MAX_SYMBOL_NAME

_ENTRY_SIZE = 16
_RELA = struct.Struct("<QQq")
_SYMBOL_SIZE = 24
_DISP = struct.Struct("<i")
_JUMP = b"\xff\x25"
"""jmp *disp32(%rip): through the slot of the global offset table"""
_ENDBR64 = b"\xf3\x0f\x1e\xfa"
_PUSH = b"\x68"
"""push imm32: the index of the relocation, for the resolver"""


class ProcedureLinkage:
    """The stubs in `.plt` and `.plt.sec` of one file."""

    def __init__(self, elf: ElfFile) -> None:
        """Find the sections; without them, or on another machine than x86-64, nothing has a name."""
        self._elf = elf
        self._relocations = elf.section(".rela.plt") if elf.machine == EM_X86_64 else None
        self._stubs = tuple(section for name in (".plt", ".plt.sec") if (section := elf.section(name)))

    def name(self, address: int) -> str:
        """The linker's name of the function that the stub at a file virtual address calls, or empty."""
        for stubs in self._stubs:
            if self._relocations and 0 <= address - stubs.addr < stubs.size:
                return self._symbol_name(self._relocation(stubs, address), self._relocations)
        return ""

    def _relocation(self, stubs: Section, address: int) -> int:
        """The index of the relocation that fills the slot of a stub, or -1.

        A stub jumps through its slot, or pushes the index itself. Slots lie in the order of the relocations,
        so the slot's distance from the first one is the index; it is checked before it is believed.
        """
        inside = (address - stubs.addr) // _ENTRY_SIZE * _ENTRY_SIZE
        code = self._elf.data[stubs.offset + inside : stubs.offset + inside + _ENTRY_SIZE]
        jump = code.find(_JUMP)
        if 0 <= jump <= len(code) - 6:
            (displacement,) = _DISP.unpack_from(code, jump + 2)
            slot = stubs.addr + inside + jump + 6 + displacement
            first = self._rela(0)
            index = (slot - first[0]) // 8 if first else -1
            rela = self._rela(index)
            return index if rela and rela[0] == slot else -1
        code = code.removeprefix(_ENDBR64)
        if code.startswith(_PUSH) and len(code) >= 5:
            return int(_DISP.unpack_from(code, 1)[0])
        return -1

    def _rela(self, index: int) -> tuple[int, int, int] | None:
        section = self._relocations
        if section is None or index < 0 or (index + 1) * _RELA.size > section.size:
            return None
        start = section.offset + index * _RELA.size
        return _RELA.unpack_from(self._elf.data, start) if start + _RELA.size <= len(self._elf.data) else None

    def _symbol_name(self, index: int, relocations: Section) -> str:
        rela = self._rela(index)
        sections = self._elf.sections
        if rela is None or not rela[1] >> 32 or relocations.link >= len(sections):
            return ""
        symbols = sections[relocations.link]
        start = symbols.offset + (rela[1] >> 32) * _SYMBOL_SIZE
        if symbols.link >= len(sections) or start + 4 > len(self._elf.data):
            return ""
        strings = sections[symbols.link]
        name = strings.offset + int.from_bytes(self._elf.data[start : start + 4], "little")
        return self._elf.string(name, strings.offset + strings.size, MAX_SYMBOL_NAME).decode("utf-8", "replace")
