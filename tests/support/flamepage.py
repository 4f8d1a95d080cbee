"""What tests do on the flame graph page and read off it."""

from tests.support.browser import Page

ROW = 20


def canvas_point(page: Page, row: int, share: float) -> tuple[float, float]:
    """The middle of a row (0 at the top) at a share of the graph's width."""
    frame = "document.getElementById('canvas').getBoundingClientRect()"
    left, top, width = (page.evaluate(f"{frame}.{side}") for side in ("left", "top", "width"))
    return left + share * width, top + (row + 0.5) * ROW


def tip(page: Page) -> str:
    return page.evaluate("(() => { const t = document.getElementById('tip'); return t.hidden ? '' : t.innerText; })()")


def fragment(page: Page) -> str:
    return page.evaluate("location.hash")


def choose(page: Page, control: str, value: str) -> None:
    page.evaluate(
        f"(() => {{ const c = document.getElementById('{control}'); c.value = '{value}';"
        " c.dispatchEvent(new Event('change')); })()"
    )


def options(page: Page, control: str) -> list[str]:
    return page.evaluate(f"[...document.getElementById('{control}').options].map((option) => option.text)")


def is_shown(page: Page, selector: str) -> bool:
    return page.evaluate(f"document.querySelector('{selector}').offsetParent !== null")
