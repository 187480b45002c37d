"""What rests in a store is sealed: who reads the store learns no word of it, and who writes it can make nothing up."""

import os
from hashlib import blake2b
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

NONCE_BYTES: Final = 12


class Seal:
    """Seals by a key that only the gateways of a fleet can make, from the secret key that they share.

    AES-GCM-SIV (RFC 8452), as nonces are drawn at random by many processes for years.

    Args:
        secret: The gateways' secret key.
    """

    def __init__(self, secret: bytes) -> None:
        self._cipher = AESGCMSIV(blake2b(secret, digest_size=32, person=b"reachy-store").digest())

    def close(self, text: str, place: str) -> bytes:
        """Seal a text for one place; elsewhere it does not open."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, text.encode(errors="surrogatepass"), place.encode())

    def open(self, sealed: bytes, place: str) -> str | None:
        """The text; None if it was not sealed by this fleet for that place."""
        try:
            nonce, rest = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
            return self._cipher.decrypt(nonce, rest, place.encode()).decode(errors="surrogatepass")
        except (InvalidTag, ValueError):
            return None
