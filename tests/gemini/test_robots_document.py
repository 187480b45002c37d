"""A fleet's robots file: several gateways, one shelf, and people who change files."""

import asyncio
from contextlib import asynccontextmanager, suppress

import pytest
from pydantic import SecretStr

from gemini_gateway import personas
from gemini_gateway.configuration import Configuration
from gemini_gateway.endpoint import Endpoint
from gemini_gateway.robots_document import NAME, SHELF, RobotsDocument
from reachy_gateway.fleet.admissions import FIRST
from reachy_gateway.fleet.port import StoreError
from reachy_gateway.fleet.shelf import Thing
from reachy_gateway.provider.ledger import Ledger

KORE = '[defaults]\nvoice = "Kore"\n'
PUCK = '[defaults]\nvoice = "Puck"\n'
AOEDE = '[defaults]\nvoice = "Aoede"\n'
BUDGET = f"[gateway]\nbudget_usd_per_day = 20\n{KORE}"
STRANGE = '[defaults]\ntools = ["no_such_tool"]\n'


class Store:
    def __init__(self) -> None:
        self.things: dict[str, Thing] = {}
        self.away = False

    @property
    def text(self) -> str | None:
        return self.things[NAME].text if NAME in self.things else None


class Shelf:
    """One gateway's view of the shelf, with a test in place of the store. It looks when the test says so."""

    def __init__(self, store: Store) -> None:
        self.store, self.rounds, self.may = store, 0, asyncio.Semaphore(0)

    async def newest(self) -> dict[str, Thing]:
        if self.store.away:
            raise StoreError("it is away")
        return dict(self.store.things)

    async def put(self, things) -> None:
        if self.store.away:
            raise StoreError("it is away")
        for name, thing in things.items():
            if name not in self.store.things or self.store.things[name].version < thing.version:
                self.store.things[name] = thing

    async def news(self) -> None:
        self.rounds += 1
        await self.may.acquire()


class Gateway:
    def __init__(self, directory, store: Store, text: str | None, now_ms: int) -> None:
        self.store, self.now_ms, self.changes = store, now_ms, 0
        directory.mkdir(exist_ok=True)
        self.file = directory / "robots.toml" if text is not None else None
        if self.file:
            self.file.write_text(text)
        self.ledger = Ledger(directory / "ledger.sqlite")
        self.configuration = self.configured()
        self.task: asyncio.Task | None = None

    def configured(self) -> Configuration:
        endpoint = Endpoint("the simulator", SecretStr("test-key"), "http://127.0.0.1:1", None)
        shared, problems = personas.read(self.file)
        assert not problems
        return Configuration(lambda: endpoint, shared, self.file)

    def changed(self) -> None:
        self.changes += 1

    async def start(self) -> None:
        """Start, or start again with what was noted."""
        await self.stop()
        self.configuration = self.configured()
        self.shelf = Shelf(self.store)
        document = RobotsDocument(self.configuration, self.ledger, self.changed, lambda: self.now_ms)
        self.task = asyncio.create_task(document.follow(self.shelf))
        await self.looked(0)

    async def stop(self) -> None:
        if self.task:
            self.task.cancel()
            with suppress(asyncio.CancelledError):
                await self.task

    async def looked(self, was: int) -> None:
        async with asyncio.timeout(5):
            while self.shelf.rounds == was:
                assert self.task
                assert not self.task.done(), "the file must still be followed"
                await asyncio.sleep(0.001)

    async def look(self) -> None:
        was = self.shelf.rounds
        self.shelf.may.release()
        await self.looked(was)

    def edit(self, text: str, *, asked: bool = False) -> list[str]:
        """A person changes the file, and with ``asked`` sends a SIGHUP. Returns the problems in it."""
        self.now_ms += 1
        assert self.file
        self.file.write_text(text)
        return self.configuration.reload(asked=asked, retarget=lambda _: None).mistakes

    @property
    def voice(self) -> str | None:
        return self.configuration.personas.default.voice

    @property
    def budget(self) -> float | None:
        budget = self.configuration.personas.gateway.budget_usd_per_day
        return None if budget is None else float(budget)


@asynccontextmanager
async def fleet(tmp_path, *texts: str | None, store: Store | None = None):
    store = store or Store()
    made = [Gateway(tmp_path / f"g{n}", store, text, 1_000_000 + n) for n, text in enumerate(texts)]
    for gateway in made:
        await gateway.start()
    try:
        yield made
    finally:
        for gateway in made:
            await gateway.stop()
            gateway.ledger.close()


async def everybody_looks(gateways) -> None:
    for _ in range(2):
        for gateway in gateways:
            await gateway.look()


async def test_what_a_person_changes_at_one_gateway_counts_at_all(tmp_path):
    async with fleet(tmp_path, KORE, KORE, KORE) as gateways:
        one, two, three = gateways
        assert one.store.things == {NAME: Thing(FIRST, KORE)}
        for changed, text, voice in ((two, PUCK, "Puck"), (one, AOEDE, "Aoede"), (two, KORE, "Kore")):
            assert changed.edit(text) == []
            await everybody_looks(gateways)
            assert [it.voice for it in gateways] == [voice] * 3
            assert one.store.text == text
        assert three.changes == 3, "and its voices are told each time"
        assert three.file.read_text() == KORE, "its own file is never written"


async def test_a_change_counts_also_where_the_clock_is_behind(tmp_path):
    async with fleet(tmp_path, KORE, KORE) as gateways:
        one, two = gateways
        one.now_ms += 10**9
        one.edit(PUCK)
        await everybody_looks(gateways)
        two.edit(AOEDE)
        await everybody_looks(gateways)
        assert [it.voice for it in gateways] == ["Aoede", "Aoede"]


async def test_at_first_contact_of_different_files_one_counts_at_all_and_the_other_is_said(tmp_path, caplog):
    caplog.set_level("INFO")
    async with fleet(tmp_path, KORE, PUCK, AOEDE) as gateways:
        await everybody_looks(gateways)
        assert [it.voice for it in gateways] == ["Kore"] * 3
        assert caplog.text.count("the fleet's robots file is used, not") == 2
        assert str(gateways[1].file) in caplog.text


@pytest.mark.parametrize("order", [(None, BUDGET), (BUDGET, None), ("", BUDGET)])
async def test_a_gateway_that_has_no_file_takes_nobodys_budget_away(tmp_path, order):
    async with fleet(tmp_path, *order) as gateways:
        await everybody_looks(gateways)
        assert [it.budget for it in gateways] == [20, 20]


async def test_a_gateway_without_a_file_says_nothing_even_if_it_knows_of_one_that_was_there(tmp_path, caplog):
    caplog.set_level("INFO")
    async with fleet(tmp_path, BUDGET, None) as [one, two]:
        await everybody_looks([one, two])
        assert (one.store.text, two.budget) == (BUDGET, 20)
        assert "None" not in caplog.text


async def test_of_no_files_nothing_is_put_there(tmp_path):
    async with fleet(tmp_path, None, None) as gateways:
        await everybody_looks(gateways)
        assert gateways[0].store.things == {}


async def test_a_file_that_takes_a_budget_away_needs_a_signal_where_it_is_and_counts_everywhere_after_it(tmp_path):
    async with fleet(tmp_path, BUDGET, BUDGET) as gateways:
        one = gateways[0]
        [mistake] = one.edit(PUCK)
        assert "gateway.budget_usd_per_day" in mistake
        await everybody_looks(gateways)
        assert [(it.budget, it.voice) for it in gateways] == [(20, "Kore")] * 2
        assert one.edit(PUCK, asked=True) == []
        await everybody_looks(gateways)
        assert [(it.budget, it.voice) for it in gateways] == [(None, "Puck")] * 2


async def test_a_file_at_a_gateway_where_the_fleets_counts_may_not_take_away_its_budget_either(tmp_path):
    async with fleet(tmp_path, KORE, KORE) as gateways:
        one, two = gateways
        one.edit(BUDGET)
        await everybody_looks(gateways)
        assert two.budget == 20
        assert "budget_usd_per_day" in two.edit(PUCK)[0]
        await everybody_looks(gateways)
        assert [it.budget for it in gateways] == [20, 20]
        assert two.configuration.reload(asked=True, retarget=lambda _: None).robots
        await everybody_looks(gateways)
        assert [it.budget for it in gateways] == [None, None]


async def test_a_signal_where_nothing_was_changed_leaves_what_counts(tmp_path):
    async with fleet(tmp_path, KORE, KORE) as gateways:
        one, two = gateways
        one.edit(PUCK)
        await everybody_looks(gateways)
        two.configuration.reload(asked=True, retarget=lambda _: None)
        await everybody_looks(gateways)
        assert [it.voice for it in gateways] == ["Puck", "Puck"]


@pytest.mark.parametrize("text", [STRANGE, "no TOML", "[defaults]\nvoise = 1\n", "\ud800", "a = " + "[" * 5000])
async def test_a_text_that_cannot_be_used_here_is_said_once_and_leaves_the_last_good_one(tmp_path, text, caplog):
    async with fleet(tmp_path, KORE, KORE) as gateways:
        one, two = gateways
        one.store.things[NAME] = Thing(2_000_000, text)
        for _ in range(3):
            await everybody_looks(gateways)
        assert [it.voice for it in gateways] == ["Kore", "Kore"]
        said = [it.message for it in caplog.records if "the last good one stays" in it.message]
        assert len(said) == 2, "once at each"
        assert all("the robots file of the fleet" in words for words in said)
        assert one.store.text == text, "other gateways may be able to use it"
        two.edit(AOEDE)
        await everybody_looks(gateways)
        assert [it.voice for it in gateways] == ["Aoede", "Aoede"], "whatever version it had"


async def test_a_gateway_that_starts_again_while_the_store_is_away_goes_on_with_what_counted(tmp_path):
    async with fleet(tmp_path, KORE, KORE) as gateways:
        one, two = gateways
        one.edit(PUCK)
        await everybody_looks(gateways)
        one.store.away = True
        await two.start()
        assert (two.voice, two.changes) == ("Puck", 2)
        two.edit(AOEDE)
        await two.look()
        await two.start()
        assert two.voice == "Aoede"
        one.store.away = False
        await everybody_looks(gateways)
        assert [it.voice for it in gateways] == ["Aoede", "Aoede"]


async def test_a_file_that_was_changed_while_its_gateway_was_stopped_is_the_newest(tmp_path):
    async with fleet(tmp_path, KORE, KORE) as gateways:
        one, two = gateways
        one.edit(PUCK)
        await everybody_looks(gateways)
        await two.stop()
        two.file.write_text(AOEDE)
        await two.start()
        assert two.voice == "Aoede"
        await everybody_looks(gateways)
        assert [it.voice for it in gateways] == ["Aoede", "Aoede"]


async def test_what_counted_and_cannot_be_used_any_more_is_said_at_the_start(tmp_path, caplog):
    async with fleet(tmp_path, KORE) as [one]:
        one.edit(PUCK)
        await one.look()
        one.ledger.set_note(SHELF, one.ledger.note(SHELF).replace("Puck", "no voice"))
        one.ledger.set_note(SHELF, one.ledger.note(SHELF).replace("voice =", "voise ="))
        await one.start()
        assert one.voice == "Puck", "its own file"
        assert "voise" in caplog.text
        assert "the last good one stays" in caplog.text


@pytest.mark.parametrize("note", ["", "{", "[]", "17", "[1, 2]", "null"])
async def test_a_note_that_nobody_understands_is_none(tmp_path, note):
    async with fleet(tmp_path, KORE) as [one]:
        one.ledger.set_note(SHELF, note)
        await one.start()
        assert one.voice == "Kore"


async def test_a_ledger_that_cannot_be_written_keeps_no_text_from_counting(tmp_path, caplog):
    async with fleet(tmp_path, KORE, KORE) as gateways:
        one, two = gateways
        two.ledger.close()
        one.edit(PUCK)
        await everybody_looks(gateways)
        assert two.voice == "Puck"
        assert "after a restart this gateway would not know which robots file is the newest" in caplog.text


async def test_an_emptied_store_is_filled_again_by_whoever_knows_the_newest(tmp_path):
    async with fleet(tmp_path, KORE, KORE) as gateways:
        one, two = gateways
        one.edit(PUCK)
        await one.look()
        one.store.things.clear()
        await two.look()
        assert one.store.text == KORE
        await everybody_looks(gateways)
        assert one.store.text == PUCK
        assert [it.voice for it in gateways] == ["Puck", "Puck"]
