"""Every time and size that a session uses; ``docs/sessions.md`` has the list."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from reachy_gateway.voice import (
    HEARS_HZ,
)

BYTES_PER_S: Final = HEARS_HZ * 2
MESSAGE_BYTES: Final = BYTES_PER_S // 10
"""The most mic audio in one message: 100 ms, as Google advises. It is several chunks if several wait, as on a busy core."""
HELD_MAX_S: Final = 10.0
"""Mic audio kept during a planned renewal. Beyond it the oldest audio is dropped and counted."""
OUTAGE_MAX_S: Final = 2.0
"""Mic audio kept during an outage: an answer to older speech would come too late."""
PRE_ROLL_S: Final = 1.0
"""Mic audio kept while the session is parked, spent or refused, so that the first word is not lost."""
HANDLE_MAX_S: Final = 7200.0
"""How long Google lets a session be resumed."""
HANDLE_FAILURES: Final = 2
HANDLE_PAUSE_S: Final = (0.5, 1.0)
"""The pause between dials that resume a session, drawn at random: Google answers 1011 while it sees the old socket as open."""
QUIET_S: Final = 0.5
"""A good moment to renew: nobody has spoken and nothing has come for this long."""
DEADLINE_MARGIN_S: Final = 0.3
GRACE_S: Final = 5.0
"""How long past its deadline a connection may go on with an answer: the server may still finish it."""
AGE_WINDOW_S: Final = 45.0
"""How long after the age at which a connection should be renewed it must be renewed."""
SILENCE_S: Final = 10.0
"""The server hangs if speech gets no piece of an answer for this long, or if an answer stops for this long. Other messages do
not count: a server that hangs may still send transcripts, handles and token counts. If a new connection does not help, each
further one gets twice as long: there may be nothing to answer, as gemini-3.8 chooses to be silent while people talk to each
other."""
UNHEEDED_DOUBLINGS: Final = 3
SILENCE_MAX_S: Final = 30.0
"""The same limit while the person keeps on talking, as people do who get no answer."""
PAUSE_S: Final = 2.0
"""After this long without speech the server must have ended the person's turn."""
TURN_END_S: Final = 3.0
"""How long after an answer was generated whole, and was heard, its turn ends although the server does not say so."""
MUTE_TURNS: Final = 3
"""After this many turns in a row without a sound a new session begins. If that does not help, the limit doubles."""
FAINT: Final = 100
"""PCM16 samples up to this value, -50 dBFS, cannot be heard."""
SOUNDLESS_MAX_S: Final = 60.0
"""The limit of ``SILENCE_S`` while words, thoughts and calls come, but no audible sound."""
BARGE_IN_S: Final = 0.6
"""How much speech cuts an answer whose connection is gone. A knock holds the speech gate open for half of this time."""
SPEECH_MIN_S: Final = 0.4
"""Shorter sounds may stay unanswered, so nobody waits for an answer to them."""
LAST_SEND_S: Final = 1.0
"""How long a send may take to finish when the connection is to be closed."""
LAST_HEARD_S: Final = 1.0
"""How long messages that came before a connection was lost are still received. The sender may notice the loss first."""
SAY: Final = "(Nobody has said this. Say it to the person now, word for word, in the language that it is in:) {}"
"""How the model is asked to say something; it may put it into other words all the same."""
PROMPT_MAX_S: Final = 30.0
"""A prompt that could not be sent for this long is dropped."""
PROMPTS_MAX: Final = 4
"""The most prompts of operators that wait to be sent; further prompts are refused in words."""
OWED_MIN_S: Final = 0.7
"""If speech of at least this length, with the speech gate's 0.3 s at the end, gets no reaction, the server hangs. Knocks are
shorter, and Gemini does not react to them."""
BLAMED_MIN_S: Final = 1.0
"""If speech of at least this length gets no reaction, and the server has said nothing since it resumed the session, the handle
is blamed, too."""
SEND_STALL_S: Final = 3.0
BEHIND_S: Final = 5.0
"""A connection that has been ``OUTAGE_MAX_S`` behind the microphone for this long does not catch up by itself."""
WORDS_MAX: Final = 200
"""The most characters of a server's own words that are shown to people."""
STREAM_END_S: Final = 1.0
"""After this long without mic audio the server is told that the stream has paused."""
TELL_S: Final = 1.0
"""The robot is not told of an outage that is shorter than this."""
GAP_TELL_S: Final = 2.0
"""The robot is not told of a renewal, or of a wait for permission to dial, that is shorter than this."""
SHORT_LIFE_S: Final = 5.0
"""A connection that is lost within this time did not help: the next dial waits, longer each time."""
SHORT_FIRST_S: Final = 0.1
SHORT_CAP_S: Final = 30.0
REFUSED_RETRY_S: Final = 300.0
DOUBTED_S: Final = 15.0
"""How long after a refusal for an unknown reason the next dial follows; the pause doubles each time."""
DECLINED_S: Final = (3.0, 60.0)
"""The pause after a setup that the server answered with unknown words; it doubles from the first value to the second."""
QUOTA_S: Final = (30.0, 300.0)
"""The pause after a quota error: drawn between half and the whole of the first value, which doubles up to the second."""
CALL_WAIT_MAX_S: Final = 10.0
"""The longest time for which an answer waits for a tool: gemini-3.1 was seen to take calls back after 12 s of mic audio."""
NO_TOOLS_S: Final = 600.0
"""How long no tools are declared once a setup was accepted only without them; a new persona ends this earlier."""
HANDLE_WAIT_S: Final = 1.0
"""How long past a deadline the session waits for a handle that is newer than its last answer to a call."""


@dataclass(frozen=True, slots=True)
class ToolTerms:
    """How a session handles calls of a tool; it depends on the model."""

    waits: bool = True
    """Whether the model is silent until it has the answer."""
    speaks: bool = True
    """Whether the model should speak of the result."""
    deadline_s: float = 5.0
    may_be_cut: bool = True


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """A session's settings, which follow from its persona."""

    max_age_s: float = 540.0
    """The age from which on a connection is renewed: Google closes it at about 600 s, sometimes without a GoAway."""
    park_after_s: float | None = None
    """Hang up after this long without speech."""
    manual_vad: bool = False
    interrupts: bool = True
    """Whether speech cuts an answer."""
    batch_ms: int = 0
    """Mic audio waits until a message holds this much."""
    transcripts: bool = True
    """Whether transcripts may be kept and passed on; the server may send them unasked."""
    trailing_silence_s: float = 0.0
    """How much silence is sent when the microphone pauses, for a model that ignores the end of the stream."""
    silence_is_billed: bool = False
    """Whether mic audio without speech is billed as well."""
    tools: Mapping[str, ToolTerms] = field(default_factory=dict)
    """The tools that the model may call."""
