"""A reader of pprof files that refuses what the known readers refuse.

`check_valid` is as strict as the strictest of google/pprof's CheckValid and decoder, Parca (ids are positions
+ 1) and Pyroscope (UTF-8, no location without address and line).
"""

import gzip

from exporters.proto import pprof_pb2 as pb


class InvalidProfileError(Exception):
    """Some reader would refuse, or misread, the profile."""


def read(data: bytes) -> pb.Profile:
    """Decode and check a gzipped profile."""
    profile = pb.Profile.FromString(gzip.decompress(data))  # protobuf itself refuses text that is not UTF-8
    check_valid(profile)
    return profile


def _require(condition: bool, sentence: str) -> None:
    if not condition:
        raise InvalidProfileError(sentence)


def check_valid(profile: pb.Profile) -> None:
    _require(len(profile.string_table) > 0 and not profile.string_table[0], "string_table[0] is not empty")
    _require(len(set(profile.string_table)) == len(profile.string_table), "a string is repeated")
    _require(bool(profile.sample_type), "there is no sample_type")
    _check_strings(profile)
    for table, name in ((profile.mapping, "mapping"), (profile.location, "location"), (profile.function, "function")):
        _require([row.id for row in table] == list(range(1, len(table) + 1)), f"{name} ids are not 1..N in order")
    _check_samples(profile)
    _check_locations(profile)
    names = {profile.string_table[value_type.type] for value_type in profile.sample_type}
    _require(profile.string_table[profile.default_sample_type] in names, "default_sample_type names no sample type")
    _require(not profile.drop_frames and not profile.keep_frames, "frames would be dropped by a pattern")


def _check_strings(profile: pb.Profile) -> None:
    types = [*profile.sample_type, profile.period_type]
    labels = [label for sample in profile.sample for label in sample.label]
    indexes = [
        *(index for value_type in types for index in (value_type.type, value_type.unit)),
        *(index for label in labels for index in (label.key, label.str, label.num_unit)),
        *(index for mapping in profile.mapping for index in (mapping.filename, mapping.build_id)),
        *(index for row in profile.function for index in (row.name, row.system_name, row.filename)),
        *profile.comment,
        profile.default_sample_type,
    ]
    _require(all(0 <= index < len(profile.string_table) for index in indexes), "a string index is out of range")


def _check_samples(profile: pb.Profile) -> None:
    for sample in profile.sample:
        _require(len(sample.value) == len(profile.sample_type), "a sample's values do not match the sample types")
        _require(all(1 <= index <= len(profile.location) for index in sample.location_id), "unknown location id")
        keys = [label.key for label in sample.label]
        _require(0 not in keys and len(set(keys)) == len(keys), "a label has no key or one that is repeated")
        _require(all(bool(label.str) != bool(label.num) for label in sample.label), "a label has no value or two")


def _check_locations(profile: pb.Profile) -> None:
    bare = set()
    for location in profile.location:
        _require(location.mapping_id <= len(profile.mapping), "unknown mapping id")
        _require(bool(location.address) or bool(location.line), "a location has neither address nor line")
        for line in location.line:
            _require(1 <= line.function_id <= len(profile.function), "a line has an unknown function")
        if not location.line:
            bare.add(location.mapping_id)
    for row in profile.function:
        _require(bool(row.name), "a function has no name")
    for mapping in profile.mapping:
        _require(not (mapping.has_functions and mapping.id in bare), "has_functions hides bare addresses")


def render(profile: pb.Profile) -> str:
    """The profile as text, for golden files: compressed bytes differ between versions of zlib."""
    text = profile.string_table
    lines = [f"sample_type {text[row.type]}/{text[row.unit]}" for row in profile.sample_type]
    lines.append(f"default_sample_type {text[profile.default_sample_type]}")
    lines.append(f"period {text[profile.period_type.type]}/{text[profile.period_type.unit]} {profile.period}")
    lines.append(f"time_nanos {profile.time_nanos} duration_nanos {profile.duration_nanos}")
    lines += [f"comment {text[index]}" for index in profile.comment]
    for row in profile.mapping:
        flags = (row.has_functions, row.has_filenames, row.has_line_numbers, row.has_inline_frames)
        place = f"{row.memory_start:#x}-{row.memory_limit:#x}@{row.file_offset:#x}"
        shown = "".join(letter if flag else "-" for letter, flag in zip("FfLi", flags, strict=True))
        lines.append(f"mapping {row.id} {place} {text[row.filename]} [{text[row.build_id]}] {shown}")
    for row in profile.function:
        names = f"{text[row.name]!r} system {text[row.system_name]!r}"
        lines.append(f"function {row.id} {names} {text[row.filename]}:{row.start_line}")
    for row in profile.location:
        calls = " ".join(f"{line.function_id}:{line.line}" for line in row.line)
        lines.append(f"location {row.id} mapping {row.mapping_id} {row.address:#x} {calls}".rstrip())
    for row in profile.sample:
        labels = " ".join(f"{text[label.key]}={text[label.str] or label.num}" for label in row.label)
        lines.append(f"sample {list(row.value)} {list(row.location_id)} {labels}")
    return "\n".join(lines) + "\n"
