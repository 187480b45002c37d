"""Operators and viewers at the console: what their pages are told, and which commands they may give."""

import asyncio
import http.client
import io
import zipfile
from contextlib import AsyncExitStack, closing

import pytest
from operating import Permissive, operator_of, running_admin
from pages import running_console
from rig import Keys, running_hub, running_robot

from mock_gateway.voice import MockVoice
from reachy_console import gateways
from reachy_gateway.admin import port as admin_port
from reachy_gateway.admin import recordings
from reachy_link.address import Address
from reachy_link.bucket import Rate

pytestmark = pytest.mark.timeout(60)
COMMANDS = [
    {"kind": "admit", "robot": "lab-3", "key": "abcdef"},
    {"kind": "revoke", "robot": "lab-1"},
    {"kind": "say", "robot": "lab-1", "text": "hello"},
    {"kind": "act", "robot": "lab-1", "name": "stop"},
    {"kind": "read_persona", "robot": "lab-1"},
    {"kind": "save_persona", "robot": "lab-1", "text": "", "was": ""},
    {"kind": "record", "robot": "lab-1", "on": True},
    {"kind": "fetch", "recording": "lab-1-20260101-000000"},
]


@pytest.fixture
async def scene(tmp_path):
    """A robot at one of two gateways, and a console that knows both."""
    made = Keys(tmp_path, "lab-1", "lab-2", "browser-1")
    keys = operator_of(made)
    async with (
        running_hub(made, lambda *_: MockVoice()) as hub,
        running_hub(made, lambda *_: MockVoice()) as other,
        running_admin(hub, made, Permissive(), tmp_path / "recordings") as one,
        running_admin(other, made, Permissive()) as two,
        running_robot(made.robot("lab-1"), hub.bound) as robot,
    ):
        await robot.welcomed()
        ports = [f"127.0.0.1:{served.port.port}" for served in (one, two)]
        where = [Address("127.0.0.1", hub.bound.up_port, hub.bound.down_port)]
        async with running_console(made, where, ("browser-1",), operator=keys, admin=",".join(ports)) as console:
            yield made, hub, robot, console, ports


def states(page) -> dict[str, set[str]]:
    """The last state of each robot that a page was told, by gateway."""
    told = {}
    for news in page.kinds("fleet"):
        for row in news["it"]["rows"]:
            told[news["gateway"], row["robot"]] = row["state"]
    return {robot: {state for (_, known), state in told.items() if known == robot} for _, robot in told}


async def do(page, n: int, gateway: str = "", **command) -> list[dict]:
    await page.tell({"kind": "command", "gateway": gateway, "do": {"v": 1, "id": n, **command}})
    await page.until(lambda: any(it["it"]["id"] == n for it in page.kinds("done")))
    return [it for it in page.kinds("done") if it["it"]["id"] == n]


async def test_behind_a_name_of_several_addresses_is_a_gateway_at_each_as_they_come_and_go(tmp_path, monkeypatch):
    monkeypatch.setattr(gateways, "LOOK_UP_S", 0.1)
    made = Keys(tmp_path, "lab-1", "browser-1")
    keys, found = operator_of(made), ["127.0.0.1"]
    async with (
        running_hub(made, lambda *_: MockVoice()) as hub,
        running_hub(made, lambda *_: MockVoice()) as other,
        running_admin(hub, made) as one,
        AsyncExitStack() as second,
        running_console(
            made,
            [Address("127.0.0.1", hub.bound.up_port, hub.bound.down_port)],
            ("browser-1",),
            operator=keys,
            look_up=lambda _: found,
            admin=f"localhost:{one.port.port}",
        ) as console,
        console.page(console.let_in()) as page,
    ):

        def here() -> set[str]:
            told = page.kinds("gateways")
            return {it["name"].split(":")[0] for it in told[-1]["gateways"] if it["standing"] == "here"} if told else set()

        await second.enter_async_context(running_admin(other, made, port=one.port.port, host="127.0.0.2"))
        await page.tell({"kind": "look", "fleet": True})
        await page.until(lambda: here() == {"localhost"})
        found.append("127.0.0.2")
        await page.until(lambda: here() == {"127.0.0.1", "127.0.0.2"})
        found.append("::1")  # the same gateways by another address family
        found.remove("127.0.0.2")
        await page.until(lambda: len(page.kinds("gateways")) > 6 and here() == {"127.0.0.1", "127.0.0.2"})  # meanwhile
        await second.aclose()
        await page.until(lambda: len(page.kinds("gateways")[-1]["gateways"]) == 1)
        found.clear()  # a name server that briefly fails
        told = len(page.kinds("gateways"))
        await page.until(lambda: len(page.kinds("gateways")) > told + 1)
        assert here() == {"127.0.0.1"}


async def test_a_gateway_that_two_names_lead_to_is_one(tmp_path):
    made = Keys(tmp_path, "lab-1", "browser-1")
    keys = operator_of(made)
    addresses = [Address("10.0.0.1", 5559, 1), Address("gateways.lab", 5559, 1)]
    known = gateways.Gateways(keys, made.pair.public, addresses, lambda: False, lambda _: [])
    known._found["gateways.lab"] = ["10.0.0.1", "10.0.0.2"]
    known._settle()
    links = {gateway.name: link for gateway, link in known._known}
    assert sorted(links) == ["10.0.0.1:5559", "10.0.0.2:5559"]
    known._settle()
    assert {gateway.name: link for gateway, link in known._known} == links


async def test_a_page_that_looks_is_told_of_all_gateways_and_commands_one_or_all(scene):
    _, _, robot, console, ports = scene
    async with console.page(console.let_in()) as page:
        assert not page.kinds("fleet")
        await page.tell({"kind": "look", "fleet": True, "robot": "lab-1"})
        await page.until(lambda: states(page).get("lab-1") == {"listening", "absent"})
        await page.until(lambda: {it["standing"] for it in page.kinds("gateways")[-1]["gateways"]} == {"here"})
        await page.until(lambda: any(it["it"]["may_record"] for it in page.kinds("detail")))
        [done] = await do(page, 5, ports[0], kind="say", robot="lab-1", text="Hello there.")
        assert done["it"]["ok"]
        await robot.answered(1)
        await page.until(lambda: any((it["it"]["said"] or {}).get("text") == "Hello there." for it in page.kinds("event")))
        await page.until(lambda: any(it["it"]["turn"] for it in page.kinds("event")))
        answers = await do(page, 6, kind="say", robot="lab-2", text="Hello there.")
        await page.until(lambda: len(page.kinds("done")) == 3)
        assert not answers[0]["it"]["ok"]
        [unknown] = await do(page, 7, "elsewhere:1", kind="say", robot="lab-1", text="Hello there.")
        assert "knows of no gateway" in unknown["it"]["words"]
        await page.tell({"kind": "look", "fleet": False, "robot": None})
        [_] = await do(page, 8, ports[0], kind="say", robot="lab-2", text="behind the look")
        told = len(page.told)
        [_] = await do(page, 9, ports[0], kind="say", robot="lab-2", text="behind the look")
        assert [it["kind"] for it in page.told[told:]] == ["done"]


async def test_a_second_page_finds_everything_and_a_first_look_dials(scene):
    _, _, _, console, _ = scene
    async with console.page(console.let_in()) as first:
        await first.tell({"kind": "look", "fleet": True, "robot": "lab-1"})
        await first.until(lambda: first.kinds("detail"))
        async with console.page(console.let_in()) as second:
            await second.tell({"kind": "look", "fleet": False, "robot": "lab-1"})
            await second.until(lambda: any(it["it"]["notes"] for it in second.kinds("detail")))
            await second.until(lambda: states(second).get("lab-1") == {"listening", "absent"})
            assert second.kinds("fleet")[0]["it"]["afresh"]


@pytest.mark.parametrize("command", COMMANDS, ids=[it["kind"] for it in COMMANDS])
async def test_a_viewer_sees_and_commands_nothing(scene, command):
    made, hub, robot, console, ports = scene
    async with console.page(console.let_in("viewer")) as page:
        await page.tell({"kind": "look", "fleet": True, "robot": None})
        await page.until(lambda: states(page).get("lab-1") == {"listening", "absent"})
        [done] = await do(page, 3, ports[0], **command)
        assert (done["it"]["ok"], done["it"]["words"]) == (False, "a viewer may not command: ask for an operator's link")
    assert not robot.core.recorded
    assert hub.admitted == {"lab-1", "lab-2", "browser-1"}
    del made


async def fetched(console, cookie: str, query: str) -> tuple[int, bytes]:
    def ask() -> tuple[int, bytes]:
        line = http.client.HTTPConnection("127.0.0.1", console.port, timeout=10)
        line.request("GET", f"/recording?{query}", headers={"Cookie": f"{console.cookie_name}={cookie}"})
        with closing(line):
            response = line.getresponse()
            return response.status, response.read()

    return await asyncio.to_thread(ask)


async def test_a_recording_is_fetched_by_operators_alone(scene):
    _, _, robot, console, ports = scene
    cookie = console.let_in()
    async with console.page(cookie) as page:
        await page.tell({"kind": "look", "fleet": True, "robot": "lab-1"})
        await page.until(lambda: page.kinds("detail"))
        [done] = await do(page, 1, ports[0], kind="record", robot="lab-1", on=True)
        assert done["it"]["ok"], done["it"]["words"]
        await robot.desk.until(lambda: robot.core.recorded)
        [again] = await do(page, 2, ports[0], kind="record", robot="lab-1", on=True)
        assert "one at a time" in again["it"]["words"]
        [done] = await do(page, 3, ports[0], kind="record", robot="lab-1", on=False)
        assert done["it"]["ok"], done["it"]["words"]
        await page.until(lambda: any(it["it"]["recordings"] for it in page.kinds("fleet")))
        [found] = next(it["it"]["recordings"] for it in page.kinds("fleet") if it["it"]["recordings"])
    query = f"gateway={ports[0]}&id={found['id']}"
    status, data = await fetched(console, cookie, query)
    assert status == 200
    assert len(data) == found["size_bytes"]
    assert zipfile.ZipFile(io.BytesIO(data)).namelist() == ["about.json", "events.jsonl", "sound.wav"]
    assert (await fetched(console, console.let_in("viewer"), query))[0] == 403
    assert (await fetched(console, "nobody", query))[0] == 403
    for wrong in (f"gateway={ports[1]}&id={found['id']}", f"gateway=x&id={found['id']}", f"gateway={ports[0]}&id=../x", ""):
        assert (await fetched(console, cookie, wrong))[0] == 404


async def test_a_long_recording_comes_whole(scene, monkeypatch):
    """A gateway answers a limited number of requests a second of one console, and drops the others."""
    monkeypatch.setattr(recordings, "PIECE_MAX_BYTES", 2000)
    monkeypatch.setattr(admin_port, "REQUESTS", Rate(50, 5))
    made, _, robot, console, ports = scene
    cookie = console.let_in()
    async with console.page(cookie) as page:
        await page.tell({"kind": "look", "fleet": True, "robot": "lab-1"})
        await page.until(lambda: page.kinds("detail"))
        [done] = await do(page, 1, ports[0], kind="record", robot="lab-1", on=True)
        assert done["it"]["ok"], done["it"]["words"]
        began = len(robot.desk.said)
        await robot.desk.until(lambda: len(robot.desk.said) > began + 32000)
        [_] = await do(page, 2, ports[0], kind="record", robot="lab-1", on=False)
        await page.until(lambda: any(it["it"]["recordings"] for it in page.kinds("fleet")))
        [found] = next(it["it"]["recordings"] for it in page.kinds("fleet") if it["it"]["recordings"])
    status, data = await fetched(console, cookie, f"gateway={ports[0]}&id={found['id']}")
    assert (status, len(data)) == (200, found["size_bytes"])
    assert found["size_bytes"] > 40 * 2000
    del made


async def test_pages_that_look_here_and_there_ask_the_gateways_no_more_for_it(scene):
    _, hub, _, console, ports = scene
    async with console.page(console.let_in("viewer")) as viewer, console.page(console.let_in()) as page:
        for n in range(200):
            await viewer.tell({"kind": "look", "fleet": True, "robot": f"lab-{n % 2 + 1}"})
        await page.tell({"kind": "look", "fleet": True, "robot": "lab-1"})
        [done] = await do(page, 1, ports[0], kind="say", robot="lab-1", text="Hello.")
        assert done["it"]["ok"], done["it"]["words"]
        await page.until(lambda: any(it["gateway"] == ports[0] and it["it"]["notes"] for it in page.kinds("detail")))
    assert not [cause for cause, _ in hub.tally.counts if cause == "flood"]


async def test_what_was_said_is_kept_no_longer_than_somebody_looks(scene):
    _, _, robot, console, ports = scene
    async with console.page(console.let_in()) as page:
        await page.tell({"kind": "look", "fleet": True, "robot": "lab-1"})
        await page.until(lambda: page.kinds("detail"))
        [_] = await do(page, 1, ports[0], kind="say", robot="lab-1", text="Hello there.")
        await robot.answered(1)
        await page.until(lambda: any(it["it"]["said"] for it in page.kinds("event")))
        await page.tell({"kind": "look", "fleet": True, "robot": None})
        [_] = await do(page, 2, ports[0], kind="say", robot="lab-2", text="behind the look")
        gateways = console.console._gateways
        assert all(gateway.detail("lab-1") is None for gateway, _ in gateways._known)
        told = len(page.kinds("detail"))
        await page.tell({"kind": "look", "fleet": True, "robot": "lab-1"})
        await page.until(lambda: any(it["it"]["said"] for it in page.kinds("detail")[told:]))


async def test_too_much_at_once_and_what_makes_no_sense(scene):
    _, _, _, console, ports = scene
    async with console.page(console.let_in()) as page:
        await page.tell({"kind": "look", "fleet": True, "robot": None})
        await page.until(lambda: states(page).get("lab-1"))
        for n in range(12):
            command = {"v": 1, "id": n, "kind": "read_persona", "robot": "lab-1"}
            await page.tell({"kind": "command", "gateway": ports[0], "do": command})
        await page.until(lambda: len(page.kinds("done")) == 12)
        assert any("too many commands" in it["it"]["words"] for it in page.kinds("done"))
        await page.tell({"kind": "command", "gateway": "", "do": {"v": 1, "id": 1, "kind": "launch", "robot": "lab-1"}})
        await page.until(lambda: page.closed)
        assert page.closed[0] == 1008
