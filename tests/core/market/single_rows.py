"""A gatherer that tests give one quote or trade at a time."""

from __future__ import annotations

import numpy as np

from kamou.core.indicators.order_flow import BookLevels
from kamou.core.market.flow_gatherer import FlowGatherer


class SingleRows(FlowGatherer):
    """A ``FlowGatherer`` with single quotes and trades."""

    def take_quote(self, column: int, quote: BookLevels) -> None:
        """Add one quote of a symbol, ``[1, levels]``."""
        self.take_quotes(np.array([column]), quote)

    def take_trade(self, column: int, quantity: float, *, bought: bool) -> None:
        self.take_trades(np.array([column]), np.array([quantity]), np.array([bought]))
