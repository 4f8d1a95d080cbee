"""What is said at the end of a recording."""

import pytest

from agent.summary import quality, share, summarize
from profiles.model import (
    OFF_CPU_TYPES,
    Frame,
    Kind,
    Labels,
    Location,
    Loss,
    Metadata,
    Profile,
    ProfileBuilder,
    State,
    ValueType,
)
from tests.support.offcpu import both, waits_only

NAMED = Location(Kind.GO, None, 1, (Frame("main.work"),))
BARE = Location(Kind.NATIVE, None, 2)
CUT = Location(Kind.MARKER, None, 0, (Frame("[the frame pointer does not lead to a caller]"),))


def profile(stacks: dict[tuple[Location, ...], int], *losses: Loss, cpus: int = 2, seconds: float = 10) -> Profile:
    builder = ProfileBuilder((ValueType("samples", "count"),))
    labels = builder.labels(Labels(1, "thing"))
    for stack, samples in stacks.items():
        builder.add(builder.stack(tuple(builder.location(location) for location in stack)), labels, samples)
    return builder.build(Metadata(duration_ns=int(seconds * 1e9), cpus=cpus, losses=losses))


def test_a_perfect_recording_takes_two_lines() -> None:
    assert summarize(profile({(NAMED,): 12345})) == [
        "12,345 samples in 10.0 s on 2 CPUs; none lost.",
        "0.0 % of stacks incomplete, 0.0 % of frames without a name.",
    ]


def test_losses_are_told_by_cause_with_their_share_and_the_remedy_for_the_largest() -> None:
    lines = summarize(
        profile(
            {(NAMED,): 900},
            Loss("counts_busy", "the count map was locked", 10, dropped=True),
            Loss("counts_full", "the count map was full", 90, dropped=True),
            cpus=1,
        )
    )
    assert lines == [
        "900 samples in 10.0 s on 1 CPU; lost 100 (10.0 %).",
        "  90 (9.0 %): the count map was full.",
        "  10 (1.0 %): the count map was locked.",
        "0.0 % of stacks incomplete, 0.0 % of frames without a name.",
        "Lower the rate (-F): there were more distinct stacks than the map holds.",
    ]


def test_samples_that_were_kept_are_not_called_lost() -> None:
    lines = summarize(profile({(NAMED,): 100}, Loss("stack_ring_full", "the ring was full", 5, dropped=False)))
    assert lines[0].endswith("none lost.")
    assert "  5 (5.0 %): the ring was full." in lines


def test_incomplete_stacks_and_bare_frames_are_weighted_by_samples() -> None:
    judged = quality(profile({(NAMED, NAMED): 70, (NAMED, CUT): 20, (BARE, BARE, NAMED): 10}))
    assert (judged.samples, judged.incomplete, judged.frames, judged.unnamed) == (100, 20, 210, 20)


def test_the_remedy_is_for_the_larger_shortcoming() -> None:
    assert "goroscope doctor PID" in summarize(profile({(NAMED, CUT): 50, (BARE, NAMED): 50}))[-1]
    assert "debug symbols" in summarize(profile({(NAMED, CUT): 1, (BARE,): 99}))[-1]


def test_nothing_sampled_divides_by_nothing() -> None:
    assert summarize(profile({}))[0] == "0 samples in 10.0 s on 2 CPUs; none lost."


def test_waits_are_told_in_time_with_what_was_left_out() -> None:
    seen = "92 waits, 6.7 s off CPU (blocked 6.6 s, runnable 86.0 ms) in 10.0 s"
    assert summarize(waits_only()) == [
        f"{seen}; lost 14 (13.2 %); go idle 7.0 s left out.",
        "  14 (13.2 %): the map of waits was full.",
        "Waits shorter than 1 ms: 120,000, 3.2 s in all, not kept.",
        "0.0 % of stacks incomplete, 0.0 % of frames without a name.",
        "Raise --min-block: there were more distinct waits than the map holds.",
    ]


def test_samples_and_waits_have_a_line_each() -> None:
    assert summarize(both())[:3] == [
        "52 samples in 10.0 s on 2 CPUs; lost 14 (8.9 %).",
        "92 waits, 6.7 s off CPU (blocked 6.6 s, runnable 86.0 ms) in 10.0 s; go idle 7.0 s left out.",
        "  14 (8.9 %): the map of waits was full.",
    ]


def test_idle_threads_say_nothing_about_the_quality_of_stacks() -> None:
    builder = ProfileBuilder(OFF_CPU_TYPES)
    for state, stack, waits in ((State.GO_IDLE, (BARE, CUT), 90), (State.SLEEPING, (NAMED,), 1)):
        index = builder.stack(tuple(builder.location(location) for location in stack))
        builder.add(index, builder.labels(Labels(1, "thing", state=state)), waits, 10**9, 0, 10**9)
    judged = quality(builder.build(Metadata()))
    assert (judged.samples, judged.incomplete, judged.frames, judged.unnamed) == (1, 0, 1, 0)
    assert summarize(builder.build(Metadata(duration_ns=10**9)))[0] == (
        "1 wait, 1.0 s off CPU (blocked 1.0 s, runnable 0 s) in 1.0 s; none lost; go idle 1.0 s left out."
    )


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [(0, 0, "0.0 %"), (0, 9, "0.0 %"), (1, 10**6, "< 0.1 %"), (1, 3, "33.3 %"), (2, 2, "100.0 %")],
)
def test_a_share_is_never_rounded_to_nothing(part: int, whole: int, text: str) -> None:
    assert share(part, whole) == text
