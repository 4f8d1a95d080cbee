"""The file formats a profile can be written in, by name and by file extension.

An encoder is imported when it is first used, so that choosing a format costs nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass

from profiles.model import Profile


class UnknownFormat(ValueError):  # noqa: N818 - says what is wrong without the suffix
    """The file name says no format that we write; the message names those that we do."""


@dataclass(frozen=True, slots=True)
class Format:
    """One file format. `extensions` include the dot; `viewer` is a command or place that opens it, with {path}."""

    name: str
    extensions: tuple[str, ...]
    description: str
    viewer: str
    encode: Callable[[Profile], bytes]


def _pprof(profile: Profile) -> bytes:
    from exporters import pprof

    return pprof.encode(profile)


def _folded(profile: Profile) -> bytes:
    from exporters import folded

    return folded.encode(profile)


def _speedscope(profile: Profile) -> bytes:
    from exporters import speedscope

    return speedscope.encode(profile)


def _html(profile: Profile) -> bytes:
    from exporters import html

    return html.encode(profile)


FORMATS = (
    Format("pprof", (".pb.gz", ".pprof"), "pprof, gzipped protobuf", "go tool pprof -http=: {path}", _pprof),
    Format("html", (".html",), "flame graph, one page that needs no network", "xdg-open {path}", _html),
    Format("folded", (".folded", ".txt"), "folded stacks, text", "flamegraph.pl {path} > flame.svg", _folded),
    Format("speedscope", (".speedscope.json",), "speedscope, JSON", "npx speedscope {path}", _speedscope),
)


def format_for(path: str) -> Format:
    """The format that a file's name asks for, in any case; raises UnknownFormat."""
    lowered = path.lower()
    for known in FORMATS:
        if lowered.endswith(known.extensions):
            return known
    extensions = ", ".join(extension for known in FORMATS for extension in known.extensions)
    raise UnknownFormat(f"{path} has no extension of a known format ({extensions})")


def format_named(name: str) -> Format:
    """The format of that name; raises UnknownFormat."""
    for known in FORMATS:
        if known.name == name:
            return known
    raise UnknownFormat(f"{name} is no known format ({', '.join(known.name for known in FORMATS)})")
