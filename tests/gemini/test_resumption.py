"""Handles: how a session is resumed, and when that is given up."""

import pytest
from session_rim import LOST, QUOTA, REFUSED, TICK_S, UNREACHABLE, Rim

from gemini_gateway.events import LiveError
from gemini_gateway.session.decisions import Dial, SessionPhase
from gemini_gateway.session.exchanges import CHARS as SEED_CHARS
from gemini_gateway.session.exchanges import TURNS as SEED_TURNS
from gemini_gateway.session.memory import Memory
from gemini_gateway.session.timing import (
    BLAMED_MIN_S,
    HANDLE_FAILURES,
    HANDLE_MAX_S,
    HANDLE_PAUSE_S,
    QUOTA_S,
    SILENCE_S,
)
from reachy_gateway.voice import ConnectionState, Said, TurnComplete


def spoken(rim: Rim) -> tuple:
    rim.server(Said("person", "What is "), Said("person", "your name?"), Said("robot", "Reachy."))
    return (("person", "What is your name?"), ("robot", "Reachy."))


def test_a_handle_that_fails_twice_is_dropped_and_the_new_session_is_told_what_was_said():
    rim = Rim().open("h1")
    said = spoken(rim)
    rim.wait(10)
    rim.close(LOST)
    for draw in (0.0, 1.0):
        rim.draw = draw
        assert rim.dial() == Dial("h1", ())
        rim.fail(LOST)
        rim.wait(HANDLE_PAUSE_S[round(draw)] - TICK_S)
        assert not rim.session.wants_to_dial(rim.now), "the old connection may still be open to Google"
        rim.wait(2 * TICK_S)
    assert rim.counts[-2:] == ["handle_dropped", "lost"]
    assert rim.dial() == Dial(None, said)


@pytest.mark.parametrize("error", [LOST, REFUSED, UNREACHABLE])
def test_a_handle_that_was_dropped_comes_back_if_a_dial_without_it_fails_as_well(error):
    rim = Rim().open("h1")
    rim.wait(10)
    rim.close(LOST)
    for _ in range(2):
        rim.dial()
        rim.fail(LOST)
        rim.wait(1)
    assert rim.dial().handle is None
    rim.fail(error)
    rim.do(rim.session.mended(rim.now))
    assert rim.dial().handle == "h1", "the server or the key is at fault, not the handle"


def test_a_handle_whose_session_is_refused_as_it_opens_is_dropped():
    rim = Rim().open("h1")
    said = spoken(rim)
    rim.wait(10)
    rim.close(LOST)
    rim.open("h2")
    rim.close(REFUSED)
    assert rim.phase is SessionPhase.WAITING
    rim.wait(0.5)
    assert rim.dial() == Dial(None, said)
    rim.sent.append([])
    rim.do(rim.session.opened(rim.now))
    assert rim.standings == [ConnectionState("live")]


def test_a_handle_outlives_a_key_that_is_refused_only_after_the_setup():
    rim = Rim().open("h1")
    rim.wait(10)
    rim.close(LOST)
    for _ in range(3):
        rim.open()
        rim.close(REFUSED)
        rim.wait(1)
    assert rim.phase is SessionPhase.REFUSED
    rim.do(rim.session.mended(rim.now))
    assert rim.dial().handle == "h1"


def test_the_next_handle_is_not_blamed_for_what_the_last_one_did():
    rim = Rim().open("h1")
    rim.wait(10)
    rim.close(LOST)
    for _ in range(2):
        rim.dial()
        rim.fail(LOST)
        rim.wait(1)
    rim.open("h2")
    rim.close(LOST)
    rim.wait(1)
    assert rim.dial().handle == "h2"
    rim.fail(LOST)
    rim.wait(1)
    assert rim.dial().handle == "h2"


def test_an_unreachable_server_says_nothing_about_the_handle():
    rim = Rim().open("h1")
    rim.wait(10)
    rim.close(LOST)
    for _ in range(10):
        assert rim.dial().handle == "h1"
        rim.fail(UNREACHABLE)
    rim.dial()
    rim.fail(QUOTA)
    rim.wait(60)
    assert rim.dial().handle == "h1"


def test_a_quota_that_closes_what_has_just_opened_says_nothing_about_the_handle():
    rim = Rim().open("h1")
    rim.wait(10)
    rim.close(LOST)
    for _ in range(4):
        assert rim.open().dials[-1].handle == "h1"
        rim.close(QUOTA)
        rim.wait(QUOTA_S[1])


def test_a_handle_whose_sessions_open_and_die_at_once_is_dropped_too():
    rim = Rim().open("h1")
    said = spoken(rim)
    rim.wait(10)
    rim.close(LOST)
    for _ in range(2):
        assert rim.open().dials[-1] == Dial("h1", ())
        rim.close(LOST)
        rim.wait(2)
    assert rim.dial() == Dial(None, said)


def test_a_turn_that_is_completed_clears_the_handle_of_blame():
    rim = Rim().open("h1")
    rim.wait(10)
    rim.close(LOST)
    for _ in range(5):
        assert rim.open().dials[-1].handle == "h1"
        rim.answer()
        rim.close(LOST)
        rim.wait(60)
    assert "handle_dropped" not in rim.counts


def test_a_connection_that_lived_clears_the_handle_of_blame():
    rim = Rim().open("h1")
    for _ in range(5):
        rim.wait(10)
        rim.close(LOST)
        rim.dial()
        rim.fail(LOST)
        rim.wait(1)
        rim.open()
    assert "handle_dropped" not in rim.counts


@pytest.mark.parametrize("handle", [None, "h2"], ids=["", "but for a new handle"])
def test_a_resumed_session_that_never_says_anything_twice_is_dropped(handle):
    rim = Rim().open("h1")
    rim.wait(10)
    rim.close(LOST)
    for _ in range(2):
        assert rim.open(handle).dials[-1].handle
        rim.speak()
        rim.mic(SILENCE_S + 1)
        rim.close()
    assert rim.dial().handle is None


def test_a_noise_that_is_not_answered_is_not_the_handles_fault():
    rim = Rim().open("h1")
    rim.wait(10)
    rim.close(LOST)
    for _ in range(4):
        rim.open()
        rim.speak(BLAMED_MIN_S - 0.1)
        rim.mic(10 * SILENCE_S)
        rim.close()
    assert rim.dial().handle == "h1"


def test_a_resumed_session_that_said_something_before_it_fell_silent_is_not_the_handles_fault():
    rim = Rim().open("h1")
    rim.wait(10)
    rim.close(LOST)
    for _ in range(4):
        rim.open()
        rim.mic(1)
        rim.server(Said("robot", "hm"))
        rim.speak()
        rim.mic(SILENCE_S + 1)
        rim.close()
    assert rim.dial().handle == "h1"


def test_a_refused_handle_is_dropped_at_once_and_nobody_is_told():
    rim = Rim().open("h1")
    said = spoken(rim)
    rim.wait(10)
    rim.close(LOST)
    rim.dial()
    rim.fail(LiveError("refused", "session not found"))
    assert rim.phase is SessionPhase.WAITING
    assert "handle_dropped" in rim.counts
    assert rim.open().dials[-1] == Dial(None, said)
    rim.wait(5)
    assert rim.standings == [ConnectionState("live")]


def test_a_handle_outlives_the_refusal_of_its_key():
    rim = Rim().open("h1")
    rim.wait(10)
    rim.close(LOST)
    rim.dial()
    rim.fail(REFUSED)
    rim.dial()
    rim.fail(REFUSED)
    assert rim.phase is SessionPhase.REFUSED
    rim.do(rim.session.mended(rim.now))
    assert rim.dial().handle == "h1", "it was the key that was refused"


def test_a_handle_that_is_refused_with_a_good_key_stays_dropped():
    rim = Rim().open("h1")
    rim.wait(10)
    rim.close(LOST)
    rim.dial()
    rim.fail(REFUSED)
    rim.open()
    rim.wait(10)
    rim.close(LiveError("refused", "the key has expired"))
    assert rim.dial().handle is None
    rim.fail(REFUSED)
    rim.do(rim.session.mended(rim.now))
    assert rim.dial().handle is None


@pytest.mark.parametrize(("age_s", "handle"), [(HANDLE_MAX_S - 20, "h1"), (HANDLE_MAX_S + 20, None)])
def test_a_handle_is_used_for_two_hours(age_s, handle):
    rim = Rim(park_after_s=10).open("h1")
    said = spoken(rim)
    rim.wait(11)
    rim.close()
    rim.wait(age_s - 11)
    rim.mic(0.1, speaking=True)
    assert rim.dial() == Dial(handle, () if handle else said)


def test_a_new_session_does_not_go_back_to_the_old_ones_handle():
    rim = Rim().open("h1")
    rim.wait(10)
    rim.close(LOST)
    rim.dial()
    rim.fail(LiveError("refused", "not found"))
    rim.open()  # without a handle yet
    rim.wait(10)
    rim.close(LOST)
    assert rim.dial().handle is None


def test_a_seed_is_the_end_of_the_conversation_in_whole_turns():
    rim = Rim().open()
    for n in range(SEED_TURNS + 5):
        rim.server(Said("robot" if n % 2 else "person", f"{n}"), *([TurnComplete()] if n % 2 else []))
    rim.wait(10)
    rim.close(LOST)
    assert [text for _, text in rim.dial().seed] == [f"{n}" for n in range(5, SEED_TURNS + 5)]


def test_a_seed_is_not_longer_than_it_may_be():
    rim = Rim().open()
    for n in range(10):
        rim.server(Said("robot" if n % 2 else "person", str(n) * (SEED_CHARS // 4)), *([TurnComplete()] if n % 2 else []))
    rim.wait(10)
    rim.close(LOST)
    assert [text[0] for _, text in rim.dial().seed] == ["6", "7", "8", "9"]


def test_a_seed_has_no_gap_where_a_long_turn_does_not_fit():
    rim = Rim().open()
    rim.server(Said("person", "early"), Said("robot", "x" * (SEED_CHARS - 2)), TurnComplete(), Said("person", "late"))
    rim.wait(10)
    rim.close(LOST)
    assert rim.dial().seed == (("person", "late"),)


def test_a_turn_that_is_longer_than_a_seed_is_told_from_its_end():
    rim = Rim().open()
    rim.server(Said("robot", "beginning " + "x" * SEED_CHARS))
    rim.server(Said("robot", " the end"))
    rim.wait(10)
    rim.close(LOST)
    ((who, text),) = rim.dial().seed
    assert who == "robot"
    assert len(text) == SEED_CHARS
    assert text.endswith("x the end")


def seeded(rim: Rim) -> Rim:
    """The session was lost for good, and the new one is told what was said."""
    spoken(rim.open("h1"))
    rim.wait(10)
    rim.close(LOST)
    rim.dial()
    rim.fail(LiveError("refused", "session not found"))
    rim.open()
    assert rim.dials[-1].seed
    return rim


def test_a_new_session_that_is_refused_for_what_it_was_told_begins_again_without():
    rim = seeded(Rim())
    rim.wait(1)
    rim.close(LiveError("refused", "1007 invalid argument"))
    assert "seed_dropped" in rim.counts
    assert rim.open().dials[-1] == Dial(None, ())
    rim.wait(10)
    assert rim.standings == [ConnectionState("live")]


def test_a_refusal_that_was_not_for_what_it_was_told_is_believed_at_the_next_dial():
    rim = seeded(Rim())
    rim.close(REFUSED)
    assert rim.phase is SessionPhase.WAITING
    rim.wait(1)
    rim.dial()
    rim.fail(REFUSED)
    assert rim.phase is SessionPhase.REFUSED


def test_a_session_that_took_what_it_was_told_and_is_lost_later_still_knows_it():
    rim = seeded(Rim())
    rim.wait(60)
    rim.close(LiveError("refused", "1007 invalid argument"))
    assert "seed_dropped" not in rim.counts
    assert rim.dial().seed


# --- inherited --------------------------------------------------------------------------------------------------------


def inherited(*, doubted: bool, age_s: float = 10, **limits) -> Rim:
    """A session that another gateway had."""
    rim = Rim(**limits)
    memory = Memory(handle="h1", handle_age_s=age_s, said=(("person", "What is your name?"), ("robot", "Reachy.")))
    rim.session.inherit(memory, rim.now, doubted=doubted)
    return rim


@pytest.mark.parametrize("doubted", [True, False])
def test_a_session_that_another_gateway_had_is_resumed(doubted):
    rim = inherited(doubted=doubted)
    assert rim.open().dials == [Dial("h1", ())]
    rim.wait(10)
    assert rim.standings == [ConnectionState("live")]


def test_a_handle_whose_gateway_may_hold_the_connection_yet_is_tried_once_and_then_a_new_session_begins_at_once():
    rim = inherited(doubted=True)
    rim.dial()
    rim.fail(LOST)
    rim.wait(HANDLE_PAUSE_S[1])
    assert rim.dial() == Dial(None, (("person", "What is your name?"), ("robot", "Reachy.")))
    assert rim.counts.count("handle_dropped") == 1


def test_a_handle_whose_gateway_is_gone_is_tried_as_any_other():
    rim = inherited(doubted=False)
    for _ in range(HANDLE_FAILURES):
        assert rim.dial().handle == "h1"
        rim.fail(LOST)
        rim.wait(HANDLE_PAUSE_S[1] + TICK_S)
    assert rim.dial().handle is None


def test_a_doubt_is_over_once_the_session_was_resumed():
    rim = inherited(doubted=True).open("h2")
    rim.wait(10)
    rim.close(LOST)
    rim.dial()
    rim.fail(LOST)
    rim.wait(HANDLE_PAUSE_S[1] + TICK_S)
    assert rim.dial().handle == "h2"


def test_an_unreachable_server_says_nothing_about_a_handle_that_is_doubted():
    rim = inherited(doubted=True)
    rim.dial()
    rim.fail(UNREACHABLE)
    rim.wait(60)
    assert rim.dial().handle == "h1"


@pytest.mark.parametrize(("age_s", "handle"), [(HANDLE_MAX_S - 20, "h1"), (HANDLE_MAX_S + 20, None)])
def test_an_inherited_handle_is_as_old_as_it_was_elsewhere(age_s, handle):
    assert inherited(doubted=False, age_s=age_s).dial().handle == handle


@pytest.mark.parametrize(("park_after_s", "phase"), [(10, SessionPhase.PARKED), (None, SessionPhase.WAITING)])
def test_a_parked_conversation_stays_parked_until_somebody_speaks(park_after_s, phase):
    rim = Rim(park_after_s=park_after_s)
    rim.session.inherit(Memory(handle="h1", parked=True), rim.now, doubted=False)
    assert rim.session.phase is phase
    rim.mic(0.1, speaking=True)
    assert rim.dial().handle == "h1"
