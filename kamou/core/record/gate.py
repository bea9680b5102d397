"""The gate: which strategies may trade, and how large. The arithmetic arrives with its own issue.

Nothing in core grants anything by itself: whoever composes a system supplies a ``Gate``.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Protocol

import attrs


@attrs.frozen(kw_only=True)
class LiveGrant:
    """Leave to trade. ``size_fraction`` scales both hard caps: 1 when LIVE, 0.25 as CANARY."""

    strategy: str
    basis: str  # what earned it: "live", "canary", or "assumed" where the gate is assumed
    size_fraction: Decimal = Decimal(1)


class Gate(Protocol):
    @property
    def label(self) -> str:
        """Name of the gate in ``RunStarted`` and on the pages, such as "assumed"."""
        ...

    def is_live(self, strategy: str) -> LiveGrant | None:
        """The strategy's grant, or None: it may not trade."""
        ...
