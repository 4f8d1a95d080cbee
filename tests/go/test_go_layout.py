"""The runtime layout against what the compiler wrote into the program's DWARF and symbol table."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from symbolizer.elf.file import ElfFile
from symbolizer.go.binary import GoBinary
from symbolizer.go.layout import GoRuntimeLayout
from tests.go.toolchains import VERSIONS

pytestmark = pytest.mark.go

GoBuild = Callable[[str, str, str], Path]
FUNCTIONS = ("mcall", "morestack", "goexit", "sigtramp", "systemstack", "asmcgocall")


def layout_of(path: Path) -> GoRuntimeLayout:
    program = GoBinary.open(ElfFile.open(str(path)))
    assert program is not None
    layout = program.runtime_layout()
    assert layout is not None
    return layout


@pytest.mark.parametrize("version", VERSIONS)
def test_offsets_equal_those_in_the_dwarf(go_build: GoBuild, version: str) -> None:
    path = go_build(version, "plain", "truth")
    printed = subprocess.run(
        [go_build(VERSIONS[-1], "plain", "gooffsets"), path], capture_output=True, check=True
    ).stdout
    dwarf = json.loads(printed)
    g, m, gobuf = dwarf["runtime.g"], dwarf["runtime.m"], dwarf["runtime.gobuf"]
    layout = layout_of(path)
    assert (layout.g_m, layout.g_goid) == (g["m"], g["goid"])
    assert (layout.g_stack_lo, layout.g_stack_hi) == (g["stack"], g["stack"] + 8)
    assert (layout.m_g0, layout.m_curg, layout.m_gsignal) == (m["g0"], m["curg"], m["gsignal"])
    assert layout.g_sched_sp == g["sched"] + gobuf["sp"]
    assert layout.g_sched_pc == g["sched"] + gobuf["pc"]
    assert layout.g_sched_bp == g["sched"] + gobuf["bp"]
    assert (layout.g_syscallsp, layout.g_syscallpc) == (g["syscallsp"], g["syscallpc"])
    assert layout.g_syscallbp == g.get("syscallbp")


@pytest.mark.parametrize("version", VERSIONS)
def test_ranges_equal_the_symbols_of_the_assembly_functions(go_build: GoBuild, version: str) -> None:
    path = go_build(version, "cgo", "truth")
    symbols: dict[str, int] = {}
    for line in subprocess.run(["nm", path], capture_output=True, text=True, check=True).stdout.splitlines():
        *address, _, name = line.split(maxsplit=2)
        if address:
            symbols[name] = int(address[0], 16)
    layout = layout_of(path)
    for name in FUNCTIONS:
        # Assembly called from Go has the suffix .abi0, unless it follows Go's own convention.
        expected = symbols.get(f"runtime.{name}.abi0", symbols.get(f"runtime.{name}"))
        assert getattr(layout, name)[0] == expected, name


@pytest.mark.parametrize("version", VERSIONS)
def test_g_in_thread_local_storage_is_found_in_every_link_mode(go_build: GoBuild, version: str) -> None:
    for mode in ("plain", "stripped", "pie", "cgo", "cgo-pie"):
        layout = layout_of(go_build(version, mode, "truth"))
        assert (layout.tls_offset, layout.tls_got) == (-8, None), mode
    path = go_build(version, "static", "truth")
    assert layout_of(path).tls_offset == static_tls_offset(path)


def test_a_shared_library_names_the_slot_that_holds_the_offset(go_build: GoBuild) -> None:
    path = go_build(VERSIONS[-1], "cshared", "truth")
    layout = layout_of(path)
    assert layout.tls_offset is None
    relocations = subprocess.run(["readelf", "-rW", path], capture_output=True, text=True, check=True).stdout
    slots = {int(line.split()[0], 16) for line in relocations.splitlines() if "R_X86_64_TPOFF64" in line}
    assert layout.tls_got in slots


def static_tls_offset(path: Path) -> int:
    """The offset of runtime.tlsg from the thread pointer, by the symbol and the size of the TLS segment."""
    symbols = subprocess.run(["readelf", "-sW", path], capture_output=True, text=True, check=True).stdout
    (symbol,) = [line.split() for line in symbols.splitlines() if line.endswith(" runtime.tlsg")]
    headers = subprocess.run(["readelf", "-lW", path], capture_output=True, text=True, check=True).stdout
    (segment,) = [line.split() for line in headers.splitlines() if line.split()[:1] == ["TLS"]]
    size, alignment = int(segment[5], 16), int(segment[-1], 16)
    return int(symbol[1], 16) - -(-size // alignment) * alignment
