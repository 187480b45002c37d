"""Asks a gateway for its metrics over HTTP, as Prometheus does, and reads the answer."""

import asyncio
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families
from rig import Keys, read_wav, running_hub, running_robot

from gemini_gateway.metrics import metrics_of
from gemini_gateway.personas import Gateway, Persona
from gemini_gateway.voices import Voices
from gemini_live_sim.behaviour import Behaviour
from gemini_live_sim.server import serve
from reachy_gateway.fleet.member import Member
from reachy_gateway.fleet.place import parse
from reachy_gateway.fleet.present import Neighbours, Present
from reachy_gateway.fleet.seal import Seal
from reachy_gateway.fleet.valkey import Valkey
from reachy_gateway.hub import Hub
from reachy_gateway.metrics import Metrics, Source
from reachy_service.health import HealthServer

NUMBER = read_wav(Path(__file__).parent.parent / "e2e" / "data" / "number-1.wav")


class Scrape:
    """One answer of the metrics port."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.families = list(text_string_to_metric_families(text))

    def value(self, name: str, **labels: str) -> float | None:
        """The value of the only sample with this name and at least these labels; None if there is none."""
        found = [sample for sample in self.samples(name) if labels.items() <= sample.labels.items()]
        assert len(found) <= 1, found
        return found[0].value if found else None

    def samples(self, name: str) -> list:
        return [sample for family in self.families for sample in family.samples if sample.name == name]

    def labels(self, label: str, *besides: str) -> set[str]:
        """Every value of a label, in all families except those given."""
        families = [family for family in self.families if family.name not in besides]
        return {sample.labels[label] for family in families for sample in family.samples if label in sample.labels}


class Asked:
    """A hub's metrics port."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}/metrics"

    async def scrape(self) -> Scrape:
        return await asyncio.to_thread(self._scrape)

    async def until(self, condition: Callable[[Scrape], object], timeout_s: float = 10.0) -> Scrape:
        """Scrape until a condition holds."""
        async with asyncio.timeout(timeout_s):
            while not condition(scrape := await self.scrape()):
                await asyncio.sleep(0.05)
        return scrape

    def _scrape(self) -> Scrape:
        with urllib.request.urlopen(self.url, timeout=5) as response:  # noqa: S310 - loopback
            assert response.headers["Content-Type"].startswith("text/plain; version=")
            return Scrape(response.read().decode())


@asynccontextmanager
async def asked(hub: Hub, sources: Iterable[Source] = ()) -> AsyncIterator[Asked]:
    """Serve a hub's metrics on their own port."""
    metrics = Metrics(hub, sources)
    health = HealthServer("127.0.0.1", 0, lambda: {"ok": True}, {"/metrics": metrics.page})
    watch = asyncio.create_task(metrics.watch())
    try:
        yield Asked(health.port)
    finally:
        watch.cancel()
        health.close()


def heard_and_billed(scrape: Scrape) -> bool:
    """Whether an answer was heard to its end and billed. The robot reports the first, Gemini the second."""
    heard = scrape.value("reachylink_turns_total", outcome="done") == 1
    return heard and scrape.value("reachylink_tokens_total", robot="reachy-1", kind="out_audio") > 0


def a_fleet() -> Member:
    """The fleet member of a gateway that knew another gateway and has lost its store."""
    member = Member(
        Valkey(parse("redis://:x@127.0.0.1:1"), "x"), Seal(b"x"), lambda: Present(inbox="", name="", robots=0, robots_max=1)
    )
    member.neighbours = Neighbours("", [Present(inbox="it", name="another", robots=1, robots_max=9)])
    return member


async def talked(directory: Path, office: Callable[..., Voices], fleet: Member | None = None) -> dict[str, Scrape]:
    """Scrapes of one conversation: a call, an answer, an interruption, a renewal, a loss, a stranger, a goodbye."""
    made = Keys(directory, "reachy-1", "reachy-2")
    scrapes: dict[str, Scrape] = {}
    async with serve() as sim:
        sim.behaviour = Behaviour(mode="tone", tone_ms=1000, speed=0, thinking_ms=150)
        voices = office(sim, Persona(budget_usd_per_day=5, tools=("what_time_is_it",)), Gateway(budget_usd_per_day=10))
        async with running_hub(made, voices.make) as hub, asked(hub, [partial(metrics_of, voices)]) as port:
            hub.fleet, voices.elsewhere.heard = fleet, fleet is not None
            async with running_robot(made.robot("reachy-1"), hub.bound) as robot:
                await robot.welcomed()
                session = await sim.session(1)
                session.tool_call("what_time_is_it")
                await session.until(lambda it: it.tool_responses)
                robot.desk.say(NUMBER[:24000])
                await robot.answered(1)
                scrapes["answered"] = await port.until(heard_and_billed)
                session.say(20_000)  # ms of a tone
                await robot.desk.until(lambda: len(robot.desk.played) > 32000)
                scrapes["speaking"] = await port.until(lambda it: it.value("reachylink_reply_queue_seconds"))
                robot.desk.say(NUMBER[:24000])
                await robot.answered(3)
                scrapes["cut"] = await port.until(lambda it: it.value("reachylink_turns_total", outcome="done") == 2)
                session.go_away(10.0)
                await sim.session(2)
                renewed = {"cause": "renewal", "robot": "reachy-1"}
                await port.until(
                    lambda it: it.value("reachylink_gemini_reconnects_total", **renewed) == 1
                )  # the gateway has counted the renewal, too
                sim.abort_all()
                await sim.session(3)
                async with running_robot(made.robot("stranger"), hub.bound) as stranger:
                    await stranger.desk.until(lambda: hub.tally.total("key"))
                counted = {"cause": "lost", "robot": "reachy-1"}
                scrapes["lost"] = await port.until(lambda it: it.value("reachylink_gemini_reconnects_total", **counted) == 1)
            scrapes["gone"] = await port.until(lambda it: it.value("reachylink_robots_connected") == 0)
    return scrapes
