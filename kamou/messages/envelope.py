"""What every message between actors is: frozen, keyword-only, serialisable, with its cause."""

from __future__ import annotations

import attrs


@attrs.frozen(kw_only=True)
class Message:
    """Base of all messages. ``cause_id`` names what led to it, back to the bar."""

    cause_id: str = ""


@attrs.frozen(kw_only=True)
class Expiring(Message):
    """A message that is worthless after ``expires_at_ms``: it expires unread, counted."""

    expires_at_ms: int
