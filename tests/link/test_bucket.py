import pytest

from reachy_link.bucket import STALL_MAX_S, Rate, TokenBucket

RATE = Rate(100, 200)


def taken(bucket: TokenBucket, now: float, stalled_s: float, most: int = 100_000) -> int:
    """How much a bucket lets pass at once."""
    return next((n for n in range(most) if not bucket.take(1, now, stalled_s)), most)


def test_a_bucket_without_stalls_gives_its_burst_and_its_rate():
    bucket = TokenBucket(RATE)
    assert taken(bucket, 10.0, 0.0) == 200
    assert taken(bucket, 11.0, 0.0) == 100
    assert taken(bucket, 100.0, 0.0) == 200


def test_what_comes_after_a_stall_may_have_been_sent_at_any_time_within_it():
    bucket = TokenBucket(RATE)
    assert bucket.take(1, 10.0, 3.0)
    assert taken(bucket, 15.0, 8.0) == 199 + 500
    assert taken(bucket, 16.0, 8.0) == 100


def test_an_empty_bucket_gains_no_more_than_its_rate_by_a_stall():
    bucket = TokenBucket(RATE)
    assert taken(bucket, 10.0, 0.0) == 200
    assert taken(bucket, 15.0, 5.0) == 500


def test_the_allowance_of_a_stall_ends_as_fast_as_it_grew():
    bucket = TokenBucket(RATE)
    assert bucket.take(0, 10.0, 0.0)
    assert bucket.take(0, 15.0, 5.0)
    assert bucket.take(0, 17.0, 5.0)
    assert taken(bucket, 17.0, 5.0) == 200 + 300
    bucket = TokenBucket(RATE)
    for now, stalled_s in ((10.0, 0.0), (15.0, 5.0), (60.0, 5.0)):
        assert bucket.take(0, now, stalled_s)
    assert taken(bucket, 60.0, 5.0) == 200, "later it is the burst alone"


def test_a_stall_that_began_after_the_time_was_read_counts_at_the_next_call():
    bucket = TokenBucket(RATE)
    assert bucket.take(1, 10.0, 0.0)
    assert bucket.take(1, 10.01, 5.0), "the time is from before the stall, the sum of the stalls from after it"
    assert taken(bucket, 15.01, 5.0) == pytest.approx(198 + 500, abs=1)
    assert taken(bucket, 16.01, 5.0) == 100


@pytest.mark.parametrize("stall_s", [0.0, 0.3, 5.0, 30.0])
def test_over_any_time_with_stalls_no_more_passes_than_the_burst_and_the_rate(stall_s):
    """An attacker who sends all the time gains nothing by stalls."""
    bucket, now, stalled_s, passed = TokenBucket(RATE), 10.0, 0.0, 0
    while now < 130.0:
        passed += taken(bucket, now, stalled_s)
        now += 0.1 + stall_s
        stalled_s += stall_s
    assert passed <= RATE.burst + RATE.per_s * (now - 10.0)


def test_a_very_long_stall_counts_for_a_bounded_time():
    bucket = TokenBucket(RATE)
    assert bucket.take(0, 10.0, 0.0)
    assert taken(bucket, 10_000.0, 9_990.0) == RATE.burst + RATE.per_s * STALL_MAX_S
