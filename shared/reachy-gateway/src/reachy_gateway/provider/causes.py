"""The causes under which a session with a cloud counts what befell it; ``docs/operations.md`` explains each. Pure."""

from typing import Final, Literal, get_args

TroubleKind = Literal["lost", "unreachable", "declined", "quota", "refused"]
"""Why there is no connection. ``lost``: the server ended it. ``unreachable``: nobody answered. ``declined``: the server
answered the setup with words that nobody knows. ``quota``: only time mends it. ``refused``: only a person does."""

_Judged = Literal["silent", "mute", "stalled"]
Loss = TroubleKind | _Judged
"""Why a connection, or an attempt to make one, was lost. The last three are the session's own judgement of a server that says
nothing, says nothing more, or takes nothing."""

_OfTalk = Literal["go_away", "handle_dropped", "mute_turn", "no_turn_end", "turn_reason", "seed_dropped", "uplink"]
_OfModel = Literal["tool_call", "tools_refused", "unknown_message", "activity_ignored"]
_OfBooks = Literal["uncounted", "unknown_price", "ledger", "transcript"]
SessionCause = Loss | _OfTalk | _OfModel | _OfBooks

LOSSES: Final[tuple[Loss, ...]] = (*get_args(TroubleKind), *get_args(_Judged))
