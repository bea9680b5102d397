"""Deterministic ids, salts and commitments: equal decisions have equal ids."""

from __future__ import annotations

import base64
import hashlib
import hmac

CLIENT_ID_LENGTH = 28
CLIENT_ID_PREFIX = "km"
COMMIT_DOMAIN = b"kamou-commit/v1\n"


def make_signal_id(bar_closed_at_ms: int, strategy: str, symbol: str) -> str:
    """Return the id of the one signal of a strategy, symbol and closed bar."""
    return f"{bar_closed_at_ms}.{strategy}.{symbol}"


def make_permit_id(signal: str, attempt: int) -> str:
    """Return the id of a signal's permit; ``attempt`` counts its reviews from 1."""
    return f"{signal}.{attempt}"


def make_trade_id(signal: str) -> str:
    """Return the id of a trade: that of the signal that opened it."""
    return signal


def derive_salt(salt_key: bytes, name: str) -> bytes:
    """Return 32 bytes of salt, which only ``salt_key`` can reproduce."""
    return hmac.new(salt_key, name.encode(), hashlib.sha256).digest()


def make_commitment(salt: bytes, payload: bytes) -> bytes:
    r"""Return ``SHA256("kamou-commit/v1\n" || salt32 || payload)``, 32 bytes."""
    assert len(salt) == 32, f"a salt has 32 bytes, got {len(salt)}"
    return hashlib.sha256(COMMIT_DOMAIN + salt + payload).digest()


def make_client_order_id(commitment: bytes) -> str:
    """Return the client order id of a commitment: 28 characters.

    It is ``km`` and the lowercase base32 of the first 16 bytes.
    """
    assert len(commitment) == 32, f"a commitment has 32 bytes, got {len(commitment)}"
    text = base64.b32encode(commitment[:16]).decode().rstrip("=").lower()
    order_id = CLIENT_ID_PREFIX + text
    assert len(order_id) == CLIENT_ID_LENGTH, f"{order_id} must have {CLIENT_ID_LENGTH} characters"
    return order_id


def is_kamou_id(order_id: str) -> bool:
    """Return True if the client order id has Kamou's form.

    Only such orders are canceled as orphan orders or by ``kamou flatten``.
    """
    return len(order_id) == CLIENT_ID_LENGTH and order_id.startswith(CLIENT_ID_PREFIX)
