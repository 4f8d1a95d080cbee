"""Whose a function of a Go program is, by its name: the program's own, a library's of Go, or plumbing below both."""

from collections.abc import Iterable
from enum import IntEnum
from functools import lru_cache

_ROOT = "runtime.goexit"
# First elements of the standard library's import paths. A program's own begin with a host name, or are "main".
_STANDARD_WORDS = """
archive bufio bytes cmp compress container context crypto database debug embed encoding errors expvar flag fmt go
hash html image index internal io iter log maps math mime net os path plugin reflect regexp runtime simd slices sort
strconv strings structs sync syscall testing text time unicode unique unsafe uuid vendor weak
"""
_STANDARD = frozenset(_STANDARD_WORDS.split())
_PLUMBING = {
    "runtime",
    "sync",
    "syscall",
    "net",
    "os",
    "io",
    "bufio",
    "time",
    "context",
    "reflect",
    "iter",
    "crypto/tls",
}
_PLUMBING_BELOW = ("runtime/", "internal/", "sync/", "vendor/", "golang.org/x/sys/", "golang.org/x/sync/")


class Rank(IntEnum):
    """How much a function says of what its goroutine is about."""

    PLUMBING = 0
    LIBRARY = 1
    PROGRAM = 2


def package_of(function: str) -> str:
    """The import path in a function's name: "net/http" of "net/http.(*conn).serve"; "" where it has none."""
    name = function.partition("[")[0]
    package, dot, _ = name[name.rfind("/") + 1 :].partition(".")
    return name[: name.rfind("/") + 1] + package if dot else ""


@lru_cache(maxsize=1 << 16)
def rank(function: str) -> Rank:
    """Whose it is.

    Plumbing is what waits or passes bytes on for others: `runtime`, `sync`, `syscall`, `time`, `context`, `reflect`,
    `iter`, the packages `net`, `os`, `io`, `bufio` and `crypto/tls` themselves (not those below them, such as
    `net/http`), all of `internal/` and `vendor/`, `golang.org/x/sys` and `golang.org/x/sync`. Of a library is the
    rest of the standard library and of `golang.org/x`. Everything else is the program's, its dependencies included.
    """
    package = package_of(function)
    if not package or package in _PLUMBING or package.startswith(_PLUMBING_BELOW):
        return Rank.PLUMBING
    if package.partition("/")[0] in _STANDARD or package.startswith("golang.org/x/"):
        return Rank.LIBRARY
    return Rank.PROGRAM


def telling(functions: Iterable[str], started: str = "") -> str:
    """Of a stack's functions, leaf first, the one that says most of what the goroutine is about.

    It is the innermost of the program, so that a query that waits for a connection of `database/sql` counts for the
    function that asked; without one, as in a connection of `net/http` that waits for a request, the innermost of a
    library. Where all is plumbing, or there is no stack, it is the function that was `started`, if that is none, else
    the outermost: the leaf of them all is `runtime.gopark`.
    """
    library = outermost = ""
    for function in functions:
        found = rank(function)
        if found is Rank.PROGRAM:
            return function
        if found is Rank.LIBRARY:
            library = library or function
        elif function != _ROOT:
            outermost = function
    if not library and started and rank(started) is not Rank.PLUMBING:
        return started
    return library or outermost or started
