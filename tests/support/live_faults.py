"""Faults of an open session, for tests and benches that break sessions at random."""

from typing import Final

from gemini_live_sim import actions

CALLS: Final = actions.CallTools(
    calls=tuple(
        actions.WantedCall(name=name, args={"seconds": seconds})
        for name, seconds in (("wait", 0.2), ("search", 1.5), ("boogie", 0), ("unstoppable", 0.7), ("raises", 0))
    )
)
"""Several tools at once; some are still busy at the next fault."""
LIVES: Final[tuple[actions.Action, ...]] = (
    *(actions.Close(code=code, reason="The operation was aborted.") for code in (1000, 1007, 1008, 1011)),
    actions.Close(code=1011, reason=actions.DEADLINE),
    actions.Abort(),
    actions.GoAway(time_left_s=0.0),
    actions.GoAway(time_left_s=1.5),
    actions.SendRaw(message={"nobodyKnows": {}}),
    actions.SendRaw(message="[1, 2]"),
    actions.SendRaw(message=b"\xff\x00"),
    actions.SendError(),
    actions.SendBig(n_bytes=1_000_000),
    actions.SendBig(n_bytes=5_000_000),
    actions.ToolCall(name="nobody_has_this"),
    actions.ToolCall(name="wait", args={"seconds": 5}),
    CALLS,
    actions.CancelTools(),
    actions.Interrupt(),
    actions.Stall(for_s=1.0),
    actions.Stall(reading=False, for_s=0.5),
    actions.Stall(),
    actions.Silent(),
)
