"""Base classes of messages between actors: with a cause, and with an expiry."""

from __future__ import annotations

import attrs


@attrs.frozen(kw_only=True)
class Message:
    """Base of messages between actors."""

    cause_id: str = ""  # id of the message's cause; empty: none


@attrs.frozen(kw_only=True)
class Expiring(Message):
    """A message that a mailbox drops and counts as expired from ``expires_at_ms`` on."""

    expires_at_ms: int
