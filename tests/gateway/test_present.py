"""A gateway's state as it tells the fleet."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reachy_gateway.fleet.present import Present

ONE = Present(inbox="i", name="gateway-1", where="10.0.0.1:5555", robots=3, robots_max=20, draining=True, software="x 1.0")
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(st.builds(Present, inbox=TEXT, name=TEXT, where=TEXT, robots=st.integers(0, 10**6), robots_max=st.integers(0, 10**6)))
def test_what_one_tells_another_reads(present):
    assert Present.read(present.text()) == present


def test_what_a_newer_one_tells_beside_is_passed_over_and_what_an_older_one_leaves_out_is_empty():
    told = json.loads(ONE.text())
    assert Present.read(json.dumps(told | {"load": 0.5})) == ONE
    older = {key: told[key] for key in ("inbox", "name", "robots", "robots_max")}
    assert Present.read(json.dumps(older)) == Present(inbox="i", name="gateway-1", robots=3, robots_max=20)


@pytest.mark.parametrize(
    "text", [None, "", "{", "[]", "17", "null", "{}", '{"inbox": "i", "name": 5, "robots": 1, "robots_max": 1}', "\ud800"]
)
def test_what_nobody_understands_is_nobody(text):
    assert Present.read(text) is None
