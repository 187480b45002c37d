from itertools import pairwise

import pytest

from reachy_gateway.link.peer import ACK_S, BEAT_S, Handling, Note, Peer
from reachy_link.messages import BeatUp, Bye, Echo, Hello, Mic, Refuse, Speaker, Up, Welcome
from reachy_link.pcm import Format
from reachy_link.wire import pack_down, unpack_down

GATEWAY = "feedfeedfeedfeed"
A, B = "aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb"
STEREO = Format(rate_hz=16000, channels=2)
AHEAD_US = 7_000_000_000
"""How far the robot's clock is ahead of the gateway's."""


class Bot:
    """One start of a robot. It numbers its messages and stamps them with its own clock."""

    def __init__(self, boot: str, ahead_us: int = AHEAD_US) -> None:
        self.boot = boot
        self.seq = 0
        self.ahead_us = ahead_us

    def _header(self, now: float) -> dict[str, object]:
        self.seq += 1
        return {"robot": "reachy-1", "boot": self.boot, "seq": self.seq - 1, "t_us": int(now * 1e6) + self.ahead_us}

    def hello(self, now: float) -> Hello:
        return Hello(**self._header(now), mic=STEREO, speaker=STEREO, lead_ms=40)

    def mic(self, now: float) -> Mic:
        return Mic(**self._header(now), samples=320)

    def beat(self, now: float, echo: Echo | None = None, losses: int | None = None) -> BeatUp:
        return BeatUp(**self._header(now), echo=echo, losses=losses)

    def bye(self, now: float) -> Bye:
        return Bye(**self._header(now))


@pytest.fixture
def peer() -> Peer:
    return Peer("reachy-1", GATEWAY)


def passes(peer: Peer, message: Up, now: float) -> bool:
    verdict, notes = peer.heard(message, now)
    assert [note for note in notes if note.cause != "gap"] == []
    return verdict in (Handling.PASSED, Handling.RESTARTED)


def refused(peer: Peer, message: Up, now: float) -> tuple[Handling, list[str]]:
    """The verdict on a message that must not be handled, and what is to be counted."""
    verdict, notes = peer.heard(message, now)
    return verdict, [note.cause for note in notes]


# --- boots and sequences ----------------------------------------------------------------------------------------------


def test_a_hello_makes_a_robot_known(peer):
    assert peer.mic is None
    assert peer.heard(Bot(A).hello(1.0), 1.0) == (Handling.RESTARTED, [])
    assert (peer.mic, peer.boot, peer.ack) == (STEREO, A, 0)


@pytest.mark.parametrize("kind", ["mic", "beat", "bye"])
def test_before_any_hello_everything_else_is_a_strangers(peer, kind):
    assert refused(peer, getattr(Bot(A), kind)(1.0), 1.0) == (Handling.STRANGER, ["stranger"])
    assert peer.ack is None
    assert peer.silent_s(2.0) == float("inf"), "a stranger does not keep a robot present"


def test_messages_in_sequence_pass_and_the_newest_is_acknowledged(peer):
    bot = Bot(A)
    passes(peer, bot.hello(0.0), 0.0)
    assert all(passes(peer, bot.mic(i * 0.02), i * 0.02) for i in range(1, 50))
    assert peer.ack == 49


def test_a_gap_is_counted_by_what_is_missing_and_left_as_it_is(peer):
    bot = Bot(A)
    passes(peer, bot.hello(0.0), 0.0)
    lost = [bot.mic(0.02), bot.mic(0.04), bot.mic(0.06)]
    assert peer.heard(bot.mic(0.08), 0.08) == (Handling.PASSED, [Note("gap", n=len(lost))])
    assert peer.ack == 4


def test_a_repeated_or_older_message_is_dropped_and_the_ack_never_falls(peer):
    bot = Bot(A)
    passes(peer, bot.hello(0.0), 0.0)
    first, second = bot.mic(0.02), bot.mic(0.04)
    passes(peer, second, 0.04)
    assert refused(peer, second, 0.05) == (Handling.DROPPED, ["repeat"])
    assert refused(peer, first, 0.06) == (Handling.DROPPED, ["repeat"])
    assert peer.ack == second.seq


def test_a_robot_that_says_hello_again_goes_on_counting(peer):
    bot = Bot(A)
    passes(peer, bot.hello(0.0), 0.0)
    passes(peer, bot.mic(0.02), 0.02)
    assert peer.heard(bot.hello(0.04), 0.04) == (Handling.PASSED, [])
    assert peer.ack == 2


def test_a_robot_that_changes_its_formats_begins_anew(peer):
    bot = Bot(A)
    passes(peer, bot.hello(0.0), 0.0)
    other = bot.hello(1.0).model_copy(update={"mic": Format(rate_hz=16000, channels=1)})
    assert peer.heard(other, 1.0) == (Handling.RESTARTED, [])
    assert peer.mic == other.mic


def test_a_restarted_robot_counts_from_its_beginning_and_its_clock_is_taken_anew(peer):
    old, new = Bot(A), Bot(B, ahead_us=0)
    for i in range(100):
        passes(peer, old.mic(i * 0.02) if i else old.hello(0.0), i * 0.02)
    assert peer.heard(new.hello(5.0), 5.0) == (Handling.RESTARTED, [])
    assert (peer.boot, peer.ack) == (B, 0)
    assert passes(peer, new.mic(5.02), 5.02), "a new clock must not count as lateness"


def test_the_last_words_of_a_robot_that_was_restarted_are_a_strangers(peer):
    old, new = Bot(A), Bot(B)
    passes(peer, old.hello(0.0), 0.0)
    late = old.mic(0.9)
    passes(peer, new.hello(1.0), 1.0)
    assert refused(peer, late, 1.05) == (Handling.STRANGER, ["stranger"])
    assert passes(peer, new.mic(1.06), 1.06)


# --- two robots with one key ------------------------------------------------------------------------------------------


def clone_notes(peer: Peer, message: Up, now: float) -> list[str]:
    verdict, notes = peer.heard(message, now)
    found = [note.detail for note in notes if note.cause == "clone"]
    assert (verdict is Handling.CLONE) == bool(found)
    return found


def test_two_robots_with_one_key_that_both_say_hello_are_named(peer):
    one, two = Bot(A), Bot(B)
    assert clone_notes(peer, one.hello(0.0), 0.0) == []
    assert clone_notes(peer, two.hello(1.0), 1.0) == []
    (words,) = clone_notes(peer, one.hello(2.5), 2.5)
    assert peer.boot == B, "the first robot must keep its place"
    for word in ("two robots use the key of reachy-1", A, B, "reachy-keys robot"):
        assert word in words


def test_two_robots_that_take_the_place_from_each_other_again_and_again_are_named_after_a_second(peer):
    one, two = Bot(A), Bot(B)
    passes(peer, one.hello(0.0), 0.0)
    for now in (5.0, 5.3, 5.6, 5.9):
        assert clone_notes(peer, two.hello(now), now) == []
        assert clone_notes(peer, one.hello(now + 0.1), now + 0.1) == []
    assert len(clone_notes(peer, two.hello(6.1), 6.1)) == 1
    assert peer.boot == A
    assert passes(peer, one.mic(6.12), 6.12)


def test_a_second_robot_with_the_key_of_one_that_goes_on_talking_is_named(peer):
    """The first one was welcomed and hears the beats that go to both, so it never says hello again."""
    one, two = Bot(A), Bot(B)
    passes(peer, one.hello(0.0), 0.0)
    passes(peer, one.mic(1.0), 1.0)
    passes(peer, two.hello(1.5), 1.5)
    named = []
    for i in range(250):
        now = 1.52 + i * 0.02
        named += clone_notes(peer, one.mic(now), now)
        assert passes(peer, two.mic(now), now), "the robot that said hello last must be served"
    assert named, "both talked for 5 s"
    assert A in named[0]
    assert B in named[0]


@pytest.mark.parametrize("restarts", [1, 5])
def test_a_robot_that_restarts_quickly_is_not_taken_for_two(peer, restarts):
    now = 0.0
    for number in range(restarts + 1):
        bot = Bot(f"{number:016x}")
        for _ in range(20):
            now += 0.02
            message = bot.mic(now) if bot.seq else bot.hello(now)
            assert clone_notes(peer, message, now) == []
        leftover = bot.mic(now)
        peer.heard(Bot(f"{number + 1:016x}").hello(now + 0.3), now + 0.3)
        assert clone_notes(peer, leftover, now + 0.35) == [], "messages that the old process left in the pipe"
        now += 0.4


def test_robots_that_take_turns_with_a_key_over_minutes_are_no_clones(peer):
    one, two = Bot(A), Bot(B)
    peer.heard(one.hello(0.0), 0.0)
    peer.heard(two.hello(60.0), 60.0)
    assert clone_notes(peer, one.hello(120.0), 120.0) == []
    assert peer.boot == A


# --- lateness ---------------------------------------------------------------------------------------------------------


def test_a_chunk_that_comes_late_is_dropped_in_words_and_acknowledged_all_the_same(peer):
    bot = Bot(A)
    passes(peer, bot.hello(0.0), 0.01)
    passes(peer, bot.mic(1.0), 1.01)
    late = bot.mic(2.0)
    verdict, (note,) = peer.heard(late, 2.52)
    assert verdict is Handling.DROPPED
    assert note.cause == "late"
    assert "510 ms" in note.detail
    assert peer.ack == late.seq
    assert passes(peer, bot.mic(2.6), 2.62), "the next one is in time"


def test_only_speech_can_be_too_late(peer):
    bot = Bot(A)
    passes(peer, bot.hello(0.0), 0.0)
    assert passes(peer, bot.beat(1.0), 2.5)
    assert passes(peer, bot.bye(2.0), 3.5)


def test_a_path_that_stays_longer_is_accepted_after_2_seconds(peer):
    bot = Bot(A)
    passes(peer, bot.hello(0.0), 0.0)
    passed = {i: peer.heard(bot.mic(i * 0.02), i * 0.02 + 0.8)[0] is Handling.PASSED for i in range(1, 200)}
    assert not any(ok for i, ok in passed.items() if i * 0.02 < 2)
    assert all(ok for i, ok in passed.items() if i * 0.02 > 2.05)


@pytest.mark.parametrize("slept_s", [600, -600], ids=["robot", "gateway"])
def test_after_an_end_slept_while_its_clock_stood_still_the_robot_is_heard_and_measured_anew(peer, slept_s):
    """The robot takes the link for lost, and says hello again in the same boot."""
    bot = Bot(A)
    passes(peer, bot.hello(0.0), 0.0)
    passes(peer, bot.beat(1.0, Echo(t_us=0, received_us=AHEAD_US)), 1.0)
    bot.ahead_us -= slept_s * 1_000_000
    assert peer.heard(bot.hello(1000.0), 1000.0) == (Handling.PASSED, [])
    assert passes(peer, bot.mic(1000.02), 1000.02)
    assert peer.clock.best is None
    assert peer.beat(1000.5).echo is None


def test_a_hello_that_comes_twice_changes_nothing(peer):
    bot = Bot(A)
    first = bot.hello(0.0)
    passes(peer, first, 0.0)
    passes(peer, bot.mic(1.0), 1.0)
    other = first.model_copy(update={"mic": Format(rate_hz=16000, channels=1)})
    assert refused(peer, other, 2.0) == (Handling.DROPPED, ["repeat"])
    assert peer.mic == STEREO
    assert refused(peer, bot.mic(2.0), 2.6) == (Handling.DROPPED, ["late"])


# --- what is told -----------------------------------------------------------------------------------------------------


def test_every_message_carries_a_sequence_without_gaps_the_ack_and_the_floor(peer):
    bot = Bot(A)
    first = peer.make(Refuse, 0.5, reason="not now")
    passes(peer, bot.hello(1.0), 1.0)
    peer.floor = 4
    second = peer.make(Welcome, 1.5, to_boot=A)
    third = peer.make(Speaker, 2.0, turn=4, samples=320)
    assert [message.seq for message in (first, second, third)] == [0, 1, 2]
    assert [message.ack for message in (first, second, third)] == [None, 0, 0]
    assert (third.floor, third.t_us, third.boot, third.robot) == (4, 2_000_000, GATEWAY, "reachy-1")
    for message in (first, second, third):
        assert unpack_down(pack_down(message))[0] == message


def beats(peer: Peer, start: float, seconds: float) -> list[float]:
    """When beats are sent, if the peer is asked every ms."""
    return [now for ms in range(round(seconds * 1000)) if peer.beat(now := start + ms / 1000)]


def pauses(times: list[float]) -> list[float]:
    return [b - a for a, b in pairwise(times)]


def test_a_silent_robot_gets_a_beat_every_250_ms(peer):
    passes(peer, Bot(A).hello(0.0), 0.0)
    assert pauses(beats(peer, 10.0, 3.0)) == pytest.approx([BEAT_S] * 11, abs=0.0011)


def test_while_speech_arrives_there_is_an_ack_at_least_every_60_ms(peer):
    bot = Bot(A)
    passes(peer, bot.hello(0.0), 0.0)
    made = []
    for ms in range(3000):
        now = 10 + ms / 1000
        if ms % 20 == 0:
            passes(peer, bot.mic(now), now)
        if beat := peer.beat(now):
            made.append(now)
            assert beat.ack == peer.ack
    assert pauses(made) == pytest.approx([ACK_S] * (len(made) - 1), abs=0.0011)
    assert len(made) >= 49


def test_whatever_else_is_told_spares_the_beat(peer):
    bot = Bot(A)
    passes(peer, bot.hello(0.0), 0.0)
    for ms in range(1000):
        now = 10 + ms / 1000
        if ms % 20 == 0:
            passes(peer, bot.mic(now), now)
            peer.make(Speaker, now, turn=1, samples=320)
        assert peer.beat(now) is None


def test_the_next_beat_is_told_beforehand(peer):
    bot = Bot(A)
    passes(peer, bot.hello(0.0), 0.0)
    peer.make(Welcome, 10.0)
    assert peer.next_beat(10.0) == 10.0 + BEAT_S
    passes(peer, bot.mic(10.0), 10.0)
    assert peer.next_beat(10.0) == 10.0 + ACK_S
    assert peer.beat(10.0 + ACK_S - 0.001) is None
    assert peer.beat(10.0 + ACK_S + 0.001)


def test_a_beat_echoes_the_robots_newest_beat_as_it_came_in(peer):
    bot = Bot(A)
    passes(peer, bot.hello(0.0), 0.0)
    assert peer.beat(0.5).echo is None
    sent = bot.beat(1.0)
    passes(peer, sent, 1.25)
    assert peer.beat(2.0).echo == Echo(t_us=sent.t_us, received_us=1_250_000)


def test_the_robots_echo_tells_round_trip_and_offset(peer):
    bot = Bot(A)
    passes(peer, bot.hello(0.0), 0.0)
    told = peer.make(Welcome, 1.0)
    echo = Echo(t_us=told.t_us, received_us=1_005_000 + AHEAD_US)
    passes(peer, bot.beat(1.205, echo), 1.210)
    assert (peer.clock.rtt_us, peer.clock.offset_us) == (10_000, AHEAD_US)


def test_nothing_of_a_former_start_is_echoed_or_measured(peer):
    old = Bot(A)
    passes(peer, old.hello(0.0), 0.0)
    passes(peer, old.beat(0.1, Echo(t_us=0, received_us=AHEAD_US)), 0.1)
    passes(peer, Bot(B).hello(5.0), 5.0)
    assert peer.beat(6.0).echo is None
    assert peer.clock.offset_us is None


def test_presence_is_how_long_ago_it_was_heard(peer):
    bot = Bot(A)
    passes(peer, bot.hello(1.0), 1.0)
    passes(peer, bot.beat(3.0), 3.0)
    assert peer.silent_s(7.5) == 4.5


# --- a gateway that stood still ---------------------------------------------------------------------------------------


def test_nobody_was_silent_while_the_gateway_stood_still(peer):
    bot = Bot(A)
    peer.heard(bot.hello(100), 100.0, 0.0)
    assert peer.silent_s(170.0, 0.0) == 70.0
    assert peer.silent_s(170.0, 69.0) == pytest.approx(1.0)
    peer.heard(bot.beat(170), 170.0, 69.0)
    assert peer.silent_s(171.0, 69.0) == pytest.approx(1.0)


def test_what_a_former_start_had_sent_before_a_stall_is_no_second_robot(peer):
    """The message was under way when the robot restarted, and waited with all others."""
    old, new = Bot(A), Bot(B)
    peer.heard(old.hello(100), 100.0, 0.0)
    assert peer.heard(new.hello(101), 101.0, 0.0)[0] is Handling.RESTARTED
    assert peer.heard(old.mic(100.9), 103.5, 2.4)[0] is Handling.STRANGER
    assert peer.heard(old.mic(104), 103.6, 0.0)[0] is Handling.CLONE, "without a stall this must count as a clone"
