"""Finds out why a connection was refused or ended: first by the code and the moment, last by the words. Pure.

An error that comes before the setup is answered concerns this setup; other robots may have no such trouble. A later error
concerns the moment, and the next dial shows whether it lasts.
"""

import json
import re
from typing import Final

from gemini_gateway.events import LiveError

THIS_SETUP: Final = (1007, 1008)
"""Close codes by which a server refuses data that it was sent: invalid payload, policy violation."""
NO_CLOSE: Final = 1006
"""The code of a connection that ended without a close message (RFC 6455, 7.1.5). The library made up the words beside it."""
SETUP: Final = "the session's setup"
SERVERS_OWN: Final = 500
"""From this HTTP status on the server itself is the reason that a handshake fails."""
HTTP_OF_GEMINI: Final = {
    400: f"Gemini refused {SETUP}",
    401: "Gemini refused the API key: check GEMINI_API_KEY",
    403: "this API key may not use Gemini Live: check the key's project and restrictions",
    404: "Gemini does not know the model, or does not offer it for Live: check the model in the robots file or GEMINI_MODEL",
}
"""HTTP statuses with which Gemini answers a handshake, and what they mean if Gemini sent them."""
TOO_MANY: Final = 429

NOT_HERE: Final = "Gemini is not available in the region of this gateway's address"
SPENT: Final = r"prepay|\bcredits?\b|billing|payment|\bpaid\b|subscription|suspended|\bbalance\b|spending|\bfunds\b"
QUOTAS: Final = r"quota(?! project)|rate.?limit|resource.?exhausted|too many requests"
KNOWN: Final = (
    (r"session (was )?(not found|expired)", "Gemini no longer has the session"),
    (r"api.?key|unauthenticated|credentials?\b", HTTP_OF_GEMINI[401]),
    (r"permission|access denied", HTTP_OF_GEMINI[403]),
    (r"\b(location|region|country)\b.*\bnot (supported|available|allowed)", NOT_HERE),
    (r"not (supported|available|allowed) in (your|this) (location|region|country)", NOT_HERE),
    (r"models?/\S+ is not (found|supported)", HTTP_OF_GEMINI[404]),
    (r"\bmodel\b.*\b(not found|not exist|unknown|retired|deprecated)", HTTP_OF_GEMINI[404]),
)
"""Words that have been seen in refusals, and what to do. They count only if the code, too, means a refusal."""
PASSING: Final = (
    r"internal error|deadline|abort|operation was cancel|request was cancel|unavailable|overload|try again|shutting down"
    r"|going away|time.?out|connection lost"
    r"|abnormal closure"
)
"""Words of a trouble of the server's that passes by itself; the setup is not the reason."""


def of_close(code: int | None, reason: str, *, opened: bool) -> LiveError:
    """The error that a close of the WebSocket means.

    Args:
        code: The close code; None if the connection broke without one.
        reason: The server's words, without secrets.
        opened: Whether the server had answered the setup.
    """
    words = f"code {code}: {reason or 'no reason given'}" if code else reason
    passing = re.search(PASSING, reason, re.IGNORECASE)
    if trouble := _by_words(reason, words, refusal=code in THIS_SETUP and not passing):
        return trouble
    if code in THIS_SETUP and not passing:
        return LiveError("refused", f"Gemini refused {'what it was sent' if opened else SETUP} ({words})", sure=False)
    if opened or (code not in THIS_SETUP and (passing or not reason)):
        broke = code in (None, NO_CLOSE)
        return LiveError("lost", "the connection to Gemini broke off" if broke else f"the connection to Gemini ended ({words})")
    return LiveError("declined", f"Gemini declined {SETUP} ({words})")


def of_status(status: int, body: str) -> LiveError:
    """The error that an HTTP status means, which came in place of a WebSocket.

    Only an error in Google's form surely comes from Google: a load balancer, a proxy that opens TLS, or the login page of a
    hotel network answers with the same numbers.
    """
    said = _googles_words(body)
    words = f"HTTP {status}{f': {said}' if said else ''}"
    if status >= SERVERS_OWN:
        return LiveError("unreachable", f"Gemini is in trouble ({words})")
    if said and (trouble := _by_words(said, words, refusal=True)):
        return trouble
    if status == TOO_MANY:
        return LiveError("quota", f"Gemini's quota or rate limit is reached ({words})")
    if status in HTTP_OF_GEMINI:
        doubt = "" if said else "; or a proxy or a login page on the way answered in place of Gemini"
        return LiveError("refused", f"{HTTP_OF_GEMINI[status]} ({words}{doubt})", sure=bool(said))
    return LiveError("unreachable", f"another server answers in place of Gemini ({words}): a proxy or a network's login page")


def of_proxy(status: int | None, words: str) -> LiveError:
    """The error of a proxy that does not let the gateway through. Neither the key nor Gemini is the reason."""
    said = f"answered with HTTP {status}" if status else f"cannot be used ({words})"
    return LiveError("unreachable", f"the proxy that HTTPS_PROXY or ALL_PROXY names {said}: Gemini was not reached")


def _by_words(said: str, words: str, *, refusal: bool) -> LiveError | None:
    if re.search(QUOTAS, said, re.IGNORECASE):
        return LiveError("quota", f"Gemini's quota or rate limit is reached ({words})")
    if re.search(SPENT, said, re.IGNORECASE):
        return LiveError("quota", f"Gemini's account has nothing left to spend: check its billing ({words})")
    for pattern, meaning in KNOWN if refusal else ():
        if re.search(pattern, said, re.IGNORECASE):
            return LiveError("refused", f"{meaning} ({words})")
    return None


def _googles_words(body: str) -> str:
    """The message of an error in Google's form; empty for any other body."""
    try:
        found = json.loads(body)
        found = found[0] if isinstance(found, list) else found
        return " ".join(str(found["error"]["message"]).split())[:200]
    except (ValueError, LookupError, TypeError, RecursionError):
        return ""
