"""The server's messages, as JSON objects."""

from base64 import b64encode
from collections.abc import Sequence
from typing import Any

from gemini_live_sim.wire import Json


def setup_complete(session_id: str) -> Json:
    """The reply to the setup."""
    return {"setupComplete": {"sessionId": session_id}}


def content(**fields: Any) -> Json:
    """A ``serverContent`` message with these fields."""
    return {"serverContent": fields}


def model_turn(parts: list[Json]) -> Json:
    """A piece of the answer."""
    return content(modelTurn={"role": "model", "parts": parts})


def audio_parts(pcm_parts: Sequence[bytes], mime_type: str, *, empty: bool, thoughts: bool) -> list[Json]:
    """Audio as parts. ``empty`` and ``thoughts`` mix in parts without audio, which a client must ignore."""
    parts: list[Json] = []
    for pcm in pcm_parts:
        if empty:
            parts += [{"inlineData": {"mimeType": mime_type, "data": ""}}, {}]
        if thoughts:
            parts.append({"text": "I shall say something.", "thought": True})
        parts.append({"inlineData": {"mimeType": mime_type, "data": b64encode(pcm).decode("ascii")}})
    return parts


def transcription(side: str, text: str) -> Json:
    """A piece of a transcription; ``side`` is ``input`` or ``output``."""
    return content(**{f"{side}Transcription": {"text": text}})


def turn_complete(usage: Json | None, *, status: str | None = None, reason: str | None = None) -> Json:
    """The end of a turn, with its token counts if there are any."""
    fields: Json = {"turnComplete": True}
    if status:
        fields["interactionStatus"] = status
    if reason:
        fields["turnCompleteReason"] = reason
    return content(**fields) | (bill(usage) if usage is not None else {})


def bill(usage: Json) -> Json:
    """Token counts."""
    return {"usageMetadata": usage}


def resumption_update(handle: str) -> Json:
    """A handle with which a later connection can resume the session at this moment."""
    return {"sessionResumptionUpdate": {"newHandle": handle, "resumable": True}}


def go_away(time_left_s: float) -> Json:
    """The announcement that the connection ends in ``time_left_s`` seconds."""
    return {"goAway": {"timeLeft": f"{time_left_s:.6f}".rstrip("0").rstrip(".") + "s"}}


def voice_activity(kind: str, offset_s: float) -> Json:
    """The start or end of speech; ``kind`` is ``ACTIVITY_START`` or ``ACTIVITY_END``."""
    return {"voiceActivity": {"type": kind, "audioOffset": f"{offset_s:.3f}s"}}


def tool_call(calls: list[Json]) -> Json:
    """A message with function calls, each with ``id``, ``name`` and ``args``."""
    return {"toolCall": {"functionCalls": calls}}


def tool_call_cancellation(ids: list[str]) -> Json:
    """A message that cancels calls; they need no response any more."""
    return {"toolCallCancellation": {"ids": ids}}


def error(code: int, message: str, status: str) -> Json:
    """An error message that does not close the connection."""
    return {"error": {"code": code, "message": message, "status": status}}


def big(n_bytes: int) -> Json:
    """A message of at least this size."""
    return model_turn([{"text": "x" * n_bytes, "thought": True}])
