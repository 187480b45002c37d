"""Finds limits that a robots file no longer has: an editor or a full disk may have truncated it. Pure."""

from gemini_gateway.personas import Personas
from reachy_gateway.provider.usage import Price


def loosened(before: Personas, after: Personas) -> list[str]:
    """The keys of budgets that the file no longer sets, and of prices that are missing or lower than before."""
    gone: list[str] = []
    key = "budget_usd_per_day"
    if before.gateway.budget_usd_per_day is not None and after.gateway.budget_usd_per_day is None:
        gone.append(f"gateway.{key}")
    if before.default.budget_usd_per_day is not None and after.default.budget_usd_per_day is None:
        gone.append(f"defaults.{key}")
    for robot in before.robots:
        was, now = before.of(robot).budget_usd_per_day, after.of(robot).budget_usd_per_day
        own, inherits = was != before.default.budget_usd_per_day, now == after.default.budget_usd_per_day
        if was is not None and own and inherits and (now is None or now > was):
            gone.append(f"robots.{robot}.{key}")
    fallen = [model for model, price in sorted(before.prices.items()) if _falls(price, after.prices.get(model))]
    return gone + [f"prices.{model}" for model in fallen]


def _falls(before: Price, after: Price | None) -> bool:
    """Whether any price of a model is lower now: a number that is cut off at its end is smaller."""
    was, now = (price.model_dump(exclude={"as_of"}) if price else {} for price in (before, after))
    return any(now.get(key, -1) < value for key, value in was.items())
