"""A tool that tells how the robot fares."""

from collections.abc import Mapping
from typing import Any, Final

from reachy_gateway.tools.port import Context, NoArguments, Tool

GOOD_RTT_MS: Final = 50.0
FAIR_RTT_MS: Final = 150.0
AHEAD_DEG: Final = 10
"""Up to this angle the person counts as straight ahead, because the microphones are no more exact."""


class RobotStatus(Tool[NoArguments]):
    """The robot's link, its last answer's latency, what is left of its budget, and where the person was heard."""

    name = "robot_status"
    description = (
        "Tells how this robot fares: its network link, how long its last answer took, how much of today's budget is left, "
        "and from which side it heard the person. "
        "Call it when the person asks how the connection is, why answers are slow, what is left to spend, or where they are."
    )
    arguments = NoArguments
    deadline_s = 2.0

    async def call(self, _arguments: NoArguments, context: Context) -> Mapping[str, Any]:
        """Each of these, in words."""
        vitals, left = context.vitals, context.budget_left_usd
        told = {"link": "unknown", "last_answer": "unknown", "budget": "no limit is set"}
        if vitals and vitals.rtt_ms is not None:
            rtt_ms = vitals.rtt_ms
            grade = "good" if rtt_ms < GOOD_RTT_MS else "fair" if rtt_ms < FAIR_RTT_MS else "poor"
            told["link"] = f"{grade}: {rtt_ms:.0f} ms to the gateway and back"
        if vitals and vitals.last_turn_ms is not None:
            told["last_answer"] = f"began {vitals.last_turn_ms / 1000:.1f} seconds after the person had spoken"
        if vitals:
            if vitals.person_deg is not None:
                told["person"] = side(vitals.person_deg)
            told["connected_for"] = f"{vitals.connected_s / 60:.0f} minutes"
        if left is not None:
            told["budget"] = f"{max(left, type(left)(0)):.2f} dollars are left for today"
        return told


def side(to_the_left_deg: float) -> str:
    """A direction in words."""
    deg = round(abs(to_the_left_deg))
    if deg <= AHEAD_DEG:
        return "straight ahead"
    return f"{deg} degrees to the robot's {'left' if to_the_left_deg > 0 else 'right'}"
