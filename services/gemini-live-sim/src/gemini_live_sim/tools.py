"""Tool calls: open calls, the effects of a response, and calls that a model forgets. Without socket or clock."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from gemini_live_sim import answers, messages
from gemini_live_sim.answers import Speech
from gemini_live_sim.behaviour import Behaviour
from gemini_live_sim.journal import note
from gemini_live_sim.models import Model, functions
from gemini_live_sim.outputs import Note, Send
from gemini_live_sim.phrases import Phrase, match
from gemini_live_sim.setup import SessionSetup
from gemini_live_sim.turns import Stage, Turns
from gemini_live_sim.vad import Utterance
from gemini_live_sim.wire import Json

RECALLS = 2
"""How often a model calls again after empty results."""
SHOWN = 200
"""Most characters of an answer with a result, and of a log line."""


@dataclass
class _Open:
    """A call without a response."""

    name: str
    args: Json
    blocking: bool
    asked: bool
    """Whether the person waits for the call's result."""
    since: float
    recalls: int = 0


class Tools:
    """The tool calls of one connection. The connections that resume its session share ``open_ids``."""

    def __init__(
        self,
        setup: SessionSetup,
        model: Model,
        behaviour: Behaviour,
        stage: Stage,
        turns: Turns,
        open_ids: dict[str, None],
        on_closed: Callable[[float], None],
    ) -> None:
        """``on_closed`` is called with the time when the last open call has its response."""
        self._model = model
        self._behaviour = behaviour
        self._stage = stage
        self._turns = turns
        self._on_closed = on_closed
        self._open_ids = open_ids
        self._lost = set(open_ids) if model.lost_calls_bind else set()
        """Calls that were lost with an earlier connection. The next input only ends their turn and gets no answer."""
        open_ids.clear()
        self._open: dict[str, _Open] = {}
        self._n = 0
        self._blocking: dict[str, bool] = {
            str(it.get("name")): {"BLOCKING": True, "NON_BLOCKING": False}.get(str(it.get("behavior")), model.blocks)
            for it in functions(setup.tools)
            if model.json_schema or "parametersJsonSchema" not in it
        }
        """Callable functions -> whether the model waits for their responses."""

    @property
    def open(self) -> bool:
        """Whether a call has no response yet. No handle is handed out in that case."""
        return bool(self._open)

    def find(self, heard: Utterance | str) -> Phrase | None:
        """Find a sentence that is answered by a call; None if there is none."""
        return match(heard, self._blocking) if self._behaviour.calls_by_phrase else None

    def swallows(self) -> bool:
        """Whether this input gets no answer because of lost calls. Forgets the lost calls."""
        lost, self._lost = self._lost, set()
        return bool(lost)

    def ask(self, phrase: Phrase, now: float) -> None:
        """Answer a sentence by a call and then its result, or by a call with some words alongside."""
        self.call([(phrase.tool, phrase.args)], now, asked=not phrase.says)
        if phrase.says:
            self._turns.answer(lambda _turn: _recorded("sure.wav", "Sure, here I go.", self._behaviour.answer_hz), now)
        elif not self._blocking.get(phrase.tool, True):
            self._turns.end_with_call(now)

    def call(self, calls: Sequence[tuple[str, Json]], now: float, *, asked: bool = False, ids: Sequence[str] = ()) -> None:
        """Call tools, in one message. Answers wait for blocking calls."""
        listed: list[Json] = []
        for index, (name, args) in enumerate(calls):
            self._n += 1
            call_id = ids[index] if index < len(ids) else f"call-{self._stage.journal.number}-{self._n}"
            listed.append({"id": call_id, "name": name, "args": args} if call_id else {"name": name, "args": args})
            if call_id:
                self._open[call_id] = _Open(name, args, self._blocking.get(name, True), asked, now)
                self._open_ids[call_id] = None
        self._turns.held = any(one.blocking for one in self._open.values())
        for one in listed:
            note(self._stage.journal.tool_calls, one)
        self._stage.emit(Note("tool_call", f"calling {', '.join(name for name, _ in calls)}"[:SHOWN]))
        self._stage.emit(Send(messages.tool_call(listed)))

    def respond(self, responses: Sequence[Json], now: float) -> None:
        """Take responses. A response without an open call is ignored."""
        for response in responses:
            call_id = str(response.get("id"))
            self._lost.discard(call_id)
            call = self._open.get(call_id)
            if call is None:
                continue
            result = response.get("response")
            if self._model.repeats_empty and not result and call.recalls < RECALLS:
                self._take_back([call_id])
                self.call([(call.name, call.args)], now, asked=call.asked)
                self._open[next(reversed(self._open))].recalls = call.recalls + 1
                continue
            self._take_back([call_id])
            self._speak(call, result, str(response.get("scheduling") or ""), now)
        self._settle(now)

    def cancel(self, now: float, *, all_of_them: bool = True) -> None:
        """Cancel calls without a response: all of them, or only the blocking ones."""
        ids = [call_id for call_id, call in self._open.items() if all_of_them or call.blocking]
        if ids:
            self._cancel(ids)
            self._settle(now)

    def heard_audio(self, now: float) -> None:
        """Note microphone audio: some models then cancel an old blocking call and call again."""
        after_s = self._behaviour.mic_cancels_after_s or self._model.mic_cancels_after_s
        for call_id, call in list(self._open.items()):
            if after_s is not None and call.blocking and now - call.since > after_s:
                self._cancel([call_id])
                self.call([(call.name, call.args)], now, asked=call.asked)

    def _cancel(self, ids: list[str]) -> None:
        for call_id in ids:
            note(self._stage.journal.cancelled_calls, call_id)
        self._stage.emit(Send(messages.tool_call_cancellation(ids)))
        self._take_back(ids)

    def _take_back(self, ids: Sequence[str]) -> None:
        for call_id in ids:
            del self._open[call_id]
            self._open_ids.pop(call_id, None)

    def _settle(self, now: float) -> None:
        held, self._turns.held = self._turns.held, any(one.blocking for one in self._open.values())
        if held and not self._turns.held:
            self._turns.go_on(now)
        if not self._open:
            self._on_closed(now)

    def _speak(self, call: _Open, result: Any, scheduling: str, now: float) -> None:
        """Speak of a result, if the person waits for it."""
        mute = not self._model.speaks_non_blocking and not call.blocking
        if not call.asked or mute or not self._behaviour.speaks_of_results:
            return
        if not call.blocking and scheduling == "SILENT":
            return
        if not call.blocking and scheduling == "INTERRUPT" and self._turns.active:
            self._turns.interrupt(now)
        self._turns.answer(lambda _turn: found(result, self._behaviour.answer_hz), now)


def found(result: Any, hz: int) -> Speech:
    """An answer with the result in its words. Its sound only says that there is a result."""
    told = result if isinstance(result, dict) else {}
    words = ", ".join(f"{name}: {value if isinstance(value, str) else json.dumps(value)}" for name, value in told.items())
    speech = _recorded("found.wav", "Here is what I found.", hz)
    return Speech(speech.pcm, f"{speech.text} {words}"[:SHOWN], hz)


@lru_cache(maxsize=4)
def _recorded(file: str, text: str, hz: int) -> Speech:
    speech = answers.recording(file, text)
    return Speech(answers.resample(speech.pcm, speech.hz, hz), speech.text, hz)
