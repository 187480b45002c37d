"""Acts of a robot's body, at the robot and at the gateway, and over a line that loses, doubles and reorders messages."""

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reachy_gateway.talk.acts import PATIENCE_S, PENDING_MAX, RETELL_S
from reachy_gateway.talk.acts import Acts as Asked
from reachy_link.messages import GESTURES_MAX, Act, Acted, Cancel, Sense
from reachy_robot.acts import ALONE_S, KEPT_MAX, OFFER, Acts, offer
from reachy_robot.decisions import Log, Send
from reachy_robot.motion.limits import is_in_box
from reachy_robot.motion.moves import MOVES
from reachy_robot.motion.pose import ASLEEP, NEUTRAL
from reachy_robot.sender import Sender

ROBOT, GATEWAY = "5f0c9d7a41e2b386", "c81d3fa2907be654"


class Body:
    """A robot's acts, and the body that carries them out, with their own clock."""

    def __init__(self, *, there: bool = True) -> None:
        self.now = 100.0
        self.acts = Acts(Sender("reachy-1", ROBOT))
        self.acts.mood = "listening"
        self.sent: list[tuple[int, str, str]] = []
        self.sensed: list[tuple[float, float | None]] = []
        self.seq = 0
        self.boot = GATEWAY
        if there:
            self.acts.found(NEUTRAL, self.now)

    def take(self, out) -> None:
        for item in out:
            if isinstance(item, Send) and isinstance(item.message, Sense):
                self.sensed.append((self.now, item.message.person_deg))
            elif isinstance(item, Send):
                assert isinstance(item.message, Acted)
                self.sent.append((item.message.id, item.message.outcome, item.message.reason))
            else:
                assert isinstance(item, Log)

    def act(self, key: int, what: str = "gesture", turn: int = 1, **args) -> None:
        args = args or ({"name": "nod"} if what == "gesture" else {})
        self.take(self.acts.act(self.header(Act, id=key, name=what, args=args, turn=turn), self.now))

    def cancel(self, key: int | None = None) -> None:
        self.take(self.acts.cancel(self.header(Cancel, id=key), self.now))

    def header(self, kind, **fields):
        self.seq += 1
        return kind(robot="reachy-1", boot=self.boot, seq=self.seq, t_us=0, **fields)

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.02)):
            self.now += 0.02
            self.pose, out = self.acts.pose(self.now, None)
            self.take(out)

    @property
    def outcomes(self) -> list[tuple[int, str]]:
        return [(key, outcome) for key, outcome, _ in self.sent]


def test_a_gesture_starts_and_is_done():
    body = Body()
    body.act(1)
    assert body.outcomes == [(1, "started")]
    body.run(MOVES["nod"].seconds + 0.1)
    assert body.outcomes == [(1, "started"), (1, "done")]


def test_an_act_that_comes_again_is_told_of_and_not_done_again():
    body = Body()
    body.act(1)
    body.run(0.5)
    body.act(1)
    body.run(3.0)
    body.act(1)
    assert body.outcomes == [(1, "started"), (1, "started"), (1, "done"), (1, "done")]


@pytest.mark.parametrize(
    ("name", "args", "words"),
    [
        ("gesture", {"name": "fly"}, "it knows nod, shake"),
        ("gesture", {"name": 3.0}, "it knows nod"),
        ("gesture", {"name": "sway"}, "it knows nod"),
        ("dance", {"name": "nod"}, "it knows sway"),
        ("look", {"direction": "home"}, "ahead, left"),
        ("look", {"direction": float("nan")}, "ahead, left"),
        ("explode", {}, "cannot explode"),
    ],
)
def test_what_it_cannot_do_is_refused_in_words(name, args, words):
    body = Body()
    body.act(1, name, **args) if args else body.take(body.acts.act(body.header(Act, id=1, name=name), body.now))
    ((_, outcome, reason),) = body.sent
    assert outcome == "refused"
    assert words in reason


def test_without_a_body_everything_is_refused_and_with_one_again_it_is_done():
    body = Body(there=False)
    body.act(1)
    body.take(body.acts.lost("the daemon has ended", body.now))
    body.act(2)
    body.acts.found(ASLEEP, body.now)
    body.act(3)
    assert body.outcomes == [(1, "refused"), (2, "refused"), (3, "started")]
    assert body.sent[1][2] == "the daemon has ended"
    body.take(body.acts.lost("the daemon has ended", body.now))
    assert body.sent[-1] == (3, "cancelled", "the daemon has ended")


def test_another_takes_the_place_of_what_goes_on():
    body = Body()
    body.act(1, "dance", name="sway", seconds=20.0)
    body.run(1.0)
    body.act(2)
    body.run(3.0)
    assert body.outcomes == [(1, "started"), (2, "started"), (1, "cancelled"), (2, "done")]


def test_an_interruption_ends_a_gesture_and_no_dance():
    body = Body()
    body.act(1, turn=3)
    body.run(0.3)
    body.acts.flush(3, body.now)
    body.run(0.4)
    assert body.outcomes == [(1, "started")]
    body.acts.flush(4, body.now)
    body.run(0.4)
    assert body.outcomes[-1] == (1, "cancelled")
    body.act(2, "dance", turn=4, name="sway", seconds=5.0)
    body.acts.flush(9, body.now)
    body.run(5.1)
    assert body.outcomes[-1] == (2, "done")


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), -1.0, 0.0, 1e9])
def test_a_dance_is_as_long_as_a_dance_may_be(seconds):
    body = Body()
    body.act(1, "dance", name="sway", seconds=seconds)
    body.run(2.0)
    assert body.outcomes == [(1, "started")]
    body.run(29.0)
    assert body.outcomes[-1] == (1, "done")


def test_another_gateway_counts_anew_and_what_went_on_ends():
    body = Body()
    body.act(1, "dance", name="sway", seconds=20.0)
    body.run(1.0)
    body.boot = "0" * 16
    body.act(1)
    body.run(3.0)
    assert body.outcomes == [(1, "started"), (1, "started"), (1, "done")]


def test_what_became_of_acts_is_told_again_for_a_while():
    body = Body()
    body.act(1, "look", direction="left")
    body.sent.clear()
    body.take(body.acts.retell(body.now + 3.9))
    assert body.outcomes == [(1, "done")]
    body.take(body.acts.retell(body.now + 4.1))
    assert len(body.sent) == 1


def test_the_newest_acts_are_remembered():
    body = Body()
    for key in range(3 * KEPT_MAX):
        body.act(key, "look", direction="left")
    body.sent.clear()
    body.take(body.acts.retell(body.now))
    assert len(body.sent) == KEPT_MAX


def test_it_lies_down_where_there_is_no_gateway_for_a_minute_and_gets_up_for_one():
    body = Body()
    body.acts.mood = "alone"
    body.run(ALONE_S - 1)
    assert body.pose.z_mm > -25
    body.run(8)
    assert body.pose.z_mm == pytest.approx(ASLEEP.z_mm, abs=0.5)
    body.acts.mood = "listening"
    body.run(6)
    assert body.pose.z_mm > -10
    body.act(1, "rest", now=1.0)
    body.run(6)
    body.act(2)
    body.run(6)
    assert body.outcomes[-1] == (2, "done"), "any gesture ends a rest"


# --- the gateway's side -------------------------------------------------------------------------------------------------


def acted(key: int, outcome: str = "started") -> Acted:
    return Acted(robot="reachy-1", boot=ROBOT, seq=0, t_us=0, id=key, outcome=outcome)


def test_an_act_is_told_again_until_it_is_answered():
    asked = Asked(ROBOT)
    key, (tell,) = asked.begin("gesture", {"name": "nod"}, 3, 10.0)
    assert (tell.kind, tell.fields["id"], tell.fields["turn"], tell.fields["to_boot"]) == (Act, key, 3, ROBOT)
    assert asked.due(10.0 + RETELL_S - 0.01) == ([], [])
    assert asked.next_due() == 10.0 + RETELL_S
    assert asked.due(10.0 + RETELL_S) == ([tell], [])
    (answered,) = asked.acted(acted(key))
    assert answered.outcome == "started"
    assert asked.acted(acted(key, "done")) == [], "the first outcome must count"
    assert asked.next_due() is None


def test_an_act_that_nobody_answers_is_given_up():
    asked = Asked(ROBOT)
    key, _ = asked.begin("gesture", {}, 0, 10.0)
    (unheard,) = asked.due(10.0 + PATIENCE_S)[1]
    assert (unheard.id, unheard.outcome) == (key, None)
    assert asked.acted(acted(key)) == []
    assert asked.acted(acted(99)) == [], "an act that was never asked must be unknown"


def test_what_waits_is_bounded():
    asked = Asked(ROBOT)
    tells = [asked.begin("gesture", {}, 0, 10.0)[1] for _ in range(3 * PENDING_MAX)]
    assert sum(map(bool, tells)) == PENDING_MAX


def test_a_cancellation_is_told_until_the_act_has_ended():
    asked = Asked(ROBOT)
    key, _ = asked.begin("dance", {}, 0, 10.0)
    asked.acted(acted(key))
    (tell,) = asked.cancel(key, 11.0)
    assert tell.kind is Cancel
    asked.acted(acted(key))
    assert asked.due(11.0 + RETELL_S)[0] == [tell]
    asked.acted(acted(key, "cancelled"))
    assert asked.due(11.0 + 2 * RETELL_S) == ([], [])


def test_it_turns_to_where_the_person_was_heard_while_the_robot_was_silent():
    body = Body()
    body.act(1, "turn")
    assert "has not heard" in body.sent[-1][2]

    def hear(heard_deg: float | None, *, speaks: bool, level: float | None = None) -> None:
        body.acts.person_speaks = speaks
        for _ in range(10):
            body.now += 0.02
            body.pose, _ = body.acts.pose(body.now, level, heard_deg)

    hear(-70.0, speaks=False)
    hear(-70.0, speaks=True, level=0.5)
    hear(None, speaks=True)
    hear(float("nan"), speaks=True)
    body.act(2, "turn")
    assert body.outcomes[-1] == (2, "refused"), "a door, itself, nobody"
    hear(50.0, speaks=True)
    hear(-100.0, speaks=False)
    body.act(3, "turn")
    body.run(3.0)
    assert body.outcomes[-1] == (3, "done")
    assert body.pose.yaw_deg == pytest.approx(50, abs=2)
    hear(-20.0, speaks=True)
    body.act(4, "turn")
    body.run(3.0)
    assert body.pose.yaw_deg == pytest.approx(30, abs=2), "the angle counts from where the head looked"
    body.run(61.0)
    body.act(5, "turn")
    assert body.outcomes[-1] == (5, "refused"), "after a minute the person may have moved"


@pytest.mark.parametrize("yaw_deg", [-179.0, 200.0, 1e6, float("inf")])
def test_it_turns_as_far_as_it_can(yaw_deg):
    body = Body()
    body.acts.person_speaks = True
    for _ in range(10):
        body.now += 0.02
        body.acts.pose(body.now, None, yaw_deg)
    body.act(1, "turn")
    body.run(5.0)
    assert is_in_box(body.pose)


@pytest.mark.parametrize("percent", ["loud", float("nan"), 0.0, 101.0, -5.0, float("inf"), None])
def test_a_volume_that_is_none_is_refused(percent):
    body = Body()
    body.act(1, "volume", percent=50.0)
    assert (body.outcomes[-1], body.acts.volume_percent) == ((1, "done"), 50.0)
    body.act(2, "volume", **({} if percent is None else {"percent": percent}))
    assert (body.outcomes[-1], body.acts.volume_percent) == ((2, "refused"), 50.0)


def test_a_body_does_by_itself_what_it_is_told_and_no_more():
    body = Body(there=False)
    body.act(1, "manner", breathing=0.0, posture=0.0, wobble=0.0)
    assert body.outcomes == [(1, "done")], "also without a body"
    body.acts.found(NEUTRAL, body.now)
    body.acts.mood = "refused"
    for _ in range(300):
        body.now += 0.02
        body.pose, _ = body.acts.pose(body.now, 1.0)
        assert body.pose == pytest.approx(NEUTRAL, abs=0.01)
    body.act(2, "manner", breathing=0.0)
    body.run(3.0)
    assert body.pose.pitch_deg > 10


@pytest.mark.parametrize(("turn", "aside_deg", "yaw_deg"), [(1.0, 40.0, 40.0), (1.0, 12.0, 0.0), (0.0, 40.0, 0.0)])
def test_it_turns_to_the_person_once_they_have_spoken_if_it_is_told_to(turn, aside_deg, yaw_deg):
    body = Body()
    body.take(body.acts.act(body.header(Act, id=1, name="manner", args={"turn": turn}), body.now))
    body.acts.person_speaks = True
    for _ in range(50):
        body.now += 0.02
        body.pose, _ = body.acts.pose(body.now, None, aside_deg)
    assert body.pose.yaw_deg == pytest.approx(0, abs=0.5), "the head must be still while the person speaks"
    body.acts.person_speaks = False
    body.run(2.0)
    assert body.pose.yaw_deg == pytest.approx(yaw_deg, abs=2)


def test_where_the_person_is_is_told_on_change_to_a_gateway_that_asks_and_at_most_five_times_a_second():
    body = Body()

    def hears(aside_deg) -> list[float | None]:
        told = len(body.sensed)
        body.acts.person_speaks = True
        for _ in range(100):
            body.now += 0.02
            body.take(body.acts.pose(body.now, None, aside_deg)[1])
        return [deg for _, deg in body.sensed[told:]]

    assert hears(30) == [], "nobody asked"
    body.act(1, "manner", sense=1.0)
    assert hears(30) == [30]
    assert hears(30) == [], "as before"
    assert hears(float("nan")) == []
    draw = random.Random(5)  # noqa: S311
    assert len(hears(-170)) == 1
    for _ in range(200):
        body.now += 0.02
        body.take(body.acts.pose(body.now, None, draw.uniform(-180, 180))[1])
    assert all(b[0] - a[0] > 0.199 for a, b in pairwise(body.sensed))
    body.now += 61
    assert hears(None) == [None], "nobody was heard lately"
    body.act(2, "manner", sense=1.0)
    assert hears(20) == [20], "a new question must get a new answer"
    body.boot = "a" * 16
    body.act(1, "stop")
    assert hears(50) == [], "a restarted gateway has not asked"


def test_answers_to_what_was_never_asked_are_nothing():
    asked = Asked(ROBOT)
    key, _ = asked.begin("gesture", {}, 0, 10.0)
    assert [it for n in range(10_000) for it in asked.acted(acted(key + 1 + n))] == []
    assert len(asked._pending) == 1
    assert [it.id for it in asked.acted(acted(key))] == [key]


def test_a_body_with_moves_of_its_own_offers_and_does_them():
    more = {f"m{n}": MOVES["nod"] for n in range(200)}
    assert len(offer(MOVES | more).gestures) == GESTURES_MAX
    body = Body()
    body.acts = Acts(Sender("reachy-1", ROBOT), MOVES | more)
    body.acts.found(NEUTRAL, body.now)
    body.act(1, name="m3")
    body.act(2, "dance", name="m3")
    assert body.outcomes == [(1, "started"), (2, "refused")]


class BadLine:
    """A robot and a gateway, and a line between them that loses, doubles and reorders messages."""

    def __init__(self, seed: int, loss: float) -> None:
        self.draw = random.Random(seed)  # noqa: S311
        self.loss = loss
        self.now = 100.0
        self.body, self.asked = Body(), Asked(ROBOT)
        self.line: list[tuple[float, object]] = []
        self.begun: list[tuple[str, int]] = []
        """The acts that the robot has begun, in order: the gateway's boot, and the act's id."""
        self.learnt: dict[tuple[str, int], str | None] = {}
        self.asked_for: list[tuple[str, int]] = []

    def send(self, messages) -> None:
        copies = [it for it in messages for _ in range(self.draw.choice([1, 1, 2])) if self.draw.random() >= self.loss]
        self.line += [(self.now + self.draw.uniform(0, 0.6), it) for it in copies]

    def ask(self, what: str = "gesture", **args) -> None:
        args = args or {"name": self.draw.choice(OFFER.gestures)}
        key, tells = self.asked.begin(what, args, 1, self.now)
        self.asked_for.append((self.body.boot, key))
        self.send(tells)

    def cancel(self) -> None:
        self.learnt.setdefault(self.asked_for[-1], None)
        self.send(self.asked.cancel(self.asked_for[-1][1], self.now))

    def restart(self, who: str) -> None:
        """Restart the robot, whose conversation then knows no act and counts on; or the gateway, which counts anew."""
        self.learnt = dict.fromkeys(self.asked_for) | self.learnt
        self.line.clear()
        if who == "robot":
            self.body = Body()
            self.asked = Asked(ROBOT, self.asked.next_id)
        else:
            self.asked = Asked(ROBOT)
            self.body.boot = f"{int(self.body.boot, 16) ^ 1:016x}"
            self.body.acts.gateway_changed(self.body.boot, self.now)

    def arrive(self, item) -> None:
        if isinstance(item, Acted):
            self.learnt |= {(self.body.boot, one.id): one.outcome for one in self.asked.acted(item)}
            return
        known = set(self.body.acts._told)
        fields = {name: value for name, value in item.fields.items() if name != "to_boot"}
        if item.kind is Cancel:
            out = self.body.acts.cancel(self.body.header(Cancel, **fields), self.now)
            self.send(one.message for one in out if isinstance(one, Send))
            return
        out = self.body.acts.act(self.body.header(Act, **fields), self.now)
        self.begun += [(self.body.boot, key) for key in set(self.body.acts._told) - known]
        self.send(one.message for one in out if isinstance(one, Send))

    def step(self, *, beats: bool) -> None:
        self.now += 0.02
        tells, unheard = self.asked.due(self.now)
        self.send(tells)
        self.learnt |= {(self.body.boot, one.id): one.outcome for one in unheard}
        due, self.line = [it for at, it in self.line if at <= self.now], [pair for pair in self.line if pair[0] > self.now]
        for item in due:
            self.arrive(item)
        _, out = self.body.acts.pose(self.now, None)
        self.send(one.message for one in [*out, *(self.body.acts.retell(self.now) if beats else [])])


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 10**9),
    loss=st.sampled_from([0.0, 0.2, 0.5]),
    restarts=st.sampled_from(["", "robot", "gateway", "both"]),
)
def test_over_a_bad_line_each_act_is_carried_out_at_most_once_and_its_caller_learns_the_outcome(seed, loss, restarts):
    both = BadLine(seed, loss)
    for step in range(600):
        if step < 350 and both.draw.random() < 0.05:
            both.ask()
        for who in ("robot", "gateway"):
            if restarts in (who, "both") and step == (200 if who == "robot" else 230):
                both.restart(who)
        if step == 360:
            both.ask("dance", name="sway", seconds=30.0)
        if step == 430:
            both.cancel()
        both.step(beats=step % 13 == 0)
    assert len(both.begun) == len(set(both.begun)), "at most once"
    assert set(both.learnt) == set(both.asked_for), "each caller must learn the outcome"
    if loss < 0.5:
        assert not both.body.acts._going_on, "the dance was called off"
    if loss == 0.0 and restarts == "gateway":
        assert {it for it in both.asked_for if it[0] == both.body.boot} <= set(both.begun)
    if loss == 0.0 and not restarts:
        assert set(both.begun) == set(both.asked_for)
        assert set(both.learnt.values()) <= {"started", "done", "cancelled"}
