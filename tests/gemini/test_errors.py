"""How the SDK's errors are translated."""

import ssl

import pytest
import websockets.exceptions
from google.genai import errors
from websockets.datastructures import Headers
from websockets.frames import Close
from websockets.http11 import Response

from gemini_gateway.sdk.errors import explained


def closed(code: int, reason: str) -> Exception:
    """The SDK's exception when the server closes while the SDK receives."""
    return errors.APIError(code, reason)


def handshake(status: int, body: bytes = b"") -> Exception:
    return websockets.exceptions.InvalidStatus(Response(status, "", Headers(), body))


SETUP, LATER = False, True
"""Whether the setup had been answered."""
GOOGLE_SAYS_NO = b'{"error": {"code": 403, "message": "Your project has been denied access.", "status": "PERMISSION_DENIED"}}'
LOST_IN_MID_HANDSHAKE = websockets.exceptions.InvalidMessage("did not receive a valid HTTP response")


@pytest.mark.parametrize(
    ("error", "opened", "kind", "words"),
    [
        (closed(1007, "API key not valid. Please pass a valid API key."), SETUP, "refused", "GEMINI_API_KEY"),
        (closed(1008, "API key expired"), LATER, "refused", "GEMINI_API_KEY"),
        (handshake(401), SETUP, "refused", "GEMINI_API_KEY"),
        (handshake(403), SETUP, "refused", "project"),
        (closed(1008, "Permission denied on resource project"), SETUP, "refused", "project"),
        (closed(1008, "models/nonsense is not found for API version v1beta"), SETUP, "refused", "GEMINI_MODEL"),
        (
            closed(1008, "models/x is not found for API version v1, or is not supported for bidi"),
            SETUP,
            "refused",
            "GEMINI_MODEL",
        ),
        (handshake(404), SETUP, "refused", "GEMINI_MODEL"),
        (closed(1008, "BidiGenerateContent session not found."), SETUP, "refused", "session"),
        (closed(1008, "BidiGenerateContent session expired."), SETUP, "refused", "session"),
        (closed(1007, "Request contains an invalid argument."), SETUP, "refused", "setup"),
        (closed(1007, "Request contains an invalid argument."), LATER, "refused", "sent"),
        (closed(1007, "Voice 'Bob' is none of ours."), SETUP, "refused", "Voice 'Bob'"),
        (closed(1008, "Nein."), SETUP, "refused", "Nein."),
        (closed(1007, ""), SETUP, "refused", "1007"),
        (closed(1008, "The operation was aborted."), SETUP, "declined", "aborted"),
        (closed(1007, "User location is not supported for the API use."), SETUP, "refused", "region of this gateway's"),
        (handshake(400), SETUP, "refused", "setup"),
        (handshake(403, GOOGLE_SAYS_NO), SETUP, "refused", "denied access"),
        (closed(1011, "You exceeded your current quota, please check your plan"), LATER, "quota", "quota"),
        (closed(1011, "RESOURCE_EXHAUSTED"), SETUP, "quota", "quota"),
        (closed(1011, "Your prepayment credits are depleted. Please go to AI Studio."), SETUP, "quota", "billing"),
        (closed(1008, "Billing is disabled for this project."), SETUP, "quota", "billing"),
        (handshake(429), SETUP, "quota", "rate limit"),
        (closed(1011, "Something that nobody has seen yet."), SETUP, "declined", "nobody has seen"),
        (closed(4000, "come back on Tuesday"), SETUP, "declined", "Tuesday"),
        (closed(1011, "Something that nobody has seen yet."), LATER, "lost", "nobody has seen"),
        (closed(1011, "Internal error encountered."), SETUP, "lost", "ended (code 1011: Internal error encountered.)"),
        (closed(1008, "The operation was aborted."), LATER, "lost", "aborted"),
        (closed(1000, ""), LATER, "lost", "ended (code 1000: no reason given)"),
        (closed(1006, "abnormal closure [internal]"), SETUP, "lost", "the connection to Gemini broke off"),
        (closed(1011, "Deadline expired before operation could complete."), LATER, "lost", "Deadline"),
        (handshake(500), SETUP, "unreachable", "HTTP 500"),
        (handshake(503), SETUP, "unreachable", "HTTP 503"),
        (handshake(302), SETUP, "unreachable", "another server answers"),
        (handshake(511), SETUP, "unreachable", "HTTP 511"),
        (handshake(407), SETUP, "unreachable", "another server answers"),
        (ConnectionRefusedError(111, "Connection refused"), SETUP, "unreachable", "Connection refused"),
        (TimeoutError("timed out during opening handshake"), SETUP, "unreachable", "timed out"),
        (ssl.SSLError("handshake failure"), SETUP, "unreachable", "handshake failure"),
        (LOST_IN_MID_HANDSHAKE, SETUP, "unreachable", "valid HTTP"),
        (
            websockets.exceptions.ConnectionClosedError(Close(1011, "Internal error"), None),
            LATER,
            "lost",
            "1011: Internal error",
        ),
        (websockets.exceptions.ConnectionClosedError(None, Close(1011, "keepalive ping timeout")), LATER, "lost", "keepalive"),
        (websockets.exceptions.ConnectionClosedError(None, None), LATER, "lost", "the connection to Gemini broke off"),
        (websockets.exceptions.InvalidHandshake("strange"), SETUP, "unreachable", "InvalidHandshake: strange"),
        (OSError("broken pipe"), LATER, "lost", "broken pipe"),
    ],
    ids=str,
)
def test_an_error_says_what_kind_of_trouble_it_is_and_what_to_do(error, opened, kind, words):
    said = explained(error, opened=opened)
    assert said.kind == kind
    assert words in said.words
    assert str(said) == said.words


@pytest.mark.parametrize("status", [400, 401, 403, 404, 407, 429, 502])
def test_what_a_proxy_says_is_neither_the_keys_fault_nor_the_models(status):
    said = explained(websockets.exceptions.InvalidProxyStatus(Response(status, "", Headers())), opened=False)
    assert said.kind == "unreachable"
    assert f"HTTP {status}" in said.words
    assert "proxy" in said.words
    assert "key" not in said.words
    assert "model" not in said.words


@pytest.mark.parametrize(
    "body", [b"", b"<html>Log in to the hotel's Wi-Fi</html>", b'{"error": "no"}', b"[]", b"\xff", b"[" * 9999]
)
def test_a_status_that_is_not_surely_googles_is_doubted(body):
    for status in (400, 401, 403, 404):
        assert not explained(handshake(status, body), opened=False).sure
    assert explained(handshake(403, GOOGLE_SAYS_NO), opened=False).sure


def test_a_refusal_in_words_that_nobody_knows_is_doubted():
    assert not explained(closed(1007, "Request contains an invalid argument."), opened=False).sure
    assert explained(closed(1007, "API key not valid."), opened=False).sure


def test_long_reasons_are_told_in_short_and_on_one_line():
    said = explained(closed(1011, "word\n" * 1000), opened=True)
    assert len(said.words) < 400
    assert "\n" not in said.words
    assert len(explained(OSError("x" * 1000), opened=False).words) <= 400
