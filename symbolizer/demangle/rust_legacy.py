"""Rust's older mangling: a C++ nested name whose last part is a hash, with `$..$` for what C++ has no letters for.

Source of the format: rustc's `symbol_mangling/legacy.rs`.
"""

import re

from symbolizer.demangle.rust_reader import kept_suffix

_HASH = re.compile(r"17h[0-9a-f]{16}E")
_ESCAPE = re.compile(r"\$(SP|BP|RF|LT|GT|LP|RP|C|u[0-9a-f]{1,6})\$|\.\.")
_MEANINGS = {"SP": "@", "BP": "*", "RF": "&", "LT": "<", "GT": ">", "LP": "(", "RP": ")", "C": ","}


def demangle_rust_legacy(name: str) -> str:
    """`a::b::c` for `_ZN1a1b1c17h0123456789abcdefE`, without the hash; empty if it is no such name.

    What follows the E (`.llvm.123`, `.cold`) is dropped if it is LLVM's number of a copy, else kept.
    """
    if not name.startswith("_ZN"):
        return ""
    parts = []
    at = 3
    while not (end := _HASH.match(name, at)):
        digits = at
        while name[at : at + 1].isdecimal() and at - digits < 5:
            at += 1
        length = int(name[digits:at] or 0)
        if not length or at + length > len(name):
            return ""
        parts.append(_unescape(name[at : at + length]))
        at += length
    suffix = name[end.end() :]
    if not parts or (suffix and not suffix.startswith(".")):
        return ""
    return "::".join(parts) + kept_suffix(suffix)


def _unescape(part: str) -> str:
    if part.startswith("_$"):  # the underscore only keeps the identifier from beginning with a dollar
        part = part[1:]
    return _ESCAPE.sub(lambda match: _meaning(match[0], match[1]), part)


def _meaning(text: str, code: str | None) -> str:
    if code is None:
        return "::"
    if code in _MEANINGS:
        return _MEANINGS[code]
    number = int(code[1:], 16)
    return chr(number) if number < 0x110000 and chr(number).isprintable() else text
