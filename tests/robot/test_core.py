"""The core as a whole: a lost device, what is logged, and random events."""

import numpy as np
import pytest
from core_rig import GATEWAY, NEW_GATEWAY, OTHER_BOOT, Rig, connected, noise, reports
from hypothesis import given
from hypothesis import strategies as st

from reachy_link.messages import (
    BeatDown,
    BeatUp,
    Flush,
    Hello,
    Played,
    Refuse,
    Speaker,
    State,
    Transcript,
    TurnEnd,
)
from reachy_link.pcm import to_pcm16
from reachy_link.wire import WireError
from reachy_robot.decisions import Play, Said, Say, Send
from reachy_robot.trouble import Trouble

# --- a device that is lost --------------------------------------------------------------------------------------------


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


def test_a_state_with_its_reason_is_one_line_however_often_the_person_speaks():
    rig = connected()
    for reason in ("no route", "no route", "no route", "check the proxy"):
        for speaks in (True, False):
            rig.tell(State, state="reconnecting", reason=reason, person_speaks=speaks)
    assert rig.words(warning=True) == ["reconnecting: no route", "reconnecting: check the proxy"]


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
def test_what_was_said_is_shown_only_if_asked_for(show):
    rig = connected(show_transcripts=show)
    rig.tell(Transcript, who="person", text="my secret wish")
    rig.tell(Transcript, who="robot", text="my secret answer", turn=1)
    rig.run(0.1)
    assert (
        rig.of(Said)
        == [
            Said("person", "my secret wish"),
            Said("robot", "my secret answer"),
        ]
        * show
    )
    assert "secret" not in " ".join(rig.words())


# --- random events ----------------------------------------------------------------------------------------------------

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
