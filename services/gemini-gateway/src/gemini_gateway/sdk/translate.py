"""Translates the server's messages into events."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from google.genai import types

from gemini_gateway.events import (
    FunctionCall,
    GoAway,
    Reason,
    Resumable,
    ServerEvent,
    ToolCall,
    ToolCancelled,
    Unheard,
    Unknown,
    Working,
)
from gemini_gateway.sdk.pieces import Pieces, clean
from gemini_gateway.sdk.shortcut import REPLY_HZ, reply_hz
from reachy_gateway.provider.usage import Modality, Tokens
from reachy_gateway.voice import Audio, Interrupted, ReplyGenerated, Said, SpeechNoticed, TurnComplete


def translated(message: types.LiveServerMessage, pieces: Pieces) -> Iterator[ServerEvent]:
    """The events of a message: an interruption first, then parts, words, token counts, calls, and the ends of reply and turn.

    Args:
        message: The message as the SDK has parsed it.
        pieces: Joins the transcripts of one connection.
    """
    content = message.server_content
    if content and content.interrupted:
        yield Interrupted()
    if message.voice_activity and message.voice_activity.voice_activity_type == types.VoiceActivityType.ACTIVITY_START:
        yield SpeechNoticed()
    if content:
        yield from _parts(content)
        yield from _words(content, pieces)
    if message.usage_metadata:
        yield tokens_of(message.usage_metadata)
    if message.tool_call:
        yield from _calls(message.tool_call.function_calls or [])
    if message.tool_call_cancellation:
        yield ToolCancelled(tuple(message.tool_call_cancellation.ids or ()))
    if content:
        if content.generation_complete:
            yield ReplyGenerated()
        if content.turn_complete:
            yield from _reasons(content)
            yield TurnComplete()
        if content.interaction_status in WORKING:
            yield Working(WORKING[content.interaction_status])
    if update := message.session_resumption_update:
        yield Resumable(update.new_handle if update.resumable else None)
    if message.go_away:
        yield GoAway(seconds(message.go_away.time_left))


NO_REASON: Final = (None, types.TurnCompleteReason.TURN_COMPLETE_REASON_UNSPECIFIED)
WORKING: Final = {
    types.InteractionStatus.IN_PROGRESS: True,
    types.InteractionStatus.IDLE: False,
    types.InteractionStatus.REQUIRES_ACTION: False,  # an older word for IDLE
}
PIECE_MAX: Final = 4000
"""The most characters of a piece of transcript. No message holds minutes of speech, so the rest is cut off."""
WORD_MAX: Final = 60
"""The most characters of a server's own name for something, where people read it."""


def _reasons(content: types.LiveServerContent) -> Iterator[Reason]:
    """The reason why a turn is over without an answer, if the server gives one."""
    if (reason := content.turn_complete_reason) not in NO_REASON:
        yield Reason(clean(str(reason.value))[:WORD_MAX], expected=reason is types.TurnCompleteReason.NEED_MORE_INPUT)
    elif content.interaction_status is types.InteractionStatus.IN_PROGRESS:
        yield Reason("", expected=True)


def _parts(content: types.LiveServerContent) -> Iterator[Audio | Unheard | Unknown]:
    """The parts of a reply: audio that can be played, text, and parts that cannot be played."""
    turn = content.model_turn
    for part in (turn.parts if turn else None) or ():
        blob = part.inline_data
        if not (blob and blob.data):
            if part.text:
                yield Unheard()
            continue
        rate_hz = reply_hz(blob.mime_type or "")
        if rate_hz is None:
            yield Unknown(f"a part of type {clean(blob.mime_type or '')[:WORD_MAX]!r}, which cannot be played")
        elif rate_hz in REPLY_HZ:
            yield Audio(blob.data, rate_hz)
        else:
            yield Unknown(f"audio at {rate_hz} Hz")


def _words(content: types.LiveServerContent, pieces: Pieces) -> Iterator[Said]:
    if (said := content.input_transcription) and said.text and (text := pieces.join("person", said.text[:PIECE_MAX])):
        yield Said("person", text)
    if (said := content.output_transcription) and said.text and (text := pieces.join("robot", said.text[:PIECE_MAX])):
        yield Said("robot", text)
    if content.turn_complete or content.interrupted:
        yield from (Said(who, text) for who, text in pieces.rest())


CALLS_MAX: Final = 1000
"""How many calls of one message are answered."""
ID_MAX: Final = 500
"""The most characters of a call's id."""
ARGS_MAX: Final = 4096
"""The most characters and values, taken together, in a call's arguments."""
ARGS_DEPTH_MAX: Final = 8


def _calls(calls: Sequence[types.FunctionCall]) -> Iterator[ToolCall | Unknown]:
    known = tuple(
        FunctionCall(call.id, clean(call.name or "")[:ID_MAX], args if is_small(args := call.args or {}) else None)
        for call in calls[:CALLS_MAX]
        if call.id and len(call.id) <= ID_MAX
    )
    if known:
        yield ToolCall(known)
    if len(known) < len(calls):
        yield Unknown("tool calls that cannot be answered: they have no id, too long an id, or are too many")


def is_small(args: Mapping[str, Any]) -> bool:
    """Whether arguments are within the bounds. The check stops at the bounds."""
    left = ARGS_MAX
    waiting: list[tuple[object, int]] = [(args, 0)]
    while waiting:
        value, depth = waiting.pop()
        left -= 1 + (len(value) if isinstance(value, str | list | Mapping) else 0)
        if left < 0 or depth > ARGS_DEPTH_MAX:
            return False
        if isinstance(value, Mapping):
            waiting += [(part, depth + 1) for item in value.items() for part in item]
        elif isinstance(value, list):
            waiting += [(part, depth + 1) for part in value]
    return True


MODALITIES: Final[dict[str, Modality]] = {"TEXT": "text", "AUDIO": "audio", "IMAGE": "image", "VIDEO": "image"}


def tokens_of(usage: types.UsageMetadata) -> Tokens:
    """Token counts by modality. Tokens missing from the details count as audio, the most expensive; thoughts as reply text.

    Negative counts are 0. Tokens that the total has beyond all other counts are the ``rest``.
    """
    prompt = _by_modality(usage.prompt_tokens_details, usage.prompt_token_count)
    prompt["text"] = prompt.get("text", 0) + _count(usage.tool_use_prompt_token_count)
    reply = _by_modality(usage.response_tokens_details, usage.response_token_count)
    reply["text"] = reply.get("text", 0) + _count(usage.thoughts_token_count)
    rest = max(0, _count(usage.total_token_count) - sum(prompt.values()) - sum(reply.values()))
    return Tokens({kind: n for kind, n in prompt.items() if n}, {kind: n for kind, n in reply.items() if n}, rest)


def _by_modality(details: Sequence[types.ModalityTokenCount] | None, total: int | None) -> dict[Modality, int]:
    counts: dict[Modality, int] = {}
    for detail in details or ():
        kind = MODALITIES.get(detail.modality.value if detail.modality else "", "audio")
        counts[kind] = counts.get(kind, 0) + _count(detail.token_count)
    if (rest := _count(total) - sum(counts.values())) > 0:
        counts["audio"] = counts.get("audio", 0) + rest
    return counts


def _count(told: int | None) -> int:
    return max(0, told or 0)


def seconds(text: str | None) -> float:
    """A duration as Google writes it, ``"50s"`` or ``"0.5s"``, in seconds; 0 for any other text."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)s", text or "")
    return float(found[1]) if found else 0.0
