"""Reads the list of kernels, kernels.toml."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vagrant.booting.errors import UsageError

LIST = Path(__file__).parents[1] / "kernels.toml"
_PACKAGE = "linux-image-cloud-amd64"
_TESTS = ["tests/boot"]
_KEYS = {"name": str, "suite": str, "package": str, "security": bool, "append": str, "tests": list}


@dataclass(frozen=True, slots=True)
class Entry:
    """A kernel of the list: the newest that `package` of the archive's `suite` stands for, booted with `append`."""

    name: str
    suite: str
    package: str = _PACKAGE
    security: bool = False
    append: str = ""
    tests: tuple[str, ...] = tuple(_TESTS)


def read_list(path: Path = LIST) -> tuple[Entry, ...]:
    """The kernels in their order. Raises UsageError, naming the place, where the file is not as it should be."""
    try:
        table = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise _wrong(path, f"cannot be read: {error}") from error
    kernels = table.get("kernel")
    if not isinstance(kernels, list) or not kernels or not all(isinstance(kernel, dict) for kernel in kernels):
        raise _wrong(path, "lists no [[kernel]]")
    common: dict[str, Any] = {key: table[key] for key in ("package", "tests") if key in table}
    if unknown := sorted(table.keys() - {"kernel", "package", "tests"}):
        raise _wrong(path, f"has the unknown key {unknown[0]!r}")
    entries = tuple(_entry(path, number, {**common, **kernel}) for number, kernel in enumerate(kernels, 1))
    names = [entry.name for entry in entries]
    if twice := [name for name in names if names.count(name) > 1]:
        raise _wrong(path, f"names {twice[0]!r} twice")
    return entries


def choose(entries: Sequence[Entry], name: str) -> Entry:
    """The kernel of that name. Raises UsageError, naming those there are."""
    for entry in entries:
        if entry.name == name:
            return entry
    raise UsageError(
        f"There is no kernel {name!r} in kernels.toml.", f"Known are {', '.join(entry.name for entry in entries)}."
    )


def _entry(path: Path, number: int, values: Mapping[str, Any]) -> Entry:
    """One [[kernel]]. `number` counts them from 1 for what is said of those without a name."""
    of = f"kernel {values.get('name', number)!r}"
    if unknown := sorted(values.keys() - _KEYS.keys()):
        raise _wrong(path, f"has the unknown key {unknown[0]!r} in {of}")
    for key in ("name", "suite"):
        if key not in values:
            raise _wrong(path, f"has no {key} in {of}")
    for key, value in values.items():
        if not isinstance(value, _KEYS[key]):
            raise _wrong(path, f"has a {key} in {of} that is not of type {_KEYS[key].__name__}")
    tests = values.get("tests", _TESTS)
    if not all(isinstance(test, str) for test in tests):
        raise _wrong(path, f"has tests in {of} that are not all strings")
    # Names and suites become names of files, and a name a word of the command line.
    for key in ("name", "suite", "package"):
        word = values.get(key, _PACKAGE)
        if not word or word.startswith(("-", ".")) or not all(c.isalnum() or c in "-.+_" for c in word):
            raise _wrong(path, f"has a {key} in {of} that is not one word of letters, digits, '-', '.', '+' and '_'")
    return Entry(**{**values, "tests": tuple(tests)})


def _wrong(path: Path, what: str) -> UsageError:
    return UsageError(f"{path} {what}.", "The comment at its top says how a kernel is listed.")
