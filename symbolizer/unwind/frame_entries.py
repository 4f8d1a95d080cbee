"""The entries of `.eh_frame` and `.debug_frame`: what functions have in common (CIE), and each function (FDE).

Every entry is a length and a number that says which of the two it is; both have an initial set of instructions at
their end. Layout, little-endian: u32 length of what follows (0xffffffff: a u64 length follows, and ids are u64),
then the id. A CIE goes on with u8 version, the augmentation as a string, in `.debug_frame` version 4 u8 address
size and u8 segment selector size, uleb code alignment, sleb data alignment, the return address register (u8 in
version 1, else uleb), and if the augmentation begins with "z" its data behind their uleb size. An FDE goes on with
its first address, its size and likewise augmentation data.

Sources: DWARF 5, section 6.4.1; Linux Standard Base Core, "Exception Frames"; GCC's unwind-dw2.c for the letters.
"""

import re
import struct
from bisect import bisect_right
from contextlib import suppress
from dataclasses import dataclass

from symbolizer.unwind.frame_pointers import (
    ABSOLUTE,
    FORMAT,
    PC_RELATIVE,
    FrameError,
    number,
    pointer,
    sleb128,
    uleb128,
)
from symbolizer.unwind.frame_sections import FrameSection

MAX_ENTRIES = 1 << 21
"""Of one section, what is behind them is not looked at; a library of 110 MB has 95,000."""
MAX_CIES = 1 << 16
"""Of one section; linkers leave one for each kind, at most one for each object file."""
MAX_INITIAL = 512
"""Bytes of instructions in a CIE; compilers and linkers write about 4."""

_RETURN_ADDRESS = b"\x10"
"""Its column, 16 (System V ABI for AMD64, figure 3.36), as a u8 and as a uleb."""
_LONG = 0xFFFFFFFF
_USUAL = PC_RELATIVE | 0x0B
"""DW_EH_PE_pcrel | DW_EH_PE_sdata4: what every compiler writes for x86-64."""
_HEAD = struct.Struct("<II")
_LONG_HEAD = struct.Struct("<IQQ")
_USUAL_FDE = struct.Struct("<IIiI")
_ENTRY = (1 << 32) - 1
_MAX_AUGMENTATION = 16
_NOT_ZERO = re.compile(rb"[^\0]")


@dataclass(frozen=True, slots=True)
class Cie:
    """What functions have in common."""

    code_alignment: int
    data_alignment: int
    instructions: bytes
    encoding: int = ABSOLUTE
    """Of the addresses in its FDEs, DW_EH_PE_*."""
    augmented: bool = False
    """Whether its FDEs have augmentation data."""
    signal: bool = False
    """A frame that the kernel made to deliver a signal."""


@dataclass(frozen=True, slots=True)
class Fde:
    """One function: [start, start + size), its CIE by the offset in the section, and its instructions."""

    start: int
    size: int
    cie: int
    instructions: bytes
    at: int
    """Offset of the instructions in the section."""


class FrameEntries:
    """The FDEs of a section. Damaged entries are left out, and whatever follows a length that cannot be."""

    def __init__(self, section: FrameSection) -> None:
        """Find all FDEs."""
        self.section = section
        self._data = section.data
        self._cies: dict[int, Cie | None] = {}
        self._usual: set[int] = set()
        """Offsets of the CIEs whose FDEs are as _USUAL_FDE says, with the size of their augmentation data behind."""
        self.keys = sorted(self._scan())
        """Of every FDE that is not empty: first address << 32 | offset in the section; ascending."""

    def cie(self, at: int) -> Cie | None:
        """The CIE at an offset of the section, None if there is none that can be used."""
        if at not in self._cies:
            if len(self._cies) >= MAX_CIES:
                return None
            cie: Cie | None = None
            with suppress(FrameError):
                cie = self._parse_cie(at)
            self._cies[at] = cie
            if cie and cie.encoding == _USUAL and cie.augmented and not self.section.debug:
                self._usual.add(at)
        return self._cies[at]

    def body(self, at: int) -> tuple[int, int, bytes]:
        """Size, offset of the CIE, and instructions of the FDE at an offset that `keys` has."""
        if at + 17 <= len(self._data):
            length, back, _, size = _USUAL_FDE.unpack_from(self._data, at)
            cie = at + 4 - back
            if cie in self._usual and length != _LONG and self._data[at + 16] < 0x80:
                return size, cie, self._data[at + 17 + self._data[at + 16] : at + 4 + length]
        fde = self.fde(at)
        return fde.size, fde.cie, fde.instructions

    def fde(self, at: int) -> Fde:
        """The FDE at an offset. Raises FrameError."""
        after, end, reference = self._head(at)
        cie = None if reference is None else self.cie(reference)
        if cie is None or reference is None:
            raise FrameError("an entry without a CIE that can be used")
        start, after = pointer(self._data, after, cie.encoding, self.section.address + after)
        size, after = number(self._data, after, cie.encoding & FORMAT)
        if cie.augmented:
            skipped, after = uleb128(self._data, after)
            after += skipped
        if size < 0 or after > end:
            raise FrameError("an entry whose parts are larger than itself")
        return Fde(start, size, reference, self._data[after:end], after)

    def covers(self, address: int) -> bool:
        """Whether an address belongs to a function that has an entry here."""
        index = bisect_right(self.keys, address << 32 | _ENTRY) - 1
        return index >= 0 and address - (self.keys[index] >> 32) < self.body(self.keys[index] & _ENTRY)[0]

    def _scan(self) -> list[int]:
        data, usual, address = self._data, self._usual, self.section.address + 8
        unpack = _USUAL_FDE.unpack_from
        last = len(data) - 4
        found: list[int] = []
        at = count = 0
        while at <= last and count < MAX_ENTRIES:
            count += 1
            if at + 17 <= len(data):
                length, back, relative, size = unpack(data, at)
                if at + 4 - back in usual and 13 <= length <= last - at:
                    if size:
                        found.append((address + at + relative) % 2**64 << 32 | at)
                    at += 4 + length
                    continue
            try:
                _, end, reference = self._head(at)
            except FrameError:
                break
            if end == at + 4:
                something = _NOT_ZERO.search(data, at) if self.section.bounded else None
                if something is None:
                    break
                end = at + (something.start() - at) // 4 * 4
            if reference is not None:
                self._add_unusual(at, found)
            at = end
        return found

    def _add_unusual(self, at: int, found: list[int]) -> None:
        try:
            fde = self.fde(at)
        except FrameError:
            return
        # Where a linker removed a function, it left a zero in .debug_frame, which cannot lose an entry.
        if fde.size and (fde.start or not self.section.debug):
            found.append(fde.start << 32 | at)

    def _head(self, at: int) -> tuple[int, int, int | None]:
        """Of the entry at an offset: where its body begins, its end, and the offset of its CIE, None if it is one.

        The zero terminator, a mere length of 0, has no body and no CIE. Raises FrameError.
        """
        data, debug = self._data, self.section.debug
        try:
            if data[at : at + 4] == b"\0\0\0\0":
                return at + 4, at + 4, None
            length, identity = _HEAD.unpack_from(data, at)
            place, after, none = at + 4, at + 8, _LONG
            if length == _LONG:
                _, length, identity = _LONG_HEAD.unpack_from(data, at)
                place, after, none = at + 12, at + 20, 2**64 - 1
        except struct.error as error:
            raise FrameError("an entry is cut off") from error
        end = place + length
        if not after <= end <= len(data):
            raise FrameError("an entry of an impossible length")
        if identity == (none if debug else 0):
            return after, end, None
        return after, end, identity if debug else place - identity

    def _parse_cie(self, at: int) -> Cie:
        data = self._data
        if not 0 <= at < len(data):
            raise FrameError("a CIE outside the section")
        after, end, reference = self._head(at)
        if reference is not None or after + 2 > end:
            raise FrameError("what should be a CIE is none")
        version = data[after]
        zero = data.find(b"\0", after + 1, after + 1 + _MAX_AUGMENTATION)
        if version not in {1, 3, 4} or zero < 0:
            raise FrameError("a CIE of an unknown version")
        augmentation, after = data[after + 1 : zero], zero + 1
        if version == 4:
            if data[after : after + 2] != b"\x08\0":
                raise FrameError("a CIE of another machine")
            after += 2
        if augmentation == b"eh":  # GCC 2: the address of an exception table
            augmentation, after = b"", after + 8
        code_alignment, after = uleb128(data, after)
        data_alignment, after = sleb128(data, after)
        if data[after : after + 1] != _RETURN_ADDRESS:
            raise FrameError("a CIE of another machine")
        encoding, after = self._augmentation(augmentation, after + 1)
        if after > end or end - after > MAX_INITIAL:
            raise FrameError("a CIE whose parts are larger than itself")
        return Cie(
            code_alignment,
            data_alignment,
            data[after:end],
            encoding,
            augmented=augmentation.startswith(b"z"),
            signal=b"S" in augmentation,
        )

    def _augmentation(self, letters: bytes, at: int) -> tuple[int, int]:
        """The encoding of addresses, and the position behind the augmentation data. Raises FrameError."""
        if not letters:
            return ABSOLUTE, at
        if not letters.startswith(b"z"):
            raise FrameError(f"a CIE with the unknown augmentation {letters!r}")
        size, at = uleb128(self._data, at)
        end, encoding = at + size, ABSOLUTE
        for letter in letters[1:]:
            if letter == ord("R"):
                encoding, at = (self._data[at : at + 1] or b"\xff")[0], at + 1
            elif letter == ord("L"):
                at += 1
            elif letter == ord("P"):  # personality routine: encoding, address
                _, at = number(self._data, at + 1, (self._data[at : at + 1] or b"\xff")[0])
            elif letter != ord("S"):
                break
        return encoding, end
