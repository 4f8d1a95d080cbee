"""The flame graph page in Chromium: what people see, click and type."""

from pathlib import Path

import pytest

from exporters import html
from profiles.model import Frame, Kind, Labels, Location, Metadata, ProfileBuilder
from tests.support.browser import Page
from tests.support.flamepage import ROW, canvas_point, choose, fragment, is_shown, options, tip
from tests.support.profiles import CPU_TYPES, SHOP, add, everything

pytestmark = pytest.mark.browser

ASSETS = Path(html.__file__).parent / "assets"


def test_the_header_tells_target_samples_and_losses(show) -> None:
    page = show(everything())
    assert page.text("#target") == "pid 4121, 977"
    assert page.text("#facts") == "100 samples · 30.0 s · 2026-08-01 16:00:00 UTC · 49 Hz · 8 CPUs"
    assert page.text("#loss") == "31 samples lost (23.7 %), 3 noted (3.0 %)"
    page.evaluate("document.getElementById('loss').click()")
    assert "The kernel's table of counts was full." in page.evaluate("document.getElementById('about').innerText")


def test_a_profile_without_losses_or_samples_says_so(show) -> None:
    page = show(ProfileBuilder(CPU_TYPES).build(Metadata()))
    assert page.text("#loss") == "no samples lost"
    assert page.text("#facts") == "0 samples"


def test_pointing_at_a_call_tells_self_and_total(show) -> None:
    page = show(everything())
    page.move(*canvas_point(page, 0, 0.5))
    assert "all" in tip(page)
    assert "100 samples (100.0 %)" in tip(page)
    page.move(*canvas_point(page, 4, 0.1))
    assert tip(page).splitlines()[:2] == ["shop.(*Cart).Price[...]", "shop/price.go:41 · Go"]
    assert "60 samples (60.0 %)" in tip(page)
    assert "0 (0.0 %)" in tip(page)
    page.move(*canvas_point(page, 5, 0.1))
    assert tip(page).splitlines()[:2] == ["shop.round", "shop/price.go:12 · Go · inlined"]


def test_a_click_zooms_and_escape_shows_everything(show) -> None:
    page = show(everything())
    page.click(*canvas_point(page, 4, 0.1))
    assert "zoom=" in fragment(page)
    assert page.text("#path button:last-child") == "shop.(*Cart).Price[...]"
    page.move(*canvas_point(page, 5, 0.95))
    assert "shop.round" in tip(page)
    page.press("Escape")
    assert fragment(page) == ""
    assert page.text("#path") == "all"


def test_a_click_on_the_path_zooms_out_to_there(show) -> None:
    page = show(everything())
    page.click(*canvas_point(page, 4, 0.1))
    page.evaluate("document.querySelectorAll('#path button')[1].click()")
    assert page.text("#path button:last-child") == "shop"


def test_the_graph_can_be_used_by_keyboard_alone(show) -> None:
    page = show(everything())
    page.evaluate("document.getElementById('canvas').focus()")
    spoken = []
    for key in ("Home", "ArrowDown", "ArrowDown", "ArrowDown", "ArrowDown", "ArrowRight", "ArrowLeft", "ArrowUp"):
        page.press(key)
        spoken.append(page.text("#spoken").split(",")[0])
    price, syscall = "shop.(*Cart).Price[...]", "ksys_write"
    serve = "net/http.(*conn).serve"
    assert spoken == ["all", "shop", "runtime.goexit", serve, price, syscall, price, serve]
    page.press("Enter")
    assert page.text("#path button:last-child") == serve
    page.press("Backspace")
    assert page.text("#path button:last-child") == "runtime.goexit"
    page.press("Escape")
    assert page.text("#path") == "all"


def test_search_tells_its_share_counting_nested_matches_once(show) -> None:
    page = show(everything())
    page.press("/")
    page.type("shop.")
    assert page.text("#matched") == "63.0 %, 1.29 s"
    page.press("Escape")
    assert page.text("#matched") == ""
    assert page.evaluate("document.activeElement.id") == "query"
    page.press("Escape")
    assert page.evaluate("document.activeElement.id") == "canvas"


def test_search_can_be_a_regular_expression_and_a_bad_one_is_named(show) -> None:
    page = show(everything(), "#q=^(ksys|operator)&regex=1")
    assert page.text("#matched") == "30.0 %, 612.24 ms"
    page.evaluate("document.getElementById('query').select()")
    page.type("shop(")
    assert page.text("#matched") == "not a valid expression"
    assert page.evaluate("document.getElementById('query').getAttribute('aria-invalid')") == "true"


def test_search_below_a_zoom_is_a_share_of_what_is_shown(show) -> None:
    page = show(everything(), "#q=round")
    page.click(*canvas_point(page, 4, 0.1))
    assert page.text("#matched").startswith("100.0 % of this view")


def test_one_process_can_be_shown_alone(show) -> None:
    page = show(everything())
    assert options(page, "process") == ["all (2)", "4121 shop in 8d1f0c2b7a9e: 93.0 %", "977 node: 7.0 %"]
    choose(page, "process", "1")
    page.move(*canvas_point(page, 1, 0.5))
    assert tip(page).splitlines()[0] == "node"
    assert "7 samples (100.0 %)" in tip(page)


def test_a_profile_of_cpu_time_alone_has_no_switch_and_no_states(show) -> None:
    page = show(everything())
    assert not is_shown(page, "#views")
    assert not is_shown(page, "#states")
    assert options(page, "column") == ["samples", "cpu time"]


def test_the_keyboard_goes_on_where_the_focus_is_not_shown_any_more(show) -> None:
    page = show(everything())
    page.evaluate("document.getElementById('canvas').focus()")
    page.press("Home")
    for _ in range(5):
        page.press("ArrowDown")
    choose(page, "process", "1")
    page.press("ArrowDown")
    assert page.text("#spoken").startswith("all,")


def test_another_value_can_be_shown(show) -> None:
    page = show(everything(), "#q=ksys")
    assert page.text("#matched") == "21.0 %, 428.57 ms"
    choose(page, "column", "0")
    assert page.text("#matched") == "21.0 %, 21 samples"


def test_the_root_can_be_at_the_bottom(show) -> None:
    page = show(everything())
    page.evaluate("document.getElementById('flame').click()")
    rows = page.evaluate("document.getElementById('graph').clientHeight") / ROW
    page.move(*canvas_point(page, rows - 1, 0.5))
    assert tip(page).splitlines()[0] == "all"
    page.evaluate("document.getElementById('canvas').focus()")
    page.press("Home")
    page.press("ArrowUp")
    assert page.text("#spoken").startswith("shop,")


def test_a_view_is_kept_in_the_address(show) -> None:
    page = show(everything(), "#process=0&column=0&q=ksys&flame=1&theme=dark")
    assert page.text("#matched") == "22.6 %, 21 samples"
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert page.evaluate("document.getElementById('flame').getAttribute('aria-pressed')") == "true"
    show(everything(), "#process=99&column=-1&zoom=x&theme=pink")
    assert page.text("#path") == "all"


def test_the_theme_follows_the_system_until_it_is_chosen(show) -> None:
    page = show(everything(), dark=True)
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.evaluate("document.getElementById('theme').click()")
    assert page.evaluate("document.documentElement.dataset.theme") == "light"


def test_every_colour_leaves_its_text_legible(show) -> None:
    """The contrast of the text on every shade of every kind is at least 4.5 : 1 (WCAG 2, AA)."""
    page = show(everything())
    draw = (ASSETS / "draw.js").read_text()
    worst = page.evaluate(
        """(() => {"""
        + draw
        + """
        const context = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
        const luminance = (colour) => {
          context.fillStyle = colour;
          context.fillRect(0, 0, 1, 1);
          const linear = [...context.getImageData(0, 0, 1, 1).data].slice(0, 3).map((byte) =>
            byte / 255 <= 0.04045 ? byte / 255 / 12.92 : ((byte / 255 + 0.055) / 1.055) ** 2.4);
          return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
        };
        const contrast = (one, other) => {
          const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b);
          return (light + 0.05) / (dark + 0.05);
        };
        const found = [];
        for (const theme of Object.keys(THEMES)) {
          found.push([contrast(THEMES[theme].dim, THEMES[theme].dimText), theme, "dim"]);
          for (const kind of Object.keys(PALETTE))
            for (let shade = 0; shade < SHADES; shade++)
              found.push([contrast(shadeOf(kind, theme, shade), THEMES[theme].text), theme, kind]);
        }
        return found.sort((a, b) => a[0] - b[0])[0];
      })()"""
    )
    assert worst[0] >= 4.5, worst


def test_hostile_names_are_shown_as_text(show) -> None:
    name = "</script><script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">\u202e\n"
    builder = ProfileBuilder(CPU_TYPES)
    add(builder, Labels(1, name, container=name), (Location(Kind.GO, SHOP, 1, (Frame(name, name, 1),)),), 1)
    page = show(builder.build(Metadata(target=name)))
    page.move(*canvas_point(page, 2, 0.5))
    shown = name.replace("\u202e", "\\u202e").replace("\n", "\\x0a")
    assert tip(page).splitlines()[0] == shown
    assert page.text("#target") == shown
    assert page.evaluate("document.title") == f"{shown} - goroscope"
    assert page.evaluate("document.images.length") == 0


def test_the_policy_stops_a_script_that_is_not_ours(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    foreign = "<script>document.documentElement.dataset.taken = 1</script><img src='picture.png'>"
    path.write_text(html.encode(everything()).decode().replace("<main", f"{foreign}<main"))
    page.events.clear()
    page.open(path)
    assert page.evaluate("document.documentElement.dataset.taken") is None
    assert len([problem for problem in page.problems() if "Content Security Policy" in problem]) == 2


def test_fifty_thousand_calls_can_be_shown_searched_and_zoomed(show) -> None:
    builder = ProfileBuilder(CPU_TYPES)
    functions = [
        builder.location(Location(Kind.GO, SHOP, 0x401000 + i, (Frame(f"example.com/pkg.(*T).F{i}", "f.go", i),)))
        for i in range(3000)
    ]
    shop = builder.labels(Labels(7, "shop"))
    for path in range(2500):
        calls = tuple(functions[(path * 7 + depth * (path % 13 + 1)) % 3000] for depth in range(22))
        builder.add(builder.stack(calls), shop, 1 + path % 9, 1000)
    profile = builder.build(Metadata())
    page = show(profile, "#q=F7")
    assert int(page.evaluate("document.documentElement.dataset.ready")) > 50_000
    matched = sum(
        sample.values[1]
        for sample in profile.samples
        if any("F7" in frame.function for _, frame in profile.frames_of(sample.stack))
    )
    assert page.text("#matched").startswith(f"{100 * matched / profile.total(1):.1f} %")
    page.click(*canvas_point(page, 2, 0.001))
    assert "zoom=" in fragment(page)


def test_deep_stacks_scroll_to_what_has_the_focus(show) -> None:
    builder = ProfileBuilder(CPU_TYPES)
    stack = tuple(Location(Kind.GO, SHOP, 0x401000 + i, (Frame(f"f{i}"),)) for i in range(300))
    add(builder, Labels(7, "shop"), stack, 1)
    page = show(builder.build(Metadata()))
    page.evaluate("document.getElementById('canvas').focus()")
    page.press("Home")
    for _ in range(60):
        page.press("ArrowDown")
    assert page.evaluate("document.getElementById('graph').scrollTop") > 0
    assert page.text("#spoken").startswith("f241,")
