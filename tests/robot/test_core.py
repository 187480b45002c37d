import sys
import threading
from collections.abc import Sequence
from itertools import pairwise
from typing import TypeVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reachy_link.address import Address
from reachy_link.messages import (
    Activity,
    BeatDown,
    BeatUp,
    Bye,
    Down,
    Echo,
    Flush,
    Hello,
    Leave,
    Mic,
    Played,
    Refuse,
    Speaker,
    State,
    Stranger,
    Transcript,
    TurnEnd,
    Up,
    Welcome,
)
from reachy_link.pcm import Format, Samples, to_pcm16
from reachy_link.wire import WireError, check_audio, pack_up, unpack_up
from reachy_robot.core import RobotCore
from reachy_robot.decisions import Hush, Log, LookUp, Notice, Out, Play, Profile, Redial, Resubscribe, Say, Send
from reachy_robot.presence import LOST_S
from reachy_robot.sound import Moment
from reachy_robot.trouble import Trouble

STEREO = Format(rate_hz=16000, channels=2)
BOOT, OTHER_BOOT = "aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb"
GATEWAY, NEW_GATEWAY = "1111111111111111", "2222222222222222"
CHUNK_MS = 20
LEAD_MS = 40

M = TypeVar("M", bound=Up)
K = TypeVar("K", bound=Out)


class Rig:
    """A core, the device that it feeds, and the gateway that it talks to."""

    def __init__(
        self,
        *,
        lead_ms: int = LEAD_MS,
        tail_ms: int | None = None,
        show_transcripts: bool = False,
        addresses: Sequence[Address] = (),
        device: bool = True,
    ) -> None:
        self.now = 50.0
        profile = Profile("reachy-1", BOOT, STEREO, STEREO, lead_ms, "test", tail_ms, show_transcripts)
        self.core = RobotCore(profile, self.now, addresses)
        self.queued_ms = 0.0
        self.out: list[tuple[float, Out]] = []
        self._told = 0
        if device:
            self.open_device()

    def open_device(self) -> None:
        self.take(self.core.device(self.now, there=True))

    def lose_device(self) -> None:
        self.queued_ms = 0.0
        self.take(self.core.device(self.now, there=False))

    def take(self, out: Sequence[Out]) -> list[Out]:
        for item in out:
            self.out.append((self.now, item))
            assert self.core.has_device or not isinstance(item, Play | Hush | Say), "there is nothing to play it on"
            match item:
                case Play(samples):
                    self.queued_ms += STEREO.ms(len(samples))
                case Hush():
                    self.queued_ms = 0.0
                case Send(message, payload):
                    assert unpack_up(pack_up(message, payload)) == (message, payload)
                    check_audio(message, payload, STEREO)
        return list(out)

    def tell(self, kind: type[Down], payload: bytes = b"", **fields: object) -> list[Out]:
        """The gateway tells the robot something."""
        header = {"robot": "reachy-1", "boot": GATEWAY, "seq": self._told, "t_us": int(self.now * 1e6) + 9_000_000_000}
        self._told += 1
        return self.take(self.core.down(kind(**header | fields), payload, self.now, self.queued_ms))

    def welcome(self, **fields: object) -> list[Out]:
        return self.tell(Welcome, **{"to_boot": BOOT, "software": "gateway 1"} | fields)

    def speaker(self, turn: int, level: float = 0.5, count: int = 1, **fields: object) -> None:
        """Chunks for the speaker; what a turn sounds like is its level."""
        for _ in range(count):
            payload = to_pcm16(np.full((320, 2), level, np.float32))
            self.tell(Speaker, payload, turn=turn, samples=320, **fields)

    def run(self, seconds: float, *, beats: bool = True, mic: bool = False, acks: bool = True) -> None:
        """Time passes, in ticks of 10 ms; the gateway beats as it does."""
        for _ in range(round(seconds * 100)):
            self.now = round(self.now + 0.01, 2)
            self.queued_ms = max(0.0, self.queued_ms - 10)
            if mic:
                self.hear(noise(160))
            if beats and self._told and round(self.now * 100) % (6 if mic else 25) == 0:
                self.tell(BeatDown, ack=self.last_seq() if acks else None)
            self.take(self.core.tick(self.now, self.queued_ms))

    def hear(self, samples: Samples) -> list[Out]:
        return self.take(self.core.mic(samples, self.now))

    def last_seq(self) -> int | None:
        sent = [item.message.seq for _, item in self.out if isinstance(item, Send)]
        return sent[-1] if sent else None

    def of(self, kind: type[K]) -> list[K]:
        return [item for _, item in self.out if isinstance(item, kind)]

    def when(self, item: Out) -> list[float]:
        return [at for at, other in self.out if type(other) is type(item) and other == item]

    def sent(self, kind: type[M]) -> list[M]:
        return [item.message for item in self.of(Send) if isinstance(item.message, kind)]

    def sent_at(self, kind: type[Up]) -> list[float]:
        return [at for at, item in self.out if isinstance(item, Send) and isinstance(item.message, kind)]

    def mic_pcm(self) -> list[bytes]:
        return [item.payload for item in self.of(Send) if isinstance(item.message, Mic)]

    def levels(self) -> list[float]:
        """What was played, by the level that each piece ends with; concealment left out."""
        return [round(float(item.samples[-1, 0]), 2) for item in self.of(Play) if len(item.samples) == 320]

    def words(self, *, warning: bool | None = None) -> list[str]:
        return [item.words for item in self.of(Log) if warning in (None, item.warning)]

    def forget(self) -> None:
        """Look only at what comes from now on."""
        self.out.clear()


def noise(n: int, seed: int = 1) -> Samples:
    return np.random.default_rng(seed).normal(0, 0.1, (n, 2)).astype(np.float32)


def connected(**options: object) -> Rig:
    rig = Rig(**options)
    rig.run(0.01)
    rig.welcome()
    rig.forget()
    return rig


def pauses(times: list[float]) -> list[float]:
    return [round(b - a, 3) for a, b in pairwise(times)]


# --- hello ------------------------------------------------------------------------------------------------------------


def test_a_robot_says_hello_until_it_is_welcomed():
    rig = Rig()
    rig.run(2.0, beats=False)
    assert len(rig.sent(Hello)) >= 9
    assert all(0.2 <= pause <= 0.21 for pause in pauses(rig.sent_at(Hello)))
    rig.welcome()
    rig.forget()
    rig.run(2.0)
    assert rig.sent(Hello) == []


def test_the_hello_says_what_the_gateway_must_know():
    rig = Rig()
    rig.run(0.01)
    (hello,) = rig.sent(Hello)
    assert (hello.robot, hello.boot, hello.seq) == ("reachy-1", BOOT, 0)
    assert (hello.mic, hello.speaker, hello.lead_ms, hello.software) == (STEREO, STEREO, LEAD_MS, "test")


def test_a_welcome_is_noticed_once_however_often_it_comes():
    rig = Rig()
    rig.run(0.5)
    for _ in range(3):
        rig.welcome()
    assert rig.of(Notice) == [Notice(Moment.READY)]
    assert [words for words in rig.words() if "connected" in words] == ["connected to the gateway (gateway 1)"]


def test_a_device_that_is_made_anew_is_told_that_the_gateway_listens():
    rig = connected()
    rig.take(rig.core.device(rig.now, there=False))
    rig.run(1.0)
    assert rig.of(Notice) == []
    rig.take(rig.core.device(rig.now, there=True))
    assert rig.of(Notice) == [Notice(Moment.READY)]


def test_a_device_that_opens_after_the_welcome_is_told_once_it_is_open():
    rig = Rig()
    rig.take(rig.core.device(rig.now, there=False))
    rig.run(0.5)
    rig.welcome()
    rig.run(0.5)
    assert rig.of(Notice) == []
    rig.take(rig.core.device(rig.now, there=True))
    assert rig.of(Notice) == [Notice(Moment.READY)]


def test_a_device_that_is_made_anew_before_a_welcome_is_told_with_it():
    rig = Rig()
    for there in (False, True):
        rig.take(rig.core.device(rig.now, there=there))
    rig.run(0.5)
    assert rig.of(Notice) == []
    rig.welcome()
    assert rig.of(Notice) == [Notice(Moment.READY)]


def test_a_welcome_for_another_start_of_the_robot_is_ignored_and_counted():
    rig = Rig()
    rig.welcome(to_boot=OTHER_BOOT)
    assert not rig.core.welcomed
    assert rig.core.counts["other_boot"] == 1
    rig.run(0.5)
    assert len(rig.sent(Hello)) > 1


def test_what_is_for_another_start_of_the_robot_changes_nothing_at_all():
    rig = connected()
    rig.speaker(1, count=3)
    assert rig.tell(Flush, turn=9, floor=9, to_boot=OTHER_BOOT, boot=NEW_GATEWAY) == []
    rig.speaker(1)
    rig.tell(TurnEnd, turn=1)
    rig.run(0.2)
    assert rig.levels() == [0.5] * 4
    assert rig.core.welcomed


def test_before_the_welcome_nothing_is_sent_but_hellos_and_nothing_is_played():
    rig = Rig()
    rig.tell(BeatDown)
    rig.run(1.0, mic=True)
    rig.speaker(1, count=5)
    assert rig.take(rig.core.activity("start", rig.now)) == []
    rig.run(0.2)
    assert {type(item.message) for item in rig.of(Send)} == {Hello}
    assert rig.of(Play) == []


def test_all_messages_are_numbered_without_gaps_and_stamped_with_the_robots_clock():
    rig = Rig()
    rig.run(0.5)
    rig.welcome()
    rig.run(2.0, mic=True)
    rig.take(rig.core.goodbye(rig.now))
    sent = [(at, item.message) for at, item in rig.out if isinstance(item, Send)]
    assert [message.seq for _, message in sent] == list(range(len(sent)))
    assert all(message.t_us == int(at * 1e6) for at, message in sent)
    assert isinstance(sent[-1][1], Bye)


# --- a new gateway, a refusal -----------------------------------------------------------------------------------------


def test_a_gateway_that_started_anew_is_greeted_at_once_and_heard_from_its_first_turn():
    rig = connected()
    rig.speaker(50, 0.1, count=5, floor=50)
    rig.run(0.05)
    rig.forget()
    rig.tell(BeatDown, boot=NEW_GATEWAY)
    assert rig.of(Hush) == [Hush()], "the old gateway's reply is over"
    rig.run(0.01, beats=False)
    assert len(rig.sent(Hello)) == 1
    assert "the gateway has started anew" in rig.words()
    rig.welcome(boot=NEW_GATEWAY)
    rig.speaker(1, 0.3, count=3, boot=NEW_GATEWAY)
    rig.tell(TurnEnd, turn=1, boot=NEW_GATEWAY)
    rig.run(0.5, beats=False)
    assert rig.levels() == [0.3] * 3


def test_a_refusal_is_said_in_words_once_and_asked_again_at_a_slow_pace():
    rig = Rig()
    rig.run(0.3)
    for _ in range(5):
        rig.tell(Refuse, reason="12 robots are served already")
        rig.run(5.0)
    assert [words for words in rig.words(warning=True) if "12 robots" in words] == [
        "the gateway refused this robot: 12 robots are served already"
    ]
    assert pauses(rig.sent_at(Hello)[2:]) == [5.0] * 4
    assert rig.of(Say) == [Say("refused")]
    assert (rig.of(Resubscribe), rig.of(Redial)) == ([], []), "the link is well"
    rig.tell(Refuse, reason="another reason")
    assert "the gateway refused this robot: another reason" in rig.words(warning=True)


def test_a_gateway_that_comes_in_place_of_one_that_refused_is_asked_at_the_usual_pace():
    rig = Rig()
    rig.tell(Refuse, reason="no room")
    rig.run(57.0, beats=False)
    rig.tell(Refuse, reason="no room")
    rig.run(4.0, beats=False)
    rig.forget()
    rig.take(rig.core.trouble(Trouble("unreachable", "nobody listens"), rig.now))
    rig.run(1.0, beats=False)
    assert len(rig.sent(Hello)) >= 4
    assert rig.of(Say) == [], "it may be back at once"
    for _ in range(3):
        rig.tell(Refuse, reason="no room", boot=NEW_GATEWAY)
        rig.run(5.0, beats=False)
    assert pauses(rig.sent_at(Hello)[-3:]) == [5.0] * 2
    assert rig.words(warning=True) == ["nobody listens", "the gateway refused this robot: no room"]


def test_a_robot_that_was_refused_is_welcomed_as_any_other():
    rig = Rig()
    rig.tell(Refuse, reason="not now")
    rig.welcome()
    assert rig.core.welcomed
    rig.run(1.0)
    assert rig.sent(Hello) == []
    assert len(rig.sent(BeatUp)) >= 3


def test_a_refusal_in_mid_reply_silences_the_robot():
    rig = connected()
    rig.speaker(1, count=5)
    rig.tell(Refuse, reason="revoked")
    assert rig.of(Hush) == [Hush()]
    rig.run(0.3)
    assert rig.core.welcomed is False
    assert rig.queued_ms == 0


def test_a_gateway_that_does_not_know_the_robot_any_more_is_greeted_at_once():
    rig = connected()
    rig.speaker(1, count=5)
    rig.tell(Stranger, to_boot=BOOT)
    assert not rig.core.welcomed
    assert rig.of(Hush) == [Hush()]
    rig.forget()
    rig.run(0.01, beats=False)
    assert len(rig.sent(Hello)) == 1
    rig.welcome()
    assert rig.core.welcomed


# --- liveness ---------------------------------------------------------------------------------------------------------


def test_after_a_second_of_silence_the_robot_subscribes_again_and_after_three_it_dials_anew():
    rig = connected()
    rig.run(9.0)
    assert (rig.of(Resubscribe), rig.of(Redial)) == ([], [])
    quiet_from = rig.now
    rig.run(9.0, beats=False)
    again = [round(at - quiet_from, 2) for at in rig.when(Resubscribe())]
    assert 1.0 <= again[0] <= 1.3
    assert all(1.0 <= pause <= 1.03 for pause in pauses(again))
    anew = [round(at - quiet_from, 2) for at in rig.when(Redial())]
    assert 2.0 <= anew[0] <= 3.3
    assert all(3.0 <= pause <= 3.03 for pause in pauses(anew))


def test_a_line_that_dials_by_itself_is_left_to_it():
    """The sockets dial anew after a failed handshake; hanging up in between would only disturb them."""
    rig = connected()
    for _ in range(10):
        rig.run(1.0, beats=False)
        rig.take(rig.core.trouble(Trouble("unreachable", "nobody listens"), rig.now))
    assert rig.of(Redial) == []


def test_after_two_seconds_of_silence_the_gateway_is_lost_and_greeted_anew():
    rig = connected()
    rig.speaker(1, count=5)
    rig.run(1.9, beats=False)
    assert rig.core.welcomed
    rig.run(0.2, beats=False)
    assert not rig.core.welcomed
    assert any("nothing from the gateway for 2.0 s" in words for words in rig.words(warning=True))
    rig.run(0.2, beats=False)
    assert rig.of(Hush) == [Hush()]
    assert [(report.turn, report.complete, report.cut_us) for report in rig.sent(Played)] == [(1, False, None)]
    assert rig.sent(Hello) != []
    rig.forget()
    rig.run(0.5, beats=False, mic=True)
    assert rig.mic_pcm() == []
    rig.welcome()
    rig.run(0.5, mic=True)
    assert rig.mic_pcm() != []


def test_a_link_that_heals_starts_with_an_open_window():
    rig = connected()
    rig.run(3.0, beats=False, mic=True, acks=False)
    assert not rig.core.welcomed
    rig.welcome()
    rig.forget()
    rig.run(0.2, mic=True, acks=False)
    assert len(rig.mic_pcm()) == 10


def test_a_silent_robot_beats_every_250_ms():
    rig = connected()
    rig.run(3.0)
    assert pauses(rig.sent_at(BeatUp)) == [0.25] * (len(rig.sent(BeatUp)) - 1)
    assert len(rig.sent(BeatUp)) >= 11


def test_while_it_talks_a_robot_beats_once_a_second_for_the_clock():
    rig = connected()
    rig.run(5.0, mic=True)
    assert 4 <= len(rig.sent(BeatUp)) <= 6
    assert all(pause <= 1.01 for pause in pauses(rig.sent_at(BeatUp)))


def test_a_beat_echoes_the_gateways_newest_beat_as_it_came_in():
    rig = connected()
    rig.run(0.3, beats=False)
    assert {beat.echo for beat in rig.sent(BeatUp)} == {None}
    rig.forget()
    rig.tell(BeatDown, t_us=123_456)
    received_us = int(rig.now * 1e6)
    rig.run(0.5, beats=False)
    assert {beat.echo for beat in rig.sent(BeatUp)} == {Echo(t_us=123_456, received_us=received_us)}


def test_a_beat_tells_what_the_gateway_cannot_see():
    rig = connected()
    rig.run(1.0, beats=False, mic=True, acks=False)
    dropped = rig.core.counts["window"]
    assert dropped > 20
    assert 0 < rig.sent(BeatUp)[-1].window <= dropped
    assert rig.sent(BeatUp)[-1].losses == 0
    rig.run(3.0, beats=False)
    assert not rig.core.welcomed
    rig.welcome()
    rig.forget()
    rig.run(1.0)
    last = rig.sent(BeatUp)[-1]
    assert (last.window, last.overflow, last.losses) == (dropped, 0, 1)


def test_a_turn_that_a_loss_of_the_link_cut_is_not_complete_though_its_end_comes():
    rig = connected()
    rig.speaker(1, count=10)
    rig.run(0.1, beats=False)
    rig.run(3.0, beats=False)
    rig.welcome()
    rig.speaker(1, count=10)
    rig.tell(TurnEnd, turn=1)
    rig.speaker(2, count=5)
    rig.tell(TurnEnd, turn=2)
    rig.run(2.0)
    assert [(m.turn, m.complete) for m in rig.sent(Played)] == [(1, False), (1, False), (2, True)]


def test_to_leave_when_asked_is_no_loss_of_the_link():
    rig = connected()
    rig.tell(Leave, reason="stopping")
    rig.run(1.0)
    rig.welcome()
    rig.forget()
    rig.run(1.0)
    assert rig.sent(BeatUp)[-1].losses == 0


# --- the microphone ---------------------------------------------------------------------------------------------------


@given(sizes=st.lists(st.sampled_from([0, 1, 128, 160, 320, 641]), max_size=20))
def test_whatever_an_sdk_hands_over_leaves_as_20_ms_chunks_without_a_sample_lost(sizes):
    rig = connected()
    samples = noise(sum(sizes))
    for end, size in zip(np.cumsum(sizes), sizes, strict=True):
        rig.hear(samples[end - size : end])
        rig.tell(BeatDown, ack=rig.last_seq())
    chunks = rig.mic_pcm()
    assert {message.samples for message in rig.sent(Mic)} <= {320}
    assert b"".join(chunks) == to_pcm16(samples[: len(samples) // 320 * 320])


def test_without_acks_the_robot_stops_after_200_ms_probes_and_says_so_once():
    rig = connected()
    rig.run(1.5, mic=True, acks=False)
    sent = len(rig.mic_pcm())
    assert 11 <= sent <= 11 + 5
    assert rig.core.counts["window"] == 75 - sent
    assert len([words for words in rig.words(warning=True) if "too slow" in words]) == 1
    rig.tell(BeatDown, ack=rig.last_seq())
    rig.forget()
    rig.run(0.2, mic=True)
    assert len(rig.mic_pcm()) == 10


def test_a_gateway_that_hears_no_audio_although_it_beats_is_dialled_anew():
    """The downlink stands and the uplink does not: no probe is confirmed for 3 s."""
    rig = connected()
    rig.run(2.9, mic=True, acks=False)
    assert rig.of(Redial) == []
    rig.run(0.3, mic=True, acks=False)
    assert len(rig.of(Redial)) == 1
    assert any("confirmed no audio for 3" in words for words in rig.words(warning=True))
    assert rig.sent(Hello) != []
    rig.welcome()
    rig.forget()
    rig.run(5.0, mic=True)
    assert (rig.of(Redial), rig.words(warning=True)) == ([], [])


def test_on_a_long_way_the_window_is_longer_by_the_round_trip():
    rig = connected()
    echo = Echo(t_us=int(rig.now * 1e6) - 400_000, received_us=77_000_000)
    rig.tell(BeatDown, t_us=77_000_000, echo=echo)
    rig.run(0.58, mic=True, acks=False, beats=False)
    assert len(rig.mic_pcm()) == 29


def test_a_microphone_of_nothing_but_zeros_is_reported_in_words_once():
    rig = connected()
    zeros = np.zeros((160, 2), np.float32)
    for _ in range(2000):
        rig.hear(zeros)
        rig.run(0.01)
    (words,) = [words for words in rig.words(warning=True) if "microphone" in words]
    assert "nothing but zeros" in words
    assert rig.out[0][0] + 9.9 <= rig.when(Log(words, warning=True))[0] <= rig.out[0][0] + 10.2
    rig.hear(noise(160))
    assert rig.words()[-1] == "the microphone is heard again"
    rig.forget()
    for _ in range(500):
        rig.hear(zeros)
        rig.run(0.01)
    assert rig.words() == []


def test_a_quiet_microphone_is_not_taken_for_a_broken_one():
    rig = connected()
    quiet = np.zeros((160, 2), np.float32)
    quiet[80, 1] = 1e-5
    for _ in range(1500):
        rig.hear(quiet)
        rig.run(0.01)
    assert not any("microphone" in words for words in rig.words(warning=True))


def test_a_half_duplex_robot_sends_zeros_while_it_speaks_and_for_the_tail():
    rig = connected(tail_ms=300)
    rig.run(0.1, mic=True)
    start = rig.now
    rig.speaker(1, count=10)
    rig.tell(TurnEnd, turn=1)
    rig.run(1.0, mic=True)
    chunks = [(at, item.payload) for at, item in rig.out if isinstance(item, Send) and isinstance(item.message, Mic)]
    assert len(chunks) == 55, "the chunks go on"
    for at, pcm in chunks:
        speaks = 0.0 < round(at - start, 2) < 0.2 + 0.3
        assert any(pcm) != speaks


def test_a_full_duplex_robot_is_heard_while_it_speaks():
    rig = connected()
    rig.speaker(1, count=10)
    rig.run(0.3, mic=True)
    assert all(any(pcm) for pcm in rig.mic_pcm())


def test_manual_activity_is_passed_on():
    rig = connected()
    rig.take(rig.core.activity("start", rig.now))
    rig.take(rig.core.activity("end", rig.now))
    assert [message.event for message in rig.sent(Activity)] == ["start", "end"]


@pytest.mark.parametrize(("events", "told"), [([], []), (["start"], ["start"]), (["start", "end"], ["end"])])
def test_a_gateway_that_listens_only_now_is_told_what_the_person_did_last(events, told):
    rig = Rig()
    for event in events:
        rig.take(rig.core.activity(event, rig.now))
    rig.run(4.0)
    rig.welcome()
    rig.run(1.0, mic=True)
    assert [message.event for message in rig.sent(Activity)] == told
    rig.tell(Welcome, boot=NEW_GATEWAY, to_boot=BOOT, software="gateway 2")
    assert [message.event for message in rig.sent(Activity)] == told * 2, "another gateway does not know it either"


def test_a_mark_that_a_short_blip_of_the_link_swallowed_is_told_again():
    rig = connected()
    rig.take(rig.core.activity("start", rig.now))
    rig.run(3.0, mic=True)
    rig.forget()
    rig.take(rig.core.activity("end", rig.now))
    rig.run(10.0, mic=True)
    assert {message.event for message in rig.sent(Activity)} == {"end"}
    first, *again = rig.sent_at(Activity)
    assert any(at > first + LOST_S for at in again)
    assert max(again) < first + 5.0, "not for good"


def test_who_holds_the_button_into_an_answer_is_heard_by_a_half_duplex_robot_from_the_first_word_on():
    rig = connected(tail_ms=300)
    rig.speaker(1, count=10)
    rig.run(0.1, mic=True)
    assert not any(any(pcm) for pcm in rig.mic_pcm()[1:])
    rig.take(rig.core.activity("start", rig.now))
    rig.forget()
    rig.run(0.3, mic=True)
    assert all(any(pcm) for pcm in rig.mic_pcm())
    rig.take(rig.core.activity("end", rig.now))
    rig.speaker(1, count=10)
    rig.run(0.02, mic=True)
    rig.forget()
    rig.run(0.1, mic=True)
    assert not any(any(pcm) for pcm in rig.mic_pcm())


# --- the speaker ------------------------------------------------------------------------------------------------------


def test_a_turn_is_played_to_its_end_and_reported_when_the_device_has_played_it():
    rig = connected()
    start = rig.now
    rig.speaker(1, count=10)
    rig.tell(TurnEnd, turn=1)
    rig.run(1.0)
    assert rig.levels() == [0.5] * 10
    (report,) = rig.sent(Played)
    assert (report.turn, report.played_ms, report.complete, report.underruns) == (1, 200, True, 0)
    (reported,) = rig.sent_at(Played)
    assert 0.19 <= reported - start <= 0.22, "not while it can still be heard"
    assert rig.when(Notice(Moment.ANSWERED)) == [reported]
    (summary,) = rig.core.summary
    assert (summary.turn, summary.played_ms, summary.complete) == (1, 200, True)


def test_the_device_never_holds_more_than_its_lead_and_a_chunk():
    rig = connected(lead_ms=100)
    rig.speaker(1, count=50)
    for _ in range(60):
        rig.run(0.01)
        assert rig.queued_ms < 100 + CHUNK_MS


def test_the_answer_time_runs_from_the_end_of_speech_to_the_first_sample_at_the_speaker():
    rig = connected()
    heard_us = int(rig.now * 1e6)
    rig.run(0.64)
    rig.tell(State, state="speaking", heard_us=heard_us)
    rig.speaker(1, count=10)
    rig.tell(TurnEnd, turn=1)
    rig.run(1.0)
    rig.speaker(2, count=10)
    rig.tell(TurnEnd, turn=2)
    rig.run(1.0)
    first, second = rig.sent(Played)
    assert first.latency_ms == 640
    assert second.latency_ms is None, "one answer time for one utterance"
    assert "turn 1 done, answered after 640 ms, played 0.2 s" in rig.words()


def test_what_the_device_has_yet_to_play_counts_into_the_answer_time():
    rig = connected()
    heard_us = int(rig.now * 1e6)
    rig.tell(State, state="thinking", heard_us=heard_us)
    rig.queued_ms = 30.0
    rig.speaker(1, count=5)
    rig.tell(TurnEnd, turn=1)
    rig.run(1.0)
    assert rig.sent(Played)[0].latency_ms == 30


def test_a_gap_on_the_link_is_reported_as_an_underrun():
    rig = connected()
    rig.speaker(1, count=5)
    rig.run(0.3)
    rig.speaker(1, count=5)
    rig.tell(TurnEnd, turn=1)
    rig.run(1.0)
    (report,) = rig.sent(Played)
    assert (report.played_ms, report.underruns, report.concealed_ms, report.complete) == (200, 1, 5, True)


@pytest.mark.parametrize("state", ["listening", "thinking", "reconnecting", "refused"])
def test_a_turn_whose_end_was_lost_ends_when_the_gateway_does_not_speak_any_more(state):
    rig = connected()
    rig.speaker(1, 0.1, count=5)
    rig.run(0.2)
    rig.tell(State, state="speaking")
    rig.speaker(1, 0.1, count=2)
    rig.run(1.0)
    assert rig.levels() == [0.1] * 5, "after a gap the rest waits for the jitter target"
    rig.tell(State, state=state)
    rig.run(0.1)
    assert rig.levels() == [0.1] * 7, "before the next answer, not with it"
    assert [(report.turn, report.complete) for report in rig.sent(Played)] == [(1, True)]
    rig.speaker(2, 0.2, count=5)
    rig.tell(TurnEnd, turn=2)
    rig.run(0.5)
    assert rig.levels() == [0.1] * 7 + [0.2] * 5


def test_two_replies_in_a_row_are_one_answer_for_the_device():
    rig = connected()
    for turn in (1, 2):
        rig.speaker(turn, turn / 10, count=5)
        rig.tell(TurnEnd, turn=turn)
    rig.run(1.0)
    assert rig.levels() == [0.1] * 5 + [0.2] * 5
    assert [(report.turn, report.complete) for report in rig.sent(Played)] == [(1, True), (2, True)]
    assert rig.of(Notice) == [Notice(Moment.ANSWERED)]


# --- barge-in ---------------------------------------------------------------------------------------------------------


def test_barge_in_silences_the_device_at_once_and_drops_the_old_turn_even_if_it_arrives_late():
    rig = connected()
    rig.speaker(1, 0.1, count=20)
    rig.run(0.1)
    rig.forget()
    out = rig.tell(Flush, turn=2, floor=2)
    assert out[0] == Hush()
    rig.speaker(1, 0.1, count=5, floor=2)
    rig.speaker(2, 0.2, count=5, floor=2)
    rig.tell(TurnEnd, turn=2, floor=2)
    rig.run(0.5)
    assert rig.levels() == [0.2] * 5
    assert rig.core.counts["late_chunks"] == 5
    assert [(report.turn, report.complete) for report in rig.sent(Played)] == [(1, False), (2, True)]


@pytest.mark.parametrize("carrier", [BeatDown, Speaker, State])
def test_if_the_flush_is_lost_the_floor_in_any_message_silences_the_robot(carrier):
    rig = connected()
    rig.speaker(1, 0.1, count=20)
    rig.run(0.1)
    rig.forget()
    match carrier:
        case _ if carrier is Speaker:
            rig.speaker(2, 0.2, floor=2)
        case _:
            rig.tell(carrier, floor=2, **({"state": "listening"} if carrier is State else {}))
    assert rig.out[0][1] == Hush()
    rig.speaker(1, 0.1, count=5)
    rig.run(0.5)
    assert 0.1 not in rig.levels()


def test_a_flush_that_is_said_twice_hushes_once():
    rig = connected()
    rig.speaker(1, count=20)
    rig.run(0.1)
    rig.tell(Flush, turn=2, floor=2)
    rig.tell(Flush, turn=2, floor=2)
    rig.tell(BeatDown, floor=2)
    assert rig.of(Hush) == [Hush()]


@pytest.mark.parametrize("ended", [True, False], ids=["ended", "not ended"])
def test_barge_in_silences_the_last_of_a_reply_that_only_the_device_still_holds(ended):
    """All chunks have been handed over, up to lead_ms ahead: what is not flushed there is heard."""
    rig = connected(lead_ms=300)
    rig.speaker(1, count=15)
    if ended:
        rig.tell(TurnEnd, turn=1)
    rig.run(0.05)
    assert rig.queued_ms == 250
    rig.forget()
    rig.tell(Flush, turn=2, floor=2)
    assert rig.of(Hush) == [Hush()]
    rig.run(0.1)
    (report,) = rig.sent(Played)
    assert not report.complete


def test_a_cut_turn_is_reported_with_what_was_heard_of_it():
    """What a hush takes back from the device was handed over, but not heard."""
    rig = connected(lead_ms=300)
    rig.speaker(1, count=50)
    rig.run(0.1)
    held_ms = rig.queued_ms
    assert held_ms >= 290
    rig.tell(Flush, turn=2, floor=2)
    rig.run(0.1)
    (report,) = rig.sent(Played)
    assert 100 <= report.played_ms <= 120


def test_a_turn_is_reported_with_its_moments_on_the_robots_clock():
    rig = connected()
    rig.queued_ms = 30.0
    arrived_us = int(rig.now * 1e6)
    rig.speaker(1, count=2)
    rig.run(0.02)
    rig.speaker(1, count=3)
    rig.tell(TurnEnd, turn=1)
    rig.run(1.0)
    (report,) = rig.sent(Played)
    assert report.arrived_us == arrived_us
    assert report.started_us == pytest.approx(arrived_us + 30_000, abs=1000), "60 ms are there after 20, of which 10 still play"
    assert report.cut_us is None


@pytest.mark.parametrize("chunks", [1, 2], ids=["one chunk", "two chunks"])
def test_turns_that_follow_one_another_at_once_have_each_its_own_beginning(chunks):
    """The second used to begin a chunk late, or never if it was one chunk, which then took the next one's latency."""
    rig = connected()
    rig.tell(State, state="speaking", heard_us=int(rig.now * 1e6))
    began_us = int(rig.now * 1e6)
    for turn in (1, 2, 3):
        rig.speaker(turn, count=chunks)
        rig.tell(TurnEnd, turn=turn)
    rig.run(1.0)
    reports = rig.sent(Played)
    assert [report.turn for report in reports] == [1, 2, 3]
    starts = [report.started_us for report in reports]
    assert None not in starts
    assert [b - a for a, b in pairwise(starts)] == [pytest.approx(20_000 * chunks, abs=11_000)] * 2
    assert starts[0] - began_us < 100_000
    assert [report.latency_ms is not None for report in reports] == [True, False, False]


def test_a_turn_that_a_flush_silenced_says_when():
    rig = connected()
    rig.speaker(1, count=20)
    rig.run(0.1)
    rig.speaker(2, count=5)
    cut_us = int(rig.now * 1e6)
    rig.tell(Flush, turn=3, floor=3)
    rig.run(0.1)
    first, second = rig.sent(Played)
    assert abs(first.cut_us - cut_us) <= 1
    assert (second.cut_us, second.started_us) == (None, None), "nothing of it had been heard"


def test_a_flush_while_the_robot_is_silent_needs_no_hush():
    rig = connected()
    rig.tell(Flush, turn=2, floor=2)
    assert rig.of(Hush) == []


# --- a device that is lost --------------------------------------------------------------------------------------------


def reports(rig: Rig) -> list[tuple[int, int, bool, int]]:
    return [(report.turn, report.played_ms, report.complete, report.underruns) for report in rig.sent(Played)]


def test_a_device_that_is_lost_in_mid_answer_cuts_it_for_good_and_the_next_answer_is_heard():
    rig = connected()
    rig.speaker(1, 0.1, count=20)
    rig.run(0.1)
    rig.speaker(2, 0.2, count=3)
    rig.lose_device()
    assert [turn for turn, _, complete, _ in reports(rig) if not complete] == [1, 2], "at once"
    rig.forget()
    for _ in range(50):
        rig.speaker(2, 0.2)
        rig.run(0.02)
    rig.tell(TurnEnd, turn=2)
    rig.speaker(3, 0.3, count=3)
    rig.run(1.0)
    assert (rig.of(Play), reports(rig)) == ([], [(3, 0, False, 0)])
    assert rig.core.counts["no_device"] == 53
    rig.forget()
    rig.open_device()
    rig.speaker(3, 0.3, count=10)
    rig.tell(TurnEnd, turn=3)
    rig.speaker(4, 0.4, count=10)
    rig.tell(TurnEnd, turn=4)
    rig.run(1.0)
    assert rig.levels() == [0.4] * 10
    assert reports(rig) == [(4, 200, True, 0)]


def test_an_answer_whose_last_words_only_the_device_held_when_it_was_lost_is_cut_too():
    rig = connected(lead_ms=300)
    rig.speaker(1, count=10)
    rig.tell(TurnEnd, turn=1)
    rig.run(0.05)
    assert rig.sent(Played) == []
    rig.lose_device()
    assert [(report.turn, report.complete) for report in rig.sent(Played)] == [(1, False)]


def test_without_a_device_the_link_stands_and_after_a_loss_of_it_the_robot_says_hello():
    rig = connected()
    rig.lose_device()
    rig.run(5.0)
    assert rig.core.welcomed
    assert len(rig.sent(BeatUp)) >= 19
    rig.run(2.5, beats=False)
    assert rig.sent(Hello) != []


def test_before_its_device_is_open_a_robot_is_welcomed_plays_nothing_and_sounds_wait():
    rig = Rig(device=False)
    rig.run(6.0, beats=False)
    rig.open_device()
    rig.run(0.01, beats=False)
    assert rig.of(Say) == [Say("no-gateway")]
    rig = Rig(device=False)
    rig.welcome()
    rig.speaker(1, 0.1, count=5)
    rig.run(0.2)
    assert reports(rig) == [(1, 0, False, 0)]
    rig.open_device()
    rig.tell(TurnEnd, turn=1)
    rig.speaker(2, 0.2, count=5)
    rig.run(0.2)
    assert rig.levels() == [0.2] * 5


def test_what_a_lost_microphone_gave_last_is_not_joined_to_what_the_next_one_gives():
    rig = connected()
    rig.hear(noise(300))
    rig.lose_device()
    rig.open_device()
    rig.hear(noise(320, seed=2))
    assert rig.mic_pcm() == [to_pcm16(noise(320, seed=2))]
    zeros = np.zeros((160, 2), np.float32)
    rig.hear(zeros)
    rig.lose_device()
    rig.run(20.0)
    rig.open_device()
    rig.hear(zeros)
    assert rig.words(warning=True) == []


# --- what is wrong is said --------------------------------------------------------------------------------------------


def test_without_a_gateway_the_robot_says_so_after_5_s_and_at_most_once_a_minute():
    rig = Rig()
    rig.run(130, beats=False)
    at = [round(at - 50.0, 1) for at in rig.when(Say("no-gateway"))]
    assert at == [5.0, 65.0, 125.0]
    assert rig.of(Say) == [Say("no-gateway")] * 3
    rig.welcome()
    assert rig.of(Say)[-1] == Say("connected")


def test_a_gateway_that_does_not_admit_the_robot_has_said_no():
    rig = Rig()
    rig.take(rig.core.trouble(Trouble("key", "refused this robot's key"), rig.now))
    rig.run(6, beats=False)
    assert rig.of(Say) == [Say("refused")]


def test_a_gateway_that_comes_in_time_needs_no_sound():
    rig = Rig()
    rig.run(4.5, beats=False)
    rig.welcome()
    rig.run(20)
    assert rig.of(Say) == []


def test_a_gateway_that_is_lost_and_found_within_5_s_needs_no_sound():
    rig = connected()
    rig.run(6.0, beats=False)
    rig.welcome()
    assert rig.of(Say) == []
    rig.run(7.5, beats=False)
    assert rig.of(Say) == [Say("no-gateway")]


def test_a_voice_that_is_refused_makes_a_sound_at_most_once_a_minute_and_never_into_a_reply():
    rig = connected()
    rig.speaker(1, count=5)
    rig.tell(State, state="refused", reason="check GEMINI_API_KEY")
    assert rig.of(Say) == []
    rig.run(1.0)
    rig.tell(TurnEnd, turn=1)
    rig.run(1.0)
    for _ in range(7):
        rig.tell(State, state="refused", reason="check GEMINI_API_KEY")
        rig.run(10)
    assert len(rig.of(Say)) == 2
    assert set(rig.of(Say)) == {Say("refused")}
    assert "refused: check GEMINI_API_KEY" in rig.words(warning=True)


def test_a_state_is_a_line_when_it_changes():
    rig = connected()
    for state in ("listening", "listening", "thinking", "speaking", "listening"):
        rig.tell(State, state=state)
    assert rig.words() == ["listening", "thinking", "speaking", "listening"]


def test_the_same_trouble_is_one_line_until_the_link_has_stood():
    rig = Rig()
    trouble = Trouble("key", "the gateway refused this robot's key")
    for _ in range(5):
        rig.take(rig.core.trouble(trouble, rig.now))
    assert rig.words(warning=True) == [trouble.words]
    rig.take(rig.core.trouble(Trouble("unreachable", "nobody listens"), rig.now))
    assert rig.words(warning=True)[1:] == ["nobody listens"]
    rig.welcome()
    rig.take(rig.core.trouble(Trouble("unreachable", "nobody listens"), rig.now))
    assert rig.words(warning=True)[2:] == ["nobody listens"]


def test_a_message_with_the_wrong_payload_is_dropped_counted_and_logged_once():
    rig = connected()
    for _ in range(5):
        rig.tell(Speaker, b"\0" * 100, turn=1, samples=320)
    assert rig.core.counts["payload"] == 5
    (words,) = rig.words(warning=True)
    assert "speaker has 100 bytes of payload, expected 1280" in words
    rig.run(0.5)
    assert rig.of(Play) == []


def test_a_message_that_is_not_of_this_protocol_is_counted_and_logged_once_by_its_cause():
    rig = connected()
    for cause in ("header", "header", "kind", "header"):
        rig.take(rig.core.bad(WireError(cause, "some detail")))
    assert (rig.core.counts["header"], rig.core.counts["kind"]) == (3, 1)
    assert len(rig.words(warning=True)) == 2


def test_a_damaged_message_does_not_count_as_a_sign_of_life():
    rig = connected()
    for _ in range(25):
        rig.run(0.1, beats=False)
        rig.tell(Speaker, b"\0", turn=1, samples=320)
    assert not rig.core.welcomed


@pytest.mark.parametrize("show", [False, True])
def test_what_was_said_is_logged_only_if_asked_for(show):
    rig = connected(show_transcripts=show)
    rig.tell(Transcript, who="person", text="my secret wish")
    rig.tell(Transcript, who="robot", text="my secret answer", turn=1)
    rig.run(0.1)
    assert [words for words in rig.words() if "secret" in words] == [
        "person said: my secret wish",
        "reachy said: my secret answer",
    ] * show


# --- whatever happens -------------------------------------------------------------------------------------------------

TURNS = st.integers(1, 5)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("speaker"), TURNS, st.integers(1, 8)),
        st.tuples(st.just("end"), TURNS),
        st.tuples(st.just("flush"), TURNS),
        st.tuples(st.just("floor"), TURNS),
        st.tuples(st.just("wait"), st.sampled_from([0.01, 0.05, 0.3, 2.5])),
        st.tuples(st.just("restart")),
        st.tuples(st.just("refuse")),
        st.tuples(st.just("welcome")),
        st.tuples(st.just("foreign")),
        st.tuples(st.just("state"), st.sampled_from(["listening", "speaking"])),
        st.tuples(st.just("device"), st.booleans()),
    ),
    max_size=30,
)


@given(steps=STEPS)
def test_whatever_a_gateway_does_no_turn_below_the_floor_is_played_and_the_uplink_stays_in_order(steps):
    rig = connected()
    boots, floor = [GATEWAY], 0
    for name, *arguments in steps:
        before = len(rig.out)
        fields = {"boot": boots[-1], "floor": floor}
        match name, *arguments:
            case "speaker", turn, count:
                rig.speaker(turn, turn / 10, count, **fields)
            case "end", turn:
                rig.tell(TurnEnd, turn=turn, **fields)
            case "flush", turn:
                floor = max(floor, turn)
                rig.tell(Flush, turn=floor, **fields | {"floor": floor})
            case "floor", turn:
                floor = max(floor, turn)
                rig.tell(BeatDown, **fields | {"floor": floor})
            case "wait", seconds:
                rig.run(seconds, beats=False, mic=True)
            case ("restart",):
                boots.append(f"{len(boots):016x}")
                floor = 0
                rig.tell(BeatDown, boot=boots[-1])
            case ("refuse",):
                rig.tell(Refuse, reason="no", **fields)
            case ("welcome",):
                rig.welcome(**fields)
            case ("foreign",):
                rig.tell(Flush, turn=99, floor=99, to_boot=OTHER_BOOT, boot=NEW_GATEWAY)
            case "state", state:
                rig.tell(State, state=state, **fields)
            case "device", there:
                (rig.open_device if there else rig.lose_device)()
        played = [round(float(item.samples[-1, 0]) * 10) for _, item in rig.out[before:] if isinstance(item, Play)]
        assert all(turn >= floor for turn in played if turn), "the concealment's last sample is nearly silent"
    rig.run(5.0, beats=False)
    sent = [item.message.seq for item in rig.of(Send)]
    assert sent == list(range(sent[0], sent[0] + len(sent)))
    assert rig.queued_ms == 0


# --- several gateways -------------------------------------------------------------------------------------------------

ONE, TWO = Address("10.0.0.1"), Address("10.0.0.2")
NOBODY = Trouble("unreachable", "nobody listens")


def served(**options: object) -> Rig:
    """Welcomed by the first of two gateways, long ago."""
    rig = connected(addresses=[ONE, TWO], **options)
    rig.run(10.0, mic=True)
    rig.forget()
    return rig


def test_a_gateway_that_cannot_be_reached_is_left_for_the_next_at_once():
    rig = Rig(addresses=[ONE, TWO])
    rig.run(0.01)
    rig.forget()
    rig.take(rig.core.trouble(Trouble("key", "refused this robot's key"), rig.now))
    assert rig.of(Redial) == [Redial(TWO)]
    assert rig.words() == ["refused this robot's key", f"trying the gateway at {TWO}"]
    rig.forget()
    rig.run(0.01)
    assert len(rig.sent(Hello)) == 1
    rig.welcome(boot=NEW_GATEWAY)
    assert rig.words() == [f"connected to the gateway at {TWO} (gateway 1)"]


def test_while_nobody_serves_each_round_begins_three_seconds_after_the_last_and_says_nothing_new():
    rig = Rig(addresses=[ONE, TWO])
    for _ in range(3000):
        rig.run(0.01)
        rig.take(rig.core.trouble(NOBODY, rig.now))
    assert [dial.address for dial in rig.of(Redial)] == [TWO, ONE] * 9 + [TWO]
    assert rig.when(Redial(ONE)) == pytest.approx([50.02 + 3.01 * n for n in range(1, 10)], abs=0.1)
    assert rig.words(warning=True) == ["nobody listens"] * 2, "once for each gateway"
    assert rig.words(warning=False) == [f"trying the gateway at {TWO}"]
    assert rig.of(Say) == [Say("no-gateway")]


def test_a_gateway_that_says_nothing_is_left_after_two_seconds():
    rig = Rig(addresses=[ONE, TWO])
    rig.run(1.9)
    assert rig.of(Redial) == []
    rig.run(0.2)
    assert rig.of(Redial) == [Redial(TWO)]


def test_a_gateway_that_is_lost_is_left_and_the_speaker_silenced():
    rig = served()
    rig.speaker(1, count=5)
    rig.run(2.1, beats=False)
    assert rig.of(Hush) == [Hush()]
    assert rig.of(Redial) == [Redial(TWO)]
    assert rig.of(Resubscribe) == [Resubscribe()]
    assert rig.words(warning=True) == [f"nothing from the gateway at {ONE} for 2.0 s"]


def test_a_gateway_that_died_is_left_when_a_dial_fails_and_not_sooner():
    rig = served()
    rig.run(0.3, beats=False, mic=True)
    assert rig.core.welcomed
    rig.take(rig.core.trouble(NOBODY, rig.now))
    assert not rig.core.welcomed
    assert rig.of(Redial) == [Redial(TWO)]
    rig.run(0.01, beats=False)
    assert rig.sent_at(Hello) == [rig.now]


def test_a_gateway_that_hears_no_audio_is_left_for_the_next():
    rig = served()
    rig.run(3.2, mic=True, acks=False)
    assert rig.of(Redial) == [Redial(TWO)]


@pytest.mark.parametrize("how", ["a failed dial", "silence", "no acks"])
def test_a_gateway_that_is_left_is_told_goodbye_after_the_last_report_as_it_may_be_alive(how):
    rig = served()
    rig.speaker(1, count=5)
    rig.run(0.02)
    match how:
        case "a failed dial":
            rig.take(rig.core.trouble(NOBODY, rig.now))
        case "silence":
            rig.run(2.1, beats=False)
        case "no acks":
            rig.run(3.2, mic=True, acks=False)
    told = [item.message if isinstance(item, Send) else item for _, item in rig.out]
    assert [type(item) for item in told if isinstance(item, Played | Bye | Redial)] == [Played, Bye, Redial]
    rig.run(20.0, beats=False)
    assert len(rig.sent(Bye)) == 1, "the others have nothing of this robot"


@pytest.mark.parametrize("told", [Refuse, Stranger])
def test_a_gateway_that_does_not_serve_the_robot_any_more_is_told_no_goodbye(told):
    rig = served()
    rig.tell(told, to_boot=BOOT, **({"reason": "another robot has its place"} if told is Refuse else {}))
    rig.run(3.0, beats=False)
    assert Redial(TWO) in rig.of(Redial)
    assert rig.sent(Bye) == []


def test_a_gateway_that_is_full_is_left_at_once_and_the_sound_waits_until_all_are():
    rig = Rig(addresses=[ONE, TWO])
    rig.tell(Refuse, reason="12 robots are served already")
    assert (rig.of(Redial), rig.of(Say)) == ([Redial(TWO)], [])
    assert f"the gateway at {ONE} refused this robot: 12 robots are served already" in rig.words(warning=True)
    rig.run(0.01)
    rig.tell(Refuse, reason="12 robots are served already", boot=NEW_GATEWAY)
    assert rig.of(Say) == [Say("refused")]
    assert f"the gateway at {TWO} refused this robot: 12 robots are served already" in rig.words(warning=True)
    rig.forget()
    rig.run(3.1, beats=False)
    assert (rig.of(Redial), rig.words()) == ([Redial(ONE)], [])


def test_a_robot_stays_where_it_is_served():
    rig = served()
    rig.take(rig.core.trouble(NOBODY, rig.now))
    rig.welcome(boot=NEW_GATEWAY)
    rig.forget()
    for _ in range(600):
        rig.run(0.1, beats=False, mic=True)
        rig.tell(BeatDown, ack=rig.last_seq(), boot=NEW_GATEWAY)
    assert rig.of(Redial) == []
    assert rig.core.route.here == TWO


def test_a_gateway_that_started_anew_is_not_left():
    rig = served()
    rig.tell(Stranger, to_boot=BOOT, boot=NEW_GATEWAY)
    rig.run(0.2, beats=False)
    rig.welcome(boot=NEW_GATEWAY)
    rig.run(1.0, beats=False)
    assert rig.core.welcomed
    assert rig.of(Redial) == []


def test_nothing_of_the_conversation_with_one_gateway_counts_at_the_next():
    rig = served()
    rig.tell(State, state="listening")
    rig.tell(State, state="speaking", heard_us=int(rig.now * 1e6) - 500_000)
    rig.take(rig.core.trouble(NOBODY, rig.now))
    rig.welcome(boot=NEW_GATEWAY)
    rig.speaker(1, count=5, boot=NEW_GATEWAY)
    rig.tell(TurnEnd, turn=1, boot=NEW_GATEWAY)
    rig.run(0.5, beats=False)
    assert [report.latency_ms for report in rig.sent(Played)] == [None], "the question was the other's"
    rig.forget()
    rig.tell(Leave, to_boot=BOOT, reason="being stopped", boot=NEW_GATEWAY)
    assert len(rig.sent(Bye)) == 1, "it is not the one that was to be heard to the end"


def test_a_gateway_that_started_anew_is_heard_from_its_first_state_on():
    rig = connected()
    rig.run(0.64)
    rig.tell(State, state="listening", heard_us=int(rig.now * 1e6) - 640_000)
    rig.speaker(1, count=20)
    rig.run(0.1)
    rig.tell(BeatDown, boot=NEW_GATEWAY)
    rig.welcome(boot=NEW_GATEWAY)
    rig.tell(State, state="listening", boot=NEW_GATEWAY)
    assert rig.words().count("listening") == 2
    assert [(turn.turn, turn.latency_ms) for turn in rig.core.summary] == [(1, 640)], "the answer that was cut had answered"


def test_two_gateways_that_serve_for_a_moment_only_are_not_hammered():
    rig = Rig(addresses=[ONE, TWO])
    for n in range(1000):
        rig.run(0.01)
        rig.welcome(boot=f"{n:016x}")
        rig.run(0.01, beats=False)
        rig.take(rig.core.trouble(NOBODY, rig.now))
    assert len(rig.of(Redial)) <= 2 * 20 / 3.0 + 1


def test_with_one_gateway_no_trouble_ends_a_welcome():
    rig = connected(addresses=[ONE])
    rig.take(rig.core.trouble(NOBODY, rig.now))
    assert rig.core.welcomed
    assert rig.words() == ["nobody listens"]


# --- leaving ----------------------------------------------------------------------------------------------------------


def test_an_idle_robot_that_is_told_to_leave_says_goodbye_and_dials_the_next_gateway_at_once():
    rig = served()
    rig.tell(Leave, to_boot=BOOT, reason="being stopped")
    assert len(rig.sent(Bye)) == 1
    assert rig.of(Redial) == [Redial(TWO)]
    assert [type(item) for _, item in rig.out if type(item) in (Redial, Send)] == [Send, Redial, Send], "bye, dial, hello"
    assert f"the gateway at {ONE} asks to leave: being stopped" in rig.words(warning=False)
    assert rig.words(warning=True) == []
    rig.welcome(boot=NEW_GATEWAY)
    assert rig.core.welcomed


def test_a_turn_in_progress_is_heard_to_its_end_before_the_robot_leaves():
    rig = served()
    rig.tell(State, state="thinking")
    rig.tell(Leave, to_boot=BOOT, reason="being stopped")
    rig.run(0.5, mic=True)
    assert rig.mic_pcm() != [], "it is heard until it leaves"
    rig.tell(State, state="speaking")
    rig.speaker(1, count=10)
    rig.run(0.1)
    rig.tell(TurnEnd, turn=1)
    rig.tell(State, state="listening")
    assert rig.of(Redial) == []
    rig.run(0.5)
    assert rig.of(Redial) == [Redial(TWO)]
    assert [(report.turn, report.complete) for report in rig.sent(Played)] == [(1, True)]
    assert rig.levels() == [0.5] * 10


def test_a_gateway_that_dies_before_the_turn_has_ended_is_left_all_the_same():
    rig = served()
    rig.tell(State, state="speaking")
    rig.speaker(1, count=10)
    rig.tell(Leave, to_boot=BOOT, reason="being stopped")
    rig.run(0.1)
    assert rig.of(Redial) == []
    rig.take(rig.core.trouble(NOBODY, rig.now))
    assert rig.of(Redial) == [Redial(TWO)]
    rig.welcome(boot=NEW_GATEWAY)
    rig.run(1.0, beats=False)
    assert rig.core.welcomed, "it is the former gateway that was to be left"


def test_a_robot_with_one_gateway_leaves_it_and_asks_for_its_successor_at_the_usual_pace():
    rig = connected()
    rig.tell(Leave, to_boot=BOOT, reason="being stopped")
    assert len(rig.sent(Bye)) == 1
    assert not rig.core.welcomed
    rig.forget()
    for _ in range(3):
        rig.tell(Refuse, reason="being stopped")
        rig.run(1.0, beats=False)
    assert len(rig.sent(Hello)) >= 14
    assert (rig.words(), rig.of(Say), rig.of(Redial)) == ([], [], [])
    rig.tell(Refuse, reason="no room", boot=NEW_GATEWAY)
    assert "the gateway refused this robot: no room" in rig.words(warning=True)


def test_a_wish_to_leave_that_is_for_another_start_of_the_robot_is_dropped():
    rig = served()
    rig.tell(Leave, to_boot=OTHER_BOOT, reason="being stopped")
    assert (rig.sent(Bye), rig.of(Redial)) == ([], [])


# --- gateways by name -------------------------------------------------------------------------------------------------

BOX = Address("box.lab")
NAMELESS = Trouble("unknown-name", "box.lab is not known here")


def found(rig: Rig, *ips: str, name: str = "box.lab") -> list[Out]:
    return rig.take(rig.core.looked_up(name, ips, NAMELESS, rig.now))


def named(*ips: str, addresses: Sequence[Address] = (BOX,)) -> Rig:
    """Welcomed at the first address of a name, long ago."""
    rig = Rig(addresses=addresses)
    rig.run(0.01)
    found(rig, *ips)
    rig.welcome()
    rig.run(10.0, mic=True)
    rig.forget()
    return rig


def test_a_name_is_looked_up_at_the_start_and_its_address_dialled_as_soon_as_it_is_known():
    rig = Rig(addresses=[BOX])
    rig.run(0.05)
    assert (rig.of(LookUp), rig.of(Redial)) == ([LookUp("box.lab")], [])
    assert found(rig, "10.0.0.1")[-1] == Redial(BOX.at("10.0.0.1"))
    assert rig.words() == []
    rig.welcome()
    assert rig.words() == ["connected to the gateway at box.lab:5555+5556 (10.0.0.1) (gateway 1)"]


def test_a_name_that_is_not_known_is_a_dial_that_failed_and_is_told_once():
    rig = Rig(addresses=[BOX, TWO])
    rig.run(0.05)
    found(rig)
    assert rig.of(Redial) == [Redial(TWO)]
    assert rig.words() == ["box.lab is not known here", f"trying the gateway at {TWO}"]
    assert rig.core.counts["look_up"] == 1
    rig.forget()
    for _ in range(1000):
        rig.run(0.01)
        rig.take(rig.core.trouble(NOBODY, rig.now))
        if rig.of(LookUp):
            found(rig)
            rig.forget()
    assert rig.core.counts["look_up"] == pytest.approx(20, abs=3), "twice a second, as long as somebody fails"
    assert rig.words(warning=True) == []


def test_a_look_up_without_an_end_holds_nobody_up_for_more_than_2_s():
    rig = Rig(addresses=[BOX, TWO])
    rig.run(1.9)
    assert rig.of(Redial) == []
    rig.run(0.2)
    assert rig.of(Redial) == [Redial(TWO)]
    assert rig.words(warning=True) == [
        "no name server answers what the address of box.lab is: check the network, and /etc/resolv.conf"
    ]
    rig.take(rig.core.trouble(NOBODY, rig.now))
    rig.run(3.1)
    assert [(dial.address, at) for at, dial in rig.out if isinstance(dial, Redial)][1:] == [
        (BOX, pytest.approx(55.1, abs=0.1)),
        (TWO, pytest.approx(55.1, abs=0.1)),
    ], "it has waited for that look-up already"
    assert rig.of(LookUp) == [LookUp("box.lab")]
    found(rig, "10.0.0.1")
    rig.take(rig.core.trouble(NOBODY, rig.now))
    rig.run(3.1)
    assert rig.of(Redial)[-1] == Redial(BOX.at("10.0.0.1")), "late is better than never"


def test_a_look_up_that_begins_late_has_its_2_s_all_the_same():
    """As where the device takes its time to be made, before the first tick."""
    rig = Rig(addresses=[BOX, TWO])
    rig.now += 1.5
    rig.run(1.9)
    assert TWO not in [dial.address for dial in rig.of(Redial)]
    rig.run(0.2)
    assert rig.of(Redial)[-1] == Redial(TWO)
    assert "no name server answers" in rig.words(warning=True)[0]


def test_a_look_up_that_ends_too_late_is_used_at_once_where_there_is_no_other_gateway():
    rig = Rig(addresses=[BOX])
    rig.run(5.0)
    assert len(rig.words(warning=True)) == 1
    assert found(rig, "10.0.0.1")[-1] == Redial(BOX.at("10.0.0.1"))


def test_while_it_is_served_no_name_is_looked_up():
    rig = named("10.0.0.1")
    rig.run(10.0, mic=True)
    assert rig.of(LookUp) == []


@pytest.mark.parametrize("how", ["a failed dial", "silence"])
def test_a_gateway_that_is_gone_may_have_another_address(how):
    rig = named("10.0.0.1")
    if how == "a failed dial":
        rig.take(rig.core.trouble(NOBODY, rig.now))
    rig.run(2.1, beats=False)
    assert LookUp("box.lab") in rig.of(LookUp)
    assert found(rig, "10.0.0.2")[-1] == Redial(BOX.at("10.0.0.2"))
    assert "box.lab has another address now at box.lab:5555+5556 (10.0.0.2)" in rig.words(warning=False)


def test_the_address_that_was_found_before_is_dialled_while_nobody_knows_the_name():
    rig = named("10.0.0.1")
    for _ in range(50):
        rig.take(rig.core.trouble(NOBODY, rig.now))
        rig.run(0.1, beats=False)
        if rig.of(LookUp):
            found(rig)
    assert {dial.address for dial in rig.of(Redial)} <= {None}
    assert rig.core.route.here == BOX.at("10.0.0.1")
    assert rig.words(warning=True) == [
        "nobody listens (box.lab has this address here)",
        "nothing from the gateway at box.lab:5555+5556 (10.0.0.1) for 2.0 s",
        "box.lab is not known here (the address that it had before is dialled)",
    ]


def test_other_addresses_do_not_disturb_who_is_served():
    rig = named("10.0.0.1")
    rig.take(rig.core.trouble(NOBODY, rig.now))
    rig.run(0.02)
    rig.forget()
    found(rig, "10.0.0.2")
    rig.run(5.0, mic=True)
    assert rig.core.welcomed
    assert rig.of(Redial) == []


def test_a_gateway_of_two_addresses_is_reached_at_the_other_at_once_and_never_waits_for_a_round():
    """As a gateway that listens on 127.0.0.1 alone, and is called localhost."""
    rig = named("[::1]", "127.0.0.1")
    rig.take(rig.core.trouble(NOBODY, rig.now))
    for _ in range(300):
        rig.run(0.01, beats=False)
        rig.take(rig.core.trouble(NOBODY, rig.now))
    dialled = rig.when(Redial(BOX.at("127.0.0.1")))
    assert len(dialled) == pytest.approx(3.0 / 0.27, abs=2)


def test_a_gateway_of_two_addresses_that_refuses_is_not_hammered():
    rig = named("[::1]", "127.0.0.1")
    for n in range(1000):
        rig.take(rig.core.trouble(Trouble("key", "refused") if n % 2 else NOBODY, rig.now))
        rig.run(0.01, beats=False)
    assert len(rig.of(Redial)) <= 2 * 10.0 / 3.0 + 2


def test_what_was_said_of_addresses_that_are_gone_is_forgotten():
    rig = Rig(addresses=[BOX])
    for n in range(200):
        rig.run(1.0)
        found(rig, f"10.0.0.{n}")
        rig.take(rig.core.trouble(NOBODY, rig.now))
    assert len(rig.core._complaints._said) <= 3


def test_what_is_dropped_is_told_again_once_the_link_was_made_anew():
    rig = connected()
    for n in range(3):
        for _ in range(5):
            rig.take(rig.core.bad(WireError("header", f"bad {n}")))
            rig.take(rig.core.bad(WireError("parts", f"bad {n}")))
        rig.run(3.0, beats=False, mic=True)
        rig.run(0.5, beats=False)
        rig.welcome()
    assert len([words for words in rig.words() if "dropped a message of the gateway" in words]) == 2 * 3
    assert len([words for words in rig.words() if "too slow for live speech" in words]) == 3


def test_what_was_dropped_may_be_asked_for_by_another_thread_while_it_is_counted():
    rig = Rig()
    faults: list[Exception] = []
    over = threading.Event()

    def asks() -> None:
        while not over.is_set():
            try:
                rig.core.counts  # noqa: B018 - asking is the test
            except RuntimeError as error:
                faults.append(error)

    thread = threading.Thread(target=asks)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread.start()
    try:
        for n in range(20_000):
            rig.core._tally.count(f"cause-{n}")
            if n % 200 == 0:
                rig.core._tally.counts.clear()
    finally:
        over.set()
        thread.join()
        sys.setswitchinterval(interval)
    assert not faults
