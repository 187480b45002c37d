"""Being welcomed, staying connected, and finding another gateway."""

import sys
import threading
from collections.abc import Sequence

import pytest
from core_rig import BOOT, LEAD_MS, NEW_GATEWAY, OTHER_BOOT, STEREO, Rig, connected, pauses

from reachy_link.address import Address
from reachy_link.messages import (
    BeatDown,
    BeatUp,
    Bye,
    Echo,
    Flush,
    Hello,
    Leave,
    Played,
    Refuse,
    State,
    Stranger,
    TurnEnd,
)
from reachy_link.wire import WireError
from reachy_robot.decisions import Hush, LookUp, Notice, Out, Play, Redial, Remember, Resubscribe, Say, Send
from reachy_robot.route import ADDRESSES_ROUND_S
from reachy_robot.sound import Moment
from reachy_robot.trouble import Trouble

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
    assert "the gateway has restarted" in rig.words()
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


def test_a_gateway_that_takes_the_key_and_never_answers_makes_the_robot_ask_for_its_name_once():
    rig = Rig()
    rig.run(4.5, beats=False)
    assert rig.words(warning=True) == []
    rig.run(30.0, beats=False)
    (asked,) = (words for words in rig.words(warning=True) if "another name than" in words)
    assert asked.endswith(f"than {rig.core._presence._profile.robot}? See there: reachy-keys list")


def test_a_gateway_that_cannot_be_reached_does_not_make_the_robot_ask_for_its_name():
    rig = Rig()
    for _ in range(10):
        rig.take(rig.core.trouble(Trouble("unreachable", "nobody listens"), rig.now))
        rig.run(1.0, beats=False)
    assert rig.words(warning=True) == ["nobody listens"]


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
    assert rig.of(Say) == [], "the gateway may be back at once"
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
    """The sockets dial again after a failed handshake. Hanging up meanwhile would only disturb them."""
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


# --- several gateways -------------------------------------------------------------------------------------------------

ONE, TWO = Address("10.0.0.1"), Address("10.0.0.2")
NOBODY = Trouble("unreachable", "nobody listens")


def served(**options: object) -> Rig:
    """A rig that the first of two gateways welcomed long ago."""
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
    assert len(rig.sent(Bye)) == 1, "the other gateways know nothing of this robot"


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
    assert [report.latency_ms for report in rig.sent(Played)] == [None], "the question was asked at the other gateway"
    rig.forget()
    rig.tell(Leave, to_boot=BOOT, reason="being stopped", boot=NEW_GATEWAY)
    assert len(rig.sent(Bye)) == 1, "this is not the gateway whose answer must be heard to its end"


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
    assert f"the gateway at {ONE} asks this robot to leave: being stopped" in rig.words(warning=False)
    assert rig.words(warning=True) == []
    rig.welcome(boot=NEW_GATEWAY)
    assert rig.core.welcomed


def test_a_turn_in_progress_is_heard_to_its_end_before_the_robot_leaves():
    rig = served()
    rig.tell(State, state="thinking")
    rig.tell(Leave, to_boot=BOOT, reason="being stopped")
    rig.run(0.5, mic=True)
    assert rig.mic_pcm() != [], "the robot must be heard until it leaves"
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
    assert rig.core.welcomed, "the robot should leave the former gateway only"


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
    """A rig that was welcomed at the first address of a name, long ago."""
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
    assert rig.words(warning=True) == ["no name server answers for box.lab: check the network, and /etc/resolv.conf"]
    rig.take(rig.core.trouble(NOBODY, rig.now))
    rig.run(3.1)
    assert [(dial.address, at) for at, dial in rig.out if isinstance(dial, Redial)][1:] == [
        (BOX, pytest.approx(55.1, abs=0.1)),
        (TWO, pytest.approx(55.1, abs=0.1)),
    ], "the robot has waited for that look-up already"
    assert rig.of(LookUp) == [LookUp("box.lab")]
    found(rig, "10.0.0.1")
    rig.take(rig.core.trouble(NOBODY, rig.now))
    rig.run(3.1)
    assert rig.of(Redial)[-1] == Redial(BOX.at("10.0.0.1")), "late is better than never"


def test_a_look_up_that_begins_late_has_its_2_s_all_the_same():
    """As when the device takes long to open, before the first tick."""
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
    """Like a gateway named localhost that listens on 127.0.0.1 only."""
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


# --- gateways that a gateway named --------------------------------------------------------------------------------------

NAMED = ("10.0.0.2:5555+5556",)


def told(*gateways: str, **options: object) -> Rig:
    """A rig long served by the only given gateway, which names others."""
    rig = Rig(**{"addresses": [ONE]} | options)
    rig.run(0.01)
    rig.welcome(gateways=gateways or NAMED)
    rig.run(10.0, mic=True)
    return rig


def test_a_robot_that_knew_one_gateway_goes_on_at_one_that_it_was_told_of():
    rig = told()
    assert rig.words() == ["connected to the gateway (gateway 1)"], "as if nothing had been named"
    rig.forget()
    rig.take(rig.core.trouble(NOBODY, rig.now))
    assert rig.of(Redial) == [Redial(TWO)]
    assert rig.words() == ["nobody listens", f"trying the gateway at {TWO}"]
    rig.run(0.01, beats=False)
    rig.welcome(boot=NEW_GATEWAY)
    assert rig.core.welcomed
    assert rig.words()[-1] == f"connected to the gateway at {TWO} (gateway 1)"


def test_a_gateway_that_was_given_is_dialled_as_often_as_ever_though_those_that_were_named_are_dead():
    rig = told("10.0.0.2", "10.0.0.3", "10.0.0.4")
    rig.forget()
    for _ in range(300):
        rig.take(rig.core.trouble(NOBODY, rig.now))
        rig.run(0.01, beats=False)
    assert len(rig.when(Redial(ONE))) == pytest.approx(3.0 / (ADDRESSES_ROUND_S + 0.04), abs=2)
    words = "nobody listens (another gateway named this address)"
    assert rig.words(warning=True) == ["nobody listens", *[words] * 3], "once for each"


def test_what_no_robot_can_read_is_left_out_and_the_others_count():
    rig = told("no such host!", "10.0.0.1:5555+5556", "*", "[fe80::1%a@b]", "10.0.0.2:0+1", "10.0.0.2:5555+5556", "10.0.0.02")
    rig.take(rig.core.trouble(NOBODY, rig.now))
    assert rig.of(Redial) == [Redial(TWO)]
    rig.take(rig.core.trouble(NOBODY, rig.now))
    assert rig.of(Redial) == [Redial(TWO)], "that was all"


def test_a_name_that_was_named_is_looked_up_at_once_and_serves_when_it_is_needed():
    rig = told("box.lab")
    assert rig.of(LookUp) == [LookUp("box.lab")]
    found(rig, "10.0.0.7")
    rig.run(10.0, mic=True)
    assert rig.of(Redial) == []
    rig.take(rig.core.trouble(NOBODY, rig.now))
    assert rig.of(Redial) == [Redial(BOX.at("10.0.0.7"))]


def test_names_that_nobody_knows_are_said_of_nothing_and_change_nothing():
    rig = told(*(f"n{n}.lab" for n in range(16)))
    rig.forget()
    rig.take(rig.core.trouble(NOBODY, rig.now))
    for _ in range(100):
        rig.run(0.1, mic=True)
        for asked in rig.of(LookUp):
            found(rig, name=asked.name)
        rig.out = [(at, item) for at, item in rig.out if not isinstance(item, LookUp)]
    assert rig.core.welcomed
    assert (rig.words(), rig.of(Redial)) == (["nobody listens"], [])


def test_names_that_other_gateways_named_meanwhile_may_still_be_answered():
    rig = told("one.lab")
    rig.welcome(gateways=["two.lab"])
    for name in ("one.lab", "two.lab"):
        found(rig, "10.0.0.8", name=name)
    rig.take(rig.core.trouble(NOBODY, rig.now))
    assert rig.of(Redial) == [Redial(Address("10.0.0.8"))]


def test_an_empty_list_takes_nothing_away():
    rig = told()
    rig.welcome()
    rig.take(rig.core.trouble(NOBODY, rig.now))
    assert rig.of(Redial) == [Redial(TWO)]


def test_what_is_to_be_remembered_is_where_the_robot_is_and_what_it_was_told_and_only_if_it_is_news():
    rig = told()
    assert rig.of(Remember) == [Remember((ONE, TWO))]
    rig.welcome(gateways=NAMED)
    rig.run(100.0, mic=True)
    assert rig.of(Remember) == [Remember((ONE, TWO))]
    rig.welcome(gateways=["10.0.0.3"])
    assert rig.of(Remember)[1:] == [Remember((ONE, Address("10.0.0.3")))]


@pytest.mark.parametrize("addresses", [[], [ONE], [ONE, TWO]])
def test_a_robot_that_is_told_of_nobody_remembers_nothing_that_it_is_given_anyhow(addresses):
    rig = connected(addresses=addresses)
    rig.run(100.0, mic=True)
    assert rig.of(Remember) == []


def test_the_address_of_a_name_is_remembered():
    rig = Rig(addresses=[BOX])
    rig.run(0.01)
    found(rig, "10.0.0.1")
    rig.welcome()
    assert rig.of(Remember) == [Remember((ONE,))]


@pytest.mark.parametrize("how", ["it is not known", "no answer"])
def test_where_the_name_is_not_found_the_robot_goes_to_the_address_that_it_remembers(how):
    rig = Rig(addresses=[BOX], remembered=[ONE, TWO])
    rig.run(0.05)
    if how == "it is not known":
        found(rig)
    rig.run(2.1)
    assert rig.of(Redial)[0].address in (ONE, TWO)
    assert len(rig.words(warning=True)) == 1
    rig.welcome()
    here = rig.core.route.here
    rig.run(10.0, mic=True)
    rig.forget()
    found(rig, "10.0.0.9")
    rig.run(5.0, mic=True)
    assert (rig.core.welcomed, rig.of(Redial)) == (True, []), "the robot is served"
    rig.take(rig.core.trouble(NOBODY, rig.now))
    assert rig.of(Redial) == [Redial(BOX.at("10.0.0.9"))], "now the name comes first again"
    assert here != rig.core.route.here


def test_a_name_that_is_found_is_where_a_robot_begins_whatever_it_remembers():
    rig = Rig(addresses=[BOX], remembered=[ONE, TWO])
    rig.run(0.05)
    found(rig, "10.0.0.9")
    assert rig.of(Redial) == [Redial(BOX.at("10.0.0.9"))]


# --- leaving for another ------------------------------------------------------------------------------------------------

THREE = Address("10.0.0.3", 5557, 5558)


@pytest.mark.parametrize("addresses", [[ONE], [ONE, TWO], [ONE, TWO, THREE]])
def test_a_robot_leaves_for_where_it_is_sent_whether_it_knew_that_gateway_or_not(addresses):
    rig = connected(addresses=addresses)
    rig.run(10.0, mic=True)
    rig.forget()
    rig.tell(Leave, to_boot=BOOT, reason="being stopped", to=str(THREE))
    assert [type(item) for _, item in rig.out if type(item) in (Redial, Send)] == [Send, Redial, Send], "bye, dial, hello"
    assert rig.of(Redial) == [Redial(THREE)]
    rig.take(rig.core.trouble(NOBODY, rig.now))
    assert rig.of(Redial)[1].address in addresses, "and on as ever"


def test_a_turn_in_progress_is_heard_before_a_robot_leaves_for_another():
    rig = connected(addresses=[ONE])
    rig.tell(State, state="speaking")
    rig.speaker(1, count=10)
    rig.tell(Leave, to_boot=BOOT, reason="being stopped", to=str(THREE))
    rig.run(0.1)
    assert rig.of(Redial) == []
    rig.tell(TurnEnd, turn=1)
    rig.tell(State, state="listening")
    rig.run(0.5)
    assert rig.of(Redial) == [Redial(THREE)]
    assert [(report.turn, report.complete) for report in rig.sent(Played)] == [(1, True)]


@pytest.mark.parametrize("to", [str(ONE), "10.0.0.1", "no such host!", "10.0.0.1:1+1", "", "a.lab,b.lab", "x" * 1000])
def test_where_the_robot_is_and_what_it_cannot_read_is_no_destination(to):
    rig = connected(addresses=[ONE])
    rig.tell(Leave, to_boot=BOOT, reason="being stopped", to=to)
    rig.run(0.01)
    assert len(rig.sent(Bye)) == 1
    assert rig.of(Redial) == []
    rig.forget()
    for _ in range(3):
        rig.tell(Refuse, reason="being stopped")
        rig.run(1.0, beats=False)
    assert len(rig.sent(Hello)) >= 14, "the robot must ask for the successor, as if no gateway had been named"


def test_a_robot_that_is_sent_to_a_name_waits_for_its_addresses_and_dials_each_of_them_first():
    rig = served()
    rig.tell(Leave, to_boot=BOOT, reason="being stopped", to="box.lab")
    rig.run(0.02)
    assert rig.of(LookUp) == [LookUp("box.lab")]
    found(rig, "10.0.0.8", "10.0.0.9")
    rig.take(rig.core.trouble(NOBODY, rig.now))
    dialled = [dial.address for dial in rig.of(Redial)]
    assert dialled[0] == BOX, "this gateway hangs up"
    assert {address.host for address in dialled[1:]} == {"10.0.0.8", "10.0.0.9"}


@pytest.mark.parametrize("how", ["it is not known", "no answer"])
def test_a_robot_that_is_sent_to_a_name_that_is_not_found_goes_on_as_ever(how):
    rig = served()
    rig.tell(Leave, to_boot=BOOT, reason="being stopped", to="box.lab")
    rig.run(0.02)
    if how == "it is not known":
        found(rig)
    else:
        rig.run(2.1, beats=False)
    assert [dial.address for dial in rig.of(Redial)] in ([BOX, ONE], [BOX, TWO])


def test_two_gateways_that_send_a_robot_to_each_other_do_not_have_it_run():
    rig, boots = connected(addresses=[ONE]), {ONE: f"{1:016x}", TWO: f"{2:016x}"}
    for _ in range(1000):
        here = rig.core.route.here
        rig.welcome(boot=boots[here])
        rig.run(0.01, beats=False)
        rig.tell(Leave, to_boot=BOOT, reason="go", to=str(TWO if here == ONE else ONE), boot=boots[here])
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
                rig.core.counts  # noqa: B018 - reading the counts is the test
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
