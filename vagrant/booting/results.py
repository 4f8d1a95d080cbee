"""Reads what pytest reported of a boot: its JUnit file, with the properties that tests recorded."""

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vagrant.booting.errors import BootError

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"


@dataclass(frozen=True, slots=True)
class Case:
    """A test: its name with that of its module, how it went, and what it recorded, in order."""

    name: str
    outcome: str
    properties: tuple[tuple[str, str], ...]

    def last(self, name: str) -> str:
        """The value recorded last under that name, or nothing."""
        return dict(self.properties).get(name, "")


@dataclass(frozen=True, slots=True)
class Report:
    """All tests of a boot and what the run as a whole recorded."""

    cases: tuple[Case, ...]
    properties: tuple[tuple[str, str], ...] = ()

    def count(self, outcome: str) -> int:
        """How many tests went that way."""
        return sum(case.outcome == outcome for case in self.cases)

    def numbers(self, prefix: str) -> dict[str, float]:
        """Numbers recorded by any test under names with the prefix, by the rest of the name; no other values."""
        found = {}
        for name, value in (*self.properties, *(pair for case in self.cases for pair in case.properties)):
            if name.startswith(prefix):
                try:
                    found[name.removeprefix(prefix)] = float(value)
                except ValueError:
                    continue
        return found


def read_report(path: Path) -> Report:
    """The report in a JUnit file. Raises BootError where it is missing or is none."""
    try:
        # No defence against hostile XML: the tests that wrote it are ours, and could do worse.
        root = ET.parse(path).getroot()  # noqa: S314
    except (OSError, ET.ParseError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise _wrong(f"{path.name}: {reason}") from error
    if root.tag not in {"testsuites", "testsuite"}:
        raise _wrong(f"{path.name} is no JUnit file")
    properties = tuple(pair for suite in root.iter("testsuite") for pair in _properties(suite))
    return Report(tuple(_case(case) for case in root.iter("testcase")), properties)


def _case(element: ET.Element) -> Case:
    tags = {child.tag for child in element}
    outcome = FAILED if tags & {"failure", "error"} else SKIPPED if "skipped" in tags else PASSED
    name = "::".join(filter(None, (element.get("classname"), element.get("name"))))
    return Case(name, outcome, tuple(_properties(element)))


def _properties(element: ET.Element) -> Iterator[tuple[str, str]]:
    for item in element.iterfind("properties/property"):
        yield item.get("name", ""), item.get("value", "")


def _wrong(what: str) -> BootError:
    return BootError(f"The guest's results cannot be read: {what}.", "Read what pytest printed above.")
