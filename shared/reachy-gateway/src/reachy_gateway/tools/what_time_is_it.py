"""A tool that tells the time, which a model does not know."""

from collections.abc import Mapping
from typing import Any

from reachy_gateway.tools.port import Context, NoArguments, Tool


class WhatTimeIsIt(Tool[NoArguments]):
    """Tells the time of the gateway's clock."""

    name = "what_time_is_it"
    description = "Tells the time of day, the date and the time zone. Call it when the person asks for any of these."
    arguments = NoArguments
    deadline_s = 2.0

    async def call(self, _arguments: NoArguments, context: Context) -> Mapping[str, Any]:
        """The time and the date in words and digits."""
        now = context.now
        return {"time": f"{now:%H:%M}", "date": f"{now:%A}, {now.day} {now:%B %Y}", "time_zone": now.tzname() or "unknown"}
