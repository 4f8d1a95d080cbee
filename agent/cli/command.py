"""What a command is, and the table of all commands.

A command is one file and one line of the table. Only the chosen command's module is imported, so that
`goroscope --version` and shell completion stay quick however much the others need.
"""

import argparse
import importlib
from dataclasses import dataclass
from typing import Protocol, cast


class Command(Protocol):
    """One command. The docstring of its class is the text that `goroscope NAME --help` opens with."""

    def prepare_parser(self, parser: argparse.ArgumentParser) -> None:
        """Add the command's own options and arguments."""

    def run(self, args: argparse.Namespace) -> int:
        """Do it and return the exit status. Raises GoroscopeError for what the user can put right.

        `args` also holds `verbose` (bool) and, where the table says `takes_program`, `program` (list of
        strings): what stood behind `--`, empty without it.
        """


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the command table: how the command is listed, and where its class is."""

    name: str
    module: str
    class_name: str
    summary: str
    takes_program: bool = False

    def load(self) -> Command:
        """Import the module and make the command."""
        return cast("Command", getattr(importlib.import_module(self.module), self.class_name)())


COMMANDS = (
    Entry("record", "agent.cli.record", "Record", "profile a process, a container, a command or the whole node", True),
    Entry(
        *("goroutines", "agent.cli.goroutines", "ShowGoroutines"),
        "who the goroutines of a Go process are, and what they wait for",
    ),
    Entry("symbolize", "agent.cli.symbolize", "Symbolize", "name the code at addresses of a binary"),
    Entry("doctor", "agent.cli.doctor", "Doctor", "say what this machine or a process lacks, and the remedy"),
)
