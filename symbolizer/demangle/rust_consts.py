"""The constants in Rust v0 names, as Rust writes them."""

from symbolizer.demangle.rust_reader import RustNameError

_INTEGERS = frozenset("hatsmlyxonji")


def integer_text(type_tag: str, digits: str) -> str:
    """The value of hexadecimal digits as the basic type of that tag: integers, bool, char. Raises RustNameError."""
    value = int(digits or "0", 16) if len(digits) <= 32 else -1
    if type_tag in _INTEGERS:
        return str(value) if value >= 0 else f"0x{digits}"
    if type_tag == "b" and value in {0, 1}:
        return "true" if value else "false"
    if type_tag == "c" and 0 <= value < 0x110000:
        return _quoted(chr(value), "'")
    raise RustNameError("not a constant")


def string_text(digits: str) -> str:
    """The string whose UTF-8 bytes are given in hexadecimal, quoted. Raises RustNameError."""
    try:
        text = bytes.fromhex(digits).decode()
    except ValueError as error:
        raise RustNameError("a string constant is not UTF-8") from error
    return _quoted(text, '"')


def _quoted(text: str, quote: str) -> str:
    return quote + "".join(_escape(letter, quote) for letter in text) + quote


def _escape(letter: str, quote: str) -> str:
    if letter in {quote, "\\"}:
        return f"\\{letter}"
    named = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\0": "\\0"}.get(letter)
    return named or (letter if letter.isprintable() else f"\\u{{{ord(letter):x}}}")
