"""Commands to the risk governor, and its notice of a new trading state."""

from __future__ import annotations

import attrs

from kamou.core.model import TradingState
from kamou.messages.envelope import Message


@attrs.frozen(kw_only=True)
class Halt(Message):
    """A command: allow no entries from now on."""

    reason: str  # a StateReason
    note: str = ""  # the operator's words


@attrs.frozen(kw_only=True)
class Resume(Message):
    """The operator's command: end the halt and resume disabled strategies."""

    note: str = ""


@attrs.frozen(kw_only=True)
class Flatten(Message):
    """A command: cancel entries and close all positions."""

    reason: str  # a StateReason
    note: str = ""


@attrs.frozen(kw_only=True)
class StateNotice(Message):
    """The trading state changed; the change is committed already."""

    state: TradingState
    reason: str


@attrs.frozen(kw_only=True)
class DiskFull(Message):
    """The disk is full, or has space again. No permit can be committed meanwhile."""

    full: bool


@attrs.frozen(kw_only=True)
class ProtectionFailed(Message):
    """A position has no stop and its closes failed: the governor must flatten."""

    symbol: str
