"""The flame graph page as a file: what it embeds, and that no name in it can become markup or code."""

import base64
import hashlib
import json
import re
from typing import Any

from hypothesis import given, settings

from exporters import html, pprof
from profiles.model import Frame, Kind, Labels, Location, Metadata, ProfileBuilder
from tests.support import pprof as reader
from tests.support.pagedata import Parsed, check_page_data
from tests.support.profiles import CPU_TYPES, SHOP, add, everything, hostile_profiles


def totals(document: dict[str, Any]) -> list[int]:
    return [sum(values) for values in document["own"]["values"]]


def test_the_page_embeds_what_the_profile_says(golden) -> None:
    document = Parsed(html.encode(everything())).profile()
    check_page_data(document)
    made = json.dumps(document, indent=1) + "\n"
    assert made == golden("everything.html.txt", made)


def test_the_totals_are_those_of_the_pprof_file() -> None:
    message = reader.read(pprof.encode(everything()))
    expected = [sum(sample.value[column] for sample in message.sample) for column in range(2)]
    assert totals(Parsed(html.encode(everything())).profile()) == expected


def test_the_policy_names_exactly_the_scripts_and_styles_of_the_page() -> None:
    page = Parsed(html.encode(everything()))
    metas = [attributes for tag, attributes in page.elements if tag == "meta"]
    policy = next(meta["content"] for meta in metas if meta.get("http-equiv") == "Content-Security-Policy")

    def digest(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    script, style = (digest("".join(page.texts[kind])) for kind in ("script module", "style"))
    assert policy == (
        f"default-src 'none'; script-src {script}; style-src {style}; base-uri 'none'; form-action 'none'"
    )


def test_the_page_refers_to_nothing_outside_itself() -> None:
    page = html.encode(everything()).decode()
    assert not re.search(r"(?i)https?:|//cdn|@import|url\(|\bsrc=|\bhref=|fetch\(|XMLHttpRequest|WebSocket", page)


def elements(page: bytes) -> list[tuple[str, dict[str, str | None]]]:
    return [element for element in Parsed(page).elements if element[0] != "meta"]


PLAIN_ELEMENTS = elements(html.encode(everything()))


@settings(deadline=None)
@given(hostile_profiles())
def test_hostile_names_add_no_element_and_lose_no_value(profile) -> None:
    page = html.encode(profile)
    assert elements(page) == PLAIN_ELEMENTS
    document = Parsed(page).profile()
    check_page_data(document)
    assert totals(document) == [profile.total(0), profile.total(1)]


def test_names_that_look_like_placeholders_stay_names() -> None:
    builder = ProfileBuilder(CPU_TYPES)
    add(builder, Labels(1, "{{script}}"), (Location(Kind.GO, SHOP, 1, (Frame("{{style}}"),)),), 1)
    document = Parsed(html.encode(builder.build(Metadata(target="{{profile}}")))).profile()
    assert document["target"] == "{{profile}}"
    assert {"{{script}}", "{{style}}"} <= set(document["strings"])


def test_threads_of_a_process_are_one_entry_of_the_process_list() -> None:
    builder = ProfileBuilder(CPU_TYPES)
    for tid in (8, 9):
        add(builder, Labels(7, "shop", tid, "worker"), (Location(Kind.GO, SHOP, 1, (Frame("main"),)),), 1)
    document = html.page_data(builder.build(Metadata()))
    assert document["processes"] == ["7 shop"]
    assert document["threads"] == {"text": ["8 worker", "9 worker"], "process": [0, 0]}
    assert {"worker (8)", "worker (9)"} <= set(document["strings"])
