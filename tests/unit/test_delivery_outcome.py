"""What becomes of a request, how long is waited, and when a destination is left alone."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporters.delivery.backoff import Backoff
from exporters.delivery.breaker import Breaker, Circuit
from exporters.delivery.outcome import (
    Drop,
    Ok,
    Partial,
    RetryAfter,
    no_answer,
    of_grpc,
    of_http,
    of_partial,
    parse_retry_after,
)

NOW = 1_700_000_000.0  # Tue, 14 Nov 2023 22:13:20 GMT


@pytest.mark.parametrize("status", [200, 202, 204])
def test_http_success_is_ok(status):
    assert of_http(status, None, NOW) == Ok()


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_http_statuses_that_are_tried_again(status):
    assert of_http(status, None, NOW) == RetryAfter(None, f"HTTP {status}")
    assert of_http(status, "7", NOW) == RetryAfter(7.0, f"HTTP {status}")


@pytest.mark.parametrize("status", [100, 301, 400, 401, 404, 408, 413, 500, 501, 599, 0, -1])
def test_all_other_http_statuses_are_given_up_even_with_retry_after(status):
    assert of_http(status, "7", NOW) == Drop(f"HTTP {status}")


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("0", 0.0),
        (" 120 ", 120.0),
        ("999999999", 3600.0),
        ("9" * 64, 3600.0),
        ("9" * 65, None),
        ("-5", None),
        ("1.5", None),
        ("\u0663", None),
        ("soon", None),
        ("Tue, 14 Nov 2023 22:13:50 GMT", 30.0),
        ("Tue, 14 Nov 2023 22:13:50 -0000", 30.0),
        ("Tuesday, 14-Nov-23 22:13:50 GMT", 30.0),
        ("Tue, 14 Nov 2023 22:13:00 GMT", 0.0),
        ("Tue, 14 Nov 9999 22:13:00 GMT", 3600.0),
        ("Tue, 99 Nov 2023 22:13:00 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header, seconds):
    assert parse_retry_after(header, NOW) == seconds


@given(st.text(max_size=70) | st.from_regex(r"[A-Z][a-z]{2}, \d{1,9} [A-Z][a-z]{2} \d{1,9} \d+:\d+:\d+ .{0,8}"))
def test_no_retry_after_crashes_or_leaves_the_bounds(header):
    seconds = parse_retry_after(header, NOW)
    assert seconds is None or 0 <= seconds <= 3600


@pytest.mark.parametrize("code", [1, 4, 10, 11, 14, 15])
def test_grpc_codes_that_are_tried_again(code):
    assert isinstance(of_grpc(code), RetryAfter)
    assert of_grpc(code, 2.5).seconds == 2.5


@pytest.mark.parametrize("code", [2, 3, 5, 6, 7, 9, 12, 13, 16, 17, -1])
def test_grpc_codes_that_are_given_up(code):
    assert isinstance(of_grpc(code, 2.5), Drop)


def test_resource_exhausted_is_tried_again_only_with_retry_info():
    assert of_grpc(8) == Drop("gRPC RESOURCE_EXHAUSTED")
    assert of_grpc(8, float("nan")) == Drop("gRPC RESOURCE_EXHAUSTED")
    assert of_grpc(8, 0.0) == RetryAfter(0.0, "gRPC RESOURCE_EXHAUSTED")
    assert of_grpc(8, float("inf")) == RetryAfter(3600.0, "gRPC RESOURCE_EXHAUSTED")


def test_other_ends():
    assert of_grpc(0) == Ok()
    assert of_partial(0, "") == Ok()
    assert of_partial(0, "deprecated") == Partial(0, "deprecated")
    assert of_partial(-3, "x" * 9999) == Partial(0, "x" * 512)
    assert no_answer("connection refused") == RetryAfter(None, "connection refused")


@given(
    st.integers(0, 10_000),
    st.none() | st.floats(),
    st.floats(0, 1, exclude_max=True),
)
def test_a_wait_is_bounded_and_never_undercuts_what_was_asked(failures, asked, share):
    backoff = Backoff(first=1.0, longest=60.0)
    wait = backoff.delay(failures, asked, lambda: share)
    assert 0 <= wait <= 3600
    if asked is None or math.isnan(asked):
        assert wait <= min(60.0, 2.0 ** min(max(failures - 1, 0), 10))
    else:
        assert wait >= min(asked, 3600)
        assert wait >= share * backoff.ceiling(failures)


@pytest.mark.parametrize(("first", "longest"), [(0, 1), (-1, 1), (2, 1), (1, 3601), (float("nan"), 1)])
def test_waits_that_are_none_are_refused(first, longest):
    with pytest.raises(ValueError, match="Back-off"):
        Backoff(first, longest)


def test_the_breaker_opens_rests_and_probes_once():
    breaker = Breaker(threshold=2, rest=10.0)
    assert breaker.begin(0)
    breaker.failed(0)
    assert breaker.begin(1)
    breaker.failed(1)
    assert breaker.state(10.9) is Circuit.OPEN
    assert not breaker.begin(10.9)
    assert breaker.state(11) is Circuit.HALF_OPEN
    assert breaker.begin(11)
    assert not breaker.begin(12), "one probe"
    breaker.failed(12)
    assert not breaker.begin(21.9)
    assert breaker.begin(22)
    breaker.succeeded()
    assert breaker.state(22) is Circuit.CLOSED
    assert breaker.opened == 2
    breaker.failed(23)
    assert breaker.begin(23), "the count began anew"


@given(st.lists(st.tuples(st.floats(0, 50), st.booleans()), max_size=60), st.integers(1, 4))
def test_an_open_breaker_lets_one_request_through_each_rest(steps, threshold):
    breaker = Breaker(threshold, rest=10.0)
    now, failures, opened = 0.0, 0, None
    for wait, success in steps:
        now += wait
        allowed = breaker.begin(now)
        assert allowed == (opened is None or now >= opened + 10.0)
        if not allowed:
            continue
        if success:
            breaker.succeeded()
            failures, opened = 0, None
        else:
            breaker.failed(now)
            failures += 1
            opened = now if failures >= threshold else None
