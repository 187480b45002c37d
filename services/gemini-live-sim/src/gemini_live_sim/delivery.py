"""Plans when each piece of an answer is sent."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from gemini_live_sim.answers import Speech
from gemini_live_sim.behaviour import Behaviour

_WORDS_PER_TRANSCRIPT = 3


@dataclass(frozen=True, slots=True)
class AudioPlan:
    """One audio message, as byte offsets of its parts in the answer."""

    cuts: tuple[int, ...]
    """Ascending offsets; n + 1 offsets make n parts."""


@dataclass(frozen=True, slots=True)
class TranscriptPlan:
    """A piece of the output transcription."""

    text: str


@dataclass(frozen=True, slots=True)
class TextPlan:
    """A text part, instead of audio."""

    text: str


@dataclass(frozen=True, slots=True)
class StrayPlan:
    """``interrupted`` although nothing is said."""


@dataclass(frozen=True, slots=True)
class GeneratedPlan:
    """generationComplete: all audio is sent."""


@dataclass(frozen=True, slots=True)
class CompletePlan:
    """turnComplete; ``last`` ends the answer."""

    seconds: float
    """The audio that this turn is billed for."""
    last: bool


Plan: TypeAlias = AudioPlan | TranscriptPlan | TextPlan | StrayPlan | GeneratedPlan | CompletePlan


def plan_answer(speech: Speech, start: float, behaviour: Behaviour, *, transcript: bool) -> list[tuple[float, Plan]]:
    """Plan an answer whose first audio is due at ``start``: a list of (due, plan), in the order of sending."""
    plans: list[tuple[float, Plan]] = []
    if behaviour.stray_interrupted_ms is not None:
        plans.append((start - behaviour.stray_interrupted_ms / 1000, StrayPlan()))
    if behaviour.mute == "text":
        plans += [(start, TextPlan(piece)) for piece in _pieces(speech.text)]
    total_bytes = len(speech.pcm)
    bytes_per_s = speech.hz * 2
    ends = [total_bytes * n // behaviour.replies & ~1 for n in range(1, behaviour.replies)] + [total_bytes]
    begin, starts_at = 0, start
    words = _pieces(speech.text) if transcript and speech.pcm else []
    if behaviour.split_emoji:
        words = split_emoji(words)
    for index, end in enumerate(ends):
        last = index == len(ends) - 1
        audio = _audio(begin, end, starts_at, speech.hz, behaviour)
        n_words = len(words) // (len(ends) - index)
        plans += _with_words(audio, [words.pop(0) for _ in range(n_words)], starts_at)
        sent_at = audio[-1][0] if audio else starts_at
        heard_at = starts_at + (end - begin) / bytes_per_s
        complete_at = max(sent_at, heard_at) if behaviour.hold_turn_complete else sent_at
        if behaviour.end_generation and not behaviour.turn_reason:
            plans.append((sent_at, GeneratedPlan()))
        plans.append((complete_at, CompletePlan((end - begin) / bytes_per_s, last)))
        begin, starts_at = end, complete_at
    return plans


def _audio(begin: int, end: int, start: float, hz: int, behaviour: Behaviour) -> list[tuple[float, Plan]]:
    """Cut bytes into messages of ``parts_per_message`` chunks, each with its due time."""
    chunk_bytes = hz * behaviour.chunk_ms // 1000 * 2
    cuts = list(range(begin, end, chunk_bytes))
    if behaviour.odd_bytes:
        cuts = [cut + index % 2 for index, cut in enumerate(cuts) if cut + index % 2 < end]
    cuts.append(end)
    plans: list[tuple[float, Plan]] = []
    for at in range(0, len(cuts) - 1, behaviour.parts_per_message):
        ahead_ms = (cuts[at] - begin) // 2 * 1000 / hz
        if behaviour.burst_ms:
            ahead_ms -= ahead_ms % behaviour.burst_ms
        due = start + ahead_ms / 1000 / behaviour.speed if behaviour.speed else start
        plans.append((due, AudioPlan(tuple(cuts[at : at + behaviour.parts_per_message + 1]))))
    return plans


def _with_words(audio: list[tuple[float, Plan]], words: list[str], start: float) -> list[tuple[float, Plan]]:
    """Put the pieces of the transcript between the audio messages, evenly."""
    if not audio:
        return [(start, TranscriptPlan(word)) for word in words]
    mixed: list[tuple[float, Plan]] = []
    for index, (due, plan) in enumerate(audio):
        mixed.append((due, plan))
        first, after = (len(words) * n // len(audio) for n in (index, index + 1))
        mixed += [(due, TranscriptPlan(word)) for word in words[first:after]]
    return mixed


def _pieces(text: str) -> list[str]:
    """Cut a text every few words; joined, the pieces are the text."""
    words = [word if index == 0 else f" {word}" for index, word in enumerate(text.split(" "))]
    return ["".join(words[at : at + _WORDS_PER_TRANSCRIPT]) for at in range(0, len(words), _WORDS_PER_TRANSCRIPT)]


def split_emoji(pieces: Sequence[str]) -> list[str]:
    """End every piece with an emoji's first half and begin the next with the second. The last piece's half stays alone."""
    first, second = "\ud83d", "\ude00"
    return [f"{second if index else ''}{piece}{first}" for index, piece in enumerate(pieces)]
