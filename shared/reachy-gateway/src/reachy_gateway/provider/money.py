"""Money. Pure."""

from decimal import Decimal
from typing import Final

Money = Decimal
"""US dollars, exact decimals."""
NANO: Final = 1_000_000_000


def nano_usd(cost: Money) -> int:
    """Dollars as whole nano-dollars, the unit in which a store adds up. A token of the cheapest kind costs 750 of them."""
    return round(cost * NANO)
