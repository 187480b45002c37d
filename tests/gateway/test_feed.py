import logging

from reachy_gateway.feed import Connected, Feed, Noticed
from reachy_gateway.journal import LINES, logged


def test_each_reader_of_a_kind_is_handed_its_events_in_order_and_no_others():
    faults, first, second = [], [], []
    feed = Feed(faults.append)
    feed.read(Noticed, first.append)
    feed.read(Noticed, second.append)
    told = [Noticed("reachy-1", "listening"), Noticed("reachy-2", "speaking")]
    for event in (told[0], Connected("reachy-1", "robot-io 1.0"), told[1]):
        feed.tell(event)
    assert first == second == told
    assert not faults


def test_what_nobody_reads_need_not_be_made():
    feed = Feed([].append)
    assert not feed.is_read(Noticed)
    feed.tell(Noticed("reachy-1", "listening"))
    feed.read(Noticed, print)
    assert feed.is_read(Noticed)
    assert not feed.is_read(Connected)


def test_a_reader_that_raises_keeps_nothing_from_the_others_and_is_logged_within_bounds(caplog):
    caplog.set_level(logging.ERROR)
    feed, heard = logged(), []

    def raises(event):
        raise ValueError(event.words)

    feed.read(Noticed, raises)
    feed.read(Noticed, heard.append)
    for n in range(1000):
        feed.tell(Noticed("reachy-1", str(n)))
    assert len(heard) == 1000
    assert LINES.burst <= len(caplog.records) < 2 * LINES.burst
    assert "a bug in a reader of the feed" in caplog.text
