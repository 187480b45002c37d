import pytest
from hypothesis import given
from hypothesis import strategies as st

from reachy_gateway.talk.turns import DOUBT_S, LEFTOVERS_S, SPOKEN_DOUBT_S, TAIL_S, UNNOTICED_MAX_S, UNNOTICED_S, Turns


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
    assert turns.audio(0.5) is None
    assert turns.complete() is None, "nothing is left to end"
    assert turns.audio(0.5) == 2


def test_the_end_of_the_generation_is_the_end_of_what_was_interrupted():
    turns = Turns()
    turns.audio(0.0)
    turns.interrupted(0.0)
    assert turns.audio(0.0) is None
    assert turns.generated() is None
    assert turns.audio(0.0) == 2


def test_the_next_answer_is_heard_although_the_voice_does_not_say_that_the_interrupted_one_is_over():
    turns = Turns()
    turns.audio(0.0)
    turns.interrupted(0.1)
    assert turns.audio(0.2) is None
    assert turns.audio(0.2 + UNNOTICED_S) == 2
    assert turns.audio(0.2 + UNNOTICED_S) == 2


def test_a_voice_that_goes_on_and_on_is_heard_again():
    turns = Turns()
    turns.audio(0.0)
    turns.interrupted(0.0)
    heard_at = next(n / 10 for n in range(1, 1000) if turns.audio(n / 10) is not None)
    assert heard_at == pytest.approx(UNNOTICED_MAX_S)


def test_what_the_voice_says_itself_ends_the_dropping_and_what_follows_may_be_the_rest():
    turns = Turns()
    turns.audio(0.0)
    turns.interrupted(0.1)
    assert not turns.tail
    turns.interrupted(0.2, by_voice=True)
    assert turns.tail
    assert turns.doubts(0.3)
    assert turns.doubts(0.3 + TAIL_S - 0.01)
    assert not turns.doubts(0.3 + TAIL_S)
    assert turns.audio(0.3 + TAIL_S) == 2


def test_an_answer_that_was_generated_whole_leaves_nothing_to_drop():
    """Some voices never send the end of their turn."""
    turns = Turns()
    turns.audio(0.0)
    turns.generated()
    turns.interrupted(0.1)
    assert turns.audio(0.2) == 2


def test_nor_does_one_of_which_nothing_came_for_long():
    turns = Turns()
    turns.audio(0.0)
    turns.interrupted(UNNOTICED_S + 10, by_voice=True)
    assert turns.audio(UNNOTICED_S + 10.25) == 2


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


def test_audio_right_after_an_interruption_of_nothing_is_in_doubt_for_a_while():
    turns = Turns()
    assert turns.interrupted(10.0, by_voice=True) == 1
    assert turns.doubt_until is None
    assert turns.doubts(10.25)
    assert turns.doubts(10.25 + DOUBT_S - 0.01)
    assert not turns.doubts(10.25 + DOUBT_S)
    assert turns.audio(10.25 + DOUBT_S) == 1
    assert turns.doubt_until is None


def test_the_doubt_lasts_longer_where_the_person_was_heard():
    turns = Turns()
    turns.interrupted(10.0, by_voice=True, spoken=True)
    assert turns.doubts(10.0)
    assert turns.doubts(10.0 + SPOKEN_DOUBT_S - 0.01)
    assert not turns.doubts(10.0 + SPOKEN_DOUBT_S)


def test_audio_long_after_an_interruption_of_nothing_is_in_no_doubt():
    turns = Turns()
    turns.interrupted(10.0, by_voice=True)
    assert not turns.doubts(10.0 + LEFTOVERS_S)
    assert turns.audio(10.0 + LEFTOVERS_S) == 1


@pytest.mark.parametrize("end", [Turns.generated, Turns.complete])
def test_an_end_is_the_end_of_the_doubt(end):
    turns = Turns()
    turns.interrupted(10.0, by_voice=True)
    assert turns.doubts(10.0)
    end(turns)
    assert not turns.doubts(10.1)


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
                turn, in_turn = turns.audio(0.0), not dropping
                assert (turn is None) == dropping
                if turn is not None:
                    assert turn not in ended
                    assert turn >= turns.floor
                    given_out.append(turn)
            case "generated" | "complete":
                in_turn = dropping = False
                turn = turns.generated() if event == "generated" else turns.complete()
                if turn is not None:
                    assert turn == given_out[-1]
                    ended.append(turn)
            case "interrupted":
                in_turn, dropping = False, in_turn or dropping
                assert turns.interrupted(0.0) == turns.floor
                assert turns.floor > max(given_out, default=first - 1)
        assert turns.floor >= floor
        assert turns.newest == turns.next - 1
    assert given_out == sorted(given_out)
    assert set(given_out) == set(range(first, turns.next))
    assert len(ended) == len(set(ended))
