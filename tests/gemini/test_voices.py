"""What the voices of a gateway share: lines in the log, the robots file, the key, and names that are forgotten."""

import asyncio
import logging
import os
import time
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from pydantic import SecretStr

from gemini_gateway import personas, voices
from gemini_gateway.configuration import Configuration
from gemini_gateway.endpoint import Endpoint
from gemini_gateway.metrics import metrics_of
from gemini_gateway.personas import Gateway, Persona
from gemini_gateway.session.decisions import SessionPhase
from gemini_gateway.session.meter import Bill
from gemini_gateway.voices import Voices
from reachy_gateway.feed import Feed, KeysChanged
from reachy_gateway.journal import Journal
from reachy_gateway.provider.ledger import Ledger
from reachy_gateway.provider.money import Money
from reachy_gateway.provider.usage import Books, Tokens

NOBODY = SimpleNamespace(url="https://127.0.0.1:9", root_path=None)
TOKENS = Tokens({"audio": 1000}, {"audio": 1000})


# --- lines in the log -------------------------------------------------------------------------------------------------

CAUSES = ("activity_ignored", "unknown_message", "tool_call", "go_away", "refused", "quota", "lost", "unknown_price")


@pytest.mark.parametrize("causes", [*((cause,) for cause in CAUSES), CAUSES], ids="+".join)
def test_a_robot_has_few_lines_whatever_happens_and_however_often(office, caplog, causes):
    shared, began = office(NOBODY), time.monotonic()
    caplog.set_level(logging.DEBUG)
    for n in range(3000):
        shared.count("reachy-1", causes[n % len(causes)], "something happened")
    most = 40 + 2 * (time.monotonic() - began) + len(causes)
    assert 30 < len(caplog.records) <= most
    assert sum(shared.tally.total(cause, "reachy-1") for cause in causes) == 3000, "all are counted"
    shared.count("reachy-2", causes[0], "something happened")
    assert "reachy-2: something happened" in caplog.text, "each robot has its own limit of lines"


def test_the_first_of_each_cause_is_a_warning_though_the_robot_has_used_up_its_lines(office, caplog):
    shared = office(NOBODY)
    caplog.set_level(logging.DEBUG)
    for _ in range(3000):
        shared.count("reachy-1", "activity_ignored", "it marks turns")
    shared.count("reachy-1", "uplink", "it is too slow")
    assert caplog.records[-1].getMessage() == "reachy-1: it is too slow (uplink)"
    assert caplog.records[-1].levelno == logging.WARNING


def test_turns_that_are_billed_without_end_fill_no_log(office, caplog):
    shared = office(NOBODY)
    caplog.set_level(logging.DEBUG)
    for _ in range(500):
        shared.bill("reachy-1", "s", "gemini-3.8-live", Bill(TOKENS))
    assert len(caplog.records) < 60
    assert shared.accounts()["reachy-1"].turns == 500


# --- the robots file and the key --------------------------------------------------------------------------------------


class Office:
    """Voices that follow a robots file and a key file."""

    def __init__(self, tmp_path):
        self.robots, self.key = tmp_path / "robots.toml", tmp_path / "key"
        self.robots.write_text('[defaults]\nvoice = "Kore"\n')
        self.key.write_text("first-key")
        self.ledger = Ledger(tmp_path / "ledger.sqlite")
        shared, problems = personas.read(self.robots)
        assert not problems
        self.voices = Voices(Configuration(self._endpoint, shared, self.robots), self.ledger)
        self.voice = self.voices.make("reachy-1")
        self.voice.session.phase = SessionPhase.REFUSED

    def _endpoint(self):
        key = self.key.read_text()
        if not key:
            raise ValueError(f"{self.key} holds no key")
        return Endpoint("nobody", SecretStr(key), NOBODY.url, None, self.key)

    @property
    def tried_again(self):
        return self.voice.session.phase is SessionPhase.WAITING

    @property
    def key_taken(self):
        return self.voices._configuration.endpoint.key.get_secret_value()

    @property
    def voice_taken(self):
        return self.voices.persona("reachy-1").voice


@pytest.fixture
def followed(tmp_path, caplog):
    caplog.set_level("INFO")
    office = Office(tmp_path)
    yield office
    office.ledger.close()


def mend_the_key(office):
    office.key.write_text("second-key")


def mend_the_file(office):
    office.robots.write_text('[defaults]\nvoice = "Puck"\n')


BROKEN_FILES = ["no toml", "[defaults]\ntemperature = 99\n", None]
BROKEN_KEYS = ["", None]


def read_again(caplog):
    """What the log says to have read again, and to use."""
    told = (record.getMessage().partition("configuration read again: ") for record in caplog.records)
    return [what for _, found, what in told if found]


def replace(path, text):
    path.unlink() if text is None else path.write_text(text)


@pytest.mark.parametrize("broken", BROKEN_FILES, ids=["no TOML", "a mistake", "gone"])
def test_a_mended_key_is_tried_though_the_robots_file_is_broken(followed, caplog, broken):
    replace(followed.robots, broken)
    mend_the_key(followed)
    followed.voices.reload()
    assert (followed.key_taken, followed.voice_taken) == ("second-key", "Kore")
    assert followed.tried_again
    assert read_again(caplog) == ["the key or its server in use"]
    assert caplog.text.count("(the last good one stays in use)") == 1


@pytest.mark.parametrize("broken", BROKEN_KEYS, ids=["empty", "gone"])
def test_a_mended_robots_file_is_taken_though_the_key_cannot_be_read(followed, caplog, broken):
    replace(followed.key, broken)
    mend_the_file(followed)
    followed.voices.reload()
    assert (followed.key_taken, followed.voice_taken) == ("first-key", "Puck")
    assert followed.tried_again
    assert caplog.text.count("(the last good one stays in use)") == 1
    assert read_again(caplog) == ["the robots file in use"]


def test_where_both_are_broken_both_stay_and_nothing_is_tried(followed, caplog):
    replace(followed.robots, "no toml")
    replace(followed.key, "")
    followed.voices.reload()
    assert (followed.key_taken, followed.voice_taken) == ("first-key", "Kore")
    assert not followed.tried_again
    assert caplog.text.count("(the last good one stays in use)") == 2
    assert read_again(caplog) == []


def test_a_broken_robots_file_is_not_told_as_a_key_that_was_read(followed, caplog):
    replace(followed.robots, "no toml")
    followed.voices.reload()
    assert read_again(caplog) == []


def test_without_a_robots_file_and_with_the_same_key_nothing_has_changed(followed, caplog):
    Voices(Configuration(followed._endpoint, personas.read(None)[0]), followed.ledger).reload(asked=True)
    assert read_again(caplog) == ["nothing has changed"]


@pytest.mark.parametrize(("breaks", "mends"), [("robots", mend_the_key), ("key", mend_the_file)])
async def test_a_refused_robot_dials_within_a_second_of_what_was_mended(followed, breaks, mends):
    watch = asyncio.create_task(followed.voices.watch())
    replace(getattr(followed, breaks), "")  # an empty robots file is valid
    if breaks == "robots":
        replace(followed.robots, "no toml")
    async with asyncio.timeout(5):
        await asyncio.sleep(0)
        mends(followed)
        began = time.monotonic()
        while not followed.tried_again:
            await asyncio.sleep(0.01)
    assert time.monotonic() - began < voices.WATCH_S + 0.5
    watch.cancel()
    await asyncio.wait([watch])


async def test_a_file_that_was_changed_and_keeps_its_size_and_time_is_read_anew(followed):
    watch = asyncio.create_task(followed.voices.watch())
    await asyncio.sleep(0)
    was = followed.key.stat()
    other = followed.key.with_suffix(".new")
    other.write_text("other-key")

    os.utime(other, ns=(was.st_atime_ns, was.st_mtime_ns))
    other.replace(followed.key)
    async with asyncio.timeout(5):
        while followed.key_taken != "other-key":
            await asyncio.sleep(0.01)
    watch.cancel()
    await asyncio.wait([watch])


# --- robots that come and go ------------------------------------------------------------------------------------------


async def test_robots_that_are_replaced_leave_nothing_behind_and_the_newest_is_counted(office, monkeypatch):
    monkeypatch.setattr(voices, "WATCH_S", 0.0)
    monkeypatch.setattr(voices, "FORGET_EVERY", 1)
    feed = Feed(pytest.fail)
    journal = Journal(feed)
    shared = office(NOBODY, feed=feed)
    watch = asyncio.create_task(shared.watch())
    for number in range(600):
        robot = f"robot-{number}"
        feed.tell(KeysChanged(frozenset({robot})))
        shared.make(robot)
        shared.count(robot, "lost", "the connection is lost")
        shared.count(robot, "lost", "the connection is lost")
        async with asyncio.timeout(5):
            while shared.voices.keys() != {robot}:
                await asyncio.sleep(0)
    assert dict(shared.tally.counts) == {("lost", "robot-599"): 2}
    assert journal._of_voice.keys() <= {robot}
    watch.cancel()
    await asyncio.wait([watch])


def test_every_robot_of_many_is_counted_under_its_own_name(office):
    shared = office(NOBODY)
    for number in range(300):
        shared.make(f"robot-{number}")
        shared.count(f"robot-{number}", "lost", "the connection is lost")
    assert all(shared.tally.total("lost", f"robot-{number}") == 1 for number in range(300))


# --- budgets ----------------------------------------------------------------------------------------------------------


def test_a_day_is_summed_up_once_for_all_who_ask_and_anew_once_something_is_booked():
    """Every voice asks 5 to 30 times a second."""
    monday = datetime(2026, 11, 23, tzinfo=UTC).date()
    books = Books()
    for number in range(1000):
        books.add(monday, f"robot-{number}", "s", TOKENS, Money("0.001"))
    began = time.perf_counter()
    for _ in range(3000):
        assert books.verdict(monday, "robot-1", None, Money(10)).allowed
    assert time.perf_counter() - began < 0.5, "0.02 s here; each sum of its own is 0.1 ms"
    books.add(monday, "robot-1", "s", TOKENS, Money(9))
    assert not books.verdict(monday, "robot-1", None, Money(10)).allowed
    assert books.verdict(monday.replace(day=24), "robot-1", None, Money(10)).allowed, "another day"
    assert books.total(monday) == Money("10.000")


def test_a_gateways_budget_holds_for_every_robot(office):
    shared = office(NOBODY, Persona(), Gateway(budget_usd_per_day=Money("0.01")))
    assert shared.verdict("reachy-2").allowed
    shared.bill("reachy-1", "s", "gemini-3.8-live", Bill(TOKENS))
    assert not shared.verdict("reachy-2").allowed


# --- metrics ----------------------------------------------------------------------------------------------------------


def told(shared, robots=("reachy-1",)):
    """What Prometheus is told, by type and name."""
    return {
        (family.type, sample.name, sample.labels.get("kind")): sample.value
        for family in metrics_of(shared, robots)
        for sample in family.samples
    }


def test_counters_do_not_fall_at_midnight_and_what_is_of_today_does(office):
    now = [datetime(2026, 11, 29, 23, 59, tzinfo=UTC)]
    shared = office(NOBODY, today=lambda: now[0])
    shared.make("reachy-1")
    shared.bill("reachy-1", "s", "gemini-3.8-live", Bill(TOKENS))
    before = told(shared)
    now[0] = now[0].replace(day=30)
    after = told(shared)
    assert after.keys() == before.keys()
    assert [key for key in before if key[0] == "counter" and after[key] < before[key]] == []
    today = ("reachylink_tokens_today", "reachylink_cost_dollars_today", "reachylink_gateway_cost_dollars_today")
    fell = {key[1] for key in before if after[key] < before[key]}
    assert fell == set(today)
    assert (
        after["counter", "reachylink_tokens_total", "in_audio"]
        == before["gauge", "reachylink_tokens_today", "in_audio"]
        == 1000
    )
    shared.bill("reachy-1", "s", "gemini-3.8-live", Bill(TOKENS))
    assert told(shared)["counter", "reachylink_tokens_total", "in_audio"] == 2000
    assert told(shared)["gauge", "reachylink_tokens_today", "in_audio"] == 1000
