"""Deterministic identifiers: the same decision always gets the same id."""

from __future__ import annotations

import base64
import hashlib
import hmac

CLIENT_ID_LENGTH = 28
CLIENT_ID_PREFIX = "km"
COMMIT_DOMAIN = b"kamou-commit/v1\n"


def signal_id(bar_closed_at_ms: int, strategy: str, symbol: str) -> str:
    """Return the id of the one signal of a strategy, symbol and closed bar."""
    return f"{bar_closed_at_ms}.{strategy}.{symbol}"


def permit_id(signal: str, attempt: int) -> str:
    """Return the id of a signal's permit; ``attempt`` counts its reviews."""
    return f"{signal}.{attempt}"


def trade_id(signal: str) -> str:
    """Return the id of a trade: that of the signal that opened it."""
    return signal


def salt_for(salt_key: bytes, name: str) -> bytes:
    """Return 32 bytes of salt, unpredictable without ``salt_key`` and reproducible with it."""
    return hmac.new(salt_key, name.encode(), hashlib.sha256).digest()


def commitment(salt: bytes, payload: bytes) -> bytes:
    """Return ``SHA256("kamou-commit/v1\\n" || salt32 || payload)``, 32 bytes."""
    assert len(salt) == 32
    return hashlib.sha256(COMMIT_DOMAIN + salt + payload).digest()


def client_order_id(commitment_: bytes) -> str:
    """Return ``km`` and the lowercase base32 of the commitment's first 16 bytes: 28 characters."""
    assert len(commitment_) == 32
    text = base64.b32encode(commitment_[:16]).decode().rstrip("=").lower()
    made = CLIENT_ID_PREFIX + text
    assert len(made) == CLIENT_ID_LENGTH
    return made


def is_ours(client: str) -> bool:
    """Return True if the client order id has Kamou's form; only such orders are ever canceled."""
    return len(client) == CLIENT_ID_LENGTH and client.startswith(CLIENT_ID_PREFIX)
