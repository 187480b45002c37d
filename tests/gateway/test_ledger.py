import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from datetime import date, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reachy_gateway.provider.ledger import Ledger, LedgerError
from reachy_gateway.provider.money import Money
from reachy_gateway.provider.usage import PRICES, Account, Books, Tokens

MONDAY = date(2026, 11, 23)
TUESDAY = MONDAY + timedelta(days=1)
MODEL = "gemini-3.8-live"
TURN = Tokens({"audio": 312, "text": 40}, {"audio": 25, "text": 7})
COST = PRICES[MODEL].of(TURN)
COUNTS = st.dictionaries(st.sampled_from(["text", "audio", "image"]), st.integers(0, 10**9))

BOOKS_AND_DIES = """
import os, signal, sys
from datetime import date
from pathlib import Path
from reachy_gateway.provider.usage import Tokens
from reachy_gateway.provider.ledger import Ledger
from reachy_gateway.provider.money import Money
ledger = Ledger(Path(sys.argv[1]))
for n in range(1, 51):
    ledger.add(date(2026, 11, 23), "a", "s1", "gemini-3.8-live", Tokens({"audio": n}, {}), Money("0.0001"))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def open_ledger(tmp_path):
    """Opens the same file, as often as asked."""
    opened = []

    def ledger() -> Ledger:
        opened.append(Ledger(tmp_path / "our" / "books" / "ledger.sqlite"))
        return opened[-1]

    yield ledger
    for it in opened:
        it.close()


def test_what_was_booked_is_there_when_it_is_opened_again(open_ledger):
    ledger = open_ledger()
    ledger.add(MONDAY, "a", "s1", MODEL, TURN, COST)
    ledger.add(MONDAY, "a", "s1", MODEL, TURN, COST)
    ledger.add(MONDAY, "b", "s1", MODEL, Tokens({"image": 3}, {}), Money("0.000003"))
    ledger.close()
    accounts = open_ledger().accounts(MONDAY)
    tokens = {"in_text": 80, "in_audio": 624, "in_image": 0, "out_text": 14, "out_audio": 50}
    assert accounts["a"] == Account(2, tokens, 2 * COST)
    assert accounts["b"].cost == Money("0.000003")
    assert accounts["b"].tokens["in_image"] == 3
    assert len(accounts) == 2


def test_a_day_has_its_own_turns(open_ledger):
    ledger = open_ledger()
    ledger.add(MONDAY, "a", "s1", MODEL, TURN, COST)
    assert ledger.accounts(TUESDAY) == {}
    ledger.add(TUESDAY, "a", "s1", MODEL, TURN, COST)
    assert ledger.accounts(TUESDAY)["a"].turns == ledger.accounts(MONDAY)["a"].turns == 1


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from("ab"), st.builds(Tokens, COUNTS, COUNTS)), max_size=20))
def test_books_that_are_opened_anew_equal_those_that_were_kept(tmp_path, turns):
    path = tmp_path / f"{len(list(tmp_path.iterdir()))}" / "ledger.sqlite"
    kept, ledger = Books(), Ledger(path)
    for robot, tokens in turns:
        cost = PRICES[MODEL].of(tokens)
        ledger.add(MONDAY, robot, "s1", MODEL, tokens, cost)
        kept.add(MONDAY, robot, "s1", tokens, cost)
    ledger.close()
    ledger = Ledger(path)
    read = Books(ledger.accounts)
    read.open(MONDAY)
    ledger.close()
    assert [read.account(MONDAY, robot) for robot in "ab"] == [kept.account(MONDAY, robot) for robot in "ab"]
    assert read.total(MONDAY) == kept.total(MONDAY)


def test_nothing_that_was_booked_is_lost_when_the_process_is_killed(tmp_path):
    path = tmp_path / "ledger.sqlite"
    died = subprocess.run([sys.executable, "-c", BOOKS_AND_DIES, path], check=False, timeout=30)
    assert died.returncode == -signal.SIGKILL
    ledger = Ledger(path)
    account = ledger.accounts(MONDAY)["a"]
    ledger.close()
    assert (account.turns, account.tokens["in_audio"], account.cost) == (50, 1275, Money("0.0050"))


def test_no_turn_waits_for_the_disk(open_ledger):
    """Only a power cut can lose turns that are not on the disk yet."""
    assert open_ledger()._db.execute("PRAGMA synchronous").fetchone() == (1,), "NORMAL; 2 is FULL, an fsync with each turn"


def test_the_model_and_the_moment_of_a_turn_are_kept_for_who_wants_to_know(open_ledger, tmp_path):
    open_ledger().add(MONDAY, "a", "s1", "another-model", TURN, COST)
    db = sqlite3.connect(tmp_path / "our" / "books" / "ledger.sqlite")
    ((model, at, session),) = db.execute("SELECT model, at, session FROM turns").fetchall()
    assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",), "a reader must not block a writer"
    db.close()
    assert (model, session) == ("another-model", "s1")
    assert at[:2] == "20"


def test_a_ledger_from_before_sessions_were_kept_is_read_and_written_on(tmp_path):
    path = tmp_path / "ledger.sqlite"
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE turns (day TEXT, robot TEXT, model TEXT, at TEXT DEFAULT 'x', prompt TEXT, reply TEXT, cost TEXT)")
    db.execute("INSERT INTO turns VALUES (?, 'a', 'm', 'x', '{\"audio\": 5}', '{}', '0.25')", [MONDAY.isoformat()])
    db.commit()
    db.close()
    for _ in range(2):
        ledger = Ledger(path)
        ledger.add(MONDAY, "a", "s1", MODEL, TURN, COST)
        account = ledger.accounts(MONDAY)["a"]
        ledger.close()
    assert (account.turns, account.cost) == (3, Money("0.25") + 2 * COST)


def test_a_file_that_is_no_ledger_is_refused_in_words(tmp_path):
    path = tmp_path / "ledger.sqlite"
    path.write_text("not a database, but long enough to be taken for one " * 100)
    with pytest.raises(LedgerError, match=r"ledger\.sqlite cannot be used: .*GATEWAY_LEDGER"):
        Ledger(path)
    assert path.read_text().startswith("not a database"), "the file may be a person's"


def test_a_place_that_cannot_be_made_is_refused_in_words(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(LedgerError, match="cannot be used"):
        Ledger(tmp_path / "file" / "ledger.sqlite")
    with pytest.raises(LedgerError, match="cannot be used"):
        Ledger(tmp_path)


def test_a_turn_that_cannot_be_written_is_told_in_words(open_ledger):
    ledger = open_ledger()
    ledger.close()
    with pytest.raises(LedgerError, match="the ledger cannot be written: "):
        ledger.add(MONDAY, "a", "s1", MODEL, TURN, COST)


def test_a_day_that_cannot_be_read_is_no_day_on_which_nothing_was_spent(open_ledger, caplog):
    ledger = open_ledger()
    ledger.close()
    assert ledger.accounts(MONDAY) is None
    assert "cannot be read" in caplog.text


def test_a_turn_that_cannot_be_read_loses_no_other(open_ledger, tmp_path, caplog):
    ledger = open_ledger()
    ledger.add(MONDAY, "a", "s1", MODEL, TURN, COST)
    ledger.add(MONDAY, "b", "s2", MODEL, TURN, COST)
    open_ledger()
    with closing(sqlite3.connect(tmp_path / "our" / "books" / "ledger.sqlite", isolation_level=None)) as other:
        other.execute("UPDATE turns SET prompt = '{\"smell\": 5}' WHERE robot = 'a'")
    assert ledger.accounts(MONDAY)["b"].cost == COST
    assert "a turn of a in the ledger cannot be read" in caplog.text


def test_two_processes_may_have_it_open(tmp_path):
    path = tmp_path / "ledger.sqlite"
    first, second = Ledger(path), Ledger(path)
    first.add(MONDAY, "a", "s1", MODEL, TURN, COST)
    second.add(MONDAY, "a", "s1", MODEL, TURN, COST)
    assert first.accounts(MONDAY)["a"].turns == 2
    first.close()
    second.close()
    assert os.access(path, os.R_OK)


def test_a_turn_that_finds_the_file_locked_is_written_later_and_keeps_nobody_waiting(tmp_path):
    ledger, other = Ledger(tmp_path / "ledger.sqlite"), sqlite3.connect(tmp_path / "ledger.sqlite", isolation_level=None)
    tokens = Tokens({"audio": 10}, {"audio": 5})
    other.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    with pytest.raises(LedgerError, match="locked"):
        ledger.add(MONDAY, "reachy-1", "s", "m", tokens, Money("0.5"))
    assert time.monotonic() - began < 2.0, "sqlite3 waits for 5 s by itself"
    other.execute("ROLLBACK")
    ledger.add(MONDAY, "reachy-1", "s", "m", tokens, Money("0.25"))
    account = ledger.accounts(MONDAY)["reachy-1"]
    assert (account.turns, account.cost) == (2, Money("0.75"))
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(LedgerError):
        ledger.add(MONDAY, "reachy-2", "s", "m", tokens, Money("0.5"))
    other.execute("ROLLBACK")
    ledger.close()
    other.close()
    again = Ledger(tmp_path / "ledger.sqlite")
    assert again.accounts(MONDAY).keys() == {"reachy-1", "reachy-2"}
    again.close()


def test_turns_that_cannot_be_written_to_the_end_are_told(tmp_path, caplog):
    ledger, other = Ledger(tmp_path / "ledger.sqlite"), sqlite3.connect(tmp_path / "ledger.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    for _ in range(2):
        with pytest.raises(LedgerError):
            ledger.add(MONDAY, "a", "s1", MODEL, TURN, COST)
    ledger.close()
    other.close()
    assert "the last 2 turns are lost" in caplog.text


def modes(path):
    return {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir() if file.name.startswith(path.name)}


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_nobody_else_may_read_the_ledger_nor_its_companions_whatever_the_umask_is(tmp_path, umask):
    path, before = tmp_path / "books" / "ledger.sqlite", os.umask(umask)
    try:
        ledger = Ledger(path)
        ledger.add(MONDAY, "a", "s1", MODEL, TURN, COST)
    finally:
        os.umask(before)
    assert modes(path) == dict.fromkeys(["ledger.sqlite", "ledger.sqlite-wal", "ledger.sqlite-shm"], 0o600)
    assert path.parent.stat().st_mode & 0o777 == 0o700
    ledger.close()


def test_a_ledger_that_an_older_gateway_left_open_to_others_is_closed_to_them_and_another_file_is_not(tmp_path):
    path = tmp_path / "ledger.sqlite"
    old = Ledger(path)
    old.add(MONDAY, "a", "s1", MODEL, TURN, COST)
    for file in tmp_path.iterdir():
        file.chmod(0o644)
    new = Ledger(path)
    new.add(MONDAY, "a", "s1", MODEL, TURN, COST)
    old.add(MONDAY, "a", "s1", MODEL, TURN, COST)
    assert modes(path) == dict.fromkeys(["ledger.sqlite", "ledger.sqlite-wal", "ledger.sqlite-shm"], 0o600)
    assert new.accounts(MONDAY)["a"].turns == 3
    old.close()
    new.close()
    (tmp_path / "letter.txt").write_text("somebody's, and long enough to be taken for a database " * 100)
    (tmp_path / "letter.txt").chmod(0o644)
    with pytest.raises(LedgerError):
        Ledger(tmp_path / "letter.txt")
    assert modes(tmp_path / "letter.txt") == {"letter.txt": 0o644}
