"""A scripted market of eight symbols: stops, take-profits and funding in 14 minutes.

Minutes are counted from ``START_MS`` (2025-01-01T07:54Z); funding is settled at minute 6. The
bar of minute m closes at minute m. ``LINES`` are the scripted strategy's signals at a close;
``MOVES`` are a bar's low, high and close as distances from 100.
"""

from __future__ import annotations

from decimal import Decimal

import attrs
import numpy as np

from kamou.core.day import DAY_MS, HOUR_MS, MINUTE_MS
from kamou.core.market.bars import Bars, Dataset, Series, empty_series
from kamou.core.model import Instrument
from kamou.venue.market.recorded import RecordedMarket
from tests.core import trading_cases

D = Decimal
START_MS = 1_735_689_600_000 + 7 * HOUR_MS + 54 * MINUTE_MS
FUNDING_MS = START_MS + 6 * MINUTE_MS
MINUTES = 14
HISTORY = 30  # minutes before the start
HOLD_MS = 5 * MINUTE_MS
REST_MS = 90_000  # of the entries of the strategy ``resting``
RAISES_AT_MINUTE = 4
PRICE = 100.0
VOLUME = 10_000.0
THIN = 60.0  # a tenth of this volume fills a part of an entry of about 15 contracts


@attrs.frozen
class Line:
    symbol: str
    score: float  # > 0 is long
    stop: float = 2.0
    target: float = 4.0


SYMBOLS = ("AAA", "BBB", "CCC", "DDD", "EEE", "FFF", "GGG", "HHH")

LINES: dict[int, tuple[Line, ...]] = {
    1: (
        Line("AAA", 0.9),  # its take-profit fills at minute 3
        Line("BBB", -0.8),  # stopped out at minute 3
        Line("CCC", 0.7),  # fills partly, and its take-profit in parts from minute 4 on
        Line("GGG", 0.6, target=0.1),  # not worth its costs: vetoed
    ),
    2: (
        Line("DDD", 0.9),  # held until its time limit closes it
        Line("EEE", -0.8),  # receives funding at minute 6, and its take-profit fills at minute 7
        Line("HHH", -0.5, stop=45.0, target=90.0),  # beyond liquidation: denied
    ),
    4: (Line("FFF", -0.9),),  # gaps through its stop at minute 5
    6: (Line("AAA", 0.9),),  # a second trade, stopped out at minute 9
    11: (Line("GGG", 0.9), Line("HHH", -0.9)),  # still open at the end
}

MOVES: dict[tuple[int, str], tuple[float, float, float]] = {
    (3, "AAA"): (-0.1, 5.0, 4.5),
    (3, "BBB"): (-0.1, 3.0, 2.5),
    (4, "CCC"): (-0.1, 5.0, 4.4),
    (5, "CCC"): (-0.1, 5.0, 4.4),
    (6, "CCC"): (-0.1, 5.0, 4.4),
    (5, "FFF"): (-0.1, 12.0, 11.0),
    (7, "EEE"): (-6.0, 0.1, -5.0),
    (9, "AAA"): (-3.0, 0.1, -2.5),
}

VOLUMES: dict[str, dict[int, float]] = {
    "CCC": {1: THIN} | dict.fromkeys(range(2, MINUTES + 1), 0.4 * THIN)
}


def instrument(symbol: str) -> Instrument:
    return trading_cases.instrument(
        symbol, lot=D("0.1"), contract_size=D(1), qty_min=D("0.1"), qty_max=D(100_000)
    )


def record_market(name: str, bars: Bars, funding: Series | None = None) -> RecordedMarket:
    """Return bars as a market without open interest; ``funding`` None: without funding."""
    symbols = bars.symbols
    data = Dataset(
        name=name,
        bars=bars,
        funding=empty_series(symbols, 8 * HOUR_MS) if funding is None else funding,
        open_interest=empty_series(symbols, DAY_MS),
    )
    return RecordedMarket(
        data,
        instruments=tuple(instrument(symbol) for symbol in symbols),
        half_spread=np.full(len(symbols), 1.0),
    )


def market() -> RecordedMarket:
    """Return the scripted bars of 1 minute, from ``HISTORY`` minutes before the start."""
    bars = HISTORY + MINUTES + 2
    first_ms = START_MS - HISTORY * MINUTE_MS
    open_, high, low, close = np.full((4, bars, len(SYMBOLS)), PRICE)
    high += 0.2
    low -= 0.2
    volume = np.full((bars, len(SYMBOLS)), VOLUME)
    for (minute, symbol), (down, up, end) in MOVES.items():
        row, column = HISTORY + minute - 1, SYMBOLS.index(symbol)
        low[row, column], high[row, column] = PRICE + down, PRICE + up
        close[row, column] = PRICE + end
    for symbol, by_minute in VOLUMES.items():
        for minute, traded in by_minute.items():
            volume[HISTORY + minute - 1, SYMBOLS.index(symbol)] = traded
    drawn = Bars(
        symbols=SYMBOLS,
        period_ms=MINUTE_MS,
        open_ms=first_ms + np.arange(bars, dtype=np.int64) * MINUTE_MS,
        open=open_,
        high=high,
        low=low,
        close=close,
        volume=volume,
    )
    funding = Series(
        symbols=SYMBOLS,
        available_ms=np.array([FUNDING_MS], dtype=np.int64),
        values=np.full((1, len(SYMBOLS)), 0.0003),
        period_ms=8 * HOUR_MS,
    )
    return record_market("scripted_market", drawn, funding)
