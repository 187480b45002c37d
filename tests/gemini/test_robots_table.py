"""One robot's table in a robots file."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini_gateway.robots_table import TableError, digest, table_of, with_table

FILE = """# the lab's robots
[gateway]
budget_usd_per_day = 20 # of all

[defaults]
voice = "Kore"
instruction = \"\"\"
Speak of
[robots.lab-1]
\"\"\"

[robots.lab-1] # by the door
voice = "Puck" # a comment
vad.silence_duration_ms = 300

[robots.lab-1.manner]
turn = true

[robots.lab-2]
voice = "Zephyr"
"""
NEW = """[robots.lab-1]
voice = "Aoede"     # mine

[robots.lab-1.vad]
mode = "manual"
"""


def test_the_table_is_read_with_its_comments_and_nothing_else():
    table = table_of(FILE, "lab-1")
    assert tomllib.loads(table) == {"robots": {"lab-1": tomllib.loads(FILE)["robots"]["lab-1"]}}
    assert "# a comment" in table
    assert "Zephyr" not in table
    assert table_of(FILE, "lab-3") == table_of("", "lab-3") == "[robots.lab-3]\n"


def test_another_takes_its_place_and_everything_around_it_stays():
    text = with_table(FILE, "lab-1", NEW)
    before, after = tomllib.loads(FILE), tomllib.loads(text)
    assert after["robots"].pop("lab-1") == tomllib.loads(NEW)["robots"]["lab-1"]
    del before["robots"]["lab-1"]
    assert after == before
    for comment in ("# the lab's robots", "# of all", "# mine"):
        assert comment in text
    assert with_table(text, "lab-1", table_of(FILE, "lab-1")).count("[robots.lab-1]") == FILE.count("[robots.lab-1]")


@pytest.mark.parametrize("file", ["", "[defaults]\nvoice = 'Kore'\n", "[robots]\n", "[robots]\nlab-1 = {voice = 'Puck'}\n"])
def test_a_robot_that_has_none_gets_one(file):
    assert tomllib.loads(with_table(file, "lab-1", NEW))["robots"]["lab-1"]["voice"] == "Aoede"


@pytest.mark.parametrize(
    "table",
    [
        "",
        "voice = 'Puck'",
        "[robots.lab-2]\nvoice = 'Puck'",
        NEW + "[defaults]\nvoice = 'Puck'",
        NEW + "[robots.lab-2]\n",
        NEW + "[gateway]\nbudget_usd_per_day = 1000000",
        "[robots]\nlab-1 = 3",
        "robots = 3",
        "[robots.lab-1]\nvoice = ",
        "[robots.lab-1]\nvoice = 'a'\nvoice = 'b'",
    ],
)
def test_what_is_not_that_table_alone_is_refused_in_words(table):
    with pytest.raises(TableError):
        with_table(FILE, "lab-1", table)


@pytest.mark.parametrize(
    "file",
    [
        "robots.lab-1.voice = 'Puck'\nrobots.lab-2.voice = 'Zephyr'\n",
        "robots.lab-1.voice = 'Puck'\n[defaults]\nvoice = 'Kore'\n",
        "[robots]\nlab-1.voice = 'Puck'\nlab-2.voice = 'Zephyr'\n",
        "[robots.lab-1.vad]\nmode = 'auto'\n\n[defaults]\nvoice = 'Kore'\n\n[robots.lab-1]\nvoice = 'Puck'\n",
        "[robots.lab-1]\nvoice = 'Puck'\n[defaults]\nvoice = 'Kore'\n[robots.lab-1.manner]\nturn = true\n[robots.lab-2]\n",
    ],
)
def test_however_a_file_is_written_nothing_beside_the_table_changes(file):
    """Dotted keys and tables in odd places: TOML libraries have lost text behind them."""
    before = tomllib.loads(file)
    try:
        after = tomllib.loads(with_table(file, "lab-1", NEW))
    except TableError:
        return
    before["robots"]["lab-1"] = tomllib.loads(NEW)["robots"]["lab-1"]
    assert after == before


def test_a_file_that_is_no_toml_is_said():
    with pytest.raises(TableError, match="not TOML"):
        table_of("[robots", "lab-1")
    with pytest.raises(TableError, match="cannot be changed"):
        with_table("[robots", "lab-1", NEW)


VALUES = st.one_of(st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc"))), st.integers(-9, 9), st.booleans())


@given(st.dictionaries(st.from_regex(r"[a-z_]{1,8}", fullmatch=True), VALUES, max_size=4), st.text(max_size=40))
def test_whatever_is_written_the_other_robots_keep_theirs(values, tail):
    table = "[robots.lab-1]\n" + "".join(f"{key} = {_toml(value)}\n" for key, value in values.items()) + tail
    try:
        after = tomllib.loads(with_table(FILE, "lab-1", table))
    except TableError:
        return
    before = tomllib.loads(FILE)
    assert {**after, "robots": {**after["robots"], "lab-1": 0}} == {**before, "robots": {**before["robots"], "lab-1": 0}}


def _toml(value):
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, int) else '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def test_a_digest_tells_two_tables_apart():
    assert digest(NEW) == digest(NEW) != digest(NEW + " ")
