"""Adding profiles up: what was recorded in several windows, or on several nodes, as one profile."""

from collections.abc import Sequence

from profiles.model import Loss, Metadata, Profile, ProfileBuilder


class MergeError(ValueError):
    """The profiles do not count the same things, or there are none."""


def merge(profiles: Sequence[Profile]) -> Profile:
    """One profile with the values of all of them added up, in the order in which things were first seen.

    Raises MergeError where there is no profile, or value types or period types differ.
    """
    if not profiles:
        raise MergeError("there is no profile to merge")
    first = profiles[0]
    builder = ProfileBuilder(first.value_types)
    for profile in profiles:
        if profile.value_types != first.value_types:
            raise MergeError("profiles with different value types cannot be merged")
        if profile.metadata.period_type != first.metadata.period_type:
            raise MergeError("profiles with different period types cannot be merged")
        _add(builder, profile)
    return builder.build(merge_metadata([profile.metadata for profile in profiles]))


def _add(builder: ProfileBuilder, profile: Profile) -> None:
    locations = [builder.location(location) for location in profile.locations]
    stacks = [builder.stack(tuple(locations[index] for index in stack)) for stack in profile.stacks]
    labels = [builder.labels(label) for label in profile.labels]
    for sample in profile.samples:
        builder.add(stacks[sample.stack], labels[sample.labels], *sample.values)


def merge_metadata(parts: Sequence[Metadata]) -> Metadata:
    """What can be said of all parts together; `parts` is not empty.

    As pprof's own merge does, durations add up, the start is the earliest and the period the longest. A rate
    is kept only where all agree; texts that differ are listed, notes and comments each once.
    """
    rates = {part.rate_hz for part in parts}
    return Metadata(
        start_ns=min((part.start_ns for part in parts if part.start_ns), default=0),
        duration_ns=sum(part.duration_ns for part in parts),
        period_type=parts[0].period_type,
        period=max(part.period for part in parts),
        rate_hz=rates.pop() if len(rates) == 1 else 0,
        cpus=max(part.cpus for part in parts),
        version=_listed([part.version for part in parts]),
        kernel=_listed([part.kernel for part in parts]),
        target=_listed([part.target for part in parts]),
        losses=_merge_losses(parts),
        comments=tuple(dict.fromkeys(comment for part in parts for comment in part.comments)),
        notes=tuple(dict.fromkeys(note for part in parts for note in part.notes)),
    )


def _listed(texts: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(text for text in texts if text))


def _merge_losses(parts: Sequence[Metadata]) -> tuple[Loss, ...]:
    """Losses of one cause added up; the sentence is the first one's."""
    merged: dict[tuple[str, bool], Loss] = {}
    for loss in (loss for part in parts for loss in part.losses):
        before = merged.get((loss.name, loss.dropped))
        sentence = before.sentence if before else loss.sentence
        samples = loss.samples + (before.samples if before else 0)
        merged[loss.name, loss.dropped] = Loss(loss.name, sentence, samples, loss.dropped)
    return tuple(merged.values())
