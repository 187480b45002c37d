"""The first message: whether it may open a session, and which one it goes on with."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gemini_live_sim.actions import BAD_KEY
from gemini_live_sim.answers import Speech
from gemini_live_sim.behaviour import Behaviour
from gemini_live_sim.resumption import HandleError, HandleStore, Refusal, Snapshot
from gemini_live_sim.setup import SessionSetup, read_setup
from gemini_live_sim.wire import ClientMessage, Json, Setup, WireError

POLICY = 1008
INTERNAL = 1011


@dataclass(frozen=True, slots=True)
class Door:
    """What all connections of a server share."""

    handles: HandleStore
    spoken: Sequence[Speech]
    """The recordings, in turn."""
    models: frozenset[str]
    """Known models, without ``models/``; empty: any."""
    new_id: Callable[[], str]
    """Makes session ids."""


def read_opening(message: ClientMessage, door: Door, *, key_is_known: bool) -> tuple[SessionSetup, Json]:
    """Check the first message of a connection; return the setup, also as it came.

    Raises:
        WireError: If it is no setup, a wrong one, or key or model are not known.
    """
    if not isinstance(message, Setup):
        raise WireError("setup must be the first message and only the first message.")
    setup = read_setup(message.fields)
    if not key_is_known:
        raise WireError(BAD_KEY)
    name = setup.model.removeprefix("models/")
    if not name or (door.models and name not in door.models):
        # The whole sentence of the real server is longer than a close reason may be.
        raise WireError(
            f"models/{name[:40]} is not found for API version v1beta, or is not supported for bidiGenerateContent.", POLICY
        )
    return setup, message.fields


def find_session(setup: SessionSetup, handles: HandleStore, behaviour: Behaviour, now: float) -> Snapshot | None:
    """Find what the setup wants to go on with; nothing if it begins anew.

    Raises:
        WireError: If its handle opens nothing.
    """
    if setup.session_resumption is None or not setup.session_resumption.handle:
        return None
    try:
        return handles.resume(setup.session_resumption.handle, now)
    except HandleError as refused:
        raise _fault(refused.refusal, behaviour) from None


def _fault(refusal: Refusal, behaviour: Behaviour) -> WireError:
    match refusal:
        case Refusal.UNKNOWN:
            return WireError("BidiGenerateContent session not found.", behaviour.refused_handle_code)
        case Refusal.STALE:
            return WireError("BidiGenerateContent session expired.", behaviour.refused_handle_code)
        case Refusal.STILL_OPEN:
            return WireError("The session is still open on another connection.", INTERNAL)
        case Refusal.POISONED:
            return WireError(behaviour.poisoned_handle_reason, behaviour.poisoned_handle_code)
