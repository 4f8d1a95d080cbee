"""Stacks of programs in C++, Rust, Python and Go with C, all without frame pointers, against gdb and what they say."""

import shutil
import subprocess
from itertools import product
from pathlib import Path

import pytest

from tests.go import toolchains
from tests.kernel.conftest import PROGRAMS, CBuild
from tests.kernel.stations import (
    OUTERMOST,
    Program,
    Station,
    Told,
    assert_calls,
    assert_true,
    report,
    visit,
)

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

# ---- C++ ----

MAIN = "_start . main"
THROWING = f"{MAIN} exceptions | catches"
CPP = (
    Station(
        "exceptions",
        (
            f"{THROWING} rethrows passes cleans throws .",
            f"{THROWING} rethrows passes cleans Cleanup::~Cleanup work",
            *(f"{THROWING} {way} ." for way in ("rethrows passes cleans", "rethrows passes", "rethrows", "")),
            *(f"{THROWING} {way} work" for way in ("rethrows", "")),
        ),
    ),
    Station(
        "virtuals",
        tuple(
            f"{MAIN} virtuals | by_base {way}"
            for way in ("Square::area Square::name work", "Square::area work", "Square::name work", ".")
        ),
    ),
    Station(
        "templates",
        (
            f"{MAIN} templates | {' '.join(f'Nested<unsignedint,{depth}>::call' for depth in (3, 2, 1, 0))} work",
            f"{MAIN} templates | {' '.join(f'Nested<double,{depth}>::call' for depth in (2, 1, 0))} work",
        ),
    ),
    Station("library", (f"{MAIN} library | . ByRemainder::operator work",)),
    Station("functions", tuple(f"{MAIN} functions | {way} Caller::operator work" for way in (".", ""))),
    Station("spin_cleanup"),
    Station("spin_catch"),
    Station("spin_terminate"),
    Station("spin_constructor"),
    Station("spin_async"),
)


CPP_BUILDS = ("-O2", "-O3")
UNWINDER = "libgcc_s"
"""Just before it jumps to a handler it has put the handler's registers and return address in place of its own
caller's, of which nothing is left: for these few instructions no one can say who called."""


@pytest.fixture(scope="module")
def all_cpp(c_program: CBuild) -> dict[str, dict[str, Told]]:
    paths = [c_program("stations.cpp", optimize, frame_pointers=False) for optimize in CPP_BUILDS]
    told = visit([Program(path, CPP, foreign_inside=True) for path in paths])
    return dict(zip(CPP_BUILDS, told, strict=True))


@pytest.fixture(params=CPP_BUILDS)
def cpp(request: pytest.FixtureRequest, all_cpp: dict[str, dict[str, Told]]) -> dict[str, Told]:
    return all_cpp[request.param]


def assert_wrong_only_in_unwinder(told: dict[str, Told]) -> None:
    """All that is wrong is where nothing can be right, and that is not much of what the unwinder does."""
    for one in told.values():
        assert all(leaf.startswith(UNWINDER) for leaf in one.leaves_of_faults), report(told)
    unwinding = sum(
        samples for one in told.values() for leaf, samples in one.modules.items() if leaf.startswith(UNWINDER)
    )
    assert unwinding >= 10
    assert sum(one.leaves_of_faults.total() for one in told.values()) <= 0.2 * unwinding


def test_cpp_chains_equal_the_truth(cpp: dict[str, Told]) -> None:
    assert_true(cpp)
    assert_wrong_only_in_unwinder(cpp)


def test_cpp_return_addresses_follow_a_call(cpp: dict[str, Told]) -> None:
    assert_calls(cpp, except_in=UNWINDER)


# ---- Rust ----

RUST_MAIN = "_start . main . stations::main"
AREAS = tuple(f"<stations::{shape}asstations::Shape>::area" for shape in ("Square", "Circle"))
CALLERS = ("stations::by_trait_object", "stations::by_trait_object .", "stations::generic")
DROP = "<stations::Cleanupascore::ops::drop::Drop>::drop"
CLEANS = tuple(f"{RUST_MAIN} stations::catching | {way} stations::cleans" for way in (".", ""))
RUST = (
    Station(
        "traits",
        tuple(f"{RUST_MAIN} stations::traits | {way} {area} stations::work" for way, area in product(CALLERS, AREAS)),
    ),
    Station("sorting", (f"{RUST_MAIN} stations::sorting | . stations::compare stations::work",)),
    Station(
        "maps",
        tuple(
            f"{RUST_MAIN} stations::maps | {way}"
            for way in ("stations::insert stations::work", "stations::insert .", ".")
        ),
    ),
    Station(
        "catching",
        (
            *(f"{way} stations::panics ." for way in CLEANS),
            *(f"{way} {between} {DROP} stations::work" for way, between in product(CLEANS, ("", "."))),
            f"{RUST_MAIN} stations::catching | stations::work",
        ),
    ),
    Station("spin_drop"),
    Station("spin_hook"),
    Station("spin_thread"),
    Station("spin_sort"),
)


def rust_compiler() -> str | None:
    return shutil.which("rustc") or shutil.which("rustc", path=str(Path.home() / ".cargo" / "bin"))


@pytest.fixture(scope="module")
def rust(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Told]:
    compiler = rust_compiler()
    if compiler is None:
        pytest.skip("rustc is not installed")
    program = tmp_path_factory.mktemp("rust") / "stations"
    command = [compiler, "--edition=2021", "-O", "-Cforce-frame-pointers=no", "-o", program, PROGRAMS / "stations.rs"]
    subprocess.run(command, check=True, timeout=120)
    (told,) = visit([Program(program, RUST, foreign_inside=True)])
    return told


def test_rust_chains_equal_the_truth(rust: dict[str, Told]) -> None:
    assert_true(rust)
    assert_wrong_only_in_unwinder(rust)


def test_rust_return_addresses_follow_a_call(rust: dict[str, Told]) -> None:
    assert_calls(rust, except_in=UNWINDER)


# ---- CPython: the distribution's interpreter, stripped; its exported names and its loops tell the chain ----

INTERPRETER = Path("/usr/bin/python3")
SCRIPT = PROGRAMS / "stations_python.py"
NESTED = 4
"""Interpreter loops below a station; as many as the script says."""
LOOP = "_PyEval_EvalFrameDefault"
BELOW = f". Py_BytesMain . {f'{LOOP} . ' * NESTED} {LOOP}"
ABOVE = f" . {LOOP}" * 12


def python_station(name: str, spins: bool = False) -> Station:
    path = f"{BELOW} | {ABOVE} ."
    return Station(
        name,
        () if spins else (path,),
        arguments=("-S", "-E", str(SCRIPT), name),
        below=None if spins else (LOOP, NESTED + 1),
        says_ready=True,
    )


PYTHON = (
    python_station("spin_nested", spins=True),
    *(python_station(name) for name in ("recursion", "decoding", "matching", "sorting", "raising")),
)


@pytest.fixture(scope="module")
def python() -> dict[str, Told]:
    if not INTERPRETER.exists():
        pytest.skip("there is no /usr/bin/python3")
    own = frozenset({"Py_BytesMain", LOOP})
    (told,) = visit([Program(INTERPRETER.resolve(), PYTHON, foreign_inside=True, own=own)], 400)
    return told


def test_python_chains_equal_the_truth(python: dict[str, Told]) -> None:
    assert_true(python)
    assert python["spin_nested"].right >= 0.998 * python["spin_nested"].samples


def test_python_stacks_are_as_deep_as_the_script_nests(python: dict[str, Told]) -> None:
    for told in python.values():
        shallow = sum(samples for depth, samples in told.depths.items() if depth < 8 * NESTED)
        assert shallow <= 0.002 * told.samples, (str(told), sorted(told.depths.items())[:5])


def test_python_return_addresses_follow_a_call(python: dict[str, Told]) -> None:
    assert_calls(python)


# ---- cgo, in both directions ----

VERSIONS = toolchains.VERSIONS
CGO_SOURCE = PROGRAMS / "cgo"
GO_MAIN = "runtime.goexit main.main.func1"
RUNTIME = tuple(f"{root} | ." for root in sorted(OUTERMOST))
"""Stacks that the runtime has for itself."""
CALLBACKS = ("main.goCallback main.leafInC", "main.leafInC")
"""The compiler may write goCallback into the function that C calls."""
IN_CALLBACK = tuple(f"{way} {leaf}" for way in CALLBACKS for leaf in (". native_leaf native_inner work", "main.work ."))
"""Above main.work there are the runtime's signals that ask it to make way."""


def cgo_station(name: str, *paths: str) -> Station:
    return Station(name, (*paths, *RUNTIME))


def calling_back(name: str, below: str, above: str, *others: str) -> Station:
    return cgo_station(name, *(f"{below} | {above} . {way}" for way in IN_CALLBACK), *others)


DEEP = ". native_calls_back_deep native_wide native_calls_back"
CGO = (
    cgo_station("callsC", f"{GO_MAIN} main.callsC | . native_spin native_leaf native_inner work"),
    cgo_station(
        "callsSort",
        *(
            f"{GO_MAIN} main.callsSort | . native_sort . compare . {way} main.work ."
            for way in ("main.goCompare main.compareInGo", "main.compareInGo")
        ),
    ),
    calling_back("callsBack", f"{GO_MAIN} main.callsBack", ". native_calls_back"),
    calling_back("callsBackDeep", f"{GO_MAIN} main.callsBackDeep", DEEP),
    calling_back("callsThread", ". run_thread", "native_calls_back", f"{GO_MAIN} main.callsThread | . native_thread ."),
)


@pytest.fixture(scope="module")
def all_cgo() -> dict[str, dict[str, Told]]:
    programs = [Program(toolchains.build(version, "cgo", CGO_SOURCE), CGO, foreign_inside=True) for version in VERSIONS]
    return dict(zip(VERSIONS, visit(programs), strict=True))


@pytest.fixture(params=VERSIONS)
def cgo(request: pytest.FixtureRequest, all_cgo: dict[str, dict[str, Told]]) -> dict[str, Told]:
    return all_cgo[request.param]


@pytest.mark.go
def test_cgo_chains_equal_the_truth(cgo: dict[str, Told]) -> None:
    assert_true(cgo)


@pytest.mark.go
def test_cgo_return_addresses_follow_a_call(cgo: dict[str, Told]) -> None:
    assert_calls(cgo)
