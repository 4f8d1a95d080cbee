"""The one list of causes, read from the C header."""

import re
from pathlib import Path

from bpf import causes


def header() -> str:
    return Path(causes.__file__).with_name("causes.h").read_text()


def test_every_entry_of_the_header_is_read() -> None:
    lines = [line for line in header().splitlines() if re.match(r"\s+(LOSS|STOP)\(", line)]
    assert len(causes.losses()) + len(causes.stops()) == len(lines)


def test_ids_are_places_in_the_list_and_names_are_distinct() -> None:
    for found in (causes.losses(), causes.stops()):
        assert [cause.id for cause in found] == list(range(len(found)))
        assert len({cause.name for cause in found}) == len(found)


def test_losses_fit_in_their_map_and_below_the_first_stack_hash() -> None:
    assert len(causes.losses()) <= 16  # of BPF_PERCPU_ARRAY(losses, u64, 16)
    assert "BPF_PERCPU_ARRAY(losses, u64, 16)" in Path(causes.__file__).with_name("maps.h").read_text()


def test_sentences_are_for_people() -> None:
    for cause in (*causes.losses(), *causes.stops()):
        assert cause.sentence
        assert not cause.sentence.endswith(".")
        assert "\n" not in cause.sentence


def test_a_complete_stack_is_stop_zero() -> None:
    assert causes.stops()[0].name == "complete"


def test_every_cause_is_used_by_the_programs() -> None:
    folder = Path(causes.__file__).parent
    programs = "".join(path.read_text() for path in [*folder.glob("*.bpf.c"), folder / "sample.h"])
    unused = [cause.name for cause in causes.losses() if f"LOSS_{cause.name}" not in programs]
    unused += [cause.name for cause in causes.stops() if f"STOP_{cause.name}" not in programs]
    assert unused == []
