"""The operator's bearer token, and the proof that a listener knows it.

The token is new in each run, and only the owner of its file can read it.
"""

from __future__ import annotations

import hmac
import re
import secrets
from pathlib import Path

from kamou.data_directory.folder import write_atomically
from kamou.errors import StoreError

TOKEN_BYTES = 32  # 256 random bits, which cannot be guessed
NONCE_BYTES = 16  # 128 random bits, so that no challenge occurs twice
PROOF_PREFIX = b"kamou operator listener\n"  # signed before the nonce, for this purpose only
_NONCE = re.compile(r"[0-9a-f]{32}")


def new_token(path: Path) -> str:
    """Write a new token for this run to ``path``, mode 0600, and return it.

    The caller holds the data directory's lock. Tokens of earlier runs are invalid, so a scraper of
    the metrics reads this file.

    Raises:
        StoreError: the file cannot be written.
    """
    token = secrets.token_urlsafe(TOKEN_BYTES)
    try:
        write_atomically(path, token + "\n")
    except OSError as error:
        raise StoreError(
            f"the operator's token {path} cannot be written: {error.strerror or error}; make the "
            "data directory writable, or choose another with --data-dir"
        ) from error
    return token


def token_matches(authorization: str, token: str) -> bool:
    """Return True if the header is ``Bearer`` and this token.

    The duration of the comparison does not depend on the number of equal characters.
    """
    scheme, _, given = authorization.partition(" ")
    if scheme.lower() != "bearer":
        return False
    return hmac.compare_digest(given.strip().encode(), token.encode())


def new_nonce() -> str:
    """Return a new random challenge."""
    return secrets.token_hex(NONCE_BYTES)


def make_proof(token: str, nonce: str) -> str | None:
    """Return the proof that a listener knows the token; None if the nonce is invalid.

    A client requests the proof before it sends the token, because another program may have taken
    the port of an ended run. The proof does not reveal the token.
    """
    if not _NONCE.fullmatch(nonce):
        return None
    return hmac.new(token.encode(), PROOF_PREFIX + nonce.encode(), "sha256").hexdigest()


def verify_proof(token: str, nonce: str, proof: str) -> bool:
    """Return True if ``proof`` was made with this token and nonce."""
    made = make_proof(token, nonce)
    return made is not None and hmac.compare_digest(made.encode(), proof.encode())
