"""Native stacks that end early say so; libraries that come late, many mappings and generated code are walked."""

import os
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from agent.recording.recorder import Wanted
from bpf.abi import MAX_FRAMES
from tests.kernel.conftest import CBuild
from tests.kernel.livecode import Code
from tests.kernel.recording import Recording, Walked, cpu_seconds, record, running, wait_for
from tests.kernel.stations import HERTZ, SHARE, STOPS, record_standing

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

HIDDEN = ("hidden_odd", "hidden_zero", "hidden_frame", "hidden_leaf")
PLACES = (*HIDDEN, "deep", "just", "generated", "contexts")
LIBRARIES = 100
LEAST = 60


def names(walked: Walked) -> tuple[str, ...]:
    return tuple(location.frames[-1].function if location.frames else "?" for location in walked.user)


def total(stacks: Sequence[Walked], holds: Callable[[Walked], bool] = lambda _: True) -> int:
    return sum(walked.samples for walked in stacks if holds(walked))


def seen(stacks: Sequence[Walked]) -> Counter[tuple[str, tuple[str, ...]]]:
    found: Counter[tuple[str, tuple[str, ...]]] = Counter()
    for walked in stacks:
        found[STOPS[walked.raw.stop], names(walked)] += walked.samples
    return found


@pytest.fixture(scope="module")
def program(c_program: CBuild) -> Path:
    return c_program("limits", "-O2", flags=("-ldl",), frame_pointers=False)


@pytest.fixture(scope="module")
def places(program: Path) -> dict[str, list[Walked]]:
    """The stacks of each place, all recorded together."""
    with ExitStack() as stack:
        processes = {name: stack.enter_context(running(["nice", program, name])) for name in PLACES}
        recording = record_standing(list(processes.values()), 2.0)
        found = {name: recording.walked(process.pid) for name, process in processes.items()}
    assert min(map(total, found.values())) >= LEAST
    return found


@pytest.mark.parametrize("place", HIDDEN)
def test_code_without_unwind_information_is_told_by_a_marker(places: dict[str, list[Walked]], place: str) -> None:
    stacks = places[place]
    right = ("hidden_spin",) if place == "hidden_leaf" else ("spin", "above", "hides")
    silent = total(stacks, lambda walked: walked.raw.stop == 0 and names(walked)[-1] != "_start")
    assert not silent, seen(stacks)
    # What is shown of it is true, as far as it goes.
    assert total(stacks, lambda walked: names(walked)[: len(right)] == right) >= SHARE * total(stacks), seen(stacks)
    wrong = total(stacks, lambda walked: not is_true(names(walked), (*right, place, "main")))
    assert wrong <= (1 - SHARE) * total(stacks), seen(stacks)


def is_true(shown: tuple[str, ...], chain: tuple[str, ...]) -> bool:
    return shown[: len(chain)] == chain[: len(shown)]


def test_in_the_resolver_of_the_dynamic_loader_stacks_end_in_a_marker(c_program: CBuild) -> None:
    """It finds its frame by rbx, of which the walker knows nothing: told, and usually once for each function."""
    program = c_program("stations", "-O2", flags=("-pie", "-Wl,-z,lazy"), frame_pointers=False)
    environment = {**os.environ, "LD_BIND_NOT": "1"}
    with running(["nice", program, "linkage"], env=environment, stdout=subprocess.DEVNULL) as process:
        stacks = record_standing([process], 2.0).walked(process.pid)
    assert total(stacks, lambda walked: STOPS[walked.raw.stop] == "unsupported") >= 20
    assert not total(stacks, lambda walked: walked.raw.stop == 0 and names(walked)[-1] != "_start"), seen(stacks)


def test_more_than_127_frames_say_depth(places: dict[str, list[Walked]]) -> None:
    stacks = places["deep"]
    expected = ("spin", *("deeper",) * (MAX_FRAMES - 1))
    assert total(stacks, lambda one: (STOPS[one.raw.stop], names(one)) == ("depth", expected)) == total(stacks)


def test_a_stack_that_just_fits_is_complete(places: dict[str, list[Walked]]) -> None:
    stacks = places["just"]
    expected = ("spin", *("deeper",) * 118, "just", "main")

    def whole(walked: Walked) -> bool:
        return walked.raw.stop == 0 and names(walked)[:121] == expected and names(walked)[-1] == "_start"

    assert total(stacks, whole) >= SHARE * total(stacks), seen(stacks)


def test_generated_code_with_frame_pointers_keeps_its_callers(places: dict[str, list[Walked]]) -> None:
    stacks = places["generated"]

    def whole(walked: Walked) -> bool:
        shown = names(walked)
        return (
            walked.raw.stop == 0 and shown[:5] == ("spin", "above", "?", "generated", "main") and shown[-1] == "_start"
        )

    assert total(stacks, whole) >= SHARE * total(stacks), seen(stacks)


def test_a_stack_of_makecontext_is_never_continued_into_another(places: dict[str, list[Walked]]) -> None:
    stacks = places["contexts"]
    assert total(stacks, lambda one: names(one)[:2] == ("spin", "coroutine")) >= SHARE * total(stacks), seen(stacks)
    # Then there is only where makecontext lets the function return to.
    assert total(stacks, lambda walked: len(walked.user) <= 3) >= SHARE * total(stacks), seen(stacks)


# ---- libraries ----


@pytest.fixture(scope="module")
def libraries(c_program: CBuild, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with many copies of a library."""
    library = c_program("relay", "-O2", flags=("-shared", "-fPIC"), frame_pointers=False)
    folder = tmp_path_factory.mktemp("libraries")
    for number in range(LIBRARIES):
        shutil.copy(library, folder / f"relay{number}.so")
    return folder


def is_whole(walked: Walked, code: Code, station: str, count: int) -> bool:
    """Whether a stack goes through all libraries, the last on top, and from the first down to _start."""
    files = [Path(one.path).name if one else "" for one in map(code.mapping, walked.addresses)]
    through = [file for file in files if file.startswith("relay")]
    shown = names(walked)
    return (
        walked.raw.stop == 0
        and through == [f"relay{number}.so" for number in reversed(range(count))]
        and set(shown[: shown.index("relay")]) <= {"work", "end_of_relay"}
        and shown[-1] == "_start"
        and {"main", "run_relay", station} <= set(shown)
    )


def judged(recording: Recording, process: subprocess.Popen, station: str, count: int) -> tuple[int, int, object]:
    code = Code(process.pid)
    stacks = recording.walked(process.pid)
    right = total(stacks, lambda walked: is_whole(walked, code, station, count))
    code.close()
    return right, total(stacks), [key for key, _ in seen(stacks).most_common(3)]


def test_calls_through_a_hundred_libraries_are_complete(program: Path, libraries: Path) -> None:
    with running([program, "relay", libraries, LIBRARIES]) as process:
        wait_for(lambda: cpu_seconds(process.pid) > 0.1, "it runs")
        mapped = sum(" r-xp " in line for line in Path(f"/proc/{process.pid}/maps").read_text().splitlines())
        assert mapped > LIBRARIES
        recording = record(Wanted(hertz=HERTZ, pids=(process.pid,)), 2.0)
        right, samples, shown = judged(recording, process, "relay", LIBRARIES)
    assert samples >= LEAST
    assert right >= SHARE * samples, (right, samples, shown)


def test_libraries_loaded_while_recording_are_walked_after_a_moment(program: Path, libraries: Path) -> None:
    loaded: list[int] = []

    def load() -> None:
        loaded.append(time.monotonic_ns())
        os.write(process.stdin.fileno(), b"\n")

    with running([program, "late", libraries, 20], stdin=subprocess.PIPE) as process:
        wanted = Wanted(hertz=HERTZ, pids=(process.pid,), window_seconds=0.5)
        recording = record(wanted, 4.0, [(0.3, load)])
        # What came in the first second may have been without tables.
        lately = [window for window in recording.windows if window.start_ns > loaded[0] + 1_000_000_000]
        right, samples, shown = judged(replace(recording, windows=lately), process, "late", 20)
        first = recording.walked(process.pid)
    assert samples >= LEAST
    assert right >= SHARE * samples, (right, samples, shown)
    assert total(first, lambda one: one.raw.stop != 0) <= 0.5 * total(first), seen(first)
