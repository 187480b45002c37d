"""Data in a store is sealed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reachy_gateway.fleet.seal import NONCE_BYTES, Seal

SEAL = Seal(b"the gateways' secret key")
ANY = st.text(st.characters(exclude_categories=()), max_size=200)


@given(ANY, ANY)
def test_a_text_opens_at_its_place_as_it_was(text, place):
    place = place.encode(errors="replace").decode()
    sealed = SEAL.close(text, place)
    assert SEAL.open(sealed, place) == text
    assert Seal(b"the gateways' secret key").open(sealed, place) == text, "as another gateway of the fleet does it"


@given(ANY)
def test_it_opens_nowhere_else_and_for_nobody_else(text):
    sealed = SEAL.close(text, "robot reachy-1")
    assert SEAL.open(sealed, "robot reachy-2") is None
    assert SEAL.open(sealed, "") is None
    assert Seal(b"the secret key of another fleet").open(sealed, "robot reachy-1") is None


@given(ANY, st.data())
def test_a_sealed_text_that_was_changed_is_nothing(text, data):
    sealed = bytearray(SEAL.close(text, "here"))
    at = data.draw(st.integers(0, len(sealed) - 1))
    sealed[at] ^= data.draw(st.integers(1, 255))
    assert SEAL.open(bytes(sealed), "here") is None
    assert SEAL.open(bytes(sealed[:at]), "here") is None


@given(st.binary(max_size=100))
def test_what_nobody_sealed_is_nothing(noise):
    assert SEAL.open(noise, "here") is None


@pytest.mark.parametrize("text", ["", "x", "\ud800"])
def test_who_reads_the_store_sees_neither_the_text_nor_whether_it_is_the_same(text):
    one, two = SEAL.close(text, "here"), SEAL.close(text, "here")
    assert one != two
    assert one[:NONCE_BYTES] != two[:NONCE_BYTES]
    assert b"secret words" not in SEAL.close("secret words", "here")
