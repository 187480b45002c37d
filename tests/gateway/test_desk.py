"""What is remembered of robots for consoles that look later."""

import pytest

from reachy_gateway.admin.desk import STRANGERS_KEPT, Desk
from reachy_gateway.feed import (
    Away,
    BudgetNews,
    Connected,
    ConversationEnded,
    Dropped,
    Faulted,
    Feed,
    KeysChanged,
    SessionNews,
    Transcribed,
    TurnPlayed,
)
from reachy_gateway.talk.latency import TurnTimes
from reachy_gateway.voice import ToolEnded
from reachy_link.admin import NOTES_KEPT, SAID_KEPT, STRANGERS_MAX, TURNS_KEPT, Note


class Scene:
    def __init__(self) -> None:
        self.now = 1000.0
        self.faults: list[Exception] = []
        self.feed = Feed(self.faults.append)
        self.shown = {"lab-1"}
        self.desk = Desk(self.feed, lambda: self.now, lambda robot: robot in self.shown)
        self.told = []
        self.desk.on_event = lambda robot, item: self.told.append((robot, item))

    def notes(self, robot="lab-1") -> list[tuple[str, bool]]:
        return [(note.words, note.is_trouble) for note in self.desk.of(robot).notes]


@pytest.fixture
def scene():
    made = Scene()
    yield made
    assert not made.faults


def turn(number, total_ms=500.0, **more):
    fields = {"played_ms": 900, "underruns": 1, "concealed_ms": 20, "total_ms": total_ms, "parts_ms": {"voice": 400.04}}
    return TurnPlayed("lab-1", TurnTimes(number, complete=True, **{**fields, **more}))


def test_a_turn_is_kept_with_its_parts_and_its_calls(scene):
    scene.feed.tell(turn(3, barge_in_ms=7.77, calls=(ToolEnded("dance", "done", 0.1234),)))
    [kept] = scene.desk.of("lab-1").turns
    assert (kept.turn, kept.at, kept.total_ms, kept.parts_ms, kept.barge_in_ms) == (3, 1000.0, 500.0, {"voice": 400.0}, 7.8)
    assert [(call.name, call.outcome, call.ms) for call in kept.calls] == [("dance", "done", 123)]
    assert scene.told == [("lab-1", kept)]


def test_the_median_is_that_of_turns_that_answered_something(scene):
    assert scene.desk.of("lab-1").p50_ms is None
    for total_ms in (100.0, 900.0, None, 300.0):
        scene.feed.tell(turn(1, total_ms))
    assert scene.desk.of("lab-1").p50_ms == 300.0


def test_words_are_kept_of_robots_alone_whose_persona_shows_them(scene):
    for robot in ("lab-1", "lab-2"):
        scene.feed.tell(Transcribed(robot, "person", "what is the time", None))
    assert [said.text for said in scene.desk.of("lab-1").said] == ["what is the time"]
    assert not scene.desk.of("lab-2").said
    assert len(scene.told) == 1
    scene.shown.clear()
    scene.feed.tell(Transcribed("lab-1", "person", "what comes next", None))
    assert not scene.desk.of("lab-1").said, "nor what was said before"


def test_what_befalls_a_robot_is_noted_once_in_words(scene):
    scene.feed.tell(Connected("lab-1", "robot-io 1"))
    scene.feed.tell(Away("lab-1", 3.4))
    scene.feed.tell(Away("lab-1", None))
    scene.feed.tell(SessionNews("lab-1", "lost", "Gemini hung up", is_news=True))
    scene.feed.tell(BudgetNews("lab-1", "80 % are spent"))
    scene.feed.tell(Faulted("lab-1", ValueError("secret words"), ends_conversation=True))
    scene.feed.tell(Dropped("late", "lab-1", "a mic chunk is late", is_news=True))
    scene.feed.tell(Dropped("late", "lab-1", "a mic chunk is late", is_news=False))
    scene.feed.tell(Dropped("gap", "lab-1", "", is_news=True))
    scene.feed.tell(ConversationEnded("lab-1", "bye", "said goodbye"))
    assert scene.notes() == [
        ("connected (robot-io 1)", False),
        ("not heard for 3 s", True),
        ("is heard again", False),
        ("Gemini hung up (lost)", True),
        ("80 % are spent", True),
        ("a bug in the gateway (ValueError); see its log", True),
        ("a mic chunk is late (late)", True),
        ("said goodbye", False),
    ]
    assert scene.desk.of("lab-1").left == "said goodbye"
    assert all(isinstance(item, Note) for _, item in scene.told)


def test_a_robot_that_is_refused_says_why_until_it_is_served(scene):
    scene.feed.tell(Dropped("refused", "lab-1", "refused: 50 robots already", is_news=False))
    assert scene.desk.of("lab-1").refused == (1000.0, "refused: 50 robots already")
    scene.feed.tell(Connected("lab-1", ""))
    assert scene.desk.of("lab-1").refused is None


def test_a_key_that_is_refused_again_and_again_is_one_stranger(scene):
    for later in range(3):
        scene.now = 1000.0 + later
        scene.feed.tell(Dropped("key", "", "dialled", is_news=False, key="k" * 40, address=f"10.0.0.{later}"))
    scene.feed.tell(Dropped("key", "", "dialled", is_news=False, key="l" * 40, address="10.0.0.9"))
    newest, other = scene.desk.strangers()
    assert {newest.key, other.key} == {"k" * 40, "l" * 40}
    [known] = [it for it in (newest, other) if it.key == "k" * 40]
    assert (known.address, known.at, known.times) == ("10.0.0.2", 1002.0, 3)
    assert scene.desk.refused_keys("kkkkkk") == ["k" * 40]
    scene.desk.admitted("k" * 40)
    assert [it.key for it in scene.desk.strangers()] == ["l" * 40]


def test_everything_is_bounded_and_robots_that_are_not_admitted_are_forgotten(scene):
    for number in range(400):
        scene.feed.tell(turn(number))
        scene.feed.tell(Transcribed("lab-1", "robot", "word " * 90, number))
        scene.feed.tell(BudgetNews("lab-1", "x" * 9000))
        scene.feed.tell(Dropped("key", "", "dialled", is_news=False, key=f"{number:040d}", address="10.0.0.9"))
    kept = scene.desk.of("lab-1")
    assert (len(kept.turns), len(kept.said), len(kept.notes)) == (TURNS_KEPT, SAID_KEPT, NOTES_KEPT)
    assert len(kept.notes[-1].words) == 500
    assert len(scene.desk.strangers()) == STRANGERS_MAX
    assert len(scene.desk.refused_keys("0")) == STRANGERS_KEPT
    assert scene.desk.strangers()[0].key == f"{399:040d}" or scene.desk.strangers()[0].at == scene.now
    scene.feed.tell(KeysChanged(frozenset({"lab-2"})))
    assert not scene.desk.of("lab-1").turns
