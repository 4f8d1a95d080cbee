"""Fixtures of the tests that look at the flame graph page in Chromium."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporters import html
from profiles.model import Profile
from tests.support.browser import Page, find_chromium, open_browser


@pytest.fixture(scope="session")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    chromium = find_chromium()
    if chromium is None:
        reason = "the page is tested in Chromium: apt-get install --no-install-recommends chromium"
        if os.environ.get("CI") == "true":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    with open_browser(chromium, tmp_path_factory.mktemp("chromium")) as opened:
        yield opened


@pytest.fixture
def show(page: Page, tmp_path: Path):
    """show(profile, fragment, dark): the page of a profile, opened; afterwards it must have reported no problem."""
    page.events.clear()
    path = tmp_path / "page.html"

    def opened(profile: Profile, fragment: str = "", *, dark: bool = False) -> Page:
        path.write_bytes(html.encode(profile))
        page.view(1280, 800, dark=dark)
        page.open(path, fragment)
        return page

    yield opened
    assert page.problems() == []
    assert {address.split("#")[0] for address in page.requested()} <= {"about:blank", path.as_uri()}
