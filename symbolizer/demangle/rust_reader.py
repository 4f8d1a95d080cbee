"""The letters of a Rust v0 name: numbers, identifiers and disambiguators, read from left to right.

Source of the grammar: Rust RFC 2603 and the rustc book, "v0 Symbol Format".
"""

import re
import string
from typing import NamedTuple

MAX_PUNYCODE = 128
"""Characters; decoding takes quadratic time."""
_BASE_62 = {digit: value for value, digit in enumerate(string.digits + string.ascii_lowercase + string.ascii_uppercase)}

_LLVM_NUMBER = re.compile(r"\.llvm\.[0-9A-F@]+")


class RustNameError(ValueError):
    """The name does not follow the grammar, or stands for more than the bounds allow."""


class Identifier(NamedTuple):
    """A name and the number that tells it from its namesakes (0 = the first)."""

    name: str
    disambiguator: int


class Reader:
    """A cursor in a name, `_R` already removed: back-references count from there."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.at = 0

    def peek(self) -> str:
        """The next letter, empty at the end."""
        return self._text[self.at : self.at + 1]

    def next(self) -> str:
        """The next letter, moving past it. Raises RustNameError at the end."""
        letter = self.peek()
        if not letter:
            raise RustNameError("the name ends early")
        self.at += 1
        return letter

    def eat(self, letter: str) -> bool:
        """Move past the next letter if it is this one, and say whether it was."""
        if self.peek() != letter:
            return False
        self.at += 1
        return True

    def rest(self) -> str:
        """What has not been read."""
        return self._text[self.at :]

    def base_62(self) -> int:
        """A base-62-number: `_` is 0, digits and `_` one more than the digits say. Raises RustNameError."""
        value = 0
        start = self.at
        while (letter := self.next()) != "_":
            if letter not in _BASE_62 or self.at - start > 11:
                raise RustNameError("not a base-62 number")
            value = value * 62 + _BASE_62[letter]
        return value + 1 if self.at - start > 1 else 0

    def optional_base_62(self, tag: str) -> int:
        """0, or one more than the number after `tag` where the tag is next. Raises RustNameError."""
        return self.base_62() + 1 if self.eat(tag) else 0

    def decimal(self) -> int:
        """A decimal number of at most five digits, without leading zeros. Raises RustNameError."""
        start = self.at
        while self.peek().isdecimal() and self.at - start < 5 and self._text[start : self.at] != "0":
            self.at += 1
        if start == self.at:
            raise RustNameError("a number is missing")
        return int(self._text[start : self.at])

    def hexadecimal(self) -> str:
        """Lower-case hexadecimal digits up to `_`, which is passed. Raises RustNameError."""
        digits, end, _ = self.rest().partition("_")
        if not end or any(digit not in "0123456789abcdef" for digit in digits):
            raise RustNameError("a constant is not hexadecimal")
        self.at += len(digits) + 1
        return digits

    def identifier(self) -> Identifier:
        """An identifier with its disambiguator. Raises RustNameError."""
        disambiguator = self.optional_base_62("s")
        return Identifier(self.plain_identifier(), disambiguator)

    def plain_identifier(self) -> str:
        """An identifier; punycode (tag `u`) is decoded, or shown as it is where it is damaged. Raises RustNameError."""
        encoded = self.eat("u")
        length = self.decimal()
        self.eat("_")
        name = self._text[self.at : self.at + length]
        if len(name) < length:
            raise RustNameError("an identifier ends early")
        self.at += length
        return _decode(name) if encoded else name


def kept_suffix(suffix: str) -> str:
    """What is worth showing of what compilers append (`.cold`); LLVM's numbers of copies (`.llvm.123`) are not."""
    return _LLVM_NUMBER.sub("", suffix)


def _decode(name: str) -> str:
    """Unicode from Rust's punycode, which writes `_` for the separator `-`."""
    ascii_part, separator, code = name.rpartition("_")
    try:
        decoded = (ascii_part + ("-" if separator else "") + code)[:MAX_PUNYCODE].encode().decode("punycode")
    except (UnicodeError, OverflowError):
        return f"punycode{{{name}}}"
    return decoded if decoded.isprintable() else f"punycode{{{name}}}"
