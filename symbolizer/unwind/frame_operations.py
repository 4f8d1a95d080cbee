"""The operations of call frame information: their form, and what each does to a row.

Source: DWARF 5, section 6.4.2, and section 7.24 for the numbers; DW_CFA_GNU_args_size and
DW_CFA_GNU_negative_offset_extended: GCC's dwarf2.def.
"""

import re
from collections.abc import Callable
from functools import cache

from symbolizer.unwind.frame_pointers import FrameError, sleb128, uleb128
from symbolizer.unwind.frame_rules import RBP, RIP, RSP, UNSPECIFIED, How, Row, Saved

MAX_DEPTH = 32
"""Rows that are remembered at once; compilers nest one or two."""

SET_LOCATION = 0x01
_OPERANDS = {
    0x00: "",  # nop
    0x05: "uu",  # offset_extended
    0x06: "u",  # restore_extended
    0x07: "u",  # undefined
    0x08: "u",  # same_value
    0x09: "uu",  # register
    0x0A: "",  # remember_state
    0x0B: "",  # restore_state
    0x0C: "uu",  # def_cfa
    0x0D: "u",  # def_cfa_register
    0x0E: "u",  # def_cfa_offset
    0x0F: "b",  # def_cfa_expression
    0x10: "ub",  # expression
    0x11: "us",  # offset_extended_sf
    0x12: "us",  # def_cfa_sf
    0x13: "s",  # def_cfa_offset_sf
    0x14: "uu",  # val_offset
    0x15: "us",  # val_offset_sf
    0x16: "ub",  # val_expression
    0x2E: "u",  # GNU_args_size
    0x2F: "uu",  # GNU_negative_offset_extended
}
"""Of each operation the formats of its operands: uleb, sleb, block (its size as a uleb, then as many bytes).

Not here: what moves on (advance_loc 0x40 + delta, advance_loc1/2/4 0x02 to 0x04, set_loc 0x01), and the short forms
offset (0x80 + register, uleb) and restore (0xc0 + register).
"""
_OFFSET, _RESTORE = 0x05, 0x06
_FIELDS = {RBP: "rbp", RSP: "rsp", RIP: "rip"}


class SetLocation(Exception):  # noqa: N818 -- no error: these instructions are run in another way
    """Met an operation that names an address instead of a distance."""


def _pattern() -> tuple[bytes, bytes]:
    """Regular expressions of an advance (set_loc aside), and of any other operation."""
    leb = rb"[\x80-\xff]{0,9}+[\x00-\x7f]"
    block = b"(?:" + b"|".join(re.escape(bytes([size])) + b".{%d}" % size for size in range(0x80)) + b")"
    by_format: dict[str, bytes] = {}
    for code, formats in _OPERANDS.items():
        by_format[formats] = by_format.get(formats, b"") + re.escape(bytes([code]))
    forms = [rb"[\x80-\xbf]" + leb, rb"[\xc0-\xff]"]
    for formats, codes in sorted(by_format.items(), key=lambda form: "b" in form[0]):
        forms.append(b"[" + codes + b"]" + b"".join(block if one == "b" else leb for one in formats))
    return rb"[\x40-\x7f]|\x02.|\x03..|\x04.{4}", b"|".join(forms)


@cache
def steps_of(location_size: int = 0) -> re.Pattern[bytes]:
    """Takes instructions apart into steps: an advance, empty in the first, and the operations up to the next.

    With `location_size`, set_loc with an address of as many bytes counts as an advance. Instructions that are not
    well-formed, from the first such on, are among the operations of the last step.
    """
    advance, operation = _pattern()
    if location_size:
        advance += rb"|\x01.{%d}" % location_size
    return re.compile(rb"(\A|%b)((?:%b)*+(?:(?!%b).+)?)" % (advance, operation, advance), re.DOTALL)


def advanced(advance: bytes) -> int:
    """How far an advance moves on, in units of the code alignment."""
    return int.from_bytes(advance[1:], "little") if len(advance) > 1 else advance[0] & 0x3F


class Registers:
    """A row that operations change. `initial` is the row of the CIE, `remembered` the rows put aside."""

    def __init__(self, row: Row, remembered: tuple[Row, ...], initial: Row, data_alignment: int) -> None:
        """Begin with a row."""
        self.row = row
        self.remembered = remembered
        self._initial = initial
        self.data_alignment = data_alignment

    def run(self, operations: bytes) -> None:
        """Do the operations of one step. Raises FrameError where they are damaged, and SetLocation."""
        at = 0
        while at < len(operations):
            code = operations[at]
            at += 1
            operands: list[int] = []
            if code >= 0x80:
                operands.append(code & 0x3F)
                code = _OFFSET if code < 0xC0 else _RESTORE
            if code == SET_LOCATION:
                raise SetLocation
            formats = _OPERANDS.get(code)
            if formats is None:
                raise FrameError(f"the unknown operation {code:#x}")
            block = b""
            for form in formats[len(operands) :]:
                value, at = (sleb128 if form == "s" else uleb128)(operations, at)
                if form == "b":
                    block, at = operations[at : at + value], at + value
                operands.append(value)
            if at > len(operations):
                raise FrameError("an expression behind the end of its entry")
            if action := _ACTIONS.get(code):
                action(self, block, *operands)

    def define(self, register: int | None = None, offset: int | None = None) -> None:
        """The CFA is a register and an offset; what is not given stays, and so does an expression without register."""
        row = self.row
        self.row = row._replace(
            register=row.register if register is None else register,
            offset=row.offset if offset is None else offset,
            expression=row.expression if register is None else None,
        )

    def express(self, expression: bytes) -> None:
        """The CFA is what an expression says."""
        self.row = self.row._replace(expression=expression)

    def save(self, register: int, how: How, factored: int = 0, expression: bytes = b"") -> None:
        """The caller's register is found that way, at an offset in units of the data alignment."""
        self._set(register, Saved(how, factored * self.data_alignment, expression))

    def restore(self, register: int) -> None:
        """The caller's register is found as the CIE said."""
        initial = self._initial
        self._set(register, {RBP: initial.rbp, RSP: initial.rsp, RIP: initial.rip}.get(register, UNSPECIFIED))

    def remember(self) -> None:
        """Put the row aside."""
        if len(self.remembered) >= MAX_DEPTH:
            raise FrameError("more rows are remembered than any compiler does")
        self.remembered = (*self.remembered, self.row)

    def recall(self) -> None:
        """Go back to the row that was put aside last, its CFA included."""
        if not self.remembered:
            raise FrameError("no row is remembered")
        self.row = self.remembered[-1]
        self.remembered = self.remembered[:-1]

    def _set(self, register: int, saved: Saved) -> None:
        if register == RBP:
            self.row = self.row._replace(rbp=saved)
        elif register == RSP:
            self.row = self.row._replace(rsp=saved)
        elif register == RIP:
            self.row = self.row._replace(rip=saved)


_ACTIONS: dict[int, Callable[..., None]] = {
    _OFFSET: lambda to, _, register, offset: to.save(register, How.AT_CFA, offset),
    _RESTORE: lambda to, _, register: to.restore(register),
    0x07: lambda to, _, register: to.save(register, How.UNDEFINED),
    0x08: lambda to, _, register: to.save(register, How.SAME),
    0x09: lambda to, _, register, _other: to.save(register, How.OTHER),
    0x0A: lambda to, _: to.remember(),
    0x0B: lambda to, _: to.recall(),
    0x0C: lambda to, _, register, offset: to.define(register, offset),
    0x0D: lambda to, _, register: to.define(register),
    0x0E: lambda to, _, offset: to.define(offset=offset),
    0x0F: lambda to, expression, _size: to.express(expression),
    0x10: lambda to, expression, register, _size: to.save(register, How.AT_EXPRESSION, 0, expression),
    0x11: lambda to, _, register, offset: to.save(register, How.AT_CFA, offset),
    0x12: lambda to, _, register, offset: to.define(register, offset * to.data_alignment),
    0x13: lambda to, _, offset: to.define(offset=offset * to.data_alignment),
    0x14: lambda to, _, register, offset: to.save(register, How.IS_CFA, offset),
    0x15: lambda to, _, register, offset: to.save(register, How.IS_CFA, offset),
    0x16: lambda to, _, register, _size: to.save(register, How.OTHER),
    0x2F: lambda to, _, register, offset: to.save(register, How.AT_CFA, -offset),
}
"""What an operation does to registers, by its block and its other operands. Those that are missing do nothing."""
