"""The operator's bearer token: new at each run, readable by its owner only."""

from __future__ import annotations

import hmac
import re
import secrets
from pathlib import Path

from kamou.data_directory.folder import write_atomically
from kamou.errors import StoreError

TOKEN_BYTES = 32  # 256 bits of chance: not to be guessed
NONCE_BYTES = 16  # 128 bits: no two proofs are of one challenge
PROOF_OF = b"kamou operator listener\n"  # what the proof is about: a token signs nothing else
_NONCE = re.compile(r"[0-9a-f]{32}")


def new_token(path: Path) -> str:
    """Write a token for this run to ``path``, mode 0600, and return it.

    The caller holds the data directory's lock. A token that was read at an earlier run is worth
    nothing; whoever scrapes the metrics reads the file.

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

    The time that the comparison takes does not tell how nearly they match.
    """
    scheme, _, given = authorization.partition(" ")
    if scheme.lower() != "bearer":
        return False
    return hmac.compare_digest(given.strip().encode(), token.encode())


def new_nonce() -> str:
    """Return a challenge that nobody has answered before."""
    return secrets.token_hex(NONCE_BYTES)


def prove(token: str, nonce: str) -> str | None:
    """Return the proof that the listener knows the token, without telling it; None: no nonce.

    A client asks for it before it sends the token: whatever listens on the port of a dead run
    cannot answer.
    """
    if not _NONCE.fullmatch(nonce):
        return None
    return hmac.new(token.encode(), PROOF_OF + nonce.encode(), "sha256").hexdigest()


def proof_holds(token: str, nonce: str, proof: str) -> bool:
    """Return True if ``proof`` is the answer of somebody who knows the token."""
    return hmac.compare_digest((prove(token, nonce) or "").encode(), proof.encode())
