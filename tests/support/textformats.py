"""Readers of folded stacks and speedscope files that refuse what the known viewers would misread."""

import json
from typing import Any


def check_folded(data: bytes) -> int:
    """Every line is `frame;frame;.. count`, no frame empty, no line twice; returns the sum of counts."""
    text = data.decode()
    assert text == "" or text.endswith("\n")
    # As readers do: lines end at \n alone; splitlines() would also end them at characters that must not occur.
    lines = text.split("\n")[:-1]
    assert lines == text.splitlines()
    stacks = [line.rsplit(" ", 1) for line in lines]
    assert all(frame for stack, _ in stacks for frame in stack.split(";"))
    assert len({stack for stack, _ in stacks}) == len(stacks)
    return sum(int(count) for _, count in stacks)


def check_speedscope(data: bytes) -> dict[str, Any]:
    """The rules of speedscope's file-format-schema.json, and what its importer relies on."""
    document = json.loads(data)
    assert document["$schema"] == "https://www.speedscope.app/file-format-schema.json"
    frames = document["shared"]["frames"]
    for frame in frames:
        assert set(frame) <= {"name", "file", "line", "col"}
        assert isinstance(frame["name"], str)
        assert isinstance(frame.get("file", ""), str)
        assert isinstance(frame.get("line", 0), int)
    for profile in document["profiles"]:
        assert set(profile) == {"type", "name", "unit", "startValue", "endValue", "samples", "weights"}
        assert profile["type"] == "sampled"
        assert profile["unit"] in {"none", "nanoseconds", "microseconds", "milliseconds", "seconds", "bytes"}
        assert len(profile["samples"]) == len(profile["weights"])
        assert all(0 <= index < len(frames) for sample in profile["samples"] for index in sample)
        assert profile["endValue"] - profile["startValue"] == sum(profile["weights"])
    return document
