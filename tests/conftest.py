"""What all tests share: golden files and the rule for tests that need the kernel."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.doctor.bcc import check_bcc
from agent.doctor.checks import PREFLIGHT
from agent.doctor.machine import Machine
from agent.doctor.result import Status


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update", action="store_true", help="rewrite golden files with what the code makes now")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str | bytes], str | bytes]:
    """golden(name, made): what tests/unit/golden/NAME holds, of made's type; --update writes `made` there first."""
    folder = Path(__file__).parent / "unit" / "golden"

    def expected(name: str, made: str | bytes) -> str | bytes:
        path = folder / name
        if request.config.getoption("--update"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(made.encode() if isinstance(made, str) else made)
        if not path.exists():
            pytest.fail(f"{path} is missing: run pytest with --update, then read the difference")
        return path.read_text() if isinstance(made, str) else path.read_bytes()

    return expected


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_LACKING] = _unasked
    # Rows made by tests are kept where the checkout keeps its other things, not among the machine's.
    os.environ["GOROSCOPE_CACHE"] = str(Path(__file__).parents[1] / ".cache")


_unasked = "not asked yet"
_LACKING = pytest.StashKey[str]()


def _lacking(config: pytest.Config) -> str:
    """Why kernel tests cannot run here, in one sentence; empty where they can. Asked once a run."""
    if config.stash[_LACKING] is _unasked:
        machine = Machine()
        results = (check(machine) for check in (*PREFLIGHT, check_bcc))
        failed = next((result for result in results if result.status is Status.FAIL), None)
        config.stash[_LACKING] = f"{failed.cause} {failed.remedy}" if failed else ""
    return config.stash[_LACKING]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests marked `kernel` where the kernel cannot be used; in CI that is a failure, not a skip."""
    if item.get_closest_marker("kernel") is None:
        return
    lacking = _lacking(item.config)
    if not lacking:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(f"kernel tests must run in CI, but: {lacking}", pytrace=False)
    pytest.skip(f"kernel: {lacking}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item):
    """In CI no test marked `kernel` may skip itself either, whatever its reason."""
    report = yield
    marked = item.get_closest_marker("kernel") is not None
    if marked and report.skipped and not hasattr(report, "wasxfail") and os.environ.get("CI") == "true":
        report.outcome = "failed"
        report.longrepr = f"kernel tests must not be skipped in CI: {report.longrepr}"
    return report
