from itertools import pairwise

import pytest

from gemini_live_sim import Behaviour
from gemini_live_sim.answers import tone
from gemini_live_sim.delivery import AudioPlan, CompletePlan, GeneratedPlan, TranscriptPlan, plan_answer


def cuts(plans) -> list[tuple[int, ...]]:
    return [plan.cuts for _, plan in plans if isinstance(plan, AudioPlan)]


def sizes(plans) -> list[list[int]]:
    return [[b - a for a, b in pairwise(one)] for one in cuts(plans)]


def at(plans, kind) -> list[float]:
    return [due for due, plan in plans if isinstance(plan, kind)]


@pytest.mark.parametrize(
    "shape",
    [{}, {"chunk_ms": 33}, {"odd_bytes": True}, {"parts_per_message": 3, "odd_bytes": True}, {"replies": 3, "chunk_ms": 70}],
)
def test_the_pieces_are_the_answer(shape) -> None:
    speech = tone(1010)
    flat = [piece for one in cuts(plan_answer(speech, 0, Behaviour(**shape), transcript=False)) for piece in one]
    assert flat[0] == 0
    assert flat[-1] == len(speech.pcm)
    assert flat == sorted(flat)
    joins = [one[-1] for one in cuts(plan_answer(speech, 0, Behaviour(**shape), transcript=False))]
    starts = [one[0] for one in cuts(plan_answer(speech, 0, Behaviour(**shape), transcript=False))]
    assert starts[1:] == joins[:-1]


def test_messages_hold_40_ms_and_come_four_times_as_fast_as_they_play() -> None:
    plans = plan_answer(tone(400), 10.0, Behaviour(), transcript=False)
    assert sizes(plans) == [[1920]] * 10
    assert at(plans, AudioPlan) == pytest.approx([10 + 0.01 * n for n in range(10)])
    assert at(plans, GeneratedPlan) == pytest.approx([10.09])
    assert at(plans, CompletePlan) == pytest.approx([10.4])


def test_all_at_once() -> None:
    plans = plan_answer(tone(400), 10.0, Behaviour(speed=0, hold_turn_complete=False), transcript=False)
    assert {due for due, _ in plans} == {10.0}
    assert isinstance(plans[-1][1], CompletePlan)


def test_bursts_leave_together() -> None:
    plans = plan_answer(tone(400), 0.0, Behaviour(speed=1, burst_ms=200), transcript=False)
    assert at(plans, AudioPlan) == pytest.approx([0.0] * 5 + [0.2] * 5)


def test_several_parts_in_a_message() -> None:
    plans = plan_answer(tone(400), 0.0, Behaviour(parts_per_message=4), transcript=False)
    assert sizes(plans) == [[1920] * 4, [1920] * 4, [1920] * 2]


def test_odd_parts_cut_samples_in_two() -> None:
    plans = plan_answer(tone(160), 0.0, Behaviour(odd_bytes=True), transcript=False)
    assert sizes(plans) == [[1921], [1919], [1921], [1919]]


def test_the_transcript_comes_in_pieces_between_the_audio() -> None:
    speech = tone(400)
    plans = plan_answer(speech, 0.0, Behaviour(), transcript=True)
    texts = [plan.text for _, plan in plans if isinstance(plan, TranscriptPlan)]
    assert len(texts) > 1
    assert "".join(texts) == speech.text
    kinds = [type(plan) for _, plan in plans]
    assert kinds.index(AudioPlan) < kinds.index(TranscriptPlan) < kinds.index(GeneratedPlan)


def test_an_answer_in_several_turns() -> None:
    plans = plan_answer(tone(600), 0.0, Behaviour(replies=3), transcript=True)
    assert [plan.last for _, plan in plans if isinstance(plan, CompletePlan)] == [False, False, True]
    assert at(plans, CompletePlan) == pytest.approx([0.2, 0.4, 0.6])
    assert "".join(plan.text for _, plan in plans if isinstance(plan, TranscriptPlan)) == tone(600).text


def test_an_answer_shorter_than_a_chunk() -> None:
    assert sizes(plan_answer(tone(10), 0.0, Behaviour(), transcript=False)) == [[480]]
