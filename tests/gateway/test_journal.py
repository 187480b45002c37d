import logging
from decimal import Decimal

import pytest

from reachy_gateway.feed import (
    Away,
    Billed,
    BudgetNews,
    Connected,
    ConversationEnded,
    Dropped,
    Faulted,
    Feed,
    KeysChanged,
    Noticed,
    SessionNews,
)
from reachy_gateway.journal import LINES, Journal
from reachy_gateway.provider.usage import Account

WHOLE = Account(turns=3, cost=Decimal("0.25"))
EVENTS = {
    "connected (robot-io 1.0)": (logging.INFO, Connected("reachy-1", "robot-io 1.0")),
    "said goodbye": (logging.INFO, ConversationEnded("reachy-1", "bye", "said goodbye")),
    "not heard for 4 s": (logging.WARNING, Away("reachy-1", 4.2)),
    "is heard again": (logging.WARNING, Away("reachy-1", None)),
    "spoke as reachy-2 (impostor; further ones are only counted)": (
        logging.WARNING,
        Dropped("impostor", "reachy-1", "spoke as reachy-2", is_news=True),
    ),
    "listening": (logging.INFO, Noticed("reachy-1", "listening")),
    "the connection is lost (lost)": (logging.WARNING, SessionNews("reachy-1", "lost", "the connection is lost", is_news=True)),
    "it is lost again (lost)": (logging.INFO, SessionNews("reachy-1", "lost", "it is lost again", is_news=False)),
    "still refused (refused)": (logging.WARNING, SessionNews("reachy-1", "refused", "still refused", is_news=False)),
    "the turn cost $0.1250; its session s $0.2500 in 3 turns, today $0.2500 in 3": (
        logging.INFO,
        Billed("reachy-1", Decimal("0.125"), "s", WHOLE, WHOLE),
    ),
    "80 % of its budget": (logging.WARNING, BudgetNews("reachy-1", "80 % of its budget")),
    "a bug in the gateway ended its conversation; a new one begins": (
        logging.ERROR,
        Faulted("reachy-1", ValueError("x"), ends_conversation=True),
    ),
    "a bug as a voice hung up": (logging.ERROR, Faulted("reachy-1", ValueError("x"), ends_conversation=False)),
}


class Scene:
    def __init__(self) -> None:
        self.feed, self.now = Feed(pytest.fail), 0.0
        self.journal = Journal(self.feed, lambda: self.now)


@pytest.mark.parametrize("words", EVENTS)
def test_each_event_has_a_line_with_its_robot(caplog, words):
    caplog.set_level(logging.INFO)
    level, event = EVENTS[words]
    Scene().feed.tell(event)
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [(level, f"reachy-1: {words}")]


def test_what_is_only_counted_has_no_line(caplog):
    scene = Scene()
    scene.feed.tell(Dropped("impostor", "reachy-1", "spoke as reachy-2", is_news=False))
    scene.feed.tell(Dropped("gap", "reachy-1", "", is_news=True))
    assert not caplog.records


def test_a_robot_has_few_lines_by_its_conversation_and_as_many_by_its_voice_and_the_first_of_a_cause_always(caplog):
    caplog.set_level(logging.INFO)
    scene = Scene()
    for _ in range(1000):
        scene.feed.tell(Noticed("reachy-1", "interrupted"))
        scene.feed.tell(SessionNews("reachy-1", "lost", "lost", is_news=False))
    assert len(caplog.records) == 2 * LINES.burst
    scene.feed.tell(SessionNews("reachy-1", "quota", "quota", is_news=True))
    scene.feed.tell(Noticed("reachy-2", "listening"))
    assert [record.getMessage() for record in caplog.records[-2:]] == ["reachy-1: quota (quota)", "reachy-2: listening"]
    scene.now = 1.0
    for _ in range(1000):
        scene.feed.tell(Noticed("reachy-1", "interrupted"))
    assert len(caplog.records) == 2 * LINES.burst + 2 + LINES.per_s


def test_a_robot_that_is_no_longer_admitted_is_forgotten():
    scene = Scene()
    for robot in ("reachy-1", "reachy-2"):
        scene.feed.tell(Noticed(robot, "listening"))
        scene.feed.tell(SessionNews(robot, "lost", "lost", is_news=False))
    scene.feed.tell(KeysChanged(frozenset({"reachy-2"})))
    assert scene.journal._of_talk.keys() == scene.journal._of_voice.keys() == {"reachy-2"}
