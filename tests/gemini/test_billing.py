"""A session's usage, as it is billed."""

from session_rim import A_REPLY, LOST, Rim, used

from gemini_gateway.events import GoAway
from gemini_gateway.session.meter import LATE_S
from reachy_gateway.voice import ReplyGenerated, TurnComplete


def test_a_turn_is_billed_once_by_its_last_counts():
    rim = Rim().open()
    rim.server(A_REPLY, used(1), A_REPLY, used(2), ReplyGenerated(), used(3), TurnComplete())
    rim.wait(60)
    rim.close(LOST)
    assert rim.bills == [used(3)]


def test_every_turn_is_billed():
    rim = Rim().open()
    for n in (1, 2, 3):
        rim.answer(used(n))
    assert rim.bills == [used(1), used(2), used(3)]


def test_what_a_turn_had_used_when_its_connection_was_lost_is_billed():
    rim = Rim().open()
    rim.server(A_REPLY, used(1), used(2))
    rim.close(LOST)
    rim.wait(1)
    rim.open()
    rim.answer(used(5))
    rim.close(LOST)
    assert rim.bills == [used(2), used(5)]


def test_counts_that_come_shortly_after_their_turn_are_billed_once():
    rim = Rim().open()
    rim.answer()
    rim.wait(0.3)
    rim.server(used(1))
    rim.wait(0.3)
    rim.server(used(2))
    assert rim.bills == []
    rim.wait(LATE_S + 0.2)
    assert rim.bills == [used(2)]
    rim.wait(60)
    rim.close(LOST)
    assert rim.bills == [used(2)]


def test_counts_that_come_much_later_are_the_next_turns():
    rim = Rim().open()
    rim.answer()
    rim.wait(LATE_S + 0.1)
    rim.server(used(1))
    rim.wait(LATE_S + 0.1)
    assert rim.bills == []
    rim.server(A_REPLY, used(2), TurnComplete())
    assert rim.bills == [used(2)]


def test_counts_that_come_late_are_not_lost_to_the_next_turn():
    rim = Rim().open()
    rim.answer()
    rim.server(used(1))
    rim.server(A_REPLY, used(2), TurnComplete())
    assert rim.bills == [used(1), used(2)]


def test_counts_that_come_late_are_not_lost_to_a_person_who_speaks_at_once():
    rim = Rim().open()
    rim.answer()
    rim.server(used(1))
    rim.mic(5, speaking=True)
    rim.server(used(2), A_REPLY, used(3), TurnComplete())
    assert rim.bills == [used(1), used(3)]


def test_counts_that_come_late_are_not_lost_with_the_connection():
    rim = Rim().open()
    rim.answer()
    rim.server(used(1))
    rim.close(LOST)
    assert rim.bills == [used(1)]


def test_counts_that_come_before_their_turn_are_the_turns():
    rim = Rim().open()
    rim.answer(used(1))
    rim.speak()
    rim.server(used(2))
    rim.mic(3)
    rim.server(A_REPLY, used(3), TurnComplete())
    rim.wait(60)
    assert rim.bills == [used(1), used(3)]


def test_a_turn_without_counts_is_not_billed():
    rim = Rim().open()
    rim.answer()
    rim.answer()
    rim.close(LOST)
    assert rim.bills == []


def test_what_was_used_is_billed_when_the_session_is_renewed():
    rim = Rim().open("h1")
    rim.wait(1)
    rim.server(GoAway(50), A_REPLY, used(1))
    rim.close()
    assert rim.bills == [used(1)]
