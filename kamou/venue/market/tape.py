"""The generated market's quotes and market trades, made from path and flow.

Quotes and market trades agree with the series of order flow (``generated_flow``): their imbalances
are those of its windows. Market trades also agree with the bars: each price is half a spread beyond
the path, on the taker's side, and the quantities in one bar sum to its volume. Nothing is cached.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import attrs
import numpy as np
import numpy.typing as npt

from kamou.core.arrays import Floats, Ints
from kamou.core.indicators.order_flow import (
    LEVELS,
    BookLevels,
    find_contributions,
    find_depths,
)
from kamou.core.market.flow import FLOW_WINDOW_MS, FlowWindows
from kamou.core.market.flow_gatherer import QUOTE_COLUMNS
from kamou.core.model import BPS_PER_UNIT
from kamou.venue.market.generated_day import TAPE, DayBars
from kamou.venue.market.generated_flow import FlowMarket, count_spread_ticks

TOP_SHARE = 0.002  # share of a bar's volume that rests at each price level
TRADES_PER_PART = 40  # of one symbol, in each part of a bar that lies in one window of flow
TAKER_FOLLOWS = 0.7  # probability that a taker trades in the path's direction
QUOTES_PER_WINDOW = 60
QUOTE_MS = FLOW_WINDOW_MS // QUOTES_PER_WINDOW
# In the middle of a window the prices stand still for five quotes, except that the third one is a
# tick higher. Bid quantities before and after it count once each, with opposite signs, so with them
# any imbalance can be made.
STILL = slice(QUOTES_PER_WINDOW // 2 - 2, QUOTES_PER_WINDOW // 2 + 3)
HIGHER = QUOTES_PER_WINDOW // 2


class TapeMarket(FlowMarket, Protocol):
    """What the tape needs of a generated market."""

    @property
    def bars_per_day(self) -> int: ...

    def day(self, day: int) -> DayBars: ...

    def path(self, bar: int, column: int, parts: Floats) -> Floats: ...

    def flow_windows(self, since_ms: int, until_ms: int) -> FlowWindows: ...


@attrs.frozen(kw_only=True, eq=False)
class MarketTrades:
    """Market trades of one symbol in order of time, each ``[trades]``."""

    at_ms: Ints
    price: Floats
    quantity: Floats  # base units
    bought: npt.NDArray[np.bool_]  # the taker was the buyer


@attrs.frozen(kw_only=True, eq=False)
class WindowQuotes:
    """A symbol's quotes in one window of order flow, every ``QUOTE_MS`` until its end."""

    at_ms: Ints
    book: BookLevels


def window_quotes(market: TapeMarket, symbol: str, window: int) -> WindowQuotes:
    """Return the quotes of the ``window``-th window of flow since the origin.

    Prices are on the tick around the path's price, and the levels are a tick apart.

    Raises:
        ValueError: the market has no such symbol.
    """
    column = market.symbols.index(symbol)
    quotes = quotes_of_window(market, np.array([column]), window)
    book = {name: getattr(quotes.book, name)[:, 0] for name in QUOTE_COLUMNS}
    return attrs.evolve(quotes, book=BookLevels(**book))


def quotes_of_window(market: TapeMarket, columns: Ints, window: int) -> WindowQuotes:
    """Return the quotes of several symbols as ``window_quotes``.

    The arrays of the book are ``[quotes, symbols, levels]``.
    """
    book = _draw_book(market, columns, window)
    before = _draw_book(market, columns, window - 1) if window else None
    end_ms = market.first_ms + (window + 1) * FLOW_WINDOW_MS
    ofi = market.flow_windows(end_ms - FLOW_WINDOW_MS, end_ms).ofi[0][:, columns].T
    at_ms = end_ms - QUOTE_MS * np.arange(QUOTES_PER_WINDOW - 1, -1, -1, dtype=np.int64)
    return WindowQuotes(at_ms=at_ms, book=_give_imbalance(book, before, ofi))


def _draw_book(market: TapeMarket, columns: Ints, window: int) -> BookLevels:
    """Return quotes, ``[quotes, symbols, levels]``, before they have the imbalance."""
    start_ms = market.first_ms + window * FLOW_WINDOW_MS
    at_ms = start_ms + QUOTE_MS * np.arange(1, QUOTES_PER_WINDOW + 1)
    scale = market.universe.scale[columns, np.newaxis]
    ticks = count_spread_ticks(market, window)[columns, np.newaxis]
    mid = np.stack([market.prices(each)[columns, np.newaxis] for each in at_ms.tolist()])
    best = np.maximum(LEVELS, np.floor(mid * scale - (ticks - 1.0) / 2.0))
    best[STILL] = best[STILL.start]
    best[HIGHER] += 1.0
    deeper = np.arange(LEVELS)
    noise = np.empty((2, *mid.shape[:2], LEVELS))
    for place, column in enumerate(columns.tolist()):
        rng = np.random.default_rng(np.random.SeedSequence((market.seed, TAPE + 2, window, column)))
        noise[:, :, place] = np.exp(0.5 * rng.standard_normal((2, len(mid), LEVELS)))
    day, row = divmod((start_ms - market.first_ms) // market.step_ms, market.bars_per_day)
    quantity = TOP_SHARE * market.day(day).volume[row, columns, np.newaxis] * noise
    return BookLevels(
        bid=(best - deeper) / scale,
        bid_qty=quantity[0],
        ask=(best + ticks + deeper) / scale,
        ask_qty=quantity[1],
    )


def _give_imbalance(book: BookLevels, before: BookLevels | None, ofi: Floats) -> BookLevels:
    """Return the quotes with two changed bid quantities of each level.

    With them the quotes have the OFI ``ofi``, ``[symbols, levels]``. ``before`` are the quotes of
    the window before, whose last one stands at the start; None: there is none.
    """
    start, names = 0, [field.name for field in attrs.fields(BookLevels)]
    columns = {name: getattr(book, name) for name in names}
    if before is not None:
        start = 1
        columns = {
            name: np.concatenate((getattr(before, name)[-1:], column))
            for name, column in columns.items()
        }
    raised, lowered = start + HIGHER - 1, start + HIGHER + 1  # before and after the higher quote
    quantity = columns["bid_qty"] = columns["bid_qty"].copy()
    first, second = quantity[raised].copy(), quantity[lowered].copy()
    quantity[[raised, lowered]] = 0.0
    rest = BookLevels(**columns)
    quotes = len(quantity)
    # Of sum + first - second = ofi * (depths + (first + second) / 2) / quotes.
    share = ofi / (2.0 * quotes)
    lack = find_contributions(rest).sum(axis=0) - ofi * find_depths(rest).mean(axis=0)
    surplus = first * (1.0 - share) + lack
    more = surplus > second * (1.0 + share)
    quantity[lowered] = np.where(more, surplus / (1.0 + share), second)
    quantity[raised] = np.where(more, first, (second * (1.0 + share) - lack) / (1.0 - share))
    return BookLevels(**{name: column[start:] for name, column in columns.items()})


def market_trades(market: TapeMarket, symbol: str, from_ms: int, to_ms: int) -> MarketTrades:
    """Return the symbol's market trades with ``from_ms < at_ms <= to_ms``.

    Raises:
        ValueError: the market has no such symbol.
    """
    column = market.symbols.index(symbol)
    part_ms = measure_part_ms(market)
    first = max(0, (from_ms - market.first_ms) // part_ms)
    last = max(first, (to_ms - market.first_ms - 1) // part_ms)
    parts = [trades_of_part(market, np.array([column]), part)[0] for part in range(first, last + 1)]
    at_ms = np.concatenate([each.at_ms for each in parts])
    kept = (from_ms < at_ms) & (at_ms <= to_ms)

    def join_column(name: str) -> npt.NDArray[Any]:
        values: npt.NDArray[Any] = np.concatenate([getattr(each, name) for each in parts])[kept]
        return values

    return MarketTrades(
        at_ms=at_ms[kept],
        price=join_column("price"),
        quantity=join_column("quantity"),
        bought=join_column("bought"),
    )


def measure_part_ms(market: TapeMarket) -> int:
    """Return the length of the longest parts that lie in one bar and one window."""
    return math.gcd(market.step_ms, FLOW_WINDOW_MS)


def trades_of_part(market: TapeMarket, columns: Ints, part: int) -> list[MarketTrades]:
    """Return each symbol's market trades in the ``part``-th part since the origin."""
    part_ms = measure_part_ms(market)
    end_ms = market.first_ms + (part * part_ms // FLOW_WINDOW_MS + 1) * FLOW_WINDOW_MS
    imbalance = market.flow_windows(end_ms - FLOW_WINDOW_MS, end_ms).trade_imbalance[0]
    return [
        _part_trades(market, column, part, float(imbalance[column])) for column in columns.tolist()
    ]


def _part_trades(market: TapeMarket, column: int, part: int, imbalance: float) -> MarketTrades:
    """Return the market trades of one part of a bar, at seeded times between its ends."""
    part_ms = measure_part_ms(market)
    rng = np.random.default_rng(np.random.SeedSequence((market.seed, TAPE + 1, part, column)))
    bar, start_ms = divmod(part * part_ms, market.step_ms)
    day, row = divmod(bar, market.bars_per_day)
    offset = start_ms + np.sort(rng.integers(1, part_ms, size=TRADES_PER_PART, endpoint=True))
    whole_mid = market.path(bar, column, np.append(start_ms, offset) / market.step_ms)
    mid, rising = whole_mid[1:], np.diff(whole_mid) >= 0
    bought = rising == (rng.random(TRADES_PER_PART) < TAKER_FOLLOWS)
    if bought.all() or not bought.any():
        bought[0] = not bought[0]  # each side has a trade, because each has a share of the volume
    shares = rng.standard_exponential(TRADES_PER_PART)
    for taken, of_volume in ((bought, (1.0 + imbalance) / 2), (~bought, (1.0 - imbalance) / 2)):
        shares[taken] *= of_volume / shares[taken].sum()
    half = mid * market.universe.half_spread_bps[column] / float(BPS_PER_UNIT)
    return MarketTrades(
        at_ms=market.first_ms + bar * market.step_ms + offset,
        price=np.where(bought, mid + half, mid - half),
        quantity=market.day(day).volume[row, column] * part_ms / market.step_ms * shares,
        bought=bought,
    )
