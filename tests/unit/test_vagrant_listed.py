"""The list of kernels: what is in it, and what is said of a wrong one."""

from pathlib import Path

import pytest

from vagrant.booting.errors import UsageError
from vagrant.booting.listed import Entry, choose, read_list


def listed(tmp_path: Path, text: str) -> tuple[Entry, ...]:
    path = tmp_path / "kernels.toml"
    path.write_text(text)
    return read_list(path)


def test_the_list_of_the_checkout_reads_and_covers_the_floor_and_the_newest() -> None:
    entries = read_list()
    assert entries[0].name == "5.10"
    assert {entry.suite for entry in entries} >= {"bullseye", "bookworm", "trixie", "forky", "trixie-backports"}
    assert {entry.append for entry in entries} == {"", "lockdown=integrity", "lockdown=confidentiality"}
    assert all(test.startswith("tests/boot") for entry in entries for test in entry.tests)


def test_what_stands_at_the_top_goes_for_all_that_do_not_say_otherwise(tmp_path: Path) -> None:
    text = 'package = "p"\ntests = ["a"]\n[[kernel]]\nname="1"\nsuite="s"\n[[kernel]]\nname="2"\nsuite="s"\npackage="q"'
    one, two = listed(tmp_path, text)
    assert (one.package, one.tests, one.security, one.append) == ("p", ("a",), False, "")
    assert (two.package, two.tests) == ("q", ("a",))


def test_an_unknown_kernel_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"no kernel '4\.19' in kernels.toml\. Known are 5\.10, 6\.1, .*7\.3\."):
        choose(read_list(), "4.19")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[kernel]\n", "cannot be read: .*line 1"),
        ("", r"lists no \[\[kernel\]\]"),
        ("kernel = 7", r"lists no \[\[kernel\]\]"),
        ("kernel = [7]", r"lists no \[\[kernel\]\]"),
        ('suite = "x"\n[[kernel]]\nname = "a"\nsuite = "s"', "unknown key 'suite'"),
        ('[[kernel]]\nsuite = "s"', "no name in kernel 1"),
        ('[[kernel]]\nname = "a"', "no suite in kernel 'a'"),
        ('[[kernel]]\nname = "a"\nsuit = "s"', "unknown key 'suit' in kernel 'a'"),
        ('[[kernel]]\nname = 6.1\nsuite = "s"', "name in kernel 6.1 that is not of type str"),
        ('[[kernel]]\nname = "a"\nsuite = "s"\ntests = "t"', "tests in kernel 'a' that is not of type list"),
        ('[[kernel]]\nname = "a"\nsuite = "s"\ntests = [1]', "not all strings"),
        ('[[kernel]]\nname = "a b"\nsuite = "s"', "not one word"),
        ('[[kernel]]\nname = "../a"\nsuite = "s"', "not one word"),
        ('[[kernel]]\nname = "--jobs"\nsuite = "s"', "not one word"),
        ('[[kernel]]\nname = "a"\nsuite = "s"\n[[kernel]]\nname = "a"\nsuite = "s"', "names 'a' twice"),
    ],
)
def test_a_malformed_list_is_refused_with_the_place(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        listed(tmp_path, text)
    assert "kernels.toml" in caught.value.cause


def test_a_list_that_is_not_there_or_not_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_list(tmp_path / "none.toml")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\0")
    with pytest.raises(UsageError, match="cannot be read"):
        read_list(tmp_path / "binary")
