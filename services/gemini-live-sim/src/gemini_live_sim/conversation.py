"""An open session's conversation: speech and text become questions, and questions become answers or tool calls."""

from collections.abc import Callable, Sequence
from functools import partial

from gemini_live_sim import messages, wire
from gemini_live_sim.answers import HZ, Speech, choose, resample, tone
from gemini_live_sim.behaviour import Babble, Behaviour
from gemini_live_sim.delivery import split_emoji
from gemini_live_sim.journal import MAX_TEXT, note
from gemini_live_sim.listening import SpeechInput
from gemini_live_sim.models import check_responses, find_model
from gemini_live_sim.outputs import Note, Send
from gemini_live_sim.phrases import Phrase
from gemini_live_sim.setup import SessionSetup
from gemini_live_sim.tools import Tools
from gemini_live_sim.turns import Stage, Turns
from gemini_live_sim.usage import UsageReport
from gemini_live_sim.vad import SpeechEvent, Utterance


class Conversation:
    """Handles the client's messages after the setup is answered."""

    def __init__(
        self,
        setup: SessionSetup,
        behaviour: Behaviour,
        spoken: Sequence[Speech],
        turns: Turns,
        stage: Stage,
        open_calls: dict[str, None],
        hand_out: Callable[[float], None],
    ) -> None:
        """``open_calls`` are the open tool calls of the session's last connection; ``hand_out`` sends the client a handle."""
        self._setup = setup
        self._behaviour = behaviour
        self._spoken = spoken
        self._turns = turns
        self._stage = stage
        self._model = find_model(setup.model)
        stream_end = self._model.hears_stream_end if behaviour.stream_end is None else behaviour.stream_end
        self._input = SpeechInput(setup.vad, behaviour.vad_threshold_dbfs, stream_end=stream_end)
        self._seeding = bool((setup.history_config or {}).get("initialHistoryInClientContent"))
        self.tools = Tools(setup, self._model, behaviour, stage, turns, open_calls, hand_out)
        self.silent = behaviour.silent

    def take(self, message: wire.ClientMessage, now: float) -> None:
        """Handle a message.

        Raises:
            WireError: If the message is not allowed at this point.
        """
        journal = self._stage.journal
        match message:
            case wire.Audio(pcm, hz):
                journal.hear(pcm)
                if self._setup.bills_silence:
                    self._stage.meter.hear(len(pcm) / 2 / hz)
                self._stage.happened("audio_in", now)
                self.tools.heard_audio(now)
                self._heard(self._input.take(message), now)
            case wire.ActivityStart() | wire.ActivityEnd() | wire.StreamEnd():
                self._heard(self._input.take(message), now)
            case wire.Text(text):
                self._read((("user", text),), now, answer=True)
            case wire.Content(turns, turn_complete):
                if self._model.history_only and not self._seeding:
                    raise wire.WireError(wire.INVALID_ARGUMENT)
                self._read(turns, now, answer=turn_complete and not self._seeding)
                self._seeding = self._seeding and not turn_complete
            case wire.ToolResponse(responses):
                check_responses(self._model, responses)
                for response in responses:
                    note(journal.tool_responses, response)
                self.tools.respond(responses, now)
            case wire.ContextUpdate(fields):
                note(journal.context_updates, fields)
            case wire.Setup():
                msg = "setup must be the first message and only the first message."
                raise wire.WireError(msg)

    def say(self, n_ms: int, pcm: bytes | None, now: float) -> None:
        """Answer without a question."""
        hz = self._behaviour.answer_hz
        speech = tone(n_ms, hz) if pcm is None else Speech(resample(pcm, HZ, hz), "(something unasked)", hz)
        self._turns.answer(lambda _turn: speech, now)

    def interrupt(self, now: float) -> None:
        """Cut the answer short, and cancel its blocking calls."""
        self.tools.cancel(now, all_of_them=False)
        self._turns.interrupt(now)

    def babble(self, kind: Babble) -> wire.Json:
        """Make a message that relates to the last question but is not an answer."""
        if kind == "usage":
            return messages.bill(UsageReport(self._turns.number, dict(self._stage.meter.context), {}).as_json() or {})
        if kind == "voice_activity":
            return messages.voice_activity("ACTIVITY_START", self._input.heard_s)
        asked = [text for role, text in self._stage.journal.history if role == "user"]
        return messages.transcription("input", asked[-1] if asked else "")

    def _heard(self, events: list[SpeechEvent], now: float) -> None:
        for event in events:
            if isinstance(event, Utterance):
                self._question(event, now)
            else:
                self._voice_activity("ACTIVITY_START")
                self._stage.happened("speech_start", now)
                self._make_way(now)

    def _question(self, utterance: Utterance, now: float) -> None:
        stage = self._stage
        stage.emit(Note("heard", f"heard {utterance.seconds:.1f} s of speech"))
        self._voice_activity("ACTIVITY_END")
        if not self._setup.bills_silence:
            stage.meter.hear(utterance.seconds)
        length = f"({utterance.seconds:.1f} s"
        stage.journal.tell("user", f"{length} of speech)")
        transcript = self._transcript((length, " of speech)"))
        late = self._behaviour.late_input and not self.silent
        for message in () if late else transcript:
            stage.emit(Send(message))
        stage.happened("speech_end", now)
        self._answer(utterance, self.tools.find(utterance), now, transcript if late else ())

    def _transcript(self, pieces: Sequence[str]) -> list[wire.Json]:
        """Make the input's transcription messages, if the setup or the model wants them."""
        unasked = self._behaviour.unasked_transcripts
        unasked = self._model.writes_unasked if unasked is None else unasked
        if self._setup.input_audio_transcription is None and not unasked:
            return []
        if self._behaviour.split_emoji:
            pieces = split_emoji(pieces)
        return [messages.transcription("input", piece) for piece in pieces]

    def _read(self, turns: Sequence[tuple[str, str]], now: float, *, answer: bool) -> None:
        for role, text in turns:
            self._stage.journal.tell(role, text)
            if role == "user":
                note(self._stage.journal.texts, text[:MAX_TEXT])
            self._stage.meter.read(text)
        if answer:
            self._make_way(now)
            self._stage.happened("speech_end", now)
            said = " ".join(text for role, text in turns if role == "user")
            self._answer(None, self.tools.find(said), now)

    def _make_way(self, now: float) -> None:
        """Interrupt the active answer because the person begins to speak, unless interruptions are switched off."""
        if self._setup.interrupts and (self._turns.active or self._turns.held):
            self.interrupt(now)

    def _answer(self, heard: Utterance | None, asks: Phrase | None, now: float, late: Sequence[wire.Json] = ()) -> None:
        if self.silent:
            return
        if self.tools.swallows():
            self._turns.end_with_call(now)
        elif asks:
            self.tools.ask(asks, now)
        else:
            self._turns.answer(partial(self._speech, heard), now, late)

    def _speech(self, heard: Utterance | None, turn: int) -> Speech:
        return choose(self._behaviour, self._spoken, turn, heard)

    def _voice_activity(self, kind: str) -> None:
        if self._behaviour.voice_activity:
            self._stage.emit(Send(messages.voice_activity(kind, self._input.heard_s)))
