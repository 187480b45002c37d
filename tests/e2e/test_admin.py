"""An operator at the admin port of a gateway with robots: what the operator sees, and what commands do."""

import io
import json
import wave
import zipfile
from pathlib import Path

import numpy as np
import pytest
from operating import Permissive, gemini_office, operating, operator_of, running_admin
from pydantic import SecretStr
from rig import Keys, read_wav, running_hub, running_robot

from gemini_gateway import personas
from gemini_gateway.configuration import Configuration
from gemini_gateway.endpoint import Endpoint
from gemini_gateway.voices import Voices
from gemini_live_sim.server import serve
from mock_gateway.voice import MockVoice
from reachy_gateway.provider.ledger import Ledger
from reachy_link import admin
from robot_io.wav.body import WavBody

SPEECH = read_wav(Path(__file__).parent / "data" / "number-1.wav")[:16000]


@pytest.fixture
async def scene(tmp_path):
    """A gateway with a mock voice, its admin port, and an operator there."""
    made = Keys(tmp_path, "lab-1", "lab-2")
    keys = operator_of(made)
    async with (
        running_hub(made, lambda *_: MockVoice()) as hub,
        running_admin(hub, made, Permissive(), tmp_path / "recordings") as served,
        operating(made, keys, served.port.port) as operator,
    ):
        yield made, hub, operator


async def test_what_a_robot_does_is_seen(scene):
    made, hub, operator = scene
    await operator.watch("lab-1")
    await operator.until(lambda: operator.view.rows.keys() == {"lab-1", "lab-2"})
    assert {row.state for row in operator.view.rows.values()} == {"absent"}
    async with running_robot(made.robot("lab-1"), hub.bound) as robot:
        await robot.welcomed()
        await operator.until(lambda: operator.view.rows["lab-1"].state == "listening")
        robot.desk.say(SPEECH)
        await operator.until(lambda: operator.view.rows["lab-1"].state == "speaking")
        await robot.answered(1)
        await operator.until(lambda: operator.view.rows["lab-1"].turn is not None)
        row, detail = operator.view.rows["lab-1"], operator.view.detail("lab-1")
        assert row.turn.complete
        assert row.turn.total_ms > 0
        assert row.turn.parts_ms.keys() >= {"voice", "gateway"}
        assert [it.who for it in detail.said] == ["person", "robot"]
        assert detail.turns == (row.turn,)
        assert any("connected" in note.words for note in detail.notes)
        assert operator.of(admin.Levels)
        assert any((it.mic_db or -100) > -40 for it in operator.of(admin.Levels))
    await operator.until(lambda: operator.view.rows["lab-1"].state == "absent")
    assert operator.view.rows["lab-1"].reason == "said goodbye"
    assert operator.missed == 0


async def test_a_recording_holds_both_sides_and_what_happened(scene):
    made, hub, operator = scene
    await operator.watch("lab-1")
    async with running_robot(made.robot("lab-1"), hub.bound) as robot:
        await robot.welcomed()
        assert (await operator.do(admin.Record, robot="lab-1", on=True)).ok
        await robot.desk.until(lambda: robot.core.recorded)
        robot.desk.say(SPEECH)
        await robot.answered(1)
        await operator.until(lambda: (it := operator.view.detail("lab-1")) and it.turns)
        assert (await operator.do(admin.Record, robot="lab-1", on=False)).ok
        await robot.desk.until(lambda: not robot.core.recorded)
        await operator.until(lambda: operator.view._recordings)
    [found] = operator.view._recordings
    data, size = b"", 1
    while len(data) < size:
        answer, piece = await operator.link.do(admin.Fetch(id=1, recording=found.id, offset=len(data)))
        assert answer.ok, answer.words
        data, size = data + piece, answer.size_bytes
    with zipfile.ZipFile(io.BytesIO(data)) as pack:
        about = json.loads(pack.read("about.json"))
        events = [json.loads(line) for line in pack.read("events.jsonl").splitlines()]
        with wave.open(io.BytesIO(pack.read("sound.wav"))) as sound:
            assert (sound.getframerate(), sound.getnchannels(), sound.getsampwidth()) == (16000, 2, 2)
            sides = np.frombuffer(sound.readframes(sound.getnframes()), "<i2").reshape(-1, 2)
    assert (about["robot"], about["channels"]) == ("lab-1", ["person", "robot"])
    assert abs(about["seconds"] - len(sides) / 16000) < 0.01
    heard = (np.abs(sides.astype(int)) > 500).any(axis=1).nonzero()[0]
    assert len(heard)
    person, answer = (sides[:, side].astype(float) for side in (0, 1))
    assert np.sqrt(np.mean(person**2)) > 100
    assert np.argmax(np.abs(person) > 500) < np.argmax(np.abs(answer) > 500), "the question must precede its answer"
    kinds = [it["kind"] for it in events]
    assert {"state", "said", "turn"} <= set(kinds)
    assert "self.key" not in data.decode("latin-1")
    assert made.pair.secret not in data


async def test_what_is_commanded_takes_effect(scene):
    made, hub, operator = scene
    await operator.watch("lab-1")
    async with running_robot(made.robot("lab-1"), hub.bound) as robot:
        await robot.welcomed()
        answer = await operator.do(admin.Say, robot="lab-1", text="Dinner is ready.")
        assert answer.ok, answer.words
        await robot.answered(1)
        await operator.until(lambda: operator.of(admin.Event) and operator.view.detail("lab-1").said)
        assert operator.view.detail("lab-1").said[0].text == "Dinner is ready."
        answer = await operator.do(admin.Act, robot="lab-1", name="gesture", args={"name": "nod"})
        assert (answer.ok, answer.words) == (False, "the robot's body cannot be reached")
        answer = await operator.do(admin.ReadPersona, robot="lab-1")
        assert not answer.ok
        assert "no personas" in answer.words
        assert (await operator.do(admin.Revoke, robot="lab-1")).ok
        await operator.until(lambda: "lab-1" not in operator.view.rows)
        await robot.desk.until(lambda: not robot.core.welcomed)
        public = made.robot("lab-1").keys.public.decode()
        await operator.until(lambda: any(it.key == public for it in operator.view._strangers))
        assert not (await operator.do(admin.Admit, robot="lab-1", key="000000")).ok
        answer = await operator.do(admin.Admit, robot="lab-1", key=public[:6])
        assert answer.ok, answer.words
        await robot.welcomed()
        await operator.until(lambda: operator.view.rows["lab-1"].state == "listening")
        assert not operator.view._strangers or all(it.key != public for it in operator.view._strangers)
    assert not (await operator.do(admin.Say, robot="lab-2", text="Hello?")).ok


async def test_nothing_goes_on_while_nobody_watches(scene):
    made, hub, operator = scene
    async with running_robot(made.robot("lab-1"), hub.bound) as robot:
        await robot.welcomed()
        assert not operator.told
        await operator.watch("lab-1")
        await operator.until(lambda: operator.of(admin.Levels))
        operator.link.tell(admin.Unwatch())
        answer = await operator.do(admin.Say, robot="lab-2", text="what is behind this has been taken by the gateway")
        assert not answer.ok
        told = len(operator.told)
        robot.desk.say(SPEECH)
        await robot.answered(1)
        assert len(operator.told) == told


MODEL = 'model = "gemini-3.8-live"'
OLDER = [f'model = "gemini-3.1-flash-live-preview"\n{vad}' for vad in ("", 'vad.mode = "manual"')]
ROBOTS = """[defaults]
{model}
transcripts_to_console = true
recordings = true

[robots.lab-1]
voice = "Puck"      # a favourite
"""


@pytest.fixture
async def gemini_scene(tmp_path, request):
    """A gateway whose robots talk to the simulator, a robots file that it may write, a robot with a body, and an operator."""
    made = Keys(tmp_path, "lab-1")
    path = tmp_path / "robots.toml"
    path.write_text(ROBOTS.format(model=getattr(request, "param", MODEL)))
    shared, problems = personas.read(path)
    assert not problems
    keys, ledger = operator_of(made), Ledger(tmp_path / "ledger.sqlite")
    async with serve() as sim:
        endpoint = Endpoint("the simulator", SecretStr("test-key"), sim.url, sim.root_path)
        voices = Voices(Configuration(lambda: endpoint, shared, path), ledger)
        async with (
            running_hub(made, voices.make) as hub,
            running_admin(hub, made, gemini_office(voices), tmp_path / "recordings") as served,
            operating(made, keys, served.port.port) as operator,
            running_robot(made.robot("lab-1"), hub.bound, make_body=lambda: WavBody(None)) as robot,
        ):
            await robot.welcomed()
            await sim.session(1)
            await operator.watch("lab-1")
            await operator.until(lambda: operator.view.detail("lab-1"))
            yield sim, path, robot, operator
    ledger.close()


@pytest.mark.parametrize("gemini_scene", [MODEL, *OLDER], indirect=True, ids=["3.8", "3.1", "3.1, manual VAD"])
async def test_a_model_says_what_an_operator_asks_for_and_it_costs_what_it_costs(gemini_scene):
    sim, _, robot, operator = gemini_scene
    answer = await operator.do(admin.Say, robot="lab-1", text="Dinner is ready.")
    assert answer.ok, answer.words
    await robot.answered(1)
    [session] = sim.sessions
    assert any("Dinner is ready." in text for text in session.texts)
    await operator.until(lambda: operator.view.rows["lab-1"].turn and operator.view.rows["lab-1"].dollars > 0)


async def test_a_persona_that_is_saved_takes_effect_at_the_robot(gemini_scene):
    sim, path, _, operator = gemini_scene
    table = await operator.do(admin.ReadPersona, robot="lab-1")
    assert (table.text, table.may_save) == ('[robots.lab-1]\nvoice = "Puck"      # a favourite\n', True)
    new = {"text": table.text.replace("Puck", "Aoede"), "was": table.was, "robot": "lab-1"}
    assert (await operator.do(admin.SavePersona, **new, only_check=True)).ok
    assert "Puck" in path.read_text()
    assert (await operator.do(admin.SavePersona, **new)).ok
    assert path.read_text() == ROBOTS.format(model=MODEL).replace("Puck", "Aoede")
    session = await sim.session(2)
    assert "Aoede" in json.dumps(session.setup_json)
    again = await operator.do(admin.SavePersona, **new)
    assert (again.ok, again.words.partition(":")[0]) == (False, "somebody has changed the table since you opened it")


async def test_a_body_is_seen_moving_and_moves(gemini_scene):
    _, _, robot, operator = gemini_scene
    await operator.until(lambda: any(it.pose for it in operator.of(admin.Levels)))
    assert "nod" in operator.view.detail("lab-1").body.gestures
    assert (await operator.do(admin.Act, robot="lab-1", name="gesture", args={"name": "nod"})).ok
    await operator.until(lambda: any(it.pose and it.pose[4] > 5 for it in operator.of(admin.Levels)))
    refused = await operator.do(admin.Act, robot="lab-1", name="gesture", args={"name": "fly"})
    assert "no such gesture" in refused.words
    assert (await operator.do(admin.Record, robot="lab-1", on=True)).ok
    await operator.until(lambda: operator.view.rows["lab-1"].recording)
    await robot.desk.until(lambda: robot.core.recorded)
    await operator.until(lambda: operator.of(admin.Levels)[-1].pose and operator.of(admin.Levels)[-1].pose[7] > 50)
