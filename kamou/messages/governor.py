"""Messages to the risk governor, and its notice of a new trading state."""

from __future__ import annotations

import attrs

from kamou.core.book.gate_events import GateChanged
from kamou.core.codes import StateReason
from kamou.core.model import TradingState
from kamou.messages.envelope import Message


@attrs.frozen(kw_only=True)
class Halt(Message):
    """A command to stop entries from now on."""

    reason: StateReason
    note: str = ""  # the operator's text; empty: none


@attrs.frozen(kw_only=True)
class Resume(Message):
    """The operator's command to end the halt and resume disabled strategies."""

    note: str = ""  # as in ``Halt``


@attrs.frozen(kw_only=True)
class Flatten(Message):
    """A command to cancel entries and close all positions."""

    reason: StateReason
    note: str = ""  # as in ``Halt``


@attrs.frozen(kw_only=True)
class StateNotice(Message):
    """The notice to the order manager of a new trading state, which is committed."""

    state: TradingState
    reason: StateReason


@attrs.frozen(kw_only=True)
class DiskFull(Message):
    """A report that the disk is full, or has space again."""

    full: bool


@attrs.frozen(kw_only=True)
class ProtectionFailed(Message):
    """A report that a position has no stop and its exits failed.

    The governor flattens after it.
    """

    symbol: str


@attrs.frozen(kw_only=True)
class ChangeGate(Message):
    """A change of a strategy at the gate, which the governor commits.

    The governor drops a change that does not follow the strategy's newest one.
    """

    change: GateChanged
