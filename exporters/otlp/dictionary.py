"""The dictionary of one OTLP request: seven tables that everything else refers to by index.

Each table begins with its zero element, so index 0 means "none"; an entry equal to it has that index. Entries are
made when they are first asked for, by value: none is there twice and, as long as everything asked for is used, none
is unused. They are kept in plain dicts until `fill` writes them. Locations and stacks, by far the most, are kept as
they are on the wire: bytes are quicker to make, to compare and to write than messages or tuples are.

Addresses and mappings are file virtual addresses, as in our pprof files. Text is made printable and valid UTF-8.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from opentelemetry.proto.common.v1 import common_pb2 as common
from opentelemetry.proto.profiles.v1development import profiles_pb2 as pb

from exporters.pprof import mapping_of
from exporters.text import printable
from profiles.flame import UNKNOWN
from profiles.model import Frame, Kind, Location, Mapping, ValueType

Value = str | int | tuple[str, ...]
"""What an attribute may be: text, a number, or several texts."""

FRAME_TYPE = "profile.frame.type"
BUILD_ID = "process.executable.build_id.gnu"

MAX_INT64 = 2**63 - 1
MAX_UINT64 = 2**64 - 1

# Keys (number and wire type) of fields in ProfilesDictionary, Location, Line and Stack.
_LOCATION_TABLE, _STACK_TABLE = b"\x12", b"\x3a"
_MAPPING, _ADDRESS, _LINES, _ATTRIBUTES = b"\x08", b"\x10", b"\x1a", b"\x22"
_FUNCTION, _LINE = b"\x08", b"\x10"
_LOCATIONS = b"\x0a"

_HEX = re.compile("[0-9a-fA-F]+")
_Key = TypeVar("_Key")
_Made = TypeVar("_Made")


def _varint(number: int) -> bytes:
    made = bytearray()
    while number > 0x7F:
        made.append(number & 0x7F | 0x80)
        number >>= 7
    made.append(number)
    return bytes(made)


_SMALL = [_varint(number) for number in range(1 << 14)]


def varint(number: int) -> bytes:
    """A number that is not negative as protobuf writes it."""
    return _SMALL[number] if number < len(_SMALL) else _varint(number)


class Once(dict[_Key, _Made]):
    """What `make` gives for a key, made when it is first asked for."""

    def __init__(self, make: Callable[[_Key], _Made]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, key: _Key) -> _Made:
        made = self[key] = self._make(key)
        return made


class Dictionary:
    """The seven tables while one request is made."""

    def __init__(self) -> None:
        self._strings: dict[str, int] = {"": 0}
        self._texts = Once(self._string)
        self._frame_types = Once(self._frame_type)
        self._attributes: dict[tuple[int, Value], int] = {(0, ""): 0}
        self._mappings: dict[tuple[int, int, int, int, tuple[int, ...]], int] = {(0, 0, 0, 0, ()): 0}
        self._functions: dict[tuple[int, int, int, int], int] = {(0, 0, 0, 0): 0}
        self._locations: dict[bytes, int] = {b"": 0}
        self._stacks: dict[bytes, int] = {b"": 0}
        self._mapping_indexes = Once(self._mapping)
        self._links: dict[tuple[bytes, bytes], int] = {(b"", b""): 0}

    def string(self, text: str) -> int:
        """The index of a text."""
        return self._texts[text]

    def attributes(self, pairs: Iterable[tuple[str, Value]]) -> tuple[int, ...]:
        """The indexes of several attributes; keys and values are not empty."""
        known = self._attributes
        return tuple(
            known.setdefault((self.string(key), _written(value)), len(known)) for key, value in pairs if key and value
        )

    def link(self, trace_id: bytes, span_id: bytes) -> int:
        """The index of a link to a span."""
        return self._links.setdefault((trace_id, span_id), len(self._links))

    def stack(self, locations: bytes) -> int:
        """The index of a stack: the indexes of its locations as varints, leaf first."""
        return self._stacks.setdefault(locations, len(self._stacks))

    def location(self, location: Location) -> int:
        """The index of a location, with all that it refers to."""
        mapping = mapping_of(location)
        frames = location.frames
        if not frames and (mapping is None or not location.address):
            # Nobody can symbolize it later, and some readers drop a location with neither address nor line.
            frames = (Frame(UNKNOWN),)
        parts: list[bytes] = []
        # Zeros that are always written make no two of one; that of a mapping which says nothing would.
        if mapping is not None and (index := self._mapping_indexes[mapping]):
            parts += (_MAPPING, varint(index))
        if location.kind is not Kind.MARKER:
            parts += (_ADDRESS, varint(location.address & MAX_UINT64))
        for frame in frames:
            line = _FUNCTION + varint(self._function(frame)) + _LINE + varint(line_number(frame.line))
            parts += (_LINES, varint(len(line)), line)
        parts.append(self._frame_types[location.kind])
        return self._locations.setdefault(b"".join(parts), len(self._locations))

    def value_type(self, known: ValueType) -> pb.ValueType:
        """A type of values, as messages hold it."""
        return pb.ValueType(type_strindex=self.string(known.type), unit_strindex=self.string(known.unit))

    def _string(self, text: str) -> int:
        return self._strings.setdefault(printable(text), len(self._strings))

    def _frame_type(self, kind: Kind) -> bytes:
        """The field of a location that says what it is made of."""
        indexes = b"".join(map(varint, self.attributes(((FRAME_TYPE, kind.value),))))
        return _ATTRIBUTES + varint(len(indexes)) + indexes

    def _function(self, frame: Frame) -> int:
        texts = self._texts
        name, file, _, start_line, system_name = frame
        entry = (texts[name or system_name or UNKNOWN], texts[system_name], texts[file], line_number(start_line))
        return self._functions.setdefault(entry, len(self._functions))

    def _mapping(self, mapping: Mapping) -> int:
        build_id = mapping.build_id if _HEX.fullmatch(mapping.build_id) else ""
        entry = (
            mapping.start & MAX_UINT64,
            mapping.limit & MAX_UINT64,
            mapping.offset & MAX_UINT64,
            self.string(mapping.filename),
            self.attributes(((BUILD_ID, build_id),)),
        )
        return self._mappings.setdefault(entry, len(self._mappings))

    def fill(self, message: pb.ProfilesDictionary) -> None:
        """Write the tables into a request's dictionary."""
        message.string_table.extend(self._strings)
        message.attribute_table.extend(
            pb.KeyValueAndUnit(key_strindex=key, value=any_value(value)) if key else pb.KeyValueAndUnit()
            for key, value in self._attributes
        )
        message.mapping_table.extend(
            pb.Mapping(
                memory_start=start, memory_limit=limit, file_offset=offset, filename_strindex=name, attribute_indices=of
            )
            for start, limit, offset, name, of in self._mappings
        )
        message.function_table.extend(
            pb.Function(name_strindex=name, system_name_strindex=system, filename_strindex=file, start_line=start)
            for name, system, file, start in self._functions
        )
        message.MergeFromString(b"".join(_fields(_LOCATION_TABLE, self._locations)))
        stacks = (_LOCATIONS + varint(len(stack)) + stack if stack else b"" for stack in self._stacks)
        message.MergeFromString(b"".join(_fields(_STACK_TABLE, stacks)))
        # The zero element is Link{}, not one of zero bytes: the strictest readers want it so.
        message.link_table.extend(pb.Link(trace_id=trace, span_id=span) for trace, span in self._links)


def _fields(key: bytes, messages: Iterable[bytes]) -> Iterator[bytes]:
    for message in messages:
        yield key + varint(len(message)) + message


def any_value(value: Value) -> common.AnyValue:
    """The value as a message; plain text, because readers know no references to text here."""
    if isinstance(value, int):
        return common.AnyValue(int_value=value)
    if isinstance(value, str):
        return common.AnyValue(string_value=value)
    return common.AnyValue(array_value=common.ArrayValue(values=[common.AnyValue(string_value=text) for text in value]))


def line_number(line: int) -> int:
    """Lines come from tables in files that may lie; what does not fit is as good as unknown."""
    return line if 0 <= line <= MAX_INT64 else 0


def _written(value: Value) -> Value:
    if isinstance(value, int):
        return value
    return printable(value) if isinstance(value, str) else tuple(map(printable, value))
