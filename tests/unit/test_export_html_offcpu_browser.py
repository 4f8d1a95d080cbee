"""The flame graph page of profiles with time off the CPU: the switch, values, states, threads, wall view."""

import json

import pytest

from exporters import pprof
from profiles.model import OFF_CPU_TYPES, ON_CPU_TYPES, Frame, Kind, Labels, Location, Metadata, ProfileBuilder, State
from tests.support import pprof as reader
from tests.support.browser import Page
from tests.support.flamepage import canvas_point, choose, fragment, is_shown, options, tip
from tests.support.offcpu import both, waits_only
from tests.support.profiles import SHOP

pytestmark = pytest.mark.browser


def press_view(page: Page, view: str) -> None:
    page.evaluate(f"document.querySelector('#views button[value={view}]').click()")


def tick(page: Page, state: str) -> None:
    page.evaluate(
        "[...document.querySelectorAll('#states label')]"
        f".find((label) => label.textContent.trim().startsWith('{state}')).firstChild.click()"
    )


def states(page: Page) -> list[str]:
    """The boxes with their totals, a leading + where ticked."""
    return page.evaluate(
        "[...document.querySelectorAll('#states label')]"
        ".map((label) => (label.firstChild.checked ? '+' : '-') + label.textContent.trim())"
    )


def root(page: Page) -> list[str]:
    """The tooltip's rows for everything: name and total."""
    page.move(*canvas_point(page, 0, 0.5))
    return [line.split(")")[0].strip().replace("\t", " ") + ")" for line in tip(page).splitlines()[3:]]


def legend(page: Page) -> str:
    return page.evaluate("document.getElementById('legend').innerText").replace("\n", " ")


def colours(page: Page, row: int, *shares: float) -> list[str]:
    """Which of red and blue is more in the pixels of a row, above its text, at shares of its width."""
    points = [canvas_point(page, row, share) for share in shares]
    pixels = page.evaluate(
        f"""(() => {{
          const canvas = document.getElementById("canvas");
          const frame = canvas.getBoundingClientRect();
          const copy = document.createElement("canvas");
          [copy.width, copy.height] = [canvas.width, canvas.height];
          const context = copy.getContext("2d", {{ willReadFrequently: true }});
          context.drawImage(canvas, 0, 0);
          const pixel = ([x, y]) => context.getImageData(x - frame.left, y - 7 - frame.top, 1, 1);
          return {json.dumps(points)}.map((point) => [...pixel(point).data]);
        }})()"""
    )
    return ["warm" if red > blue else "cold" for red, _, blue, _ in pixels]


def test_a_profile_of_both_kinds_opens_with_time_on_the_cpu(show) -> None:
    page = show(both())
    assert is_shown(page, "#views")
    assert not is_shown(page, "#states")
    assert options(page, "column") == ["samples", "cpu time"]
    assert root(page) == ["samples 52 samples (100.0 %)", "cpu time 1.06 s (100.0 %)"]
    assert page.text("#facts").startswith("52 samples · 92 waits · 6.7 s off CPU (blocked 6.6 s, runnable 86.0 ms)")


def test_the_switch_shows_time_off_the_cpu_without_go_idle_time(show) -> None:
    page = show(both())
    press_view(page, "off")
    assert page.evaluate("document.querySelector('#views button[value=off]').getAttribute('aria-pressed')") == "true"
    assert options(page, "column") == ["off-CPU time", "blocked", "runnable", "waits"]
    assert root(page) == [
        "off-CPU time 6.69 s (100.0 %)",
        "blocked 6.6 s (100.0 %)",
        "runnable 86 ms (100.0 %)",
        "waits 92 waits (100.0 %)",
    ]
    assert states(page) == [
        "+sleeping 5.92 s",
        "+uninterruptible 705 ms",
        "+preempted 60 ms",
        "+stopped 499 ns",
        "-go idle 7 s",
    ]
    assert fragment(page) == "#view=off"


def test_go_idle_time_can_be_included_and_states_left_out(show) -> None:
    page = show(both(), "#view=off")
    tick(page, "go idle")
    assert root(page)[0] == "off-CPU time 13.69 s (100.0 %)"
    tick(page, "sleeping")
    tick(page, "uninterruptible")
    assert root(page)[0] == "off-CPU time 7.06 s (100.0 %)"
    assert "states=preempted%2Cgo_idle%2Cstopped" in fragment(page)
    show(both(), fragment(page))
    assert root(page)[0] == "off-CPU time 7.06 s (100.0 %)"
    for state in ("preempted", "stopped", "go idle"):
        tick(page, state)
    assert root(page)[0].startswith("off-CPU time 0 (")
    assert "states=none" in fragment(page)


def test_blocked_and_runnable_can_be_shown_alone(show) -> None:
    page = show(both(), "#view=off&q=Price")
    assert page.text("#matched") == "0.9 %, 60 ms"
    choose(page, "column", "4")
    assert page.text("#matched") == "69.8 %, 60 ms"
    assert states(page)[0] == "+sleeping 21 ms"
    choose(page, "column", "3")
    assert page.text("#matched") == "0.0 %, 0"


def test_the_wall_view_adds_both_and_tells_them_apart_by_colour(show) -> None:
    page = show(both(), "#view=wall")
    assert not is_shown(page, "#column")
    assert root(page) == ["wall time 7.75 s (100.0 %)", "cpu time 1.06 s (13.7 %)", "off-CPU time 6.69 s (86.3 %)"]
    assert legend(page) == "on CPU off CPU search match"
    assert colours(page, 0, 0.5, 0.85, 0.875, 0.99) == ["cold", "cold", "warm", "warm"]
    assert colours(page, 5, 0.2, 0.43) == ["cold", "warm"]  # (*Stock).reserve, (*Cart).Price
    press_view(page, "on")
    assert legend(page).startswith("Go kernel")


@pytest.mark.parametrize("dark", [False, True])
def test_the_wall_of_one_thread_is_where_its_time_went(show, dark: bool) -> None:
    page = show(both(), "#view=wall", dark=dark)
    assert options(page, "process") == ["all (2)", "4121 shop: 73.6 %", "977 node: 26.4 %"]
    assert options(page, "thread")[1] == "4121 shop of 4121 shop: 46.9 %"
    choose(page, "process", "0")
    assert options(page, "thread") == ["all (2)", "4121 shop: 63.7 %", "4125 shop-worker: 36.3 %"]
    choose(page, "thread", "1")
    assert root(page) == ["wall time 2.07 s (100.0 %)", "cpu time 408.16 ms (19.7 %)", "off-CPU time 1.67 s (80.3 %)"]
    assert colours(page, 5, 0.3, 0.5, 0.6) == ["cold", "warm", "cold"]  # reads: waiting, working; then a lock
    tick(page, "go idle")
    assert root(page)[0] == "wall time 9.08 s (100.0 %)"
    assert fragment(page).startswith("#process=0&thread=1&view=wall")
    choose(page, "process", "1")
    assert "thread" not in fragment(page)


def test_search_and_zoom_work_in_the_wall_view(show) -> None:
    page = show(both(), "#view=wall&q=schedule")
    assert page.text("#matched") == "86.3 %, 6.69 s"
    page.click(*canvas_point(page, 2, 0.2))
    assert page.text("#path button:last-child") == "shop (4121)"
    assert page.text("#matched") == "83.1 % of this view, 3.02 s"
    press_view(page, "on")
    assert page.text("#path button:last-child") == "shop (4121)"
    assert page.text("#matched") == "0.0 % of this view, 0"


def test_what_is_only_in_the_other_view_is_not_zoomed_into(show) -> None:
    page = show(both(), "#view=off")
    page.click(*canvas_point(page, 5, 0.1))
    assert page.text("#path button:last-child") == "shop.(*Stock).reserve"
    press_view(page, "on")
    assert page.text("#path") == "all"


def test_a_profile_of_waits_alone_has_states_but_no_switch(show) -> None:
    page = show(waits_only())
    assert not is_shown(page, "#views")
    assert not is_shown(page, "#thread")
    assert is_shown(page, "#states")
    assert root(page)[0] == "off-CPU time 6.69 s (100.0 %)"
    assert page.text("#loss") == "14 samples lost (10.3 %)"
    page.evaluate("document.getElementById('more').click()")
    assert "waits shorter than 1 ms" in page.evaluate("document.getElementById('about').innerText")


def test_what_was_woken_by_whom_reads_as_a_stack(show) -> None:
    page = show(waits_only(), "#q=woken")
    assert page.text("#matched") == "10.5 %, 705 ms"
    page.move(*canvas_point(page, 6, 0.65))
    assert tip(page).splitlines()[:2] == ["[woken by]", "marker: not code"]


def test_addresses_with_nonsense_open_the_default_view(show) -> None:
    page = show(both(), "#view=constructor&thread=99&states=x&column=5&process=0")
    assert root(page)[0] == "samples 50 samples (100.0 %)"
    page = show(both(), "#view=off&column=0&process=1&thread=0")
    assert root(page)[0] == "off-CPU time 2 s (100.0 %)"
    page = show(waits_only(), "#view=wall")
    assert root(page)[0] == "off-CPU time 6.69 s (100.0 %)"


def test_the_numbers_are_those_of_the_pprof_file(show) -> None:
    message = reader.read(pprof.encode(both()))
    page = show(both(), "#view=wall")
    key = list(message.string_table).index("state")
    for idle in (False, True):
        rows = [
            row
            for row in message.sample
            if idle or all(message.string_table[one.str] != State.GO_IDLE for one in row.label if one.key == key)
        ]
        expected = [sum(row.value[column] for row in rows) for column in range(6)]
        for view, columns in (("on", [0, 1]), ("off", [5, 3, 4, 2]), ("wall", [1, 5])):
            press_view(page, view)
            found = page.evaluate(_TOTALS.replace("VIEW", json.dumps(view)).replace("IDLE", json.dumps(idle)))
            assert found == [expected[column] for column in columns]


# By the page's own code on its own data: text shows rounded numbers only.
_TOTALS = """(() => {
  const source = document.querySelector("script[type=module]").textContent.replace(/start\\(\\);\\s*$/, "");
  return new Function(`${source}
    state.states = raw.states.map((name) => IDLE || name !== "go_idle");
    const view = views[VIEW];
    const { told } = valuesOf(tree, view, view.first, wantedGroups(raw.groups, state));
    return told.filter(({ type }) => type !== WALL).map(({ total }) => total[0]);`)();
})()"""


def test_fifty_thousand_calls_of_both_kinds_can_be_shown_and_switched(show) -> None:
    builder = ProfileBuilder(ON_CPU_TYPES + OFF_CPU_TYPES)
    functions = [
        builder.location(Location(Kind.GO, SHOP, 0x401000 + i, (Frame(f"example.com/pkg.(*T).F{i}", "f.go", i),)))
        for i in range(3000)
    ]
    groups = [builder.labels(Labels(7, "shop", state=state)) for state in ("", State.SLEEPING, State.GO_IDLE)]
    for path in range(2500):
        calls = tuple(functions[(path * 7 + depth * (path % 13 + 1)) % 3000] for depth in range(22))
        stack = builder.stack(calls)
        builder.add(stack, groups[0], 1, 1000, 0, 0, 0, 0)
        for group in groups[1:]:
            builder.add(stack, group, 0, 0, 1, 3000 + path, 7, 3007 + path)
    profile = builder.build(Metadata())
    page = show(profile)
    assert int(page.evaluate("document.documentElement.dataset.ready")) > 50_000
    took = page.evaluate(
        "(() => { const start = performance.now(); for (const v of ['wall', 'off', 'on', 'wall'])"
        " document.querySelector(`#views button[value=${v}]`).click(); return performance.now() - start; })()"
    )
    assert took < 4000
    assert root(page)[0].startswith("wall time 13.14 ms")


def test_hostile_states_are_shown_as_text(show) -> None:
    name = "</script><img src=x onerror=\"document.title='taken'\">"
    builder = ProfileBuilder(OFF_CPU_TYPES)
    stack = builder.stack((builder.location(Location(Kind.GO, SHOP, 1, (Frame("main"),))),))
    builder.add(stack, builder.labels(Labels(1, "a", 2, name, state=name)), 1, 5, 0, 5)
    page = show(builder.build(Metadata()))
    assert states(page) == [f"+{name} 5 ns"]
    assert options(page, "thread")[1] == f"2 {name} of 1 a: 100.0 %"
    assert page.evaluate("document.images.length") == 0
