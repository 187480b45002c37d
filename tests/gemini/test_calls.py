"""The rules of ``docs/sessions.md`` for tool calls, one by one. Time passes only when the test says so."""

import pytest
from session_rim import A_REPLY, LOST, Rim, wanted

from gemini_gateway.events import FunctionCall, GoAway, LiveError, Resumable, ToolCall, ToolCancelled
from gemini_gateway.session.calls import OPEN_MAX, REFUSALS_MAX, TURN_MAX
from gemini_gateway.session.decisions import SessionPhase
from gemini_gateway.session.timing import GRACE_S, HANDLE_WAIT_S, SILENCE_S, SessionSettings, ToolTerms
from reachy_gateway.voice import ReplyGenerated, ToolEnded, TurnComplete

TOOLS = {
    "look": ToolTerms(deadline_s=8.0),
    "search": ToolTerms(waits=False, deadline_s=30.0),
    "dance": ToolTerms(waits=False, speaks=False, deadline_s=30.0),
    "unlock": ToolTerms(may_be_cut=False, deadline_s=8.0),
}


def opened(**limits) -> Rim:
    rim = Rim(tools=TOOLS, **limits).open("h1")
    rim.speak()
    return rim


def ended(rim: Rim) -> list[tuple[str, str]]:
    return [(event.name, event.outcome) for event in rim.events if isinstance(event, ToolEnded)]


def ids(rim: Rim) -> list[list[str]]:
    return [[one.id for one in answered] for answered in rim.answered]


def test_a_call_runs_and_its_result_is_sent_before_the_microphone():
    rim = opened()
    rim.server(ToolCall((FunctionCall("a", "look", {"where": "up"}),)))
    (run,) = rim.ran
    assert (run.name, run.args) == ("look", {"where": "up"})
    rim.now += 0.3
    rim.session.hear(bytes(640), rim.now, speaking=False)
    rim.tool_ends()
    (answer,) = rim.answered[0]
    assert (answer.id, answer.name, answer.response, answer.background, answer.speaks) == (
        "a",
        "look",
        {"it": "is"},
        False,
        True,
    )
    assert isinstance(rim.sent[0][-1], bytes)
    assert ended(rim) == [("look", "done")]
    assert [event.seconds for event in rim.events if isinstance(event, ToolEnded)] == [pytest.approx(0.3)]


@pytest.mark.parametrize(("name", "outcome", "background", "speaks"), [
    ("search", "done", True, True), ("dance", "done", True, False),
    ("dance", "error", True, True), ("look", "fault", False, True),
])  # fmt: skip
def test_an_error_is_always_to_be_spoken_of(name, outcome, background, speaks):
    rim = opened()
    rim.server(wanted(name))
    rim.tool_ends(outcome=outcome)
    (answer,) = rim.answered[0]
    assert (answer.background, answer.speaks) == (background, speaks)


def test_several_calls_of_one_message_run_at_once_and_are_answered_as_they_end():
    rim = opened()
    rim.server(wanted("look", "search", "dance"))
    assert [run.name for run in rim.ran] == ["look", "search", "dance"]
    for n in (2, 0, 1):
        rim.tool_ends(n)
    assert ids(rim) == [["call-3", "call-1", "call-2"]]


def test_what_is_not_right_is_refused_in_words_and_the_rest_runs():
    rim = opened()
    rim.server(ToolCall((FunctionCall("a", "fly", {}), FunctionCall("b", "look", None), FunctionCall("c", "look", {}))))
    assert [(one.id, one.response["error"].partition(":")[0]) for one in rim.answered[0]] == []
    rim.send()
    assert [(one.id, one.response["error"].partition(":")[0]) for one in rim.answered[0]] == [
        ("a", "unsupported"),
        ("b", "invalid_argument"),
    ]
    assert [run.name for run in rim.ran] == ["look"]
    assert ended(rim) == [("unknown", "unknown"), ("look", "invalid")]
    assert rim.counts == ["tool_call", "tool_call"]


def test_an_id_that_comes_twice_is_answered_once():
    rim = opened()
    for _ in range(2):
        rim.server(wanted("look"))
    rim.tool_ends()
    rim.server(wanted("look"))
    assert len(rim.ran) == 1
    assert ids(rim) == [["call-1"]]


def test_so_many_at_a_time_and_for_one_request():
    rim = opened()
    rim.server(wanted(*["look"] * (OPEN_MAX + 1)))
    assert len(rim.ran) == OPEN_MAX
    for n in range(OPEN_MAX):
        rim.tool_ends(n)
    rim.server(wanted("look", "look", first=10))
    assert len(rim.ran) == TURN_MAX
    rim.speak()
    rim.server(wanted("look", first=20))
    assert len(rim.ran) == TURN_MAX + 1, "what the person says anew allows for more"
    assert [outcome for _, outcome in ended(rim)].count("limit") == 2


def test_thirty_a_minute():
    rim = opened()
    for n in range(40):
        rim.speak(0.1)
        before = len(rim.ran)
        rim.server(wanted("look", first=n))
        if len(rim.ran) > before:
            rim.tool_ends()
    rim.send()
    assert 30 <= len(rim.ran) <= 34
    assert sum(len(one) for one in rim.answered) == 40, "each is answered all the same"


def test_a_tool_that_runs_on_takes_a_place_though_nobody_wants_its_result():
    rim = opened()
    for n in range(OPEN_MAX):
        rim.server(wanted("unlock", first=n), ToolCancelled((f"call-{n}",)))
    assert rim.stopped == []
    rim.speak()
    rim.server(wanted("look", first=9))
    assert len(rim.ran) == OPEN_MAX
    rim.tool_ends(0)
    rim.server(wanted("look", first=10))
    assert len(rim.ran) == OPEN_MAX + 1
    rim.send()
    assert ids(rim) == [["call-9"]]


def test_a_deadline_answers_for_the_tool_and_stops_it():
    rim = opened()
    rim.server(wanted("look"))
    rim.mic(8.3)
    assert rim.stopped == [rim.ran[0].key]
    (answer,) = rim.answered[0]
    assert "took too long" in answer.response["error"]
    assert answer.response["retryable"] is True
    rim.tool_ends(outcome="cancelled")
    assert ids(rim) == [["call-1"]]
    assert ended(rim) == [("look", "timeout")]


def test_what_is_taken_back_is_stopped_and_not_answered():
    rim = opened()
    rim.server(wanted("look", "search"), ToolCancelled(("call-1", "nobody")))
    assert rim.stopped == [rim.ran[0].key]
    rim.tool_ends(0, "cancelled")
    rim.tool_ends(1)
    assert ids(rim) == [["call-2"]]
    assert ended(rim) == [("look", "cancelled"), ("search", "done")]


def test_an_answer_that_was_not_sent_yet_is_taken_back_as_well():
    rim = opened()
    rim.server(wanted("fly", "wave", "look"), ToolCancelled(("call-1",)))
    rim.send()
    assert ids(rim) == [["call-2"]]


def test_the_server_is_not_taken_to_hang_while_it_waits_for_a_tool():
    rim = Rim(tools=TOOLS | {"slow": ToolTerms(deadline_s=60)}).open("h1")
    rim.speak()
    rim.server(wanted("slow"))
    rim.mic(4 * SILENCE_S)
    assert not rim.hanging_up
    rim.tool_ends()
    rim.mic(SILENCE_S - 1)
    assert not rim.hanging_up
    rim.mic(2)
    assert rim.hanging_up, "once it has the answer the usual limit must hold again"


def test_a_call_in_the_background_is_the_answer_until_it_has_a_result():
    rim = opened()
    rim.server(wanted("search"), TurnComplete())
    rim.mic(2 * SILENCE_S)
    assert not rim.hanging_up
    rim.speak()
    rim.mic(SILENCE_S + 1)
    assert rim.hanging_up, "a question meanwhile must get an answer"


def test_nothing_is_owed_after_a_result_of_which_nothing_is_said():
    rim = opened()
    rim.server(wanted("dance"), TurnComplete())
    rim.tool_ends()
    rim.mic(2 * SILENCE_S)
    assert not rim.hanging_up


def test_there_is_no_quiet_moment_while_a_call_is_open_nor_before_a_handle_knows_of_its_answer():
    rim = opened()
    rim.server(wanted("search"), TurnComplete(), GoAway(60))
    rim.mic(5)
    assert not rim.hanging_up
    rim.tool_ends()
    rim.mic(3)
    assert not rim.hanging_up, "the model is about to speak of it"
    rim.server(A_REPLY, ReplyGenerated(), TurnComplete())
    rim.mic(5)
    assert not rim.hanging_up
    rim.server(Resumable("h2"))
    rim.mic(0.2)
    assert rim.hanging_up
    rim.close()
    assert rim.dial().handle == "h2"


def test_at_the_deadline_of_a_renewal_the_calls_are_answered_and_a_handle_is_waited_for():
    rim = opened()
    rim.server(wanted("search"), TurnComplete(), GoAway(3))
    rim.mic(2.5)
    assert ids(rim) == [[]]
    rim.mic(0.4)
    assert ids(rim) == [["call-1"]]
    assert "interrupted" in rim.answered[0][0].response["error"]
    assert rim.stopped == [rim.ran[0].key]
    assert not rim.hanging_up
    rim.server(Resumable("h2"))
    rim.mic(0.6)
    assert rim.hanging_up


def test_but_not_for_ever():
    rim = opened()
    rim.server(wanted("search"), TurnComplete(), GoAway(1))
    rim.mic(1 + HANDLE_WAIT_S + 0.2)
    assert rim.hanging_up


def test_what_is_lost_is_answered_on_the_connection_that_resumes_the_session_before_the_microphone():
    rim = opened()
    rim.server(wanted("look", "unlock"))
    rim.close(LOST)
    assert rim.stopped == [rim.ran[0].key], "a tool that may not be cut must run on"
    rim.session.hear(bytes(640), rim.now, speaking=True)
    rim.wait(0.2)
    rim.open()
    assert [one.id for one in rim.sent[1][0].responses] == ["call-1", "call-2"]
    assert all("lost" in one.response["error"] for one in rim.answered[1])
    assert isinstance(rim.sent[1][1], bytes)
    rim.tool_ends(0, "cancelled")
    rim.tool_ends(1)
    assert ids(rim) == [[], ["call-1", "call-2"]]
    assert ended(rim) == [("look", "lost"), ("unlock", "lost")]


def test_a_new_session_is_told_nothing_of_what_is_lost():
    rim = Rim(tools=TOOLS).open()
    rim.speak()
    rim.server(wanted("look"))
    rim.close(LOST)
    rim.wait(0.2)
    rim.open()
    rim.mic(1)
    assert ids(rim) == [[], []]


def test_an_answer_that_the_server_did_not_show_to_have_is_lost_with_the_connection():
    rim = opened()
    rim.server(wanted("look", "search"))
    rim.tool_ends(0)
    rim.tool_ends(1)
    rim.server(A_REPLY)
    rim.close(LOST)
    rim.wait(0.2)
    rim.open()
    assert ids(rim)[1] == ["call-1", "call-2"], "speech may have been under way"
    rim.server(Resumable("h2"))
    rim.close(LOST)
    rim.wait(0.5)
    rim.open()
    assert ids(rim)[2] == [], "but a handle knows of them"


def test_what_could_not_be_told_of_its_loss_is_lost_once_more():
    rim = opened()
    rim.server(wanted("look"))
    for connection in (1, 2):
        rim.close(LOST)
        rim.wait(1.5)
        rim.open()
        assert ids(rim)[connection] == ["call-1"]


def test_a_tool_that_the_persona_has_no_more_is_refused_at_once_and_what_runs_goes_on():
    rim = opened()
    rim.server(wanted("look"))
    rim.session.change(SessionSettings())
    rim.session.persona_changed()
    rim.server(wanted("look", first=2))
    rim.send()
    assert ids(rim) == [["call-2"]]
    rim.mic(1)
    assert not rim.hanging_up
    rim.tool_ends()
    assert ids(rim) == [["call-2", "call-1"]]


def test_a_session_is_not_parked_and_a_budget_ends_no_turn_while_a_call_is_open():
    rim = opened(park_after_s=2.0)
    rim.server(wanted("search"), TurnComplete())
    rim.budget(allowed=False)
    rim.mic(5)
    assert not rim.hanging_up
    rim.tool_ends()
    rim.server(Resumable("h2"))
    rim.mic(3)
    assert not rim.hanging_up, "nor before its result was spoken of"
    rim.server(A_REPLY, ReplyGenerated(), TurnComplete())
    rim.mic(0.2)
    assert rim.hanging_up
    rim.close()
    assert rim.phase is SessionPhase.SPENT


def test_words_that_never_come_are_not_waited_for_for_ever():
    rim = opened(park_after_s=2.0)
    rim.server(wanted("search"), TurnComplete())
    rim.tool_ends()
    rim.mic(SILENCE_S - 1)
    assert not rim.hanging_up
    rim.mic(2)
    assert rim.hanging_up


def test_a_result_of_which_nothing_is_said_leaves_a_newer_question_as_it_is():
    rim = opened()
    rim.server(wanted("dance"), TurnComplete())
    rim.mic(3)
    rim.speak(1.5)
    rim.tool_ends()
    rim.server(Resumable("h2"), GoAway(50))
    rim.mic(1)
    assert not rim.hanging_up, "which is waited for"
    rim.mic(SILENCE_S + 1)
    assert rim.counts[-1] == "silent", "and whose answer is missed"


def test_a_silent_result_does_not_settle_what_another_tool_was_asked_for():
    rim = opened()
    rim.server(wanted("look", "dance"))
    rim.tool_ends(0)
    rim.tool_ends(1)
    rim.mic(SILENCE_S + 1)
    assert rim.hanging_up


def test_a_model_that_calls_again_and_again_does_not_put_off_a_renewal_for_ever():
    rim = opened()
    rim.server(wanted("search"), TurnComplete(), GoAway(1))
    for n in range(2, 40):
        rim.mic(0.5)
        if rim.hanging_up:
            break
        rim.server(wanted("search", first=n))
    assert n < 2 + 2 * (1 + GRACE_S + 1)


def test_a_model_that_does_not_heed_refusals_gets_a_new_session():
    rim = opened()
    for n in range(200):
        rim.server(wanted("fly", first=n), TurnComplete())
        rim.mic(0.5)
        if rim.hanging_up:
            break
    assert rim.hanging_up
    assert sum(len(one) for one in rim.answered) == REFUSALS_MAX


def test_a_new_persona_does_not_wait_for_a_handle_for_ever():
    rim = opened()
    rim.server(wanted("search"), TurnComplete())
    rim.tool_ends()
    rim.server(A_REPLY, ReplyGenerated(), TurnComplete())
    rim.session.persona_changed()
    rim.mic(SILENCE_S - 1)
    assert not rim.hanging_up
    rim.mic(2)
    assert rim.hanging_up


def test_what_may_not_be_cut_and_does_not_end_takes_its_place_for_a_minute_more():
    rim = opened()
    rim.server(wanted(*["unlock"] * OPEN_MAX))
    for _ in range(67):
        rim.mic(1)
        rim.answer()
    assert rim.stopped == []
    rim.mic(2)
    assert rim.stopped[:OPEN_MAX] == [run.key for run in rim.ran]


def test_an_answer_that_crosses_with_its_cancellation_is_not_given_again():
    rim = opened()
    rim.server(wanted("search"))
    rim.tool_ends()
    rim.server(ToolCancelled(("call-1",)))
    rim.close(LOST)
    rim.wait(0.2)
    rim.open()
    assert ids(rim)[1] == []


def test_a_robot_that_leaves_stops_what_may_be_cut():
    rim = opened()
    rim.server(wanted("look", "unlock"))
    rim.do(rim.session.left())
    assert rim.stopped == [rim.ran[0].key]


def test_a_setup_that_is_refused_for_its_tools_is_made_once_more_without():
    rim = Rim(tools=TOOLS)
    assert rim.dial().tools
    rim.fail(LiveError("refused", "1007 Request contains an invalid argument.", sure=False))
    assert rim.phase is SessionPhase.WAITING
    rim.wait(1)
    rim.open()
    assert not rim.dials[-1].tools
    assert rim.counts == ["lost", "tools_refused"]
    rim.close(LOST)
    rim.wait(2)
    rim.open()
    assert not rim.dials[-1].tools
    assert rim.counts.count("tools_refused") == 1
    rim.session.persona_changed()
    rim.mic(1)
    rim.close()
    assert rim.dial().tools, "until the persona changes"


def test_a_robot_has_its_tools_again_after_ten_minutes():
    rim = Rim(tools=TOOLS)
    rim.dial()
    rim.fail(LiveError("declined", "1009 Nobody knows."))
    rim.wait(5)
    rim.open()
    rim.mic(600)
    assert rim.hanging_up
    rim.close()
    assert rim.dial().tools


def test_a_setup_that_is_refused_without_tools_as_well_is_refused_for_something_else():
    rim = Rim(tools=TOOLS)
    doubted = LiveError("refused", "1007 Request contains an invalid argument.", sure=False)
    rim.dial()
    rim.fail(doubted)
    rim.wait(1)
    rim.dial()
    rim.fail(doubted)
    assert rim.phase is SessionPhase.REFUSED
    rim.wait(20)
    assert rim.dial().tools
    assert "tools_refused" not in rim.counts


def test_a_refusal_for_a_known_reason_is_not_the_tools_fault():
    rim = Rim(tools=TOOLS)
    rim.dial()
    rim.fail(LiveError("refused", "check GEMINI_API_KEY"))
    assert rim.phase is SessionPhase.REFUSED


def test_calls_are_not_told_as_changes_of_what_the_person_hears():
    rim = opened()
    rim.server(wanted("look"), TurnComplete())
    rim.tool_ends()
    rim.server(A_REPLY, ReplyGenerated(), TurnComplete())
    assert rim.turns_ended == 2
    assert "mute_turn" not in rim.counts
