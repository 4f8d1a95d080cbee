"""The flame graph page of goroutines: their states can be chosen, and a recording's stay where they belong."""

import pytest

from profiles.goroutine_profile import goroutine_profile
from tests.support.browser import Page
from tests.support.flamepage import canvas_point, is_shown, tip
from tests.support.goroutines import shop
from tests.support.offcpu import both
from tests.support.profiles import everything

pytestmark = pytest.mark.browser


def tick(page: Page, state: str) -> None:
    page.evaluate(
        "[...document.querySelectorAll('#states label')]"
        f".find((label) => label.textContent.trim().startsWith('{state}')).firstChild.click()"
    )


def tip_of_root(page: Page) -> str:
    page.move(*canvas_point(page, 0, 0.5))
    return tip(page)


def test_goroutines_are_counted_and_chosen_by_their_state(show) -> None:
    page = show(goroutine_profile(shop()))
    assert page.text("#facts") == "55 goroutines · 2026-08-01 16:00:00 UTC"
    assert is_shown(page, "#states")
    assert "55 goroutines" in tip_of_root(page)
    tick(page, "IO wait")
    assert "43 goroutines" in tip_of_root(page)


def test_states_are_not_offered_where_time_on_the_cpu_is_shown(show) -> None:
    assert not is_shown(show(both()), "#states")
    assert not is_shown(show(everything()), "#states")
