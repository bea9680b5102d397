"""The models that differ between venues: fees, latency, fills and funding.

``VenueModels`` composes one of each. A model is pure: it receives prices, volumes and times. Its
docstring says what it assumes, and what the assumption costs.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Protocol

from kamou.core.model import Instrument, OrderSide


class FeeModel(Protocol):
    """The fee of a fill."""

    def with_rates(self, instrument: Instrument) -> Instrument:
        """Return the instrument with the fee rates that the venue states to this account."""
        ...

    def fee(self, instrument: Instrument, notional: Decimal, *, maker: bool) -> Decimal:
        """Return the fee of a fill in USDT, as ``as_money`` rounds; < 0: a rebate."""
        ...


class LatencyModel(Protocol):
    """The latency of a request, and of its response."""

    def acts_ms(self, sent_ms: int) -> int:
        """Return when (ms UTC) a request acts, not before ``sent_ms``."""
        ...

    def answered_ms(self, acts_ms: int) -> int:
        """Return when (ms UTC) the response arrives, not before ``acts_ms``."""
        ...


class FillModel(Protocol):
    """The quantity that an order may take, and the fills of resting limit orders."""

    def depth(self, instrument: Instrument, volume: float) -> Decimal:
        """Return the contracts, in whole lots, that one order may take of ``volume``.

        ``volume`` is in base units; NaN if unknown.
        """
        ...

    def trades_through(self, side: OrderSide, limit: float, low: float, high: float) -> bool:
        """Return True if a resting limit fills while prices go from ``low`` to ``high``."""
        ...


class FundingModel(Protocol):
    """The payment of a position at a funding settlement."""

    def amount(self, quantity: Decimal, notional: Decimal, rate: float, hours: int) -> Decimal:
        """Return the USDT that the position receives (> 0) or pays (< 0).

        ``quantity`` is in signed contracts, ``notional`` > 0. ``rate`` is a fraction of the
        notional per interval of ``hours``; NaN if unknown.
        """
        ...
