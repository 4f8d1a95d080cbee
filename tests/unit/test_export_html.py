"""The flame graph page as a file: what it embeds, and that no name in it can become markup or code."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from typing import Any

from hypothesis import given, settings

from exporters import html, pprof
from profiles.model import Frame, Kind, Labels, Location, Metadata, ProfileBuilder
from tests.support import pprof as reader
from tests.support.profiles import CPU_TYPES, SHOP, add, everything, hostile_profiles


class Parsed(HTMLParser):
    """A page as a browser splits it: (tag, attributes) of every element, and the text of scripts and styles."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self._inside = ""
        self.feed(page.decode())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside = f"{tag} {dict(attrs).get('type') or ''}".strip()

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.texts.setdefault(self._inside, []).append(data)

    def handle_endtag(self, _tag: str) -> None:
        self._inside = ""

    def profile(self) -> dict[str, Any]:
        return json.loads(self.texts["script application/json"][0])


def totals(document: dict[str, Any]) -> list[int]:
    return [sum(values) for values in document["own"]["values"]]


def check_page_data(document: dict[str, Any]) -> None:
    """The embedded document's indexes all point to something, and every parent comes before its children."""
    frames, nodes, own = document["frames"], document["nodes"], document["own"]
    count = len(frames["name"])
    assert {len(column) for column in frames.values()} == {count}
    assert all(0 <= index < len(document["strings"]) for index in (*frames["name"], *frames["file"]))
    assert all(0 <= kind < len(html.KINDS) for kind in frames["kind"])
    assert all(0 <= frame < count for frame in nodes["frame"])
    assert len(nodes["frame"]) == len(nodes["up"])
    assert all(1 <= up <= index for index, up in enumerate(nodes["up"]) if index)
    assert all(0 <= node < len(nodes["up"]) for node in own["node"])
    assert all(0 <= process < len(document["processes"]) for process in own["process"])
    assert {len(own["node"]), len(own["process"]), *map(len, own["values"])} == {len(own["node"])}


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
    assert {"worker (8)", "worker (9)"} <= set(document["strings"])
