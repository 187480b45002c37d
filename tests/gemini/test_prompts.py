"""An operator asks the model to say something: when the request is sent, and when it cannot be."""

import pytest
from session_rim import QUOTA, REFUSED, Rim

from gemini_gateway.session.decisions import Prompt, SessionPhase
from gemini_gateway.session.timing import PROMPT_MAX_S, PROMPTS_MAX, SAY, SILENCE_S, TELL_S


def prompts(rim: Rim) -> list[list[str]]:
    """The requests, by connection."""
    return [[item.text for item in items if isinstance(item, Prompt)] for items in rim.sent]


def say(rim: Rim, text: str = "Dinner is ready.") -> str:
    why_not, out = rim.session.prompt(text, rim.now)
    rim.do(out)
    return why_not


ASKED = SAY.format("Dinner is ready.")


def test_it_goes_out_before_the_microphone():
    rim = Rim().open()
    assert say(rim) == ""
    rim.mic(0.1)
    assert rim.sent[0][0] == Prompt(ASKED, 1000.0)
    assert rim.audio


def test_a_parked_session_wakes_up_for_it():
    rim = Rim(park_after_s=60).open("h1")
    rim.wait(70)
    rim.close()
    assert rim.session.phase is SessionPhase.PARKED
    assert say(rim) == ""
    assert rim.session.phase is SessionPhase.WAITING
    rim.open()
    assert prompts(rim)[1] == [ASKED]


def test_what_could_not_be_sent_goes_out_on_the_next_connection():
    rim = Rim().open("h1")
    say(rim)
    item = rim.session.take()
    rim.session.untaken(item)
    rim.close()
    rim.wait(1)
    rim.open()
    assert prompts(rim)[1] == [ASKED]


def test_too_much_of_it_and_trouble_are_said_in_words():
    rim = Rim()
    assert [bool(say(rim)) for _ in range(PROMPTS_MAX + 1)] == [False] * PROMPTS_MAX + [True]
    for error in (REFUSED, QUOTA):
        rim = Rim()
        rim.dial()
        rim.fail(error)
        rim.wait(TELL_S)
        assert error.words in say(rim)
    rim = Rim().open()
    rim.do(rim.session.budget(allowed=False, words="the budget is spent"))
    assert say(rim) == "the budget is spent"


def test_a_model_that_says_nothing_of_it_is_taken_to_hang():
    rim = Rim().open("h1")
    say(rim)
    rim.send()
    rim.wait(SILENCE_S + 1)
    assert rim.counts == ["silent"]


def test_the_session_is_not_renewed_in_front_of_the_answer():
    rim = Rim().open("h1")
    rim.mic(1)
    say(rim)
    rim.send()
    rim.session.persona_changed()
    rim.wait(2)
    assert not rim.hanging_up
    rim.answer()
    rim.wait(1)
    assert rim.hanging_up


@pytest.mark.parametrize("manual", [True, False])
def test_with_manual_vad_it_is_a_turn_of_its_own_and_waits_for_that_of_the_person(manual):
    rim = Rim(manual_vad=manual).open()
    if manual:
        rim.do(rim.session.activity("start", rim.now))
    rim.mic(0.2, speaking=True)
    say(rim)
    rim.mic(0.2, speaking=True)
    assert prompts(rim) == [[] if manual else [ASKED]]
    if manual:
        rim.do(rim.session.activity("end", rim.now))
        rim.send()
    [prompt] = [item for item in rim.sent[0] if isinstance(item, Prompt)]
    assert prompt.marked is manual


def test_what_could_not_be_said_for_long_is_not_said_any_more():
    for budget in (False, True):
        rim = Rim()
        assert say(rim) == ""
        if budget:
            rim.do(rim.session.budget(allowed=False, words="the budget is spent"))
            rim.wait(1)
            rim.do(rim.session.budget(allowed=True, words=""))
        else:
            rim.wait(PROMPT_MAX_S + 1)
        rim.open()
        assert prompts(rim) == [[]]
