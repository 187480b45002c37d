"""Seals what is kept in a store: who reads the store learns nothing, and who writes to the store can forge nothing."""

import os
from hashlib import blake2b
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

NONCE_BYTES: Final = 12


class Seal:
    """Seals with a key that is derived from the secret key which the gateways of a fleet share.

    The cipher is AES-GCM-SIV (RFC 8452), because many processes draw nonces at random for years.

    Args:
        secret: The gateways' secret key.
    """

    def __init__(self, secret: bytes) -> None:
        self._cipher = AESGCMSIV(blake2b(secret, digest_size=32, person=b"reachy-store").digest())

    def close(self, text: str, place: str) -> bytes:
        """Seal a text for one place. It does not open for another place."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, text.encode(errors="surrogatepass"), place.encode())

    def open(self, sealed: bytes, place: str) -> str | None:
        """The text; None if this fleet did not seal it for that place."""
        try:
            nonce, rest = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
            return self._cipher.decrypt(nonce, rest, place.encode()).decode(errors="surrogatepass")
        except (InvalidTag, ValueError):
            return None
