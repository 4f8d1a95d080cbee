"""Runs the instructions of call frame information: which rule holds from which place of a function on.

Most of them repeat: a few hundred rules, and a few thousand ways from one to the next, make up the largest library.
So a CIE is a machine whose states are made when they are first reached. A regular expression takes instructions
apart into steps, each an advance and the operations behind it, and by these operations a state knows the next: once
met, a step costs one look-up, however many operations it has. Functions with the same instructions are looked up
whole.
"""

import struct
from collections.abc import Iterable, Iterator

from symbolizer.unwind.frame_entries import Cie, Fde
from symbolizer.unwind.frame_operations import SET_LOCATION, Registers, SetLocation, advanced, steps_of
from symbolizer.unwind.frame_pointers import FrameError, pointer, pointer_size
from symbolizer.unwind.frame_rules import Row, rule_of
from symbolizer.unwind.pages import Spans
from symbolizer.unwind.rows import RuleKind, RuleSet

LOCATED: Spans = [0xFFFF]
"""Instead of spans: the instructions name addresses, so each function has its own spans (`located`)."""
BROKEN: Spans = [0]
"""The spans of a function whose instructions are damaged: as if it had none."""
MAX_PROGRAMS = 4096
"""CIEs of one file that differ; real ones have below 20."""
MAX_TRANSITIONS = 1 << 17
"""Ways from state to state of one file; real ones have a few thousand."""
MAX_RUN = 1 << 24
"""Bytes of instructions of one file, those that repeat counted once; a library of 110 MB has 2 MB."""
MAX_INSTRUCTIONS = 1 << 19
"""Bytes of instructions of one function."""
_MAX_SHARED = 256
"""Bytes of instructions that are remembered; longer ones do not repeat."""
_MAX_REMEMBERED = 1 << 16
_STEPS = steps_of()


class Interpreter:
    """Runs the instructions of one file.

    Its methods, and look-ups in its programs, raise OverflowError when the file asks for more than any real one.
    """

    def __init__(self, rules: RuleSet) -> None:
        """`rules` is where rules get their indexes."""
        self.rules = rules
        self.special = set(LOCATED)
        """Indexes of rules from RuleKind.END on, and what LOCATED holds."""
        self.run = 0
        self.transitions = 0
        self._programs: dict[Cie, FrameProgram] = {}

    def program(self, cie: Cie) -> "FrameProgram":
        """The program of a CIE, the same for those that do not differ."""
        program = self._programs.get(cie)
        if program is None:
            if len(self._programs) >= MAX_PROGRAMS:
                raise OverflowError("more kinds of CIE than any real file has")
            program = self._programs[cie] = FrameProgram(self, cie)
        return program

    def rule(self, row: Row, *, signal: bool) -> int:
        """The index of a row's rule."""
        rule = rule_of(row, signal=signal)
        index = self.rules.index(rule)
        if rule.kind >= RuleKind.END:
            self.special.add(index)
        return index


class FrameProgram(dict[bytes, Spans]):
    """The spans of functions of one CIE, by the instructions of their FDEs; made when first asked for."""

    def __init__(self, interpreter: Interpreter, cie: Cie) -> None:
        """Run the instructions of the CIE."""
        super().__init__()
        self.interpreter = interpreter
        self.cie = cie
        self.initial = Row()
        self.states: dict[tuple[Row, tuple[Row, ...]], _State] = {}
        self._advances = _Advances(cie.code_alignment)
        self._start: _State | None = None
        try:
            registers = Registers(Row(), (), Row(), cie.data_alignment)
            for _, operations in _STEPS.findall(cie.instructions):
                registers.run(operations)
            self.initial = registers.row
            self._start = self.state(registers.row, ())
        except (FrameError, SetLocation):
            pass  # without its first state, none of its functions can be told

    def __missing__(self, instructions: bytes) -> Spans:
        try:
            spans = self._spans(instructions)
        except FrameError:
            spans = BROKEN
        except SetLocation:
            spans = LOCATED
        if len(instructions) <= _MAX_SHARED:
            if len(self) >= _MAX_REMEMBERED:
                self.clear()
            self[instructions] = spans
        return spans

    def located(self, fde: Fde, section_address: int) -> Spans:
        """The spans of a function whose instructions name addresses."""
        try:
            return self._follow(self._with_distances(fde, section_address + fde.at))
        except (FrameError, SetLocation):
            return BROKEN

    def _with_distances(self, fde: Fde, address: int) -> Iterator[tuple[bytes, bytes]]:
        """The steps of instructions that lie at an address, with distances for addresses. Raises FrameError."""
        size, factor = pointer_size(self.cie.encoding), self.cie.code_alignment
        if size is None or factor <= 0:
            raise FrameError("addresses in instructions are of no fixed size")
        here = fde.start
        for step in steps_of(size).finditer(fde.instructions):
            advance, operations = step.groups()
            if advance[:1] == bytes([SET_LOCATION]):
                at = step.start() + 1
                there, _ = pointer(fde.instructions, at, self.cie.encoding, address + at)
                distance = (there - here) // factor
                if not 0 <= distance < 1 << 32:
                    raise FrameError("an address before the one in force")
                advance = b"\x04" + struct.pack("<I", distance)
            here += self._advances[advance]
            yield advance, operations

    def state(self, row: Row, remembered: tuple[Row, ...]) -> "_State":
        """The state of a row and those that are remembered, made if it is new."""
        found = self.states.get((row, remembered))
        if found is None:
            rule = self.interpreter.rule(row, signal=self.cie.signal)
            found = self.states[row, remembered] = _State(self, row, remembered, rule)
        return found

    def _spans(self, instructions: bytes) -> Spans:
        """Raises FrameError and SetLocation where operations are new and not understood."""
        if len(instructions) > MAX_INSTRUCTIONS:
            raise FrameError("more instructions than any real function has")
        self.interpreter.run += len(instructions)
        if self.interpreter.run > MAX_RUN:
            raise OverflowError("more instructions than any real file has")
        return self._follow(_STEPS.findall(instructions))

    def _follow(self, steps: Iterable[tuple[bytes, bytes]]) -> Spans:
        """Go from state to state. Raises as `_spans`."""
        state, advances = self._start, self._advances
        if state is None:
            raise FrameError("the CIE is damaged")
        here = since = 0
        last = state.rule
        spans = [last]
        for advance, operations in steps:
            here += advances[advance]
            state = state[operations]
            if state.rule != last:
                last = state.rule
                if here > since:
                    spans.append(here << 16 | last)
                    since = here
                else:
                    spans[-1] = here << 16 | last
        return spans


class _State(dict[bytes, "_State"]):
    """A row and the rows remembered: its rule, and which state operations lead to."""

    __slots__ = ("_program", "_remembered", "_row", "rule")

    def __init__(self, program: FrameProgram, row: Row, remembered: tuple[Row, ...], rule: int) -> None:
        super().__init__()
        self._program = program
        self._row = row
        self._remembered = remembered
        self.rule = rule

    def __missing__(self, operations: bytes) -> "_State":
        program = self._program
        program.interpreter.transitions += 1
        if program.interpreter.transitions > MAX_TRANSITIONS:
            raise OverflowError("more kinds of instructions than any real file has")
        registers = Registers(self._row, self._remembered, program.initial, program.cie.data_alignment)
        registers.run(operations)
        found = self[operations] = program.state(registers.row, registers.remembered)
        return found


class _Advances(dict[bytes, int]):
    """How many bytes of code an advance moves on."""

    def __init__(self, code_alignment: int) -> None:
        super().__init__({b"": 0})
        self._factor = code_alignment

    def __missing__(self, advance: bytes) -> int:
        distance = advanced(advance) * self._factor
        if len(advance) <= 2:
            self[advance] = distance
        return distance
