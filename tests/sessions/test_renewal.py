"""A connection is renewed before the server ends it, and the person notices nothing."""

import random
import re
import statistics
import time

import pytest

from gemini_gateway.session.timing import SessionSettings
from gemini_live_sim.actions import DEADLINE, Abort, Close, GoAway, Stall, Step
from gemini_live_sim.behaviour import Behaviour
from gemini_live_sim.server import serve
from gemini_live_sim.settings import SimSettings

QUICK = SimSettings(mode="tone", tone_ms=500, thinking_ms=100)
THREE = ("reachy-1", "reachy-2", "reachy-3")
MINUTE_S = 60.0


@pytest.mark.parametrize(
    ("time_left_s", "speed"),
    [(10.0, 1.0), (10.0, 0.0), (0.5, 1.0), (0.0, 4.0)],
    ids=["in time", "in a burst", "half a second left", "nothing left"],
)
async def test_a_reply_in_which_the_go_away_comes_arrives_whole_and_then_the_session_is_renewed(
    talking, watchman, question, time_left_s, speed
):
    """The simulator only announces the end, so only the gateway could cut a reply."""
    go_away = Step(on="audio_out", count=10, action=GoAway(time_left_s=time_left_s))
    async with serve(on_event=watchman) as sim:
        watchman.sim = sim
        sim.script([Behaviour(mode="tone", tone_ms=2000, speed=speed, script=(go_away,))])
        async with talking(sim) as talk:
            first = await talk.live()
            await talk.ask(question)
            await talk.until(lambda: len(talk.sessions) == 2)
            await talk.live()
            [answer] = first.answers
            assert len(answer.pcm) == 2 * 48000
            assert talk.reply == answer.sent == answer.pcm
            assert talk.sessions[1].resumed
            assert first.close_code == 1000, "the gateway must close, without an error"
            await talk.all_heard()
            assert talk.heard == talk.fed
    assert watchman.doubles == []
    assert talk.states == ["live"], "nothing of it was worth telling"


async def test_a_reply_that_is_cut_by_the_servers_deadline_is_ended_cleanly_and_what_was_said_meanwhile_is_heard(
    talking, watchman, question, numbers
):
    """The server keeps to its deadline: a longer reply cannot be saved, but the microphone's audio is."""
    script = (Step(on="audio_out", count=10, action=GoAway(time_left_s=1.0)),)
    script += (Step(on="audio_out", count=10, after_s=1.0, action=Close(code=1011, reason=DEADLINE)),)
    persona_hears_on = {"vad": {"interrupts": False}}
    async with serve(QUICK, on_event=watchman) as sim:
        watchman.sim = sim
        sim.script([Behaviour(mode="tone", tone_ms=4000, speed=1, script=script)])
        async with talking(sim, settings=persona_hears_on) as talk:
            first = await talk.live()
            talk.say(question)
            await talk.until(lambda: talk.reply)
            talk.say(numbers[0])
            await talk.until(lambda: not first.open)
            assert first.close_code == 1011
            await talk.until(lambda: talk.turns == 2 and not talk.saying)
            assert talk.reply == talk.answered
            await talk.all_heard()
            lost = len(talk.fed) - len(talk.heard)
            assert talk.heard == talk.fed, f"{lost} bytes lost"
    assert talk.states == ["live"]


async def test_what_is_said_into_a_reply_beyond_the_servers_deadline_is_not_sent_to_a_server_that_no_longer_listens(
    talking, numbers, question
):
    """After its deadline the server reads nothing. Then it is gone, with everything that was sent to it."""
    script = (Step(on="audio_out", count=10, action=GoAway(time_left_s=1.0)),)
    script += (Step(on="audio_out", count=10, after_s=1.0, action=Stall(sending=False)),)
    script += (Step(on="audio_out", count=10, after_s=2.0, action=Abort()),)
    async with serve(QUICK) as sim:
        sim.script([Behaviour(mode="tone", tone_ms=6000, speed=1, script=script)])
        async with talking(sim, settings={"vad": {"interrupts": False}}) as talk:
            first = await talk.live()
            talk.say(question)
            await talk.until(lambda: talk.reply)
            talk.say(numbers[0])
            await talk.until(lambda: not first.open)
            assert first.close_code == 1006
            await talk.until(lambda: talk.turns == 2 and not talk.saying)
            await talk.all_heard()
            assert talk.heard == talk.fed


async def test_without_a_go_away_the_age_limit_renews_and_the_log_says_so(talking, watchman, question, caplog):
    caplog.set_level("INFO")
    async with serve(QUICK, on_event=watchman) as sim:
        watchman.sim = sim
        async with talking(sim, settings_of=lambda *_: SessionSettings(max_age_s=1.0)) as talk:
            await talk.live()
            await talk.ask(question)
            await talk.until(lambda: len(talk.sessions) == 3)
            await talk.live()
            await talk.all_heard()
            assert talk.heard == talk.fed
            assert [session.resumed for session in talk.sessions] == [False, True, True]
    assert watchman.doubles == []
    assert len(re.findall(r"the connection to Gemini is renewed, after \d\.\d\d s without one \(renewal\)", caplog.text)) == 2


@pytest.mark.parametrize("time_left_s", [1.0, 0.0])
async def test_a_question_longer_than_the_time_that_is_left_goes_on_over_the_next_connection(
    talking, watchman, numbers, time_left_s
):
    async with serve(QUICK, on_event=watchman) as sim:
        watchman.sim = sim
        async with talking(sim) as talk:
            first = await talk.live()
            talk.say(numbers[0])
            await talk.until(lambda: talk.gate.speaking)
            first.go_away(time_left_s)
            await talk.until(lambda: talk.turns == 1)
            assert first.close_code == 1000
            [answer] = talk.sessions[1].answers
            assert talk.reply == answer.pcm
            await talk.all_heard()
            assert talk.heard == talk.fed
    assert watchman.doubles == []


async def test_a_question_that_ends_just_before_the_deadline_is_answered(talking, watchman, question):
    """The server needs the silence after the question to know that the question is over, whatever the deadline."""
    async with serve(QUICK, on_event=watchman) as sim:
        watchman.sim = sim
        async with talking(sim) as talk:
            first = await talk.live()
            talk.say(question)
            await talk.until(lambda: talk.gate.speaking)
            await talk.until(lambda: not talk.gate.speaking)
            first.go_away(0.0)
            await talk.until(lambda: talk.turns == 1)
            assert talk.reply == talk.answered != b""
            await talk.until(lambda: len(talk.sessions) == 2)
            await talk.live()
            await talk.all_heard()
            assert talk.heard == talk.fed


async def test_an_answer_of_several_turns_is_not_cut_between_them(talking, question):
    """Extended thinking: the first turn of the answer says that the model is thinking."""
    half = {"serverContent": {"turnComplete": True, "interactionStatus": "IN_PROGRESS"}}
    async with serve(QUICK) as sim, talking(sim) as talk:
        first = await talk.live()
        await talk.ask(question)
        first.send_raw(half)
        await talk.until(lambda: talk.turns == 2)
        first.go_away(10.0)
        await talk.never(lambda: len(talk.sessions) > 1, 1.5)
        before = len(talk.reply)
        first.send_raw({"serverContent": {"turnComplete": True, "interactionStatus": "IDLE"}})
        await talk.until(lambda: len(talk.sessions) == 2)
        assert len(talk.reply) == before
        assert talk.sessions[1].resumed


async def test_a_close_without_go_away_at_the_age_at_which_google_closes(talking, question, caplog):
    """Some closes come without notice. Here the server closes long before the age at which the gateway would renew."""
    caplog.set_level("INFO")
    behaviour = Behaviour(mode="tone", tone_ms=500, max_age_s=2.0, go_away_left_s=None)
    async with serve(QUICK) as sim:
        sim.script([behaviour])
        async with talking(sim) as talk:
            first = await talk.live()
            await talk.until(lambda: not first.open)
            assert first.close_reason == DEADLINE
            assert (await talk.live()).resumed
            assert talk.states == ["live"], "the gap must be too short to be reported"
            assert re.search(r"connected to Gemini again, after 0\.\d\d s without one \(lost\)", caplog.text)
            await talk.ask(question)


class Chat:
    """A person who asks one question after the other, of any length, at any moment after the answer, but not into it."""

    def __init__(self, talk, questions: list[bytes], draw: random.Random) -> None:
        self.talk = talk
        self.asked = 0
        self._questions = questions
        self._draw = draw
        self._next = time.monotonic() + draw.random()

    def go_on(self, now: float) -> None:
        if self.talk.saying or self.talk.turns < self.asked:
            self._next = now + self._draw.uniform(0.6, 1.5)
        elif now > self._next:
            question = self._draw.choice(self._questions)
            self.talk.say(question[: self._draw.randrange(24000, 56000, 640)])
            self.asked += 1


@pytest.mark.timeout(150)
async def test_a_minute_that_stands_for_an_hour(measured, talking, watchman, question, numbers):
    """Three people talk all the time, while Gemini announces the end of every connection 1.5 s after its start.

    A connection lives for 6.5 s instead of 10 min: about a hundredth.
    """
    script = (
        Step(on="ready", after_s=1.5, action=GoAway(time_left_s=5.0)),
        Step(on="ready", after_s=6.5, action=Close(code=1011, reason=DEADLINE)),
    )
    draw = random.Random(6)  # noqa: S311
    async with serve(SimSettings(mode="tone", tone_ms=700, speed=2, script=script), on_event=watchman) as sim:
        watchman.sim = sim
        async with talking(sim, *THREE) as talks:
            chats = [Chat(talk, [question, *numbers], draw) for talk in talks]
            end = time.monotonic() + MINUTE_S

            def over() -> bool:
                now = time.monotonic()
                for chat in chats:
                    chat.go_on(now)
                return now > end

            await talks[0].until(over, MINUTE_S + 30)
            for chat in chats:
                await chat.talk.until(lambda chat=chat: chat.talk.turns >= chat.asked)
            for chat in chats:
                await chat.talk.live()
                await chat.talk.all_heard()
                assert chat.talk.heard == chat.talk.fed, "wait less than 1 s: then a muted microphone would count as paused"
    gaps = sorted(gap for talk in talks for gap in watchman.gaps_ms(talk))
    asked = sum(chat.asked for chat in chats)
    measured(f"{len(gaps)} renewals, {asked} questions; gap p50 {statistics.median(gaps):.0f} ms, max {gaps[-1]:.0f} ms")
    for chat in chats:
        talk = chat.talk
        assert talk.reply == talk.answered
        answers = [answer for session in talk.sessions for answer in session.answers]
        assert all(answer.sent == answer.pcm for answer in answers), "no answer was cut"
        assert len(answers) == talk.turns == chat.asked >= 10
        assert len(talk.sessions) >= 10
        assert {session.close_code for session in talk.sessions[:-1]} == {1000}, "the server never had to"
        assert all(session.resumed for session in talk.sessions[1:])
        assert talk.states == ["live"]
        assert talk.voice.session.dropped_ms == 0
    assert watchman.doubles == []
