"""The operator's bearer token: new in each run, readable by its owner only."""

from __future__ import annotations

import hmac
import re
import secrets
from pathlib import Path

from kamou.data_directory.folder import write_atomically
from kamou.errors import StoreError

TOKEN_BYTES = 32  # 256 random bits, which cannot be guessed
NONCE_BYTES = 16  # 128 random bits, so that no challenge occurs twice
PROOF_OF = b"kamou operator listener\n"  # signed with the nonce: the token signs nothing else
_NONCE = re.compile(r"[0-9a-f]{32}")


def new_token(path: Path) -> str:
    """Write a token for this run to ``path``, mode 0600, and return it.

    The caller holds the data directory's lock. A token of an earlier run is invalid, so a scraper
    of the metrics reads the file.

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

    The time of the comparison does not depend on how much of them matches.
    """
    scheme, _, given = authorization.partition(" ")
    if scheme.lower() != "bearer":
        return False
    return hmac.compare_digest(given.strip().encode(), token.encode())


def new_nonce() -> str:
    """Return a new random challenge."""
    return secrets.token_hex(NONCE_BYTES)


def prove(token: str, nonce: str) -> str | None:
    """Return the proof that a listener knows the token; None if the nonce is invalid.

    A client requests it before it sends the token: another program that took the port of an ended
    run cannot answer. The proof does not reveal the token.
    """
    if not _NONCE.fullmatch(nonce):
        return None
    return hmac.new(token.encode(), PROOF_OF + nonce.encode(), "sha256").hexdigest()


def proof_holds(token: str, nonce: str, proof: str) -> bool:
    """Return True if ``proof`` was made with the token."""
    return hmac.compare_digest((prove(token, nonce) or "").encode(), proof.encode())
