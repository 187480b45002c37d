from hypothesis import given
from hypothesis import strategies as st

from reachy_robot.window import AckWindow

CHUNK_S = 0.02


class Uplink:
    """A robot that offers a chunk every 20 ms, and remembers which chunks were sent."""

    def __init__(self, rtt_s: float = 0.0) -> None:
        self.window = AckWindow()
        self.rtt_s = rtt_s
        self.now = 100.0
        self.sent: list[float] = []
        self.under_way: list[float] = []

    def offer(self) -> bool:
        self.now += CHUNK_S
        if admitted := self.window.admits(self.now, self.rtt_s):
            self.window.sent(len(self.sent), self.now)
            self.sent.append(self.now)
        return admitted

    def talk(self, seconds: float) -> int:
        return sum(self.offer() for _ in range(round(seconds / CHUNK_S)))


def test_with_prompt_acks_every_chunk_is_sent():
    uplink = Uplink()
    for seq in range(500):
        assert uplink.offer()
        uplink.window.acked(seq)


def test_a_gateway_that_acks_200_ms_late_is_in_time():
    uplink = Uplink()
    for seq in range(500):
        assert uplink.offer()
        uplink.window.acked(seq - 9)


def test_without_acks_200_ms_leave_and_then_one_probe_every_300_ms():
    uplink = Uplink()
    assert uplink.talk(0.2) == 10
    uplink.talk(3.0)
    pauses = [b - a for a, b in zip(uplink.sent[11:], uplink.sent[12:], strict=False)]
    assert len(uplink.sent) <= 11 + 10
    assert all(0.3 - 1e-9 <= pause <= 0.3 + CHUNK_S for pause in pauses)
    assert len(pauses) >= 8


def test_the_round_trip_is_granted_on_top():
    near, far = Uplink(), Uplink(rtt_s=0.4)
    assert near.talk(0.55) < far.talk(0.55) == round(0.55 / CHUNK_S)


def test_an_ack_opens_the_window_at_once():
    uplink = Uplink()
    uplink.talk(2.0)
    assert not uplink.offer()
    uplink.window.acked(len(uplink.sent) - 1)
    assert uplink.talk(0.1) == 5


def test_an_ack_of_a_later_message_covers_chunks_that_were_lost():
    window = AckWindow()
    window.sent(3, now=0.0)
    window.sent(9, now=0.1)
    window.acked(8)
    assert window.admits(now=0.25, rtt_s=0.0)
    window.acked(2)
    assert not window.admits(now=0.31, rtt_s=0.0)


def test_a_link_that_was_cut_and_made_anew_starts_with_an_open_window():
    uplink = Uplink()
    uplink.talk(2.0)
    assert not uplink.offer()
    uplink.window.reset()
    assert uplink.talk(0.2) == 10


def test_how_long_the_link_stalls_is_the_age_of_the_oldest_chunk_under_way():
    window = AckWindow()
    assert window.stalled_s(now=5.0) == 0
    window.sent(1, now=5.0)
    window.sent(2, now=6.0)
    assert window.stalled_s(now=8.0) == 3
    window.acked(1)
    assert window.stalled_s(now=8.0) == 2
    window.acked(2)
    assert window.stalled_s(now=8.0) == 0


def test_a_link_that_is_dead_for_an_hour_costs_no_memory():
    uplink = Uplink()
    uplink.talk(3600)
    assert len(uplink.sent) > AckWindow.KEEP
    assert len(uplink.window._under_way) == AckWindow.KEEP
    uplink.window.acked(len(uplink.sent) - 1)
    assert uplink.talk(0.2) == 10


@given(
    acks=st.lists(st.none() | st.integers(0, 30), min_size=1, max_size=300),
    rtt_ms=st.integers(0, 300),
)
def test_never_more_than_the_window_is_under_way_whatever_is_acked_when(acks, rtt_ms):
    """A chunk leaves only if the oldest unacknowledged one is young enough, or as a probe; and then it does leave."""
    uplink = Uplink(rtt_ms / 1000)
    under_way: dict[int, float] = {}
    for lag in acks:
        oldest = min(under_way.values(), default=None)
        last = uplink.sent[-1] if uplink.sent else None
        now = uplink.now + CHUNK_S
        fits = oldest is None or now - oldest <= 0.2 + rtt_ms / 1000
        probes = last is not None and now - last >= 0.3
        assert uplink.offer() == (fits or probes)
        if uplink.sent[-1] == uplink.now:
            under_way[len(uplink.sent) - 1] = uplink.now
        if lag is not None:
            acked = len(uplink.sent) - 1 - lag
            uplink.window.acked(acked)
            under_way = {seq: at for seq, at in under_way.items() if seq > acked}
