"""The gate of a run, its interface, and ``LiveGrant``, its permission to trade.

The code that starts a run supplies the gate: paper, live and demo mode that of this module, a
backtest one that assumes a grant for every strategy.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Protocol

import attrs

from kamou.core.book.book_state import BookState
from kamou.core.kinds import GateState

CANARY_FRACTION = Decimal("0.25")
HALF = Decimal("0.5")  # after a rolling mean below 0


@attrs.frozen(kw_only=True)
class LiveGrant:
    """Permission of a strategy to trade at a share of the full size.

    ``size_fraction`` scales the two hard caps, which are risk per trade and exposure per symbol.
    It is 1 for a live strategy and 0.25 for a canary, and half of it at half size.
    """

    strategy: str
    basis: str  # state of the strategy, "LIVE" or "CANARY"; "assumed" by an assumed gate
    size_fraction: Decimal = Decimal(1)


class Gate(Protocol):
    """A gate, which decides which strategies may trade."""

    @property
    def label(self) -> str:
        """Name of the gate in ``RunStarted`` and on the pages, such as "assumed"."""
        ...

    def find_grant(self, strategy: str, book: BookState) -> LiveGrant | None:
        """Return the strategy's grant by the book; None if it may not trade."""
        ...


class EarnedGate:
    """The gate of a run: a strategy trades at the size that it has earned."""

    label = "earned"  # its name in `RunStarted` and on the pages

    def find_grant(self, strategy: str, book: BookState) -> LiveGrant | None:
        gate = book.gate.find(strategy)
        if gate.state is GateState.LIVE:
            full = Decimal(1)
        elif gate.state is GateState.CANARY:
            full = CANARY_FRACTION
        else:
            assert gate.state in (GateState.SHADOW, GateState.HALTED), gate
            return None
        share = full * HALF if gate.half_size else full
        return LiveGrant(strategy=strategy, basis=gate.state, size_fraction=share)
