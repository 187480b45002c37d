"""Checks a connection's first message, the setup, and finds the session that it resumes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gemini_live_sim.actions import BAD_KEY
from gemini_live_sim.answers import Speech
from gemini_live_sim.behaviour import Behaviour
from gemini_live_sim.models import check_setup
from gemini_live_sim.resumption import HandleError, HandleStore, Refusal, Snapshot
from gemini_live_sim.setup import SessionSetup, read_setup
from gemini_live_sim.wire import ClientMessage, Json, Setup, WireError

POLICY = 1008
INTERNAL = 1011


@dataclass(frozen=True, slots=True)
class Door:
    """State and limits that all connections of a server share."""

    handles: HandleStore
    spoken: Sequence[Speech]
    """The recordings, in the order in which they are played."""
    models: frozenset[str]
    """Known models, without ``models/``; empty: any."""
    new_id: Callable[[], str]
    """Makes session ids."""
    voices: frozenset[str] = frozenset()
    """Known voices; empty: any."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Facts about a client from its handshake."""

    key_is_known: bool = True
    api_version: str = "v1beta"


def read_opening(message: ClientMessage, door: Door, caller: Caller) -> tuple[SessionSetup, Json]:
    """Check the first message of a connection; return the setup, parsed and as received.

    Raises:
        WireError: If the message is no setup, the setup is malformed or its model refuses it, or the key, model or voice is
            unknown.
    """
    if not isinstance(message, Setup):
        raise WireError("setup must be the first message and only the first message.")
    setup = read_setup(message.fields)
    if not caller.key_is_known:
        raise WireError(BAD_KEY)
    name = setup.model.removeprefix("models/")
    if not name or (door.models and name not in door.models):
        # The real server's whole sentence is longer than a close reason may be.
        version = caller.api_version[:10]
        raise WireError(
            f"models/{name[:40]} is not found for API version {version}, or is not supported for bidiGenerateContent.", POLICY
        )
    if door.voices and setup.voice and setup.voice not in door.voices:
        raise WireError(f"Nobody here speaks as {setup.voice[:40]!r}.")
    check_setup(setup, caller.api_version)
    return setup, message.fields


def find_session(setup: SessionSetup, handles: HandleStore, behaviour: Behaviour, now: float) -> Snapshot | None:
    """Find the session that the setup resumes; None if it begins a new one.

    Raises:
        WireError: If the setup's handle opens no session.
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
