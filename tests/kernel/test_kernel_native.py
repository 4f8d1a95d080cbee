"""Stacks of C programs without frame pointers (programs/stations.c), against gdb and what the programs say."""

from dataclasses import replace

import pytest

from tests.kernel.conftest import CBuild
from tests.kernel.stations import Program, Station, Told, assert_calls, assert_true, visit

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

BEGIN = "_start . main "
SOMETIMES = ("sometimes", "large", "many", "third", "work")


def interrupted() -> tuple[str, ...]:
    """The handler above each function of the way, and the way itself."""
    ways = [" ".join(SOMETIMES[:length]) for length in range(len(SOMETIMES) + 1)]
    handled = tuple(f"{BEGIN} interrupted | {way} . on_signal work" for way in ways)
    return (f"{BEGIN} interrupted | {ways[-1]}", *handled)


STATIONS = (
    Station("calls", (f"{BEGIN} calls | {' '.join(SOMETIMES)}",)),
    Station("mutual", (f"{BEGIN} mutual | {'even odd ' * 20} even",)),
    Station("realigned", (f"{BEGIN} realigned | sized forced aligned_alloca aligned work",)),
    Station("sorting", (f"{BEGIN} sorting | . compare work",)),
    Station("searching", (f"{BEGIN} searching | . compare work",)),
    Station("raising", (f"{BEGIN} raising | . on_signal work",)),
    Station("interrupted", interrupted()),
    Station("clocks", (f"{BEGIN} clocks | .",)),
    Station("allocating", (f"{BEGIN} allocating | .",)),
    Station("memory", (f"{BEGIN} memory | .",)),
    Station("printing", (f"{BEGIN} printing | formatted .",)),
    Station("linkage", (f"{BEGIN} linkage | .",)),
    Station("system_calls", (f"{BEGIN} system_calls | enter .", f"{BEGIN} system_calls | .")),
    Station(
        "condition",
        tuple(
            f"{way} | take_turns {leaf}" for way in (f"{BEGIN} condition", ". other_thread") for leaf in ("work", ".")
        ),
    ),
    Station("spin_realigned"),
    Station("spin_noreturn"),
    Station("spin_qsort"),
    Station("spin_atexit"),
    Station("spin_thread"),
    Station("spin_thread_exit"),
    Station("spin_signals"),
    Station("spin_timer"),
    Station("spin_fault"),
)
LOADER = (
    Station("loading", (f"{BEGIN} loading | .",)),
    Station("lazily", (f"{BEGIN} linkage | .",), (), ("linkage",)),
)
BUILDS = {
    "O2-pie-lazy": ("-O2", ("-pie", "-Wl,-z,lazy"), (*STATIONS, *LOADER)),
    "O3-fixed-now": ("-O3", ("-no-pie", "-Wl,-z,now", "-fcf-protection=full"), STATIONS),
    "O2-static": ("-O2", ("-static", "-w"), STATIONS),
}


@pytest.fixture(scope="module")
def all_told(c_program: CBuild) -> dict[str, dict[str, Told]]:
    """All builds, recorded together."""
    library = c_program("relay", "-O2", flags=("-shared", "-fPIC", "-nostdlib"), frame_pointers=False)
    programs = []
    for optimize, flags, stations in BUILDS.values():
        path = c_program("stations", optimize, flags=flags, frame_pointers=False)
        ready = tuple(replace(one, environment=(*one.environment, ("LIBRARY", str(library)))) for one in stations)
        programs.append(Program(path, ready, foreign_inside="-static" in flags))
    return dict(zip(BUILDS, visit(programs), strict=True))


@pytest.fixture(params=BUILDS)
def told(request: pytest.FixtureRequest, all_told: dict[str, dict[str, Told]]) -> dict[str, Told]:
    return all_told[request.param]


def test_chains_equal_the_truth(told: dict[str, Told]) -> None:
    assert_true(told)


def test_every_return_address_follows_a_call(told: dict[str, Told]) -> None:
    assert_calls(told)


def test_samples_inside_the_kernel_have_all_callers(told: dict[str, Told]) -> None:
    calling = told["system_calls"]
    assert calling.in_kernel >= 50
    assert calling.in_kernel_right >= 0.998 * calling.in_kernel, str(calling)


def test_the_vdso_and_the_dynamic_loader_were_sampled(told: dict[str, Told]) -> None:
    assert told["clocks"].modules["[vdso]"] >= 20
    if "loading" in told:
        modules = told["loading"].modules
        assert sum(modules[module] for module in modules if module.startswith("ld-")) >= 20
