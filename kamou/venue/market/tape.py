"""The generated market's best quotes and market trades, made from its path.

Market trades agree with the bars: each price is half a spread beyond the path, on the taker's side,
and the quantities in one bar sum to its volume. Nothing is cached.
"""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from kamou.core.arrays import Floats, Ints
from kamou.core.model import BPS_PER_UNIT
from kamou.venue.market.generated_day import TAPE, day_rng
from kamou.venue.market.generator import GeneratedMarket

TOP_SHARE = 0.002  # share of a bar's volume that rests at the best price
TRADES_PER_BAR = 40  # of one symbol, the same number in every bar
TAKER_FOLLOWS = 0.7  # probability that a taker trades in the path's direction


@attrs.frozen(kw_only=True, eq=False)
class BestQuotes:
    """Best bid and ask with their quantities in base units, each ``[symbols]``."""

    bid: Floats
    ask: Floats
    bid_qty: Floats
    ask_qty: Floats


@attrs.frozen(kw_only=True, eq=False)
class MarketTrades:
    """Market trades of one symbol in order of time, each ``[trades]``."""

    at_ms: Ints
    price: Floats
    quantity: Floats  # base units
    bought: npt.NDArray[np.bool_]  # the taker was the buyer


def best_quotes(market: GeneratedMarket, at_ms: int) -> BestQuotes:
    """Return the best quotes on the tick around the path's price, all symbols.

    ``at_ms`` is at or after the market's origin.
    """
    bar = (at_ms - market.first_ms) // market.step_ms
    day, row = divmod(bar, market.bars_per_day)
    scale = market.universe.scale
    mid = market.prices(at_ms)
    half = mid * market.half_spread_bps(at_ms) / float(BPS_PER_UNIT)
    bid = np.maximum(np.floor((mid - half) * scale), 1.0)
    ask = np.maximum(np.ceil((mid + half) * scale), bid + 1.0)
    noise = np.exp(0.5 * day_rng(market.seed, bar, TAPE).standard_normal((2, len(mid))))
    top = TOP_SHARE * market.day(day).volume[row] * noise
    return BestQuotes(bid=bid / scale, ask=ask / scale, bid_qty=top[0], ask_qty=top[1])


def market_trades(market: GeneratedMarket, symbol: str, from_ms: int, to_ms: int) -> MarketTrades:
    """Return the symbol's market trades with ``from_ms < at_ms <= to_ms``.

    Raises:
        ValueError: the market has no such symbol.
    """
    column = market.symbols.index(symbol)
    first = max(0, (from_ms - market.first_ms) // market.step_ms)
    last = max(first, (to_ms - market.first_ms - 1) // market.step_ms)
    bars = [_bar_trades(market, column, bar) for bar in range(first, last + 1)]
    at_ms = np.concatenate([each.at_ms for each in bars])
    kept = (from_ms < at_ms) & (at_ms <= to_ms)

    def join_column(name: str) -> npt.NDArray[Any]:
        values: npt.NDArray[Any] = np.concatenate([getattr(each, name) for each in bars])[kept]
        return values

    return MarketTrades(
        at_ms=at_ms[kept],
        price=join_column("price"),
        quantity=join_column("quantity"),
        bought=join_column("bought"),
    )


def _bar_trades(market: GeneratedMarket, column: int, bar: int) -> MarketTrades:
    """Return one bar's market trades, at seeded times between its open and close."""
    rng = np.random.default_rng(np.random.SeedSequence((market.seed, TAPE + 1, bar, column)))
    day, row = divmod(bar, market.bars_per_day)
    offset = np.sort(rng.integers(1, market.step_ms, size=TRADES_PER_BAR, endpoint=True))
    mid = market.path(bar, column, offset / market.step_ms)
    rising = np.diff(mid, prepend=market.day(day).open[row, column]) >= 0
    bought = rising == (rng.random(TRADES_PER_BAR) < TAKER_FOLLOWS)
    shares = rng.standard_exponential(TRADES_PER_BAR)
    opened_ms = market.first_ms + bar * market.step_ms
    half = mid * market.half_spread_bps(opened_ms)[column] / float(BPS_PER_UNIT)
    return MarketTrades(
        at_ms=opened_ms + offset,
        price=np.where(bought, mid + half, mid - half),
        quantity=market.day(day).volume[row, column] * shares / shares.sum(),
        bought=bought,
    )
