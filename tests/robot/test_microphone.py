"""What the microphone hears, and what is sent of it."""

import numpy as np
import pytest
from core_rig import BOOT, NEW_GATEWAY, Rig, connected, noise
from hypothesis import given
from hypothesis import strategies as st

from reachy_link.messages import (
    Activity,
    BeatDown,
    Echo,
    Hello,
    Mic,
    TurnEnd,
    Welcome,
)
from reachy_link.pcm import to_pcm16
from reachy_robot.decisions import Log, Redial, Send
from reachy_robot.presence import LOST_S


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


@pytest.mark.parametrize(("mic_ms", "samples"), [(None, 320), (0, 320), (39, 320), (40, 640), (60, 640), (10_000, 640)])
def test_the_gateway_may_wish_for_longer_chunks_and_each_message_says_so(mic_ms, samples):
    rig = connected()
    sound = noise(320 * 9)
    rig.tell(BeatDown, ack=rig.last_seq(), mic_ms=mic_ms)
    rig.hear(sound[: 320 * 5])
    assert {message.samples for message in rig.sent(Mic)} == {samples}
    rig.tell(BeatDown, ack=rig.last_seq())
    rig.hear(sound[320 * 5 :])
    assert rig.sent(Mic)[-1].samples == 320, "after a change, or at another gateway, short messages must follow"
    assert b"".join(rig.mic_pcm()) == to_pcm16(sound), "without a sample lost"


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
    """The down connection stands and the up connection does not: no probe is acknowledged for 3 s."""
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
    assert [message.event for message in rig.sent(Activity)] == told * 2, "another gateway must be told again"


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
