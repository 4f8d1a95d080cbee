"""bpf/abi.py against bpf/abi.h, as a C compiler understands it."""

import contextlib
import re
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpf import abi
from bpf.waits import WaitState
from symbolizer.unwind.rows import RBP_AT_RBP, RBP_LOST, RuleKind
from tests.support.cprograms import needs_compiler

HEADER = Path(abi.__file__).with_name("abi.h")
TYPES = {"u8": "B", "u16": "H", "s16": "h", "u32": "I", "s32": "i", "u64": "Q", "char": "s"}
STRUCTS = {
    "config": abi.CONFIG,
    "count_key": abi.COUNT_KEY,
    "stack_head": abi.STACK_HEAD,
    "label_head": abi.LABEL_HEAD,
    "event": abi.EVENT,
    "process": abi.PROCESS,
    "mapping": abi.MAPPING,
    "table": abi.TABLE,
    "page": abi.PAGE,
    "rule": abi.RULE,
    "off_config": abi.OFF_CONFIG,
    "wait_key": abi.WAIT_KEY,
    "wait_sum": abi.WAIT_SUM,
    "wait": abi.WAIT,
    "reported": abi.REPORTED,
    "off_totals": abi.OFF_TOTALS,
}
WANTS = ("WANT_USER", "WANT_KERNEL", "PER_THREAD", "WANT_LABELS", "PER_GOROUTINE")
NUMBERS = {
    **{f"TARGET_{target.name}": int(target) for target in abi.Target},
    **{
        name: int(want)
        for name, want in zip(
            ("WANT_USER", "WANT_KERNEL", "PER_THREAD", "WANT_LABELS", "PER_GOROUTINE"), abi.Want, strict=True
        )
    },
    **{f"EVENT_{kind.name}": int(kind) for kind in abi.EventKind},
    "MAPPINGS_KNOWN": abi.MAPPINGS_KNOWN,
    "LABELS_ARE_MAP": abi.LABELS_ARE_MAP,
    "GO_CODE": abi.GO_CODE,
    "(long long)EXACT < 0 ? 63 : 0": abi.EXACT.bit_length() - 1,
    **{f"ROWS_{state.name}": int(state) for state in abi.RowsState},
    "MAX_FRAMES": abi.MAX_FRAMES,
    "SLAB_ROWS": abi.SLAB_ROWS,
    "MAX_SLABS": abi.MAX_SLABS,
    "MAX_RULES": abi.MAX_RULES,
    "1 << MAX_MAPPING_STEPS": abi.MAX_MAPPINGS,
    "FROM_RBP": RuleKind.RBP,
    "DEREFERENCE": RuleKind.DEREF_RSP,
    "FROM_RBP | DEREFERENCE": RuleKind.DEREF_RBP,
    "DEREFERENCE | PLUS_WORD": RuleKind.DEREF_RSP_8,
    "FROM_RBP | DEREFERENCE | PLUS_WORD": RuleKind.DEREF_RBP_8,
    "FROM_REGISTER": RuleKind.REGISTER,
    "RBP_AT_RBP": RBP_AT_RBP,
    "RBP_LOST": RBP_LOST,
    "RULE_DEFAULT": abi.RULE_DEFAULT,
    **{f"WAIT_{state.name}": int(state) for state in WaitState},
    "WAIT_STATES": len(WaitState),
    "THINNED_STACK": abi.THINNED_STACK,
    "STARTED_STACK": abi.STARTED_STACK,
    "THINNED_BITS": abi.THINNED_BITS,
    "THINNED_CLASSES": abi.THINNED_CLASSES,
    "PLT_ENTRY": RuleKind.PLT,
    "RULE_END": RuleKind.END,
    "RULE_SIGNAL": RuleKind.SIGNAL,
    "RULE_UNSUPPORTED": RuleKind.UNSUPPORTED,
    "RULE_CURG": RuleKind.CURG,
}


def fields(name: str) -> list[tuple[str, str, int]]:
    """(type, name, elements) of the fields of a struct in the header, in order."""
    body = re.search(rf"struct {name} {{(.*?)^}};", HEADER.read_text(), re.DOTALL | re.MULTILINE)
    assert body
    found = re.findall(r"^\s+(\w+) (\w+)(?:\[(\d+)\])?;", body[1], re.MULTILINE)
    return [(kind, field, int(count or 1)) for kind, field, count in found]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """What the compiler says of every size, offset and number."""
    asked = [f"sizeof(struct {name})" for name in STRUCTS]
    asked += [f"__builtin_offsetof(struct {name}, {field})" for name in STRUCTS for _, field, _ in fields(name)]
    asked += NUMBERS
    folder = tmp_path_factory.mktemp("abi")
    prints = "".join(f'    printf("%lld\\n", (long long)({expression}));\n' for expression in asked)
    types = "".join(
        f"typedef {c} {name};\n"
        for name, c in {
            "u8": "unsigned char",
            "u16": "unsigned short",
            "s16": "short",
            "u32": "unsigned",
            "s32": "int",
            "u64": "unsigned long long",
        }.items()
    )
    source = f'#include <stdio.h>\n{types}#include "{HEADER}"\nint main(void) {{\n{prints}}}\n'
    (folder / "abi.c").write_text(source)
    subprocess.run(["gcc", "-Wall", "-Werror", "-o", folder / "abi", folder / "abi.c"], check=True, timeout=60)
    output = subprocess.run([folder / "abi"], capture_output=True, text=True, check=True, timeout=60).stdout
    return dict(zip(asked, map(int, output.split()), strict=True))


@needs_compiler
@pytest.mark.parametrize("name", STRUCTS)
def test_a_struct_has_the_layout_that_python_packs(compiled: dict[str, int], name: str) -> None:
    codes = re.findall(r"(\d*)([a-zA-Z])", STRUCTS[name].format)
    assert STRUCTS[name].format.startswith("<")
    assert STRUCTS[name].size == compiled[f"sizeof(struct {name})"]
    listed = fields(name)
    assert [(TYPES[kind], count) for kind, _, count in listed] == [(code, int(count or 1)) for count, code in codes]
    offset = 0
    for kind, field, count in listed:
        assert offset == compiled[f"__builtin_offsetof(struct {name}, {field})"], field
        offset += count * struct.calcsize(TYPES[kind])
    assert offset == STRUCTS[name].size


@needs_compiler
@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_is_the_same_on_both_sides(compiled: dict[str, int], name: str) -> None:
    assert compiled[name] == NUMBERS[name]


def test_a_stack_record_is_read_with_user_frames_first() -> None:
    head = abi.STACK_HEAD.pack(2**63, 7, 4217, 4219, 2, 1, 6, b"worker\0junk".ljust(16, b"\0"), 5, 0x403000, 9)
    raw = abi.parse_stack(head + struct.pack("<3Q", 0x401000, 0x402000, 2**64 - 4096))
    assert raw.user == (0x401000, 0x402000)
    assert raw.kernel == (2**64 - 4096,)
    assert (raw.hash, raw.space, raw.tgid, raw.tid, raw.stop, raw.comm) == (2**63, 7, 4217, 4219, 6, "worker")
    assert (raw.goroutine, raw.start, raw.labels) == (5, 0x403000, 9)


def test_labels_are_read_sorted_as_far_as_they_are_there() -> None:
    text = b"".join(
        struct.pack("<Q", len(one)) + one.ljust(len(one) + 7 & ~7, b"\0") for one in (b"b", b"1", b"a", b"")
    )
    record = abi.LABEL_HEAD.pack(700, abi.IS_LABELS, 2, len(text), 0, 0) + text
    assert abi.parse_labels(record) == (("a", ""), ("b", "1"))
    assert abi.parse_labels(record[:-8]) == (("b", "1"),)
    assert abi.labels_of(record) == 0


def test_an_event_is_read() -> None:
    event = abi.parse_event(abi.EVENT.pack(2, 17, 99, 0x7F00, b"caf\xe9".ljust(16, b"\0")))
    assert event == abi.Event(abi.EventKind.STALE, 17, 99, 0x7F00, "caf\ufffd")


@given(st.binary(max_size=200))
def test_other_bytes_are_refused_or_read_but_nothing_else(data: bytes) -> None:
    for parse in (abi.parse_stack, abi.parse_event, abi.parse_labels):
        with contextlib.suppress(struct.error, ValueError):
            parse(data)
