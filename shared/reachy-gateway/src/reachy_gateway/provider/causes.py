"""The causes by which events of a session with a cloud are counted; ``docs/operations.md`` explains each. Pure."""

from typing import Final, Literal, get_args

TroubleKind = Literal["lost", "unreachable", "declined", "quota", "refused"]
"""Why there is no connection. ``lost``: the server ended it. ``unreachable``: no server answered. ``declined``: the server
answered the setup with an unknown error. ``quota``: time helps, or money. ``refused``: only a person can fix it."""

_Judged = Literal["silent", "mute", "stalled"]
Loss = TroubleKind | _Judged
"""Why a connection, or an attempt to connect, was lost. The last three are the session's own judgement of a server that sends
no answer or stops in one (``silent``), sends turns without a sound (``mute``), or reads nothing (``stalled``)."""

_OfTalk = Literal["go_away", "handle_dropped", "mute_turn", "no_turn_end", "turn_reason", "seed_dropped", "uplink"]
_OfClosing = Literal["answer_cut", "question_lost"]
_OfModel = Literal["tool_call", "tools_refused", "unknown_message", "activity_ignored"]
_OfBooks = Literal["uncounted", "unknown_price", "ledger", "transcript"]
SessionCause = Loss | _OfTalk | _OfClosing | _OfModel | _OfBooks

LOSSES: Final[tuple[Loss, ...]] = (*get_args(TroubleKind), *get_args(_Judged))
