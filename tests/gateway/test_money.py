"""Money is exact."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reachy_gateway.provider.money import NANO, Money, nano_usd
from reachy_gateway.provider.usage import PRICES, Tokens


@pytest.mark.parametrize(
    ("cost", "nano"),
    [("0", 0), ("1", NANO), ("0.00000075", 750), ("0.000000001", 1), ("0.0000000004", 0), ("12345678.9", 12345678900000000)],
)
def test_dollars_are_so_many_nano_dollars(cost, nano):
    assert nano_usd(Money(cost)) == nano


@given(st.integers(0, 10**18))
def test_whole_nano_dollars_are_themselves(nano):
    assert nano_usd(Money(nano) / NANO) == nano


@given(st.dictionaries(st.sampled_from(["text", "audio", "image"]), st.integers(0, 10**7)), st.sampled_from(sorted(PRICES)))
def test_no_turn_at_these_prices_loses_anything_in_the_store(tokens, model):
    cost = PRICES[model].of(Tokens(tokens, tokens))
    assert Decimal(nano_usd(cost)) / NANO == cost
