import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini_gateway.session.meter import COUNT_MAX, LATE_S, TOKENS_PER_S, Bill, Meter
from reachy_gateway.provider.usage import Tokens

FULL = Tokens({"audio": 500}, {"audio": 75})


def turn(meter: Meter, *counts: Tokens, now: float = 100.0, sent_s: float = 2.0, heard_s: float = 3.0) -> list[Bill]:
    """A turn with its question and its sound. Returns what is billed by its end, and once no more counts can come."""
    meter.sent(sent_s)
    out = meter.turn_goes_on()
    meter.heard(heard_s)
    for tokens in counts:
        out += meter.used(tokens, now)
    out += meter.turn_over(now)
    return out + meter.due(now + LATE_S)


def test_the_last_counts_of_a_turn_are_the_turns():
    assert turn(Meter(), Tokens({"audio": 1}, {"audio": 1}), FULL) == [Bill(FULL)]


@pytest.mark.parametrize(
    ("counts", "prompt", "reply"),
    [
        ([], 50, 75),
        ([Tokens()], 50, 75),
        ([Tokens({"audio": -5}, {"audio": -75})], 50, 75),
        ([Tokens({"audio": 500}, {"audio": COUNT_MAX + 1})], 500, 75),
        ([Tokens({}, {}, COUNT_MAX + 1)], 50, 75),
        ([Tokens({"audio": 500}, {})], 500, 75),
        ([Tokens({}, {"audio": 80})], 50, 80),
        ([Tokens({}, {}, 575)], 500, 75),
        ([Tokens({}, {}, 60)], 50, 75),
        ([Tokens({"audio": 500}, {}, 100)], 525, 75),
        ([Tokens({}, {"audio": 80}, 495)], 495, 80),
        ([Tokens({"audio": 500}, {"audio": 75}, 12)], 512, 75),
    ],
)
def test_a_turn_is_never_billed_for_less_than_is_known_of_it(counts, prompt, reply):
    (bill,) = turn(Meter(), *counts)
    assert bill == Bill(Tokens({"audio": prompt}, {"audio": reply}), estimated=True)


@pytest.mark.parametrize(
    "last", [Tokens(), Tokens({"audio": 10}, {"audio": 1}), Tokens({"audio": COUNT_MAX + 1}, {"audio": 60})]
)
def test_counts_that_say_less_than_those_before_say_nothing(last):
    assert turn(Meter(), Tokens({"audio": 5000}, {"audio": 600}), last) == [Bill(Tokens({"audio": 5000}, {"audio": 600}))]


def test_counts_whose_kinds_are_told_later_are_billed_once():
    meter = Meter()
    meter.turn_goes_on()
    meter.used(Tokens({"audio": 500}, {"audio": 75}), 1.0)
    out = meter.turn_over(1.0)
    out += meter.used(Tokens({"text": 300, "audio": 200}, {"audio": 75}), 1.1)
    assert out == [Bill(Tokens({"audio": 500}, {"audio": 75}))]


def test_a_turn_whose_end_is_told_twice_is_billed_once():
    meter = Meter()
    meter.turn_goes_on()
    meter.heard(2)
    out = meter.turn_over(1.0) + meter.turn_over(1.05) + meter.used(FULL, 1.1) + meter.due(1.1 + LATE_S)
    assert out == [Bill(FULL)]


def test_a_turn_of_which_nothing_is_known_is_not_billed():
    assert turn(Meter(), sent_s=0.0, heard_s=0.0) == []


@given(
    prompt=st.integers(-10, 10_000),
    reply=st.integers(-10, 10_000),
    rest=st.integers(0, 10_000),
    sent_s=st.floats(0, 100),
    heard_s=st.floats(0, 100),
)
def test_no_counts_make_a_turn_cheaper_than_its_sound_or_its_total(prompt, reply, rest, sent_s, heard_s):
    tokens = Tokens({"audio": prompt} if prompt else {}, {"audio": reply} if reply else {}, rest)
    total = sum(sum(side.values()) for bill in turn(Meter(), tokens, sent_s=sent_s, heard_s=heard_s) for side in _sides(bill))
    if prompt >= 0 and reply >= 0:
        assert total >= prompt + reply + rest
    if prompt <= 0 and reply <= 0:
        assert total >= round(sent_s * TOKENS_PER_S) + round(heard_s * TOKENS_PER_S) - 1


def _sides(bill: Bill):
    return bill.tokens.prompt, bill.tokens.reply


@pytest.mark.parametrize("after_s", [0.0, 0.1, LATE_S - 0.1])
@pytest.mark.parametrize("again", [FULL, Tokens(), Tokens({"audio": 400}, {"audio": 75}), Tokens({"audio": -1}, {})])
def test_counts_that_come_again_are_billed_once(after_s, again):
    meter = Meter()
    assert turn(meter, FULL) == [Bill(FULL)]
    assert meter.used(again, 100.0 + after_s) == []
    assert turn(meter, FULL, now=200.0) == [Bill(FULL)]
    assert meter.bill() == []


def test_counts_that_come_again_and_are_more_are_billed_by_what_they_are_more():
    meter = Meter()
    turn(meter, FULL)
    more = Tokens({"audio": 510, "text": 5}, {"audio": 80})
    assert meter.used(more, 100.1) == [Bill(Tokens({"audio": 10, "text": 5}, {"audio": 5}), amends=True)]
    assert meter.used(more, 100.2) == []


def test_what_the_person_has_said_since_makes_them_the_next_turns():
    meter = Meter()
    turn(meter, FULL)
    meter.sent(1.0)
    next_turns = Tokens({"audio": 600}, {"audio": 1})
    assert meter.used(next_turns, 100.5) == []
    assert turn(meter, now=200.0) == [Bill(next_turns)]


def test_late_counts_are_taken_instead_of_the_sound():
    meter = Meter()
    meter.turn_goes_on()
    meter.heard(3.0)
    assert meter.turn_over(100.0) == []
    assert meter.used(FULL, 101.0) == []
    assert meter.due(101.9) == []
    assert meter.due(102.0) == [Bill(FULL)]
    assert meter.due(103.0) == []


def test_a_turn_whose_counts_are_waited_for_is_billed_before_the_next():
    meter = Meter()
    meter.turn_goes_on()
    meter.heard(3.0)
    meter.turn_over(100.0)
    assert meter.turn_goes_on() == [Bill(Tokens({}, {"audio": 75}), estimated=True)]


@pytest.mark.parametrize("over", [False, True])
def test_what_a_lost_connection_had_used_is_billed(over):
    meter = Meter()
    meter.turn_goes_on()
    meter.heard(1.0)
    if over:
        meter.turn_over(100.0)
    assert meter.bill() == [Bill(Tokens({}, {"audio": 25}), estimated=True)]
    assert meter.bill() == []


def test_a_question_that_was_never_answered_is_not_billed():
    meter = Meter()
    meter.sent(2.0)
    assert meter.bill() == []
