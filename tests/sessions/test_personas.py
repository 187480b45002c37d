"""Personas change in mid-conversation, and transcripts are kept for robots whose persona asks for it."""

import asyncio
import json
import logging
from datetime import UTC, datetime

from gemini_live_sim.server import serve
from gemini_live_sim.settings import SimSettings

QUICK = SimSettings(mode="tone", tone_ms=1500, speed=2)
TWO = ("reachy-1", "reachy-2")


async def test_a_changed_persona_drops_no_conversation_and_holds_from_the_next_renewal(
    talking, open_office, robots_file, watchman, question
):
    async with serve(QUICK, on_event=watchman) as sim:
        watchman.sim = sim
        office = open_office(sim, file=robots_file(*TWO, defaults={"voice": "Kore"}))
        async with talking(sim, *TWO, office=office) as (talk, neighbour):
            first = await talk.live()
            await neighbour.live()
            talk.say(question)
            await talk.until(lambda: talk.reply)
            mine = {"voice": "Puck", "temperature": 0.7, "language": "de-DE"}
            robots_file(*TWO, defaults={"voice": "Kore"}, **{"robots.reachy-1": mine})
            office.reload()
            await talk.until(lambda: len(talk.sessions) == 2)
            second = await talk.live()
            [answer] = first.answers
            assert talk.reply == answer.pcm, "the answer in which it was changed came whole"
            assert (first.setup.voice, second.setup.voice) == ("Kore", "Puck")
            assert second.setup_json["generationConfig"]["temperature"] == 0.7
            assert second.resumed
            await talk.ask(question)
            await talk.all_heard()
            assert talk.heard == talk.fed
            assert len(neighbour.sessions) == 1, "the neighbour's persona has not changed"
            assert talk.states == neighbour.states == ["live"]
    assert watchman.doubles == []


async def test_both_sides_are_told_as_events_and_kept_in_a_file_a_day_but_not_in_the_log(
    talking, open_office, robots_file, question, tmp_path, caplog
):
    for ours in ("gemini_gateway", "reachy_gateway"):
        caplog.set_level("DEBUG", ours)
    day = datetime(2026, 11, 23, 23, 59, tzinfo=UTC)
    now = [day]
    async with serve(SimSettings()) as sim:
        file = robots_file(*TWO, **{"robots.reachy-1": {"transcripts_to_file": True}})
        office = open_office(sim, file=file, transcripts=tmp_path / "said", today=lambda: now[0])
        async with talking(sim, *TWO, office=office) as (talk, neighbour):
            await neighbour.live()
            await talk.until(lambda: talk.states == ["live"])
            talk.say(question)
            neighbour.say(question)
            await talk.until(lambda: talk.turns == 1)
            await talk.until((tmp_path / "said").exists)
            now[0] = day.replace(day=24)
            await talk.ask(question)
            await neighbour.until(lambda: neighbour.turns == 1)
    office.close()
    spoken = [answer.text for session in talk.sessions for answer in session.answers]
    assert talk.said("robot") == "".join(spoken)
    assert talk.said("person").count(" of speech)") == 2
    kept = {path.name: [json.loads(line) for line in path.read_text().splitlines()] for path in (tmp_path / "said").iterdir()}
    assert sorted(kept) == ["reachy-1-2026-11-23.jsonl", "reachy-1-2026-11-24.jsonl"], (
        "only of the robot whose persona asks for it"
    )
    lines = kept["reachy-1-2026-11-23.jsonl"] + kept["reachy-1-2026-11-24.jsonl"]
    for who in ("person", "robot"):
        assert "".join(line["text"] for line in lines if line["who"] == who) == talk.said(who) != ""
        assert neighbour.said(who)
    assert all(datetime.fromisoformat(line["at"]).date().isoformat() in ("2026-11-23", "2026-11-24") for line in lines)
    assert "of speech)" not in caplog.text
    assert not any(text in caplog.text for text in spoken)


SAID = "where the spare key is"
BROKEN = [
    {"serverContent": {"inputTranscription": SAID}},
    {"serverContent": {"outputTranscription": {"text": [SAID]}}},
    {"serverContent": {"outputTranscription": {"text": {"words": SAID}}}},
    {"serverContent": [SAID]},
    {"serverContents": {"inputTranscription": {"text": SAID}}},
    {"code": 500, "message": "Internal error encountered.", "serverContents": SAID},
    json.dumps({"serverContent": {"inputTranscription": {"text": SAID}}})[:-1],
    json.dumps([SAID]),
    json.dumps(SAID),
]


async def test_what_was_said_shows_in_no_log_even_if_the_message_is_broken(talking, caplog):
    for ours in ("gemini_gateway", "reachy_gateway"):
        caplog.set_level("DEBUG", ours)
    logging.getLogger("websockets").setLevel("INFO")
    async with serve(QUICK) as sim, talking(sim) as talk:
        session = await talk.live()
        for message in BROKEN:
            session.send_raw(message)
        before = len(talk.reply)
        session.say(100)
        await talk.until(lambda: len(talk.reply) >= before + 4800)
        assert talk.office.tally.total("unknown_message", "reachy-1") == len(BROKEN)
        assert len(sim.sessions) == 1
    assert "a message that the gateway does not understand: " in caplog.text
    assert SAID not in caplog.text


async def test_without_transcripts_there_are_none(talking, question):
    async with serve(QUICK) as sim, talking(sim, settings={"transcripts": False}) as talk:
        await talk.live()
        await talk.ask(question)
        assert talk.said("person") == talk.said("robot") == ""
        assert "inputAudioTranscription" not in sim.sessions[0].setup_json


async def test_a_transcript_that_cannot_be_written_ends_no_conversation(talking, open_office, question, tmp_path, caplog):
    (tmp_path / "said").write_text("a file where the directory should be")
    async with serve(QUICK) as sim:
        office = open_office(sim, settings={"transcripts_to_file": True}, transcripts=tmp_path / "said")
        watch = asyncio.create_task(office.watch())
        async with talking(sim, office=office) as talk:
            await talk.live()
            await talk.ask(question)
            await talk.until(lambda: office.tally.total("transcript", "reachy-1"))
            await talk.ask(question)
        watch.cancel()
        await asyncio.wait([watch])
        assert caplog.text.count("the transcript cannot be written") == 1
