from hypothesis import given
from hypothesis import strategies as st

from reachy_gateway.turns import Turns


def test_a_reply_is_one_turn_and_the_next_reply_is_the_next():
    turns = Turns()
    assert [turns.audio(), turns.audio(), turns.audio()] == [1, 1, 1]
    assert turns.generated() == 1
    assert turns.audio() == 2
    assert turns.complete() == 2
    assert turns.audio() == 3
    assert (turns.newest, turns.next, turns.floor) == (3, 4, 1)


def test_a_turn_ends_once_although_the_voice_tells_twice():
    turns = Turns()
    turns.audio()
    assert turns.generated() == 1
    assert turns.complete() is None
    assert turns.generated() is None


def test_an_interruption_raises_the_floor_above_everything_given_out():
    turns = Turns()
    turns.audio()
    turns.generated()
    turns.audio()
    assert turns.interrupted() == turns.floor == 3


def test_audio_between_an_interruption_and_the_end_of_the_voices_turn_is_not_to_be_heard():
    turns = Turns()
    turns.audio()
    turns.interrupted()
    assert turns.audio() is None
    assert turns.generated() is None, "the generation of what was interrupted ends as well"
    assert turns.audio() is None
    assert turns.complete() is None, "nothing is left to end"
    assert turns.audio() == 2


def test_an_interruption_after_the_voices_turn_leaves_nothing_to_drop():
    turns = Turns()
    turns.audio()
    turns.complete()
    assert turns.interrupted() == 2
    assert turns.audio() == 2


def test_an_interruption_while_nothing_was_said_burns_no_number():
    turns = Turns()
    assert turns.interrupted() == 1
    assert turns.interrupted() == 1
    turns.complete()
    assert turns.audio() == 1


def test_a_later_conversation_of_the_same_gateway_counts_on():
    turns = Turns(first=8)
    assert (turns.floor, turns.newest) == (8, 7)
    assert turns.audio() == 8


EVENTS = st.sampled_from(["audio", "generated", "complete", "interrupted"])


@given(events=st.lists(EVENTS, max_size=60), first=st.integers(1, 100))
def test_whatever_a_voice_does_the_floor_only_rises_and_turns_count_up_without_gaps(events, first):
    turns = Turns(first)
    given_out, ended, in_turn, dropping = [], [], False, False
    for event in events:
        floor = turns.floor
        match event:
            case "audio":
                turn, in_turn = turns.audio(), True
                assert (turn is None) == dropping
                if turn is not None:
                    assert turn not in ended
                    assert turn >= turns.floor
                    given_out.append(turn)
            case "generated" | "complete":
                dropping, in_turn = (dropping and event == "generated"), (in_turn and event == "generated")
                turn = turns.generated() if event == "generated" else turns.complete()
                if turn is not None:
                    assert turn == given_out[-1]
                    ended.append(turn)
            case "interrupted":
                dropping = in_turn
                assert turns.interrupted() == turns.floor
                assert turns.floor > max(given_out, default=first - 1)
        assert turns.floor >= floor
        assert turns.newest == turns.next - 1
    assert given_out == sorted(given_out)
    assert set(given_out) == set(range(first, turns.next))
    assert len(ended) == len(set(ended))
