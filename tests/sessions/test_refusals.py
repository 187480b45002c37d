"""Refusals that a retry cannot fix are reported in words, dialled seldom, do not affect other robots, and end when fixed."""

import asyncio
import logging
import re
import traceback
from pathlib import Path

import pytest
from pydantic import SecretStr

from gemini_gateway.endpoint import Endpoint
from gemini_gateway.events import LiveError
from gemini_gateway.personas import Persona
from gemini_gateway.sdk.client import Live
from gemini_gateway.session import timing
from gemini_live_sim.actions import QUOTA, Close, Step
from gemini_live_sim.behaviour import Behaviour
from gemini_live_sim.server import serve
from gemini_live_sim.settings import SimSettings
from reachy_gateway.provider import circuit_breaker

QUICK = {"mode": "tone", "tone_ms": 500, "thinking_ms": 100}
TWO = ("reachy-1", "reachy-2")
KEY = "AIzaSyGoodGoodGood"
BAD_KEY = "AIzaSyBadBadBad"
WATCHED_S = 2.0
"""No robot may dial for this long: more than any pause after a loss, far less than the pause after a refusal."""


async def no_dials(sim, talk, neighbour=None, question=b""):
    """Check that no robot dials. Meanwhile the neighbour talks over its first connection, as if nothing had happened."""
    dials, turns = len(sim.sessions) + len(sim.refused), neighbour.turns if neighbour else 0
    if neighbour:
        neighbour.say(question)
    await talk.never(lambda: len(sim.sessions) + len(sim.refused) > dials, WATCHED_S)
    if neighbour:
        await neighbour.until(lambda: neighbour.turns > turns)
        assert len(neighbour.sessions) == 1
        assert neighbour.states == ["live"]


@pytest.fixture
def key_file(tmp_path):
    path = tmp_path / "key"
    path.write_text(KEY)
    return path


@pytest.fixture
async def with_key_file(open_office, key_file):
    """An office that reads the key from a file, and follows the file."""
    watches = []

    def make(sim, **changes):
        def endpoint():
            return Endpoint("the simulator", SecretStr(key_file.read_text()), sim.url, sim.root_path, key_file)

        office = open_office(sim, *TWO, endpoint=endpoint, **changes)
        watches.append(asyncio.create_task(office.watch()))
        return office

    yield make
    for watch in watches:
        watch.cancel()
        await asyncio.wait([watch])


async def test_a_bad_key_is_said_in_words_and_tried_no_more_until_its_file_is_mended(
    measured, talking, with_key_file, key_file, question
):
    key_file.write_text(BAD_KEY)
    async with serve(SimSettings(**QUICK, api_keys=KEY)) as sim, talking(sim, office=with_key_file(sim)) as talk:
        await talk.until(lambda: talk.states == ["refused"])
        assert "Gemini refused the API key: check GEMINI_API_KEY" in talk.reasons
        assert BAD_KEY not in talk.reasons
        await no_dials(sim, talk)
        assert len(sim.sessions) == 1
        key_file.write_text(KEY)
        took_s = await talk.until(lambda: talk.sessions and talk.sessions[-1].heard_bytes)
        measured(f"the key's file was mended: heard {took_s:.2f} s later")
        await talk.ask(question)
        assert talk.states == ["refused", "live"]


async def test_a_key_that_is_withdrawn_ends_no_conversation_but_refuses_who_dials(talking, with_key_file, key_file, question):
    async with serve(SimSettings(**QUICK, api_keys=KEY)) as sim:
        office = with_key_file(sim)
        async with talking(sim, *TWO, office=office) as (talk, neighbour):
            first = await talk.live()
            await neighbour.live()
            await talk.ask(question)
            key_file.write_text(BAD_KEY)
            await talk.until(lambda: office._configuration.endpoint.key.get_secret_value() == BAD_KEY)
            first.abort()
            await talk.until(lambda: talk.states[-1] == "refused")
            await no_dials(sim, talk, neighbour, question)
            assert len(sim.sessions) - 2 <= 2, "one dial with the handle and one without, as either could be at fault"
            key_file.write_text(KEY)
            await talk.until(lambda: talk.states[-1] == "live")
            assert (await talk.live()).resumed, "the handle was not to blame"
            await talk.ask(question)
            assert len(neighbour.sessions) == 1


@pytest.mark.parametrize("trouble", [Path.unlink, lambda path: path.write_text("")], ids=["gone", "empty"])
async def test_a_key_file_that_cannot_be_used_changes_nothing_and_is_followed_on(
    talking, with_key_file, key_file, question, caplog, trouble
):
    async with serve(SimSettings(**QUICK, api_keys=KEY)) as sim:
        office = with_key_file(sim)
        async with talking(sim, office=office) as talk:
            first = await talk.live()
            trouble(key_file)
            await talk.until(lambda: "(the last good one stays in use)" in caplog.text)
            first.abort()
            await talk.until(lambda: len(talk.sessions) == 2)
            await talk.ask(question)
            key_file.write_text(BAD_KEY)
            await talk.until(lambda: office._configuration.endpoint.key.get_secret_value() == BAD_KEY)
            talk.sessions[1].abort()
            await talk.until(lambda: talk.states[-1] == "refused")
        assert caplog.text.count("(the last good one stays in use)") == 1


def half(root):
    return root[: len(root) // 2]


async def test_a_certificate_that_is_half_written_is_read_again_when_it_is_missed(tmp_path):
    root = tmp_path / "root.pem"
    async with serve() as before, serve() as sim:
        root.write_bytes(before.root_path.read_bytes())
        live = Live(Endpoint("the simulator", SecretStr(KEY), sim.url, root))
        root.write_bytes(half(sim.root_path.read_bytes()))
        for words in (rf"is not trusted: .*; {root} cannot be read \(", r"is not trusted: [^;]*$"):
            with pytest.raises(LiveError, match=words) as raised:
                async with live.connect(Persona()):
                    pass
            assert raised.value.kind == "unreachable"
            root.write_bytes(sim.root_path.read_bytes())
        async with live.connect(Persona()):
            assert len(sim.open_sessions) == 1


async def test_a_key_is_read_anew_while_the_certificate_is_half_written(tmp_path, talking, open_office, key_file):
    root = tmp_path / "root.pem"
    async with serve(SimSettings(**QUICK)) as sim:
        root.write_bytes(sim.root_path.read_bytes())

        def endpoint():
            return Endpoint("the simulator", SecretStr(key_file.read_text()), sim.url, root, key_file)

        office = open_office(sim, endpoint=endpoint)
        watch = asyncio.create_task(office.watch())
        async with talking(sim, office=office) as talk:
            first = await talk.live()
            root.write_bytes(half(sim.root_path.read_bytes()))
            for key in (BAD_KEY, KEY):
                key_file.write_text(key)
                await talk.until(lambda key=key: office._configuration.endpoint.key.get_secret_value() == key)
            first.abort()
            await talk.until(lambda: len(talk.sessions) == 2)
        watch.cancel()
        await asyncio.wait([watch])


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (400, "refused the session's setup"),
        (401, "API key"),
        (403, "may not use Gemini Live"),
        (404, "does not know the model"),
    ],
)
async def test_a_handshake_that_is_refused(talking, question, status, words):
    async with serve(SimSettings(**QUICK)) as sim, talking(sim, *TWO) as (talk, neighbour):
        first = await talk.live()
        await neighbour.live()
        sim.refuse(status)
        first.abort()
        await talk.until(lambda: talk.states[-1] == "refused")
        assert words in talk.reasons
        assert f"HTTP {status}" in talk.reasons
        await no_dials(sim, talk, neighbour, question)
        assert len(sim.refused) <= 2
        sim.refuse(None)
        talk.office.reload()
        await talk.ask(question)
        assert talk.states == ["live", "refused", "live"]


@pytest.mark.parametrize("how", ["a close after a turn", "HTTP 429"])
async def test_a_quota_is_a_long_pause_with_its_reason(talking, question, how):
    spent = Step(on="turn_complete", action=Close(code=1011, reason=QUOTA))
    async with serve(SimSettings(**QUICK)) as sim, talking(sim, *TWO) as (talk, neighbour):
        first = await talk.live()
        await neighbour.live()
        if how == "HTTP 429":
            sim.refuse(429)
            first.abort()
        else:
            first.close(spent.action.code, spent.action.reason)
        await talk.until(lambda: talk.states[-1] == "reconnecting")
        assert "quota or rate limit is reached" in talk.reasons
        pause_s = int(re.search(r"trying again in (\d+) s", talk.reasons)[1])
        least, most = timing.QUOTA_S[0] / 2, timing.QUOTA_S[0]
        assert least <= pause_s <= most
        await no_dials(sim, talk, neighbour, question)
        assert len(sim.refused) == (1 if how == "HTTP 429" else 0)
        sim.refuse(None)
        talk.office.reload()  # as after raising the quota
        await talk.ask(question)
        assert talk.sessions[-1].resumed


async def test_a_quota_is_waited_out(talking, question, monkeypatch):
    monkeypatch.setattr(timing, "QUOTA_S", (2.0, 8.0))
    async with serve(SimSettings(**QUICK)) as sim, talking(sim) as talk:
        first = await talk.live()
        first.close(1011, QUOTA)
        took_s = await talk.until(lambda: len(talk.sessions) == 2)
        assert took_s >= 0.9
        await talk.ask(question)


async def test_a_model_that_gemini_does_not_know_is_refused_until_the_persona_is_mended(
    talking, open_office, robots_file, question
):
    """Of one robot. The other robot's model is known."""
    other = {"robots.reachy-2": {"model": "gemini-3.8-live"}}
    file = robots_file(*TWO, defaults={"model": "gemini-99-live"}, **other)
    async with serve(SimSettings(**QUICK, models="gemini-3.8-live")) as sim:
        office = open_office(sim, file=file)
        watch = asyncio.create_task(office.watch())
        try:
            async with talking(sim, *TWO, office=office) as (talk, neighbour):
                await talk.until(lambda: talk.states == ["refused"])
                await neighbour.live()
                assert "does not know the model" in talk.reasons
                assert "gemini-99-live" in talk.reasons, "the reason must name the model"
                await no_dials(sim, talk, neighbour, question)
                assert len(sim.sessions) == 2
                robots_file(*TWO, **other)
                await talk.until(lambda: talk.states == ["refused", "live"])
                await talk.ask(question)
                assert talk.sessions[0].setup.model == "models/gemini-3.8-live"
                assert len(neighbour.sessions) == 1
        finally:
            watch.cancel()
            await asyncio.wait([watch])


async def test_a_file_that_is_wrong_changes_nothing_and_every_mistake_is_said(
    talking, open_office, robots_file, question, caplog
):
    async with serve(SimSettings(**QUICK)) as sim:
        office = open_office(sim)
        async with talking(sim, office=office) as talk:
            await talk.live()
            file = robots_file(defaults={"temperature": 99, "voise": "Puck"})
            office.reload()
            assert f"{file}: defaults.temperature: " in caplog.text
            assert f"{file}: defaults.voise: " in caplog.text
            await talk.ask(question)
            assert len(talk.sessions) == 1
            assert talk.states == ["live"]


async def fail_in_every_way(sim, talk, office):
    """Lost, unreachable, refused, out of quota, not trusted."""
    first = await talk.live()
    first.abort()
    await talk.until(lambda: len(talk.sessions) == 2)
    (await talk.live()).close(1011, QUOTA)
    await talk.until(lambda: "quota" in talk.reasons)
    for status in (401, 429, 500):
        sim.refuse(status)
        office.reload()
        refused = len(sim.refused)
        await talk.until(lambda refused=refused: len(sim.refused) > refused)
    await sim.go_dark()
    office.reload()
    await talk.until(lambda: "cannot be reached" in talk.reasons)
    await sim.come_back()
    sim.refuse(None)


async def test_the_key_shows_in_no_log_no_state_no_repr_and_no_exception(talking, with_key_file, key_file, question, caplog):
    caplog.set_level(logging.WARNING)
    for ours in ("gemini_gateway", "reachy_gateway", "reachy_service", "reachy_link"):
        caplog.set_level(logging.DEBUG, ours)
    async with serve(SimSettings(**QUICK, api_keys=KEY)) as sim:
        office = with_key_file(sim)
        async with talking(sim, office=office) as talk:
            await fail_in_every_way(sim, talk, office)
            key_file.write_text(BAD_KEY)
            office.reload()
            if talk.sessions[-1].open:
                talk.sessions[-1].abort()
            await talk.until(lambda: talk.states[-1] == "refused")
            key_file.unlink()
            with pytest.raises(FileNotFoundError):
                office._configuration._read_endpoint()
            key_file.write_text(KEY)
            office.reload()
            await talk.ask(question)
            shown = [
                caplog.text,
                talk.reasons,
                repr(office.__dict__),
                repr(office._configuration.__dict__),
                repr(office._live.__dict__),
                repr(talk.voice.__dict__),
            ]
            shown += [repr(office._configuration.endpoint), str(office._configuration.endpoint)]
        for endpoint in (
            Endpoint("a key that is wrong", SecretStr(BAD_KEY), sim.url, sim.root_path),
            Endpoint("a server that is not trusted", SecretStr(KEY), sim.url),
            Endpoint("nobody there", SecretStr(KEY), "https://127.0.0.1:9"),
        ):
            with pytest.raises(LiveError) as raised:
                async with Live(endpoint).connect(Persona()):
                    pass
            shown.append("".join(traceback.format_exception(raised.value)))
    assert len(caplog.records) > 5
    for text in shown:
        assert KEY not in text
        assert BAD_KEY not in text


async def test_one_robot_that_gemini_always_hangs_up_on_holds_up_no_renewal_of_another(
    measured, talking, question, monkeypatch
):
    """Its dials are answered, so Gemini is reachable: for the other robots this is no outage."""
    for name in ("SHORT_CAP_S", "FIRST_S"):
        monkeypatch.setattr(circuit_breaker, name, 20.0)
    async with serve(SimSettings(**QUICK)) as sim, talking(sim, *TWO) as (talk, neighbour):
        first = await talk.live()
        second = await neighbour.live()
        talk.office.breaker(talk.voice._model)._draw = lambda: 1.0
        sim.handles.is_poisoned = lambda handle: handle in first.handles
        sim.behaviour = Behaviour(script=(Step(on="setup", action=Close()),))
        first.abort()
        await talk.until(lambda: talk.office.breaker(talk.voice._model).down)
        sim.behaviour = Behaviour(**QUICK)
        second.go_away(5.0)
        took_s = await neighbour.until(lambda: len(neighbour.sessions) == 2 and neighbour.sessions[1].heard_bytes, 30)
        measured(f"renewed {took_s:.2f} s after the GoAway")
        assert took_s < 2.0
