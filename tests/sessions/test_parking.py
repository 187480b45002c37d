"""A robot that no person talks to costs nothing. The first word wakes it, and is heard."""

from gemini_gateway.session.timing import SessionSettings
from gemini_live_sim.server import serve
from gemini_live_sim.settings import SimSettings

QUICK = SimSettings(mode="tone", tone_ms=500, thinking_ms=100)
PARKS = {"settings_of": lambda *_: SessionSettings(park_after_s=1.5)}


async def test_after_silence_the_socket_is_closed_and_the_first_word_wakes_it_and_is_heard_whole(
    measured, talking, watchman, question, numbers
):
    async with serve(QUICK, on_event=watchman) as sim:
        watchman.sim = sim
        async with talking(sim, **PARKS) as talk:
            first = await talk.live()
            await talk.ask(question)
            parked_s = await talk.until(lambda: not first.open)
            measured(f"closed {parked_s:.1f} s after the turn")
            assert parked_s >= 1.0
            assert first.close_code == 1000
            await talk.never(lambda: sim.open_sessions, 3.0)
            assert talk.states == ["live"], "a parked robot listens, as far as the person can tell"
            talk.say(numbers[0])
            woken_s = await talk.until(lambda: sim.open_sessions)
            await talk.until(lambda: talk.turns == 2)
            measured(f"a connection {1000 * woken_s:.0f} ms after the first sample")
            second = talk.sessions[1]
            assert second.resumed
            at = bytes(second.heard).find(numbers[0])
            assert at >= 0, "all of what was said, from the first sample on"
            measured(f"{at / 32:.0f} ms from before the first word")
            await talk.all_heard()
            assert talk.fed.endswith(second.heard), "and nothing is missing after it"
    assert watchman.doubles == []


async def test_a_word_that_is_over_before_the_session_is_awake_is_answered(talking, question):
    async with serve(SimSettings(mode="tone", tone_ms=500, handshake_delay_ms=700)) as sim, talking(sim, **PARKS) as talk:
        first = await talk.live()
        await talk.until(lambda: not first.open)
        talk.say(question[: 32 * 400])
        await talk.until(lambda: talk.turns == 1)
        assert question[: 32 * 400] in bytes(talk.sessions[1].heard)


async def test_a_word_in_the_moment_of_parking_is_not_lost(talking, question):
    """Closing the socket takes a while, because the server does not read at that moment."""
    async with serve(QUICK) as sim, talking(sim, **PARKS) as talk:
        first = await talk.live()
        first.stall()
        await talk.until(lambda: talk.voice.session.phase.name == "CLOSING")
        talk.say(question)
        await talk.until(lambda: talk.gate.speaking)
        assert talk.voice.session.phase.name == "CLOSING"
        first.resume_io()
        await talk.until(lambda: talk.turns == 1)
        assert not first.open
        await talk.all_heard()
        assert talk.heard == talk.fed


async def test_a_parked_robot_that_finds_gemini_gone_says_so_and_talks_when_it_is_back(talking, question):
    async with serve(QUICK) as sim, talking(sim, **PARKS) as talk:
        first = await talk.live()
        await talk.until(lambda: not first.open)
        await sim.go_dark()
        await talk.never(lambda: len(talk.states) > 1, 2.0)
        talk.say(question)
        await talk.until(lambda: talk.states == ["live", "reconnecting"])
        await sim.come_back()
        await talk.until(lambda: talk.states == ["live", "reconnecting", "live"])
        await talk.ask(question)


async def test_it_is_off_unless_asked_for(talking):
    async with serve(QUICK) as sim, talking(sim) as talk:
        assert talk.voice.session.settings.park_after_s is None
        await talk.live()
        await talk.never(lambda: not sim.open_sessions, 2.0)
