"""Translates errors of the SDK and of its socket into a ``LiveError``."""

from typing import Final

import websockets.exceptions
from google.genai import errors
from pydantic import ValidationError

from gemini_gateway.events import LiveError
from gemini_gateway.sdk import refusals
from gemini_gateway.sdk.pieces import clean
from reachy_service.logs import redacted

STRANGE: Final = (TypeError, ValueError, AttributeError, LookupError, RecursionError)
"""The errors that the SDK raises on a message of unknown shape. The connection stays intact."""


def unquoted(error: Exception) -> str:
    """What is wrong with a message, without its content, which may be somebody's words."""
    match error:
        case ValidationError():
            found = error.errors(include_url=False, include_context=False, include_input=False)
            words = ", ".join(f"{'.'.join(map(str, it['loc']))}: {it['type']}" for it in found)
        case errors.APIError():
            words = f"{error.code} {error.status}. {error.message}"
        case _:
            words = type(error).__name__
    return redacted(clean(words))[:300]


def explained(error: Exception, *, opened: bool) -> LiveError:
    """An error of the SDK or the socket, in words for people and with its kind, which tells whether dialling again can help.

    The words go to the robot, too, so an API key that a server echoes is removed here.

    Args:
        error: The error that was raised.
        opened: Whether the server had answered the setup.
    """
    match error:
        case errors.APIError():
            return refusals.of_close(error.code, _told_of(error.details), opened=opened)
        case websockets.exceptions.ConnectionClosed():
            close = error.rcvd or error.sent
            return refusals.of_close(close.code if close else None, _told_of(close.reason if close else LOST), opened=opened)
        case websockets.exceptions.InvalidStatus():
            body = (error.response.body or b"").decode(errors="replace")
            return refusals.of_status(error.response.status_code, redacted(clean(body)))
        case websockets.exceptions.ProxyError() | websockets.exceptions.InvalidProxy():
            status = error.response.status_code if isinstance(error, websockets.exceptions.InvalidProxyStatus) else None
            return refusals.of_proxy(status, _told_of(error))
    reached = "lost" if opened else "cannot be reached"
    return LiveError("lost" if opened else "unreachable", f"Gemini {reached} ({type(error).__name__}: {_told_of(error)})")


LOST: Final = "connection lost"


def _told_of(words: object) -> str:
    """The words of a server or a library: on one line, short, and without secrets."""
    return redacted(clean(" ".join(str(words).split())))[:300]
