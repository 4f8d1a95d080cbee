"""Text from binaries and other processes, made fit for files that people and their terminals read."""

import re

# Control characters (a terminal obeys them), line separators, bidirectional overrides (they hide what a line says)
# and halves of surrogate pairs (they cannot be written as UTF-8).
_UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    r"""The text with what must not be printed made visible as `\x1b` or `\u2028`; what is not Unicode as U+FFFD."""
    if text.isascii() and text.isprintable():
        return text
    return _UNFIT.sub(_visible, text)


def _visible(match: re.Match[str]) -> str:
    code = ord(match.group())
    if 0xD800 <= code <= 0xDFFF:
        return "\N{REPLACEMENT CHARACTER}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
