from reachy_gateway.feed import Connected, Feed, Noticed


def test_each_reader_of_a_kind_is_handed_its_events_in_order_and_no_others():
    feed, first, second = Feed(), [], []
    feed.read(Noticed, first.append)
    feed.read(Noticed, second.append)
    told = [Noticed("reachy-1", "listening"), Noticed("reachy-2", "speaking")]
    for event in (told[0], Connected("reachy-1", "robot-io 1.0"), told[1]):
        feed.tell(event)
    assert first == second == told


def test_what_nobody_reads_need_not_be_made():
    feed = Feed()
    assert not feed.is_read(Noticed)
    feed.tell(Noticed("reachy-1", "listening"))
    feed.read(Noticed, print)
    assert feed.is_read(Noticed)
    assert not feed.is_read(Connected)
