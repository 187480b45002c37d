"""What happens to a movement: each row of the table in ``docs/protocol.md``, at the robot's core."""

from collections.abc import Callable

import pytest
from core_rig import BOOT, Rig, connected

from reachy_link.messages import Act, Acted, BeatDown, Cancel, Flush, Leave, Refuse, State
from reachy_robot.motion.pose import NEUTRAL
from reachy_robot.trouble import Trouble

OTHER_GATEWAY = "b" * 16


def dancing(name: str = "dance") -> Rig:
    """A robot that dances to its left and right, or makes a long gesture."""
    rig = connected()
    rig.take(rig.core.body(rig.now, NEUTRAL))
    what = {"name": "sway", "seconds": 30.0} if name == "dance" else {"name": "celebrate"}
    rig.tell(Act, to_boot=BOOT, id=1, name=name, args=what, turn=1)
    swing(rig, 1.0)
    return rig


def swing(rig: Rig, seconds: float, *, beats: bool = True) -> tuple[float, float]:
    """How far the head swings sideways in the last half of the time, in mm, and its height at the end, in mm."""
    sides: list[float] = []
    steps = round(seconds / 0.02)
    for step in range(steps):
        rig.run(0.02, beats=beats)
        pose, out = rig.core.pose(rig.now)
        rig.take(out)
        if pose is None:
            return 0.0, 0.0
        if step > steps / 2:
            sides.append(pose.y_mm)
    return max(sides) - min(sides), pose.z_mm


def outcomes(rig: Rig) -> list[str]:
    """The outcomes of the first act."""
    return list(dict.fromkeys(it.outcome for it in rig.sent(Acted) if it.id == 1))


def lose_the_sound(rig: Rig) -> None:
    rig.lose_device()
    rig.run(0.5)
    rig.open_device()


GOES_ON: dict[str, Callable[[Rig], object]] = {
    "an interruption": lambda rig: rig.tell(Flush, turn=5),
    "the gateway refuses the robot": lambda rig: rig.tell(Refuse, reason="no room"),
    "the key is revoked": lambda rig: rig.take(rig.core.trouble(Trouble("key", "it refused this robot's key"), rig.now)),
    "the gateway is being stopped": lambda rig: rig.tell(Leave, to_boot=BOOT, reason="it is being stopped"),
    "the voice is refused": lambda rig: rig.tell(State, state="refused", reason="no budget"),
    "the sound is lost and made anew": lose_the_sound,
}
ENDS: dict[str, Callable[[Rig], object]] = {
    "cancel": lambda rig: rig.tell(Cancel, to_boot=BOOT, id=1),
    "stop": lambda rig: rig.tell(Act, to_boot=BOOT, id=2, name="stop"),
    "another act": lambda rig: rig.tell(Act, to_boot=BOOT, id=2, name="gesture", args={"name": "nod"}),
    "another boot of the gateway": lambda rig: rig.tell(BeatDown, boot=OTHER_GATEWAY),
    "the body is lost": lambda rig: rig.take(rig.core.body(rig.now, None, "it was unplugged")),
}


@pytest.mark.parametrize("what", GOES_ON)
def test_a_dance_goes_on_whatever_befalls_the_conversation(what):
    rig = dancing()
    GOES_ON[what](rig)
    assert swing(rig, 4.0)[0] > 5


@pytest.mark.parametrize("what", ENDS)
def test_a_dance_ends_with_what_ends_it(what):
    rig = dancing()
    ENDS[what](rig)
    assert swing(rig, 4.0)[0] < 1
    if what != "another boot of the gateway":  # it knows of no act
        assert outcomes(rig) == ["started", "cancelled"]


def test_a_gesture_ends_with_the_turn_that_it_belongs_to():
    rig = dancing("gesture")
    rig.tell(Flush, turn=2)
    swing(rig, 1.0)
    assert outcomes(rig) == ["started", "cancelled"]


def test_without_a_gateway_a_dance_goes_on_and_after_a_minute_the_robot_lies_down():
    rig = dancing()
    assert swing(rig, 6.0, beats=False)[0] > 5
    assert not rig.core.welcomed
    assert swing(rig, 66.0, beats=False)[1] < -40
