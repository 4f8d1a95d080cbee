"""Who may import whom. Imports inside functions count like all others."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OURS = ("agent", "bpf", "exporters", "profiles", "symbolizer", "vagrant")

# What a folder's modules may import of ours; a dotted name allows that module only.
ALLOWED = {
    "profiles": ("profiles",),
    "symbolizer": ("symbolizer", "profiles"),
    "exporters": ("exporters", "profiles"),
    "bpf": ("bpf", "symbolizer.unwind.rows"),
    "agent": ("agent", "bpf", "exporters", "profiles", "symbolizer"),
    # It runs before there is an environment, and on machines that profile nothing.
    "vagrant": ("vagrant",),
}
# The loader runs under the distribution's Python, which knows none of the libraries we install.
LOADER = "bpf/loader.py"


def modules(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def imports(source: str) -> Iterator[str]:
    """Every name that a module imports, as `package.module` or `package.module.name`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" if node.module else alias.name for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in {"importlib.import_module", "__import__"}:
            yield from (arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant))


def is_within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def forbidden(folder: str, source: str) -> list[str]:
    """The imports of ours in `source` that its folder may not have."""
    allowed = ALLOWED[folder]
    ours = [name for name in imports(source) if name.partition(".")[0] in OURS]
    return [name for name in ours if not any(is_within(name, package) for package in allowed)]


@pytest.mark.parametrize("folder", OURS)
def test_a_folder_imports_only_what_the_layering_rule_allows(folder: str) -> None:
    found = {
        str(path.relative_to(ROOT)): bad for path in modules(folder) if (bad := forbidden(folder, path.read_text()))
    }
    assert modules(folder)
    assert found == {}


@pytest.mark.parametrize(
    ("folder", "source"),
    [
        ("profiles", "import symbolizer.elf.file"),
        ("symbolizer", "from bpf import abi"),
        ("symbolizer", "def late():\n    from agent.errors import GoroscopeError"),
        ("exporters", "import importlib\nimportlib.import_module('agent.cli.main')"),
        ("bpf", "from symbolizer.elf.file import ElfFile"),
        ("agent", "from vagrant.booting.listed import read_list"),
        ("vagrant", "from agent.errors import GoroscopeError"),
    ],
)
def test_the_rule_notices_a_forbidden_import(folder: str, source: str) -> None:
    assert len(forbidden(folder, source)) == 1


def test_bpf_may_import_the_types_of_unwind_rows() -> None:
    assert forbidden("bpf", "from symbolizer.unwind.rows import UnwindTable") == []


def importers(library: str) -> list[str]:
    return [
        str(path.relative_to(ROOT))
        for folder in OURS
        for path in modules(folder)
        if any(is_within(name, library) for name in imports(path.read_text()))
    ]


def test_exactly_one_file_imports_bcc() -> None:
    assert importers("bcc") == [LOADER]


def test_the_loader_imports_the_standard_library_and_bcc_only() -> None:
    roots = {name.partition(".")[0] for name in imports((ROOT / LOADER).read_text())}
    assert roots - sys.stdlib_module_names <= {"bcc", "bpf"}


def test_vagrant_imports_the_standard_library_only() -> None:
    roots = {name.partition(".")[0] for path in modules("vagrant") for name in imports(path.read_text())}
    assert roots - sys.stdlib_module_names == {"vagrant"}


def test_only_the_exporter_of_otlp_imports_its_messages() -> None:
    assert {path.rpartition("/")[0] for path in importers("opentelemetry")} == {"exporters/otlp"}


def test_only_commands_import_the_terminal_library() -> None:
    assert [path for path in importers("rich") if not path.startswith("agent/cli/")] == []


def test_no_import_is_relative() -> None:
    relative = [
        str(path.relative_to(ROOT))
        for folder in OURS
        for path in modules(folder)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert relative == []
