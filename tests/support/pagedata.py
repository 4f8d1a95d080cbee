"""The flame graph page taken apart: its elements, and the profile it embeds."""

import json
from html.parser import HTMLParser
from typing import Any

from exporters import html


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
    assert {len(own["node"]), len(own["group"]), *map(len, own["values"])} == {len(own["node"])}
    groups, threads = document["groups"], document["threads"]
    assert all(0 <= group < len(groups["process"]) for group in own["group"])
    assert all(0 <= process < len(document["processes"]) for process in groups["process"] + threads["process"])
    assert all(-1 <= thread < len(threads["text"]) for thread in groups["thread"])
    assert all(0 <= state < len(document["states"]) for state in groups["state"])
    assert len(threads["text"]) == len(threads["process"])
    assert {len(column) for column in groups.values()} == {len(groups["process"])}
