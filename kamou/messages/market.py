"""The message with market data for a scanner, one per shard and cycle."""

from __future__ import annotations

import attrs
import numpy as np

from kamou.core.arrays import Floats, Ints
from kamou.core.indicators.macro_beta import MARKET_FIGURES
from kamou.core.indicators.order_flow import WINDOW_FIGURES
from kamou.messages.envelope import Message


@attrs.frozen(kw_only=True, eq=False)
class BarsClosed(Message):
    """Bars that closed since the feed last read one; there may be none.

    Prices and ``volume`` (base units) are ``[bars, symbols]``, NaN where a symbol had no bar, and
    ``open_ms`` is ``[bars]``. ``open_interest`` has the observations that became available since
    that read, ``[rows, symbols]`` (base units or contracts; NaN: unknown), at ``open_interest_ms``
    ``[rows]``. ``funding_rates`` has the rates that settled since then, in the same shape
    (fractions per interval; NaN: none settled), at ``funding_ms``; it is empty if no strategy reads
    funding. ``flow`` has the windows of order flow that ended since then, in the shape of
    ``FlowWindows.values``, with their ends ``flow_ms``; it is empty if no strategy reads them.
    ``ratios`` and ``top_ratios`` have the ratios of long to short accounts that became available
    since then, of all accounts and of top traders, in the shape of ``funding_rates`` (NaN:
    unknown), at ``ratios_ms``; they are empty if no strategy reads ratios. ``premium`` has the
    premium indices that became available since then, in the shape of ``funding_rates`` (fractions
    of the index price; NaN: unknown), at ``premium_ms``; it is empty if no strategy reads it.
    ``market`` has what the whole market did in each bar, ``[bars, MARKET_FIGURES]`` (see
    ``find_market_rows``).
    """

    cycle_at_ms: int
    period_ms: int
    open_ms: Ints
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    open_interest_ms: Ints
    open_interest: Floats
    funding_ms: Ints = attrs.field(factory=lambda: np.empty(0, dtype=np.int64))
    funding_rates: Floats = attrs.field(factory=lambda: np.empty((0, 0)))
    flow_ms: Ints = attrs.field(factory=lambda: np.empty(0, dtype=np.int64))
    flow: Floats = attrs.field(factory=lambda: np.empty((0, WINDOW_FIGURES, 0)))
    ratios_ms: Ints = attrs.field(factory=lambda: np.empty(0, dtype=np.int64))
    ratios: Floats = attrs.field(factory=lambda: np.empty((0, 0)))
    top_ratios: Floats = attrs.field(factory=lambda: np.empty((0, 0)))
    premium_ms: Ints = attrs.field(factory=lambda: np.empty(0, dtype=np.int64))
    premium: Floats = attrs.field(factory=lambda: np.empty((0, 0)))
    market: Floats = attrs.field(factory=lambda: np.empty((0, MARKET_FIGURES)))
