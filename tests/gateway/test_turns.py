from hypothesis import given
from hypothesis import strategies as st

from reachy_gateway.turns import LEFTOVERS_S, Turns


def test_a_reply_is_one_turn_and_the_next_reply_is_the_next():
    turns = Turns()
    assert [turns.audio(0.0), turns.audio(0.0), turns.audio(0.0)] == [1, 1, 1]
    assert turns.generated() == 1
    assert turns.audio(0.0) == 2
    assert turns.complete() == 2
    assert turns.audio(0.0) == 3
    assert (turns.newest, turns.next, turns.floor) == (3, 4, 1)


def test_a_turn_ends_once_although_the_voice_tells_twice():
    turns = Turns()
    turns.audio(0.0)
    assert turns.generated() == 1
    assert turns.complete() is None
    assert turns.generated() is None


def test_an_interruption_raises_the_floor_above_everything_given_out():
    turns = Turns()
    turns.audio(0.0)
    turns.generated()
    turns.audio(0.0)
    assert turns.interrupted(0.0) == turns.floor == 3


def test_audio_between_an_interruption_and_the_end_of_the_voices_turn_is_not_to_be_heard():
    turns = Turns()
    turns.audio(0.0)
    turns.interrupted(0.0)
    assert turns.audio(0.0) is None
    assert turns.generated() is None, "the generation of what was interrupted ends as well"
    assert turns.audio(0.0) is None
    assert turns.complete() is None, "nothing is left to end"
    assert turns.audio(0.0) == 2


def test_an_interruption_after_the_voices_turn_leaves_nothing_to_drop():
    turns = Turns()
    turns.audio(0.0)
    turns.complete()
    assert turns.interrupted(0.0) == 2
    assert turns.audio(0.0) == 2


def test_an_interruption_while_nothing_was_said_burns_no_number():
    turns = Turns()
    assert turns.interrupted(0.0) == 1
    assert turns.interrupted(0.0) == 1
    turns.complete()
    assert turns.audio(0.0) == 1


def test_what_comes_of_a_reply_that_was_interrupted_before_its_first_sound_is_not_to_be_heard():
    turns = Turns()
    assert turns.interrupted(10.0, by_voice=True) == 1
    assert turns.audio(10.0 + LEFTOVERS_S - 0.01) is None
    assert turns.audio(20.0) is None, "there was a reply, so its end will come"
    assert turns.generated() is None
    assert turns.complete() is None
    assert turns.audio(20.0) == 1


def test_an_interruption_of_nothing_does_not_cost_the_next_reply():
    """Which cannot come at once: the person has to finish first."""
    turns = Turns()
    turns.interrupted(10.0, by_voice=True)
    assert turns.audio(10.0 + LEFTOVERS_S) == 1
    assert turns.audio(20.0) == 1


def test_only_the_voice_can_say_that_a_reply_without_sound_was_interrupted():
    turns = Turns()
    turns.interrupted(10.0)
    assert turns.audio(10.0) == 1


def test_a_later_conversation_of_the_same_gateway_counts_on():
    turns = Turns(first=8)
    assert (turns.floor, turns.newest) == (8, 7)
    assert turns.audio(0.0) == 8


EVENTS = st.sampled_from(["audio", "generated", "complete", "interrupted"])


@given(events=st.lists(EVENTS, max_size=60), first=st.integers(1, 100))
def test_whatever_a_voice_does_the_floor_only_rises_and_turns_count_up_without_gaps(events, first):
    turns = Turns(first)
    given_out, ended, in_turn, dropping = [], [], False, False
    for event in events:
        floor = turns.floor
        match event:
            case "audio":
                turn, in_turn = turns.audio(0.0), True
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
                assert turns.interrupted(0.0) == turns.floor
                assert turns.floor > max(given_out, default=first - 1)
        assert turns.floor >= floor
        assert turns.newest == turns.next - 1
    assert given_out == sorted(given_out)
    assert set(given_out) == set(range(first, turns.next))
    assert len(ended) == len(set(ended))
