"""Commands of the operator and the governor, and the cycle's end."""

from __future__ import annotations

import attrs

from kamou.core.model import TradingState
from kamou.messages.envelope import Message


@attrs.frozen(kw_only=True)
class Halt(Message):
    """Stop new risk now."""

    reason: str  # a StateReason
    note: str = ""  # a human's words


@attrs.frozen(kw_only=True)
class Resume(Message):
    """Rearm, by a human."""

    note: str = ""


@attrs.frozen(kw_only=True)
class Flatten(Message):
    """Cancel entries and close everything."""

    reason: str  # a StateReason
    note: str = ""


@attrs.frozen(kw_only=True)
class StateNotice(Message):
    """The governor's state changed; it is already in the journal."""

    state: TradingState
    reason: str


@attrs.frozen(kw_only=True)
class DiskFull(Message):
    """The journal cannot grow, or can again. No permit can be written meanwhile."""

    full: bool


@attrs.frozen(kw_only=True)
class ProtectionFailed(Message):
    """A position has no stop and its close was refused: the governor must flatten."""

    symbol: str
