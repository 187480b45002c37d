"""Every named scenario, and how far a connection gets in it."""

import json

import pytest

from gemini_live_sim import Abort, Behaviour, Close, SimSettings, Stall, serve
from gemini_live_sim.actions import CREDITS, LOCATION, QUOTA
from gemini_live_sim.outputs import Send
from gemini_live_sim.scenario import FIRST, SCENARIOS, load_scenario

SETUP = {
    "inputAudioTranscription": {},
    "outputAudioTranscription": {},
    "sessionResumption": {},
    "contextWindowCompression": {"triggerTokens": 100_000},
}
WHOLE = "question audio words generationComplete turnComplete bill"
LEFT_OPEN = "question audio words generationComplete"
UNANSWERED = "question"
NOT_ASKED = ""

REACHES: dict[str, list[str]] = {
    "steady": [WHOLE, WHOLE],
    "renewal": [WHOLE, WHOLE, "goAway", "1011"],
    "go-away": [WHOLE, WHOLE, "goAway", "goAway"],
    "flaky": [WHOLE, WHOLE, "abort"],
    "quota": [WHOLE, NOT_ASKED, "1011"],
    "mute": [WHOLE, UNANSWERED],
    "stall": [WHOLE, WHOLE, "stall"],  # the rim holds back what the session still sends
    "chatty": [WHOLE, WHOLE],
    "overloaded": [WHOLE, WHOLE],  # after the handshake: see below
    "credits": [NOT_ASKED, NOT_ASKED, "1011"],
    "location": [NOT_ASKED, NOT_ASKED, "1007"],
    "fluke": [WHOLE, WHOLE],  # from the second connection on: see below
    "open-ended": [LEFT_OPEN, WHOLE],
    "endless": [LEFT_OPEN, LEFT_OPEN],
    "stray": [WHOLE.replace("audio", "interrupted audio")] * 2,
    "emoji": [WHOLE, WHOLE],
    "babble": [UNANSWERED, UNANSWERED],
    "rejected": ["question turnComplete RESPONSE_REJECTED bill"] * 2,
    "text-only": [WHOLE.replace("audio words", "text")] * 2,
    "faint": [WHOLE, WHOLE],
    "uncounted": [WHOLE.removesuffix(" bill")] * 2,
    "counted-twice": [WHOLE, WHOLE],
    "other-type": [WHOLE, WHOLE],
    "unplayable": [WHOLE, WHOLE],
    "late-input": ["audio words question generationComplete turnComplete bill"] * 2,
}


def told(talk) -> str:
    """The kinds of messages that came, in order, each kind once."""
    seen: dict[str, None] = {}
    for message in talk.messages:
        for name, value in (message.get("serverContent", {}) | message).items():
            match name:
                case "modelTurn":
                    seen["audio" if "inlineData" in json.dumps(value) else "text"] = None
                case "inputTranscription":
                    seen["question"] = None
                case "outputTranscription":
                    seen["words"] = None
                case "usageMetadata":
                    seen["bill"] = None
                case "turnCompleteReason":
                    seen[value] = None
                case "generationComplete" | "turnComplete" | "interrupted":
                    seen[name] = None
    return " ".join(seen)


def ends(talk) -> list[str]:
    """The GoAways, closes and faults, in order."""
    found = []
    for _, output in talk.out:
        match output:
            case Send({"goAway": _}):
                found.append("goAway")
            case Close(code=code):
                found.append(str(code))
            case Abort():
                found.append("abort")
            case Stall():
                found.append("stall")
    return found


def converse(talk, spoken: bytes, behaviour: Behaviour) -> list[str]:
    """Ask in the first seconds, and again before 20 s are over. Stay for 70 s."""
    opened = talk(SETUP, **dict(behaviour))
    answers, ended = [], ends(opened)
    for _ in range(2):
        del opened.out[:]
        opened.say(spoken)
        opened.wait(7)
        answers.append(told(opened))
        ended += ends(opened)
    del opened.out[:]
    opened.wait(53)
    return [*answers, *ended, *ends(opened)]


def test_every_scenario_is_listed_here() -> None:
    assert REACHES.keys() == SCENARIOS.keys() >= FIRST.keys()


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_connection_gets_as_far_as_the_scenario_lets_it(talk, spoken, name) -> None:
    assert converse(talk, spoken, load_scenario(name, Behaviour()).behaviour) == REACHES[name]


def test_a_fluke_closes_the_first_connection_alone(talk, spoken) -> None:
    scenario = load_scenario("fluke", Behaviour(mode="tone"))
    (first,) = scenario.connections
    opened = talk(SETUP, **dict(first))
    opened.wait(10)
    assert [at for at, output in opened.out if isinstance(output, Close)] == [pytest.approx(0.3)]
    assert opened.out[-1][1] == Close(code=1007, reason="Request contains an invalid argument.")
    assert opened.times("setupComplete") == [0.0]
    assert scenario.behaviour == Behaviour(mode="tone")


@pytest.mark.parametrize(("name", "reason"), [("credits", CREDITS), ("location", LOCATION), ("quota", QUOTA)])
def test_a_reason_fits_into_a_close(name, reason) -> None:
    assert load_scenario(name, Behaviour()).behaviour.script[0].action.reason == reason
    assert len(reason.encode()) <= 123


def test_what_passes_by_a_babble_is_the_question_again_and_again(talk, spoken) -> None:
    opened = talk(SETUP, **dict(load_scenario("babble", Behaviour()).behaviour))
    opened.say(spoken)
    del opened.out[:]
    opened.wait(26)
    assert [message["serverContent"] for message in opened.messages] == [
        {"inputTranscription": {"text": "(1.0 s of speech)"}}
    ] * 5


async def test_the_first_connection_of_a_server_is_the_fluke_and_an_overloaded_one_takes_none(call) -> None:
    async with serve(SimSettings(scenario="fluke")) as sim:
        async with call(sim):
            await sim.sessions[0].until(lambda record: not record.open)
        async with call(sim):
            await sim.sessions[1].until(lambda record: bool(record.session_id))
        await sim.sessions[1].until(lambda record: not record.open)
        assert [record.close_code for record in sim.sessions] == [1007, 1000]
    async with serve(SimSettings(scenario="overloaded")) as sim:
        with pytest.raises(Exception, match="HTTP 503"):
            await call(sim).__aenter__()
