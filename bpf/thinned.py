"""Spreads the time of waits that were not walked over those that were. Pure.

Waits of a thread that come too fast are walked one time in k, at random; all are measured. So the totals are known
exactly, for each process (or thread), state and class of length, and those that were walked tell how they are made
up: each is scaled by the same factor. A class none of whose waits was walked keeps a placeholder.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

from bpf import abi
from bpf.waits import Wait


def spread(waits: Iterable[Wait]) -> list[Wait]:
    """The same waits, in total, with none of those that were not walked where others can stand for them."""
    exact: list[Wait] = []
    groups: dict[tuple[int, int, int, int], list[Wait]] = defaultdict(list)
    for wait in waits:
        if wait.thinned:
            groups[wait.tgid, wait.tid, wait.state, wait.thinned].append(wait)
        else:
            exact.append(wait)
    for group in groups.values():
        exact += _spread(group)
    return exact


def _spread(group: list[Wait]) -> list[Wait]:
    walked = [wait for wait in group if wait.stack != abi.THINNED_STACK]
    unwalked = [wait for wait in group if wait.stack == abi.THINNED_STACK]
    known = sum(_time(wait) for wait in walked)
    if not unwalked or not known:
        return group
    waits = sum(wait.waits for wait in group)
    # Whether a wait that was not walked was for an event or for a CPU is not known: as of those that were.
    blocked = sum(wait.blocked_ns for wait in walked)
    total = sum(map(_time, group))
    shares = zip(
        walked,
        _portions(total * blocked // known, [wait.blocked_ns for wait in walked]),
        _portions(total - total * blocked // known, [wait.runnable_ns for wait in walked]),
        _portions(waits, [wait.waits for wait in walked]),
        strict=True,
    )
    longest = max(wait.longest_ns for wait in unwalked)
    return [
        replace(wait, blocked_ns=blocked, runnable_ns=runnable, waits=count, longest_ns=max(wait.longest_ns, longest))
        for wait, blocked, runnable, count in shares
    ]


def _time(wait: Wait) -> int:
    return wait.blocked_ns + wait.runnable_ns


def _portions(total: int, weights: list[int]) -> list[int]:
    """A total in whole portions by weight, which add up to it; where nothing weighs anything, all goes to the first."""
    whole = sum(weights)
    if not whole:
        return [total, *[0] * (len(weights) - 1)]
    portions, before, done = [], 0, 0
    for weight in weights:
        before += weight
        upto = total * before // whole
        portions.append(upto - done)
        done = upto
    return portions
