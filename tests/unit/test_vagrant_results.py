"""From JUnit files of boots to the matrix and its document."""

from pathlib import Path

import pytest

from vagrant.booting.errors import BootError, UsageError
from vagrant.booting.matrix import BEGIN, END, NOTHING, Boot, cells, document, matrix, update
from vagrant.booting.results import Case, Report, read_report

JUNIT = """<?xml version="1.0" encoding="utf-8"?>
<testsuites><testsuite name="pytest"><properties><property name="release" value="6.1.0-9"/></properties>
<testcase classname="tests.boot.test_boot" name="test_load"><properties><property name="column" value="load"/>
<property name="cell" value="yes"/><property name="verified.on_tick" value="41234"/>
<property name="verified.broken" value="?"/></properties></testcase>
<testcase classname="tests.boot.test_boot" name="test_cpu"><properties><property name="column" value="on-cpu"/>
<property name="share.main.spin" value="61.25"/></properties><failure message="assert">x</failure></testcase>
<testcase classname="tests.boot.test_boot" name="test_early"><error message="fixture"/></testcase>
<testcase classname="" name="test_skipped"><skipped message="no"/></testcase>
</testsuite></testsuites>"""


def case(outcome: str = "passed", **properties: str) -> Case:
    return Case("t::test", outcome, tuple((name.replace("__", "."), value) for name, value in properties.items()))


def boot(kernel: str, *cases: Case) -> Boot:
    return Boot(kernel, "2026-01-02", f"{kernel}.0-1", Report(cases))


def test_a_report_has_outcomes_and_properties_of_tests_and_of_the_run(tmp_path: Path) -> None:
    (tmp_path / "junit.xml").write_text(JUNIT)
    report = read_report(tmp_path / "junit.xml")
    assert [(each.name, each.outcome) for each in report.cases] == [
        ("tests.boot.test_boot::test_load", "passed"),
        ("tests.boot.test_boot::test_cpu", "failed"),
        ("tests.boot.test_boot::test_early", "failed"),
        ("test_skipped", "skipped"),
    ]
    assert report.properties == (("release", "6.1.0-9"),)
    assert report.numbers("verified.") == {"on_tick": 41234}
    assert report.numbers("share.") == {"main.spin": 61.25}
    assert (report.count("passed"), report.count("failed"), report.count("skipped")) == (1, 2, 1)


@pytest.mark.parametrize("text", ["", "<testsuites><testsuite>", "<html/>", JUNIT[:400], "\0"])
def test_a_corrupt_report_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "junit.xml").write_text(text)
    with pytest.raises(BootError, match="results cannot be read: "):
        read_report(tmp_path / "junit.xml")


def test_a_missing_report_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BootError, match=r"results cannot be read: junit\.xml: No such file"):
        read_report(tmp_path / "junit.xml")


def test_a_column_has_what_its_tests_recorded_and_one_failure_is_enough() -> None:
    report = Report(
        (
            case(column="load", cell="yes"),
            case(column="on-cpu", cell="231 of 231"),
            case(column="btf"),
            case(column="off-cpu", cell="yes"),
            case("failed", column="off-cpu", cell="yes"),
            case(column="kprobes", cell="yes"),
            case(column="kprobes", cell="no"),
            case("skipped", column="goroutines"),
            case(),
        )
    )
    assert cells(report) == {
        "load": "yes",
        "on-cpu": "231 of 231",
        "btf": "yes",
        "off-cpu": "FAILED",
        "kprobes": "yes, no",
        "goroutines": "skipped",
    }


def test_the_matrix_lines_up_and_tells_failures_that_no_column_tells() -> None:
    text = matrix(
        [
            boot("6.1", case(column="load", cell="a|b"), case("failed", cell="x")),
            Boot("5.10", "2026-01-02", problem="The guest has not come up."),
        ]
    )
    head, rule, one, other, _, *failures = text.splitlines()
    assert head.split("|")[1:3] == [" kernel ", " load "]
    assert len({len(head), len(rule), len(other)}) == 1
    assert one.startswith(rf"| 6.1    | a\|b | {NOTHING}")
    assert other.count(NOTHING) == 8
    assert failures == ["- 5.10: The guest has not come up.", "- 6.1: t::test failed"]


def test_the_document_has_instructions_with_the_limit_shares_with_the_spread_and_dates() -> None:
    text = document(
        [
            boot("5.10", case(verified__on_tick="41234", share__spin="60.04")),
            boot("6.1", case(verified__on_tick="250000", verified__on_wait="9", share__spin="61.5", share__rest="1")),
        ]
    )
    assert "| program | 5.10   | 6.1     | most, of 1,000,000 |" in text
    assert "| on_tick | 41,234 | 250,000 | 25.0%              |" in text
    assert f"| on_wait | {NOTHING}      | 9       | 0.0%               |" in text
    assert "| `spin`   | 60.0 % | 61.5 % | 1.5 points |" in text
    assert f"| `rest`   | {NOTHING}      | 1.0 %  | 0.0 points |" in text
    assert "| 5.10   | 5.10.0-1 | 2026-01-02 |" in text


def test_a_document_without_facts_has_no_empty_tables() -> None:
    assert "Instructions" not in document([boot("6.1", case(column="load"))])


def test_the_document_changes_between_its_marks_only(tmp_path: Path) -> None:
    path = tmp_path / "kernels.md"
    path.write_text(f"by hand\n{BEGIN}\nold\n{END}\nbelow\n")
    update(path, "new")
    update(path, "newer")
    assert path.read_text() == f"by hand\n{BEGIN}\n\nnewer\n\n{END}\nbelow\n"


@pytest.mark.parametrize("text", ["", BEGIN, END, f"{END} {BEGIN}"])
def test_a_document_without_marks_is_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "kernels.md"
    path.write_text(text)
    with pytest.raises(UsageError, match="has not the two marks"):
        update(path, "new")
    assert path.read_text() == text


def test_the_document_of_the_checkout_has_the_marks() -> None:
    text = (Path(__file__).parents[2] / "docs/kernels.md").read_text()
    assert text.index(BEGIN) < text.index(END)
