"""Every time and size that a session goes by; ``docs/sessions.md`` has the table."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from reachy_gateway.voice import (
    HEARS_HZ,
)

BYTES_PER_S: Final = HEARS_HZ * 2
MESSAGE_BYTES: Final = BYTES_PER_S // 10
"""Of mic audio in one message, 100 ms, as Google advises at most: more than one chunk if several wait, as on a busy core."""
HELD_MAX_S: Final = 10.0
"""Mic audio kept during a planned renewal; beyond it the oldest is dropped and counted."""
OUTAGE_MAX_S: Final = 2.0
"""Mic audio kept during an outage: what was said longer ago would be answered too late."""
PRE_ROLL_S: Final = 1.0
"""Mic audio kept while parked, so that the first word is not lost."""
HANDLE_MAX_S: Final = 7200.0
"""How long Google keeps a session to be resumed."""
HANDLE_FAILURES: Final = 2
HANDLE_PAUSE_S: Final = (0.5, 1.0)
"""Between dials that are to resume a session, drawn: Google answers 1011 for as long as it takes the old socket for open."""
QUIET_S: Final = 0.5
"""Nobody spoke and nothing came for so long: a good moment to renew."""
DEADLINE_MARGIN_S: Final = 0.3
GRACE_S: Final = 5.0
"""How long past its deadline a connection that is still in mid-answer is listened to: the server may yet finish."""
AGE_WINDOW_S: Final = 45.0
"""From the age at which a connection should be renewed to that at which it must be."""
SILENCE_S: Final = 10.0
"""Speech that gets nothing of an answer for so long means that the server hangs; so does an answer that stops in mid-way. Other
messages are no answer: a server that hangs may well go on with transcripts, handles and counts.
Where another connection does not help either, the next ones are given twice as long each: there may be nothing to answer, as
gemini-3.8 is silent by choice where people talk to each other."""
UNHEEDED_DOUBLINGS: Final = 3
SILENCE_MAX_S: Final = 30.0
"""The same if the person keeps on talking, as people do who are not answered."""
PAUSE_S: Final = 2.0
"""After so long without speech the server must have taken the person's turn for over."""
TURN_END_S: Final = 3.0
"""An answer that was generated whole, and was heard, is over after so long, although the server does not say so."""
MUTE_TURNS: Final = 3
"""After so many turns in a row without a sound a new session begins; where that does not help, the next after twice as many."""
FAINT: Final = 100
"""Samples of PCM16 up to this, -50 dBFS, are no sound that a person hears."""
SOUNDLESS_MAX_S: Final = 60.0
"""The same while words, thoughts and calls come, and nothing that a person hears."""
BARGE_IN_S: Final = 0.6
"""So much speech cuts an answer whose connection is gone; a knock holds the speech gate open for half of that."""
SPEECH_MIN_S: Final = 0.4
"""Shorter sounds may well be left unanswered, and are not waited for."""
LAST_SEND_S: Final = 1.0
"""What is being sent when a connection is to be closed may finish for so long."""
LAST_HEARD_S: Final = 1.0
"""What a connection had said before it was lost, which the sender may notice first, is heard for so long."""
SAY: Final = "(Nobody has said this. Say it to the person now, word for word, in the language that it is in:) {}"
"""How the model is asked to say something; it may put it into other words all the same."""
PROMPT_MAX_S: Final = 30.0
"""What could not be said for so long is not said any more."""
PROMPTS_MAX: Final = 4
"""Of an operator, that wait to be sent; further ones are refused in words."""
OWED_MIN_S: Final = 0.7
"""From this length on, the speech gate's 0.3 s at the end included, a server that says nothing of it is taken to hang. Knocks
are shorter, and Gemini does not tell of them."""
BLAMED_MIN_S: Final = 1.0
"""And from this length on it is held against the handle, if the server has not said a word since it resumed the session."""
SEND_STALL_S: Final = 3.0
BEHIND_S: Final = 5.0
"""A connection that has been behind with the microphone by ``OUTAGE_MAX_S`` for so long does not catch up by itself."""
WORDS_MAX: Final = 200
"""Characters of what a server chose, where it is told to people."""
STREAM_END_S: Final = 1.0
"""After so long without mic audio the server is told that the stream has paused."""
TELL_S: Final = 1.0
"""An outage shorter than this is not told to the robot."""
GAP_TELL_S: Final = 2.0
"""Nor is a pause for a renewal, or for the turn to dial, that is shorter than this."""
SHORT_LIFE_S: Final = 5.0
"""A connection that is lost within this counts as one that did not help: the next dial waits, longer each time."""
SHORT_FIRST_S: Final = 0.1
SHORT_CAP_S: Final = 30.0
REFUSED_RETRY_S: Final = 300.0
DOUBTED_S: Final = 15.0
"""A refusal for a reason that nobody knows is tried again after so long, then after twice as long each time."""
DECLINED_S: Final = (3.0, 60.0)
"""The pause after a setup that was answered with words that nobody knows; it doubles from the first to the second."""
QUOTA_S: Final = (30.0, 300.0)
"""The pause after a quota error: drawn from half of, then up to the first, doubling to the second."""
CALL_WAIT_MAX_S: Final = 10.0
"""The longest that an answer waits for a tool: gemini-3.1 was seen to take calls back after 12 s of microphone."""
NO_TOOLS_S: Final = 600.0
"""For so long no tools are declared, where a setup was taken only without them; a new persona ends it."""
HANDLE_WAIT_S: Final = 1.0
"""How long past a deadline a handle is waited for that knows of the last answer to a call."""


@dataclass(frozen=True, slots=True)
class ToolTerms:
    """How a session deals with calls of a tool, on its model."""

    waits: bool = True
    """Whether the model says nothing before it has the answer."""
    speaks: bool = True
    """Whether it is to speak of the result."""
    deadline_s: float = 5.0
    may_be_cut: bool = True


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """What a persona implies for its session."""

    max_age_s: float = 540.0
    """Renew a connection from this age on: Google closes at about 600 s, sometimes without a GoAway."""
    park_after_s: float | None = None
    """Hang up after so long without speech."""
    manual_vad: bool = False
    interrupts: bool = True
    """Whether speech cuts an answer."""
    batch_ms: int = 0
    """Mic audio waits until there is so much of it for a message."""
    transcripts: bool = True
    """Whether words may be kept, and told; the server may send them unasked."""
    trailing_silence_s: float = 0.0
    """So much silence is sent when the microphone pauses, as the model does not heed the end of the stream."""
    silence_is_billed: bool = False
    """Whether what the microphone hears is billed where nobody speaks, too."""
    tools: Mapping[str, ToolTerms] = field(default_factory=dict)
    """Those that the model may call."""
