"""Price changes of a tested market, and the digest of its data."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np

from kamou.core.arrays import Floats
from kamou.core.ranking.ranking import BITCOIN
from kamou.core.record.backtest_document import TestedData
from kamou.core.record.backtest_figures import MarketChange
from kamou.venue.market.recorded import RecordedMarket

AFTER_BITCOIN = ("USDT", "USDC", "USD", "BUSD", "/", "-", "_")  # what may follow

HASHED_ROWS = 1_000  # hashed at once, so that no copy of the data is in memory


def measure_market(market: RecordedMarket, from_ms: int, until_ms: int) -> MarketChange:
    """Return the change of each symbol's price within ``[from_ms, until_ms]``.

    The result also names the first symbol of Bitcoin; None if there is none.
    A change is a fraction: 0.1 is a rise of 10 %. It is measured from the open of the bar at the
    start to the price at the end, or to the newest close before the end if bars are missing or the
    symbol ended earlier. A symbol without a bar at the start is left out.
    """
    first = market.prices(from_ms)
    last = np.array(market.prices(until_ms), dtype=np.float64)
    for column, symbol in enumerate(market.symbols):
        end = market.market_end(symbol)
        if end is not None and end[0] <= until_ms:
            last[column] = end[1]
    missing = np.flatnonzero(~np.isfinite(last))
    if len(missing):
        closes = market.bars(market.step_ms, from_ms, until_ms).close[:, missing]
        for at, close in zip(missing, closes.T, strict=True):
            last[at] = next(iter(close[np.isfinite(close)][::-1]), np.nan)
    known = np.isfinite(first) & np.isfinite(last) & (first > 0)
    changes = {
        symbol: float(last[column] / first[column] - 1.0)
        for column, symbol in enumerate(market.symbols)
        if known[column]
    }
    return MarketChange(changes=changes, bitcoin=find_bitcoin(market.symbols))


def find_bitcoin(symbols: tuple[str, ...]) -> str | None:
    """Return the first symbol of Bitcoin, such as ``BTCUSDT``; None if there is none."""
    return next(
        (
            symbol
            for symbol in symbols
            if any(symbol.startswith(base + quote) for base in BITCOIN for quote in AFTER_BITCOIN)
        ),
        None,
    )


def describe_data(market: RecordedMarket, until_ms: int) -> TestedData:
    """Return the dataset's description, with a SHA-256 of the data up to ``until_ms``.

    The hash covers bars, funding and open interest. Bars before the tested time are in it too,
    because strategies warm up on them.
    """
    bars = market.bars(market.step_ms, 0, until_ms)
    digest = hashlib.sha256(" ".join(bars.symbols).encode())
    digest.update(f" {bars.period_ms}".encode())
    digest.update(np.ascontiguousarray(bars.open_ms).tobytes())
    for prices in (bars.open, bars.high, bars.low, bars.close, bars.volume):
        for part in _parts(prices):
            digest.update(part)
    for series in (market.funding_rates(0, until_ms), market.open_interest(0, until_ms)):
        digest.update(np.ascontiguousarray(series.available_ms).tobytes())
        for part in _parts(series.values):
            digest.update(part)
    return {
        "name": market.name,
        "symbols": list(market.symbols),
        "period_ms": market.step_ms,
        "first_ms": market.first_ms,
        "digest": digest.hexdigest(),
    }


def _parts(values: Floats) -> Iterator[bytes]:
    """Yield the values' bytes in parts, with the same bits for every NaN."""
    for first in range(0, len(values), HASHED_ROWS):
        part = values[first : first + HASHED_ROWS]
        yield np.where(np.isnan(part), np.nan, part).astype("<f8", copy=False).tobytes()
