"""A reloaded robots file that removes a limit: emptied, cut or half written."""

import asyncio
import logging
import os

import pytest
from pydantic import SecretStr

from gemini_gateway.configuration import Configuration
from gemini_gateway.endpoint import Endpoint
from gemini_gateway.loosening import loosened
from gemini_gateway.personas import read
from gemini_gateway.voices import Voices
from reachy_gateway.provider.ledger import Ledger

WHOLE = """\
[gateway]
budget_usd_per_day = 20
[defaults]
budget_usd_per_day = 5
[robots.reachy-1]
budget_usd_per_day = 1
[robots.reachy-2]
voice = "Puck"
[prices.dear]
as_of = "2026-11-01"
in_text = 1
in_audio = 1
in_image = 1
out_text = 1
out_audio = 1
"""


@pytest.fixture
def changed(tmp_path):
    """The limits that one text removes from another."""

    def changed(before: str, after: str) -> list[str]:
        found = []
        for name, text in (("before", before), ("after", after)):
            (tmp_path / name).write_text(text, encoding="utf-8")
            personas, problems = read(tmp_path / name)
            assert problems == []
            found.append(personas)
        return loosened(*found)

    return changed


def test_an_emptied_file_takes_all_limits_away(changed):
    gone = ["gateway.budget_usd_per_day", "defaults.budget_usd_per_day", "robots.reachy-1.budget_usd_per_day", "prices.dear"]
    assert changed(WHOLE, "") == gone
    assert changed(WHOLE, "# cut\n") == gone


def test_a_file_that_is_cut_between_its_tables_never_takes_a_limit_away_unnoticed(changed):
    """Wherever the file is cut, if it still is TOML."""
    lines = WHOLE.splitlines(keepends=True)
    cut = {n: "".join(lines[:n]) for n in range(len(lines)) if not 8 < n < 15}
    noticed = {n: changed(WHOLE, text) for n, text in cut.items()}
    assert all(noticed.values()), noticed
    assert noticed[5] == ["robots.reachy-1.budget_usd_per_day", "prices.dear"], "its own was lower than what all have"


@pytest.mark.parametrize(
    "after",
    [
        WHOLE,
        WHOLE.replace("= 20", "= 100").replace("= 5", "= 50"),
        WHOLE.replace("budget_usd_per_day = 1\n", "budget_usd_per_day = 2\n"),
        WHOLE.replace('[robots.reachy-2]\nvoice = "Puck"\n', ""),
        WHOLE + "[robots.reachy-3]\nbudget_usd_per_day = 3\n",
    ],
)
def test_a_limit_that_is_raised_in_words_or_a_robot_that_has_none_of_its_own_is_not_told(changed, after):
    assert changed(WHOLE, after) == []


def test_a_price_that_falls_is_told(changed):
    """A lower price makes a budget last longer."""
    assert changed(WHOLE, WHOLE.replace("out_audio = 1", "out_audio = 0.1")) == ["prices.dear"]
    assert changed(WHOLE, WHOLE.replace("out_audio = 1", "out_audio = 2")) == []


def test_a_file_that_never_had_a_limit_takes_none_away(changed):
    assert changed("[robots.reachy-1]\nvoice = 'Puck'\n", "") == []


@pytest.fixture
def voices(tmp_path):
    file = tmp_path / "robots.toml"
    file.write_text(WHOLE, encoding="utf-8")
    ledger = Ledger(tmp_path / "ledger.sqlite")
    made = Voices(Configuration(lambda: Endpoint("none", SecretStr("x")), read(file)[0], file), ledger)
    yield made, file
    ledger.close()


@pytest.mark.parametrize("content", [b"", b"\n", b"[gateway]\n", b"[gateway", "[gateway]\n".encode("utf-16")])
def test_the_last_good_one_stays_and_it_is_said_until_somebody_asks(voices, caplog, content):
    made, file = voices
    file.write_bytes(content)
    made.reload()
    assert (made.budget, made.persona("reachy-1").budget_usd_per_day) == (20, 1)
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert str(file) in record.getMessage()
    assert "the last good one stays" in record.getMessage()


def test_what_a_person_asks_for_counts(voices):
    made, file = voices
    file.write_text("", encoding="utf-8")
    made.reload(asked=True)
    assert (made.budget, made.persona("reachy-1").budget_usd_per_day) == (None, None)


def test_a_file_with_a_byte_order_mark_counts(voices):
    made, file = voices
    file.write_text(WHOLE.replace("= 20", "= 7"), encoding="utf-8-sig")
    made.reload()
    assert made.budget == 7


async def test_a_second_change_within_a_tick_of_the_files_clock_is_seen(voices, monkeypatch):
    made, file = voices
    monkeypatch.setattr("gemini_gateway.voices.WATCH_S", 0.01)
    watch = asyncio.create_task(made.watch())
    await asyncio.sleep(0)
    stat = file.stat()
    file.write_text(WHOLE.replace("= 20", "= 190"), encoding="utf-8")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    async with asyncio.timeout(5):
        while made.budget != 190:
            await asyncio.sleep(0.01)
    watch.cancel()
