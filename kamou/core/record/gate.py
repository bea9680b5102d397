"""The interface of the gate, and ``LiveGrant``, its permission to trade.

The core has no gate of its own; the code that starts a run supplies one.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Protocol

import attrs


@attrs.frozen(kw_only=True)
class LiveGrant:
    """Permission of a strategy to trade at a share of the full size.

    ``size_fraction`` scales the two hard caps, which are risk per trade and exposure per symbol.
    It is 1 for a live strategy and 0.25 for a canary.
    """

    strategy: str
    basis: str  # state of the strategy, "live" or "canary"; "assumed" by an assumed gate
    size_fraction: Decimal = Decimal(1)


class Gate(Protocol):
    """A gate, which decides which strategies may trade."""

    @property
    def label(self) -> str:
        """Name of the gate in ``RunStarted`` and on the pages, such as "assumed"."""
        ...

    def is_live(self, strategy: str) -> LiveGrant | None:
        """Return the strategy's grant; None if it may not trade."""
        ...
