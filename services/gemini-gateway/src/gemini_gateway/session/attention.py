"""Tracks who speaks, whether the server owes an answer, and whether the server hangs. Pure: time is passed in."""

from gemini_gateway.session import timing
from gemini_gateway.session.server_turn import ServerTurn
from gemini_gateway.session.timing import BYTES_PER_S


class Attention:
    """The person's side of a conversation."""

    def __init__(self, now: float) -> None:
        self.last_mic = now
        self.last_speech = now
        self.stream_ended = True
        """Whether the server knows that the microphone has paused."""
        self.speaking = False
        self.pressed = False
        """Manual VAD: whether it is the person's turn."""
        self.spoke_at = float("-inf")
        """When the person last began to speak."""
        self.answer_at = float("-inf")
        """When the newest answer began to sound."""
        self.awaiting_since: float | None = None
        """Since when the person has waited for an answer; None if nobody waits. More speech does not restart the wait."""
        self.owed_s = 0.0
        """The length of the longest utterance that awaits an answer."""
        self.unheeded = 0
        """How many connections in a row were given up because speech got no answer."""
        self._paused = False
        """Whether the person has paused for ``PAUSE_S`` while waiting. Transcripts of later speech do not prolong the wait."""
        self._speech_bytes = self._turn_bytes = 0
        """Bytes of speech in the utterance, and in the person's turn of manual VAD."""

    # --- the person ---------------------------------------------------------------------------------------------------

    def heard(self, size_bytes: int, now: float, *, speaking: bool, manual: bool) -> None:
        """Mic audio has come. ``speaking`` tells whether the speech gate hears speech in it."""
        self.last_mic = now
        self.stream_ended = False
        if not speaking:
            self.silence(now, manual=manual)
            return
        if not self.speaking:
            self._speech_bytes = 0
            self.spoke_at = now
            self._paused = self._paused or now - self.last_speech >= timing.PAUSE_S
        self._speech_bytes += size_bytes
        self._turn_bytes += size_bytes
        self.last_speech = now
        self.speaking = True

    def silence(self, now: float, *, manual: bool) -> None:
        """The person is silent: if an utterance has ended that was long enough, they now wait for an answer."""
        if self.speaking and self._speech_bytes >= timing.SPEECH_MIN_S * BYTES_PER_S and not manual:
            self._owe(now, self._speech_bytes / BYTES_PER_S)
        self.speaking = False

    def press(self, now: float) -> None:
        """Manual VAD: the person's turn starts."""
        self.pressed, self._turn_bytes = True, 0
        self.last_speech = self.spoke_at = now

    def release(self, now: float) -> None:
        """Manual VAD: the person's turn ends."""
        self.pressed = False
        self.last_speech = now
        self._owe(now, self._turn_bytes / BYTES_PER_S)

    def prompted(self, now: float) -> None:
        """A written prompt asks for an answer."""
        self._owe(now, timing.OWED_MIN_S)

    def _owe(self, now: float, speech_s: float) -> None:
        """The person waits for an answer from now on. The server must react only to speech that was long enough."""
        if self.awaiting_since is None:
            self.awaiting_since, self.owed_s, self._paused = now, 0.0, False
        self.owed_s = max(self.owed_s, speech_s)

    @property
    def may_cut(self) -> bool:
        """Whether the person has spoken long enough during the newest answer to cut it."""
        return self._speech_bytes >= timing.BARGE_IN_S * BYTES_PER_S and self.spoke_at >= self.answer_at

    # --- the server ---------------------------------------------------------------------------------------------------

    def followed(self) -> None:
        """A transcript of the person's speech shows that the server still listens: the wait counts from the last speech."""
        if self.awaiting_since is not None and not self._paused:
            self.awaiting_since = max(self.awaiting_since, self.last_speech)

    def asked_into(self, turn: ServerTurn) -> bool:
        """Whether the person began to speak during the current answer."""
        return turn.in_turn and self.spoke_at > self.answer_at

    def answered(self, turn: ServerTurn) -> None:
        """The answer that the person waits for has come, unless they asked again during this answer."""
        if not self.asked_into(turn):
            self.awaiting_since = None

    def between_turns(self, turn: ServerTurn, now: float, *, manual: bool) -> bool:
        """Whether nobody speaks, no answer is expected, and it has been quiet for ``QUIET_S``."""
        quiet_s = now - max(turn.last_turn, self.last_speech)
        busy = turn.answers or (self.pressed and manual)
        return not busy and self.awaiting_since is None and quiet_s >= timing.QUIET_S

    def hangs_s(self, turn: ServerTurn, now: float) -> float:
        """How long the server has owed an answer, or the rest of one, if that is too long; else 0."""
        sound = max(turn.sound_at, turn.sounds_until)  # a question asked during an answer waits for the answer's end
        heard = max(turn.progress_at, turn.sounds_until)
        if self.awaiting_since is not None:
            waited_s = now - max(self.awaiting_since, heard)
            quiet_s = now - max(self.last_speech, heard)
            patience_s = timing.SILENCE_S * 2.0 ** min(max(self.unheeded - 1, 0), timing.UNHEEDED_DOUBLINGS)
            soon = not turn.working and min(waited_s, quiet_s) > patience_s
            if soon or waited_s > max(timing.SILENCE_MAX_S, patience_s):
                return waited_s
            sound = max(sound, self.awaiting_since)
        elif turn.working or (turn.in_turn and not turn.generated):
            quiet_s = now - max(self.last_speech, heard)
            if now - heard > timing.SILENCE_MAX_S or (not turn.working and quiet_s > timing.SILENCE_S):
                return now - heard
        else:
            return 0.0
        pieces_come = heard > sound
        return now - sound if pieces_come and now - sound > timing.SOUNDLESS_MAX_S else 0.0
