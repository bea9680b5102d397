"""``BacktestOptions``, without the modules that a backtest needs."""

from __future__ import annotations

from pathlib import Path

import attrs


@attrs.frozen(kw_only=True)
class BacktestOptions:
    """Options of a backtest.

    ``timerange`` is the first instant and the end, ms since 1970 in UTC; None: as far as the data
    goes. ``journal`` is a new file that keeps the journal; None: a temporary file.
    """

    timerange: tuple[int | None, int | None] = (None, None)
    symbols: tuple[str, ...] | None = None  # None: all
    journal: Path | None = None
    keep_going: bool = False  # count the failures of strategies, instead of stopping at the first


ALL_DATA = BacktestOptions()
"""Every bar and every symbol, and no kept journal."""
