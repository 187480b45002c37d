"""What the admin port is told of Gemini's voices, and what it may change in the robots file."""

import sys
from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import SecretStr

from gemini_gateway import personas
from gemini_gateway.configuration import Configuration
from gemini_gateway.endpoint import Endpoint
from gemini_gateway.office import GeminiOffice, paste
from gemini_gateway.session.meter import Bill
from gemini_gateway.voices import Voices
from reachy_gateway.admin.office import OfficeError
from reachy_gateway.provider.ledger import Ledger
from reachy_gateway.provider.usage import Tokens

FILE = """[gateway]
budget_usd_per_day = 20 # of all

[robots.lab-1] # by the door
voice = "Puck" # a comment

[robots.lab-2]
voice = "Zephyr"
"""
TOOLS = {"what_time_is_it", "gesture"}


@pytest.fixture
def made(tmp_path):
    """An office, its voices, and the robots file, which is writable unless a test says otherwise."""
    ledger = Ledger(tmp_path / "ledger.sqlite")

    def make(text: str | None = FILE):
        path = tmp_path / "robots" / "robots.toml"
        if text is not None:
            path.parent.mkdir()
            path.write_text(text)
        shared, problems = personas.read(path if text is not None else None, None, TOOLS)
        assert not problems
        endpoint = Endpoint("the simulator", SecretStr("k"), "https://127.0.0.1:1")
        configuration = Configuration(lambda: endpoint, shared, path if text is not None else None, None, TOOLS)
        voices = Voices(configuration, ledger)
        return GeminiOffice(voices, configuration, TOOLS, None), voices, path

    yield make
    ledger.close()


async def saved(office, text, *, only_check=False):
    table = await office.read_persona("lab-1")
    return await office.save_persona("lab-1", text, table.digest, only_check=only_check)


async def test_a_persona_is_read_checked_and_saved(made):
    office, voices, path = made()
    table = await office.read_persona("lab-1")
    assert table.may_save
    new = table.text.replace("Puck", "Aoede")
    assert "the table is correct" in await saved(office, new, only_check=True)
    assert path.read_text() == FILE
    assert "saved" in await saved(office, new)
    assert path.read_text() == FILE.replace("Puck", "Aoede")
    assert voices.persona("lab-1").voice == "Aoede"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("temperature = 9", "temperature"),
        ("nothing_like_that = 1", "nothing_like_that"),
        ('tools = ["launch"]', "launch"),
        ("budget_usd_per_day = 1000", "budget_usd_per_day"),
        ("transcripts_to_file = true", "transcripts_to_file"),
        ("transcripts_to_console = true", "transcripts_to_console"),
        ("recordings = true", "recordings"),
        ("]]", "not TOML"),
    ],
)
async def test_what_is_wrong_or_not_an_operators_is_said_and_nothing_is_saved(made, line, words):
    office, voices, path = made()
    for only_check in (True, False):
        with pytest.raises(OfficeError, match=words):
            await saved(office, f"[robots.lab-1]\n{line}\n", only_check=only_check)
    assert path.read_text() == FILE
    assert voices.persona("lab-1").voice == "Puck"


async def test_of_two_who_change_it_the_second_is_told(made):
    office, _, _ = made()
    table = await office.read_persona("lab-1")
    await office.save_persona("lab-1", table.text.replace("Puck", "Aoede"), table.digest, only_check=False)
    with pytest.raises(OfficeError, match="read it again"):
        await office.save_persona("lab-1", table.text.replace("Puck", "Zephyr"), table.digest, only_check=False)
    other = await office.read_persona("lab-2")
    await office.save_persona("lab-2", other.text, other.digest, only_check=False)


async def test_where_the_file_is_not_the_gateways_the_text_is_to_be_pasted(made, monkeypatch):
    office, _, path = made()
    monkeypatch.setattr("os.access", lambda *_: False)  # the user of this test may be root
    table = await office.read_persona("lab-1")
    assert not table.may_save
    assert f"may not write {path}: paste" in table.words
    with pytest.raises(OfficeError, match="the table is correct, but"):
        await saved(office, table.text.replace("Puck", "Aoede"))
    assert path.read_text() == FILE


async def test_without_a_robots_file_a_text_is_checked_all_the_same(made):
    office, _, _ = made(None)
    assert (await office.read_persona("lab-1")).text == "[robots.lab-1]\n"
    assert "the table is correct" in await saved(office, "[robots.lab-1]\nvoice = 'Puck'", only_check=True)
    with pytest.raises(OfficeError, match="this gateway has no robots file: make your own"):
        await saved(office, "[robots.lab-1]\nvoice = 'Puck'")


def test_what_to_do_depends_on_whose_file_it_is():
    assert paste(Path("/config/robots.toml")).startswith("this gateway may not write /config/robots.toml: paste")
    assert "comes with the program and cannot be changed: make your own" in paste(Path(sys.prefix, "demo.toml"))


async def test_a_file_that_became_unreadable_is_said(made):
    office, _, path = made()
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(OfficeError, match=r"robots.toml"):
        await office.read_persona("lab-1")
    path.unlink()
    with pytest.raises(OfficeError, match="cannot be read"):
        await office.read_persona("lab-1")


async def test_what_is_spent_and_what_may_be(made):
    office, voices, _ = made(FILE.replace('"Zephyr"', '"Zephyr"\nbudget_usd_per_day = 3\nrecordings = true'))
    voices.bill("lab-2", "session", "gemini-3.8-live", Bill(Tokens({"audio": 1_000_000})))
    spending = office.spending()
    assert spending.robots == {"lab-2": Decimal(3)}
    assert spending.budgets == {"lab-2": Decimal(3)}
    assert spending.budget == Decimal(20)
    assert office.permits("lab-2").recordings
    assert not office.permits("lab-1").recordings
    assert not office.permits("anybody").transcripts
    assert office.service() == "the simulator"
