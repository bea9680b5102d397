"""Instruments and spreads of recorded bars, inferred from the bars before.

No strategy uses them as a signal. What is assumed at an instant follows from bars that closed until
then, so later bars change nothing before them. The assumptions and their costs:

- tick size: the largest power of ten, at most 1, of which all prices so far are multiples. It only
  becomes finer, at the close of the bar that shows it. A venue's tick size of 0.05 becomes 0.01, so
  fill prices are slightly too fine; a venue that makes a tick size larger is not noticed.
- lot size: the largest power of ten worth at most ``LOT_VALUE`` at the highest price so far. Real
  lot sizes are often larger, so quantities are slightly too fine.
- Before a symbol has ``SETTLING_BARS`` bars, tick and lot size are unknown. Prices are not rounded
  then, and no order is large enough to be accepted, so the symbol cannot be entered.
- leverage and maintenance margin: three tiers by rank of turnover. Symbols are ranked at the first
  midnight UTC at least a day after the first bar's open, and at the beginning of each later month,
  by the median turnover of the ``RANK_DAYS`` days before. A symbol without turnover in half of
  the bars counts as rank ``UNKNOWN_RANK``, as all do before the first ranking. A symbol whose
  turnover rises has too wide a spread until the next month.
- half spread: ``HALF_SPREAD_BPS * sqrt(rank of turnover)``, at least half a tick size. Spreads in
  a crash were wider, so costs there are too low.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import attrs
import numpy as np
import numpy.typing as npt

from kamou.clock import next_ms
from kamou.core.arrays import Floats
from kamou.core.day import DAY_MS, midnight_ms_of, next_month, utc_day
from kamou.core.market.bars import Bars, Dataset
from kamou.core.model import Instrument
from kamou.venue.market.assumed_contracts import AssumedChange, AssumedContracts, Steps
from kamou.venue.market.universe import LOTS_MAX, NOTIONAL_MIN

SETTLING_BARS = 20  # 80 prices: their last decimals are not all 0 by chance
DECIMALS_MAX = 10
UNKNOWN_TICK = Decimal("1E-10")
UNKNOWN_LOT = Decimal("1E-7")  # also the largest order: below NOTIONAL_MIN up to a price of 5e7
LOT_VALUE = 1.0  # USDT: 0.1 % of a position of 1,000 USDT
TAKER_FEE = Decimal("0.0006")
MAKER_FEE = Decimal("0.0002")
HALF_SPREAD_BPS = 0.3  # of the most traded symbol; sqrt(150) x 0.3 is 3.7 bps for the 150th
FUNDING_INTERVAL_H = 8  # before a symbol's second settlement
UNKNOWN_RANK = 150  # so the widest usual spread and the lowest leverage
RANK_DAYS = 30
RANK_BARS = 500  # of longer times only evenly spaced bars are read, at least so many
# (last rank of turnover in the tier, leverage, maintenance margin rate)
ASSUMED_TIERS = (
    (10, 75, Decimal("0.005")),
    (50, 50, Decimal("0.01")),
    (10**9, 25, Decimal("0.02")),
)
QUOTES = ("USDT", "USDC", "USD")


def assume_contracts(data: Dataset) -> AssumedContracts:
    """Return a linear perpetual per symbol, in the dataset's order, and its changes.

    Fees are ``TAKER_FEE`` and ``MAKER_FEE``, the funding interval is ``FUNDING_INTERVAL_H``.
    """
    ranks = _turnover_ranks(data.bars)
    changes = [
        change
        for column in range(len(data.bars.symbols))
        for change in _changes_of(data.bars, column, ranks)
    ]
    changes.sort(key=lambda each: (each.at_ms, each.symbol))
    opening = {each.symbol: each for each in changes if each.at_ms == 0}
    return AssumedContracts(
        first=tuple(_first_instrument(opening[symbol]) for symbol in data.bars.symbols),
        changes=tuple(changes),
        rank_spreads=_rank_spreads(ranks),
        ticks=_tick_steps(data.bars.symbols, changes),
    )


def fix_contracts(
    data: Dataset, instruments: tuple[Instrument, ...], half_spread: Floats | None
) -> AssumedContracts:
    """Return given instruments that never change by assumption.

    ``half_spread``, ``[symbols]`` in basis points of mid, is as constant. If it is None, the spread
    follows from the ranks of turnover and the given ticks.
    """
    if half_spread is None:
        rank_spreads = _rank_spreads(_turnover_ranks(data.bars))
        ticks = np.array([float(each.tick) for each in instruments])
    else:
        rank_spreads, ticks = Steps.constant(half_spread), np.zeros(len(instruments))
    return AssumedContracts(
        first=instruments, changes=(), rank_spreads=rank_spreads, ticks=Steps.constant(ticks)
    )


@attrs.frozen
class _Size:
    """A symbol's tick size, lot size and largest order from an instant on."""

    at_ms: int
    tick: Decimal
    lot: Decimal
    qty_max: Decimal


def _first_instrument(opening: AssumedChange) -> Instrument:
    """Return a symbol's instrument before its first change."""
    base, quote = _split(opening.symbol)
    return Instrument(
        symbol=opening.symbol,
        base=base,
        quote=quote,
        tick=opening.tick,
        lot=opening.lot,
        contract_size=Decimal(1),
        qty_min=opening.lot,
        qty_max=opening.qty_max,
        notional_min=NOTIONAL_MIN,
        leverage_max=opening.leverage_max,
        maintenance_margin_rate=opening.maintenance_margin_rate,
        taker_fee=TAKER_FEE,
        maker_fee=MAKER_FEE,
        funding_interval_h=FUNDING_INTERVAL_H,
    )


def _changes_of(bars: Bars, column: int, ranks: Steps) -> Iterator[AssumedChange]:
    """Yield a symbol's figures of time 0 and its changes, oldest first."""
    sizes = _sizes(bars, column)
    before: tuple[_Size, object] | None = None
    for at_ms in sorted({each.at_ms for each in sizes} | set(ranks.from_ms.tolist())):
        size = next(each for each in reversed(sizes) if each.at_ms <= at_ms)
        rank = ranks.at(at_ms)[column]
        tier = next(tier for tier in ASSUMED_TIERS if rank <= tier[0])
        if (size, tier) != before:
            before = (size, tier)
            yield AssumedChange(
                at_ms=at_ms,
                symbol=bars.symbols[column],
                tick=size.tick,
                lot=size.lot,
                qty_max=size.qty_max,
                leverage_max=tier[1],
                maintenance_margin_rate=tier[2],
            )


def _sizes(bars: Bars, column: int) -> list[_Size]:
    """Return a symbol's sizes, oldest first; the first counts from time 0 on."""
    sizes = [_Size(0, UNKNOWN_TICK, UNKNOWN_LOT, UNKNOWN_LOT)]
    rows = np.flatnonzero(~np.isnan(bars.close[:, column]))
    if len(rows) < SETTLING_BARS:
        return sizes
    prices = np.stack([each[rows, column] for each in (bars.open, bars.high, bars.low, bars.close)])
    decimals = dict(_find_decimals(prices))
    lots = dict(_find_lots(prices[1]))
    decimal = lot = 0
    for bar in sorted(decimals.keys() | lots.keys()):
        decimal, lot = decimals.get(bar, decimal), lots.get(bar, lot)
        size = Decimal(10) ** lot
        close_ms = int(bars.open_ms[rows[bar]]) + bars.period_ms
        sizes.append(_Size(close_ms, Decimal(10) ** -decimal, size, size * LOTS_MAX))
    return sizes


def _find_decimals(prices: Floats) -> Iterator[tuple[int, int]]:
    """Yield each bar that has more decimals than those before, and their number.

    The first is the bar ``SETTLING_BARS - 1``. ``prices`` is ``[4, bars]``, without NaN.
    """
    decimals = _count_decimals(prices[:, :SETTLING_BARS])
    bar = SETTLING_BARS - 1
    yield bar, decimals
    while decimals < DECIMALS_MAX:
        finer = ~_has_decimals(prices[:, bar + 1 :], decimals).all(axis=0)
        if not finer.any():
            return
        bar += 1 + int(finer.argmax())
        decimals = max(decimals + 1, _count_decimals(prices[:, bar]))
        yield bar, decimals


def _count_decimals(prices: Floats) -> int:
    """Return the fewest decimals that write all prices, at most ``DECIMALS_MAX``."""
    for decimals in range(DECIMALS_MAX):
        if _has_decimals(prices, decimals).all():
            return decimals
    return DECIMALS_MAX


def _has_decimals(prices: Floats, decimals: int) -> npt.NDArray[np.bool_]:
    """Return True for each price that so many decimals write exactly."""
    scaled = prices * 10.0**decimals
    whole = np.rint(scaled)
    # 1e-6 of a unit: far above float64's rounding of a price, far below a real decimal.
    exact: npt.NDArray[np.bool_] = np.abs(scaled - whole) < np.maximum(1e-6, 1e-15 * whole)
    exact &= whole != 0.0  # a price below 1e-6 is not 0
    return exact


def _find_lots(high: Floats) -> Iterator[tuple[int, int]]:
    """Yield each bar whose high makes the lot smaller, and the lot's power of ten.

    The first is the bar ``SETTLING_BARS - 1``. ``high`` is ``[bars]``, without NaN.
    """
    highest = np.maximum.accumulate(high)[SETTLING_BARS - 1 :]
    powers = np.floor(np.log10(LOT_VALUE / highest)).astype(np.int64)
    for bar in (0, *(np.flatnonzero(np.diff(powers)) + 1).tolist()):
        yield SETTLING_BARS - 1 + bar, int(powers[bar])


def _turnover_ranks(bars: Bars) -> Steps:
    """Return the ranks of turnover; 1 is the largest."""
    first_ms = int(bars.open_ms[0])
    last_ms = int(bars.open_ms[-1]) + bars.period_ms
    from_ms = [0, *_ranking_times(first_ms, last_ms)]
    unknown = np.full(len(bars.symbols), float(UNKNOWN_RANK))
    ranks = [unknown, *(_rank(bars, (at_ms - first_ms) // bars.period_ms) for at_ms in from_ms[1:])]
    return Steps(from_ms=np.array(from_ms, dtype=np.int64), values=np.array(ranks))


def _ranking_times(first_ms: int, last_ms: int) -> Iterator[int]:
    """Yield the times of rankings until ``last_ms``, as the module says them."""
    at_ms = next_ms(first_ms + DAY_MS - 1, DAY_MS)
    while at_ms <= last_ms:
        yield at_ms
        at_ms = midnight_ms_of(f"{next_month(utc_day(at_ms)[:7])}-01")


def _rank(bars: Bars, row: int) -> Floats:
    """Return the ranks by median turnover of the bars before ``row``, ``[symbols]``.

    A missing bar has no turnover.
    """
    since = max(0, row - RANK_DAYS * DAY_MS // bars.period_ms)
    rows = slice(since, row, max(1, (row - since) // RANK_BARS))
    turnover = np.median(np.nan_to_num(bars.close[rows] * bars.volume[rows]), axis=0)
    ranks = np.empty(len(turnover))
    ranks[np.argsort(-turnover, kind="stable")] = np.arange(1, len(turnover) + 1)
    ranks[turnover <= 0.0] = UNKNOWN_RANK
    return ranks


def _rank_spreads(ranks: Steps) -> Steps:
    """Return the half spreads in basis points of mid that follow from the ranks."""
    return attrs.evolve(ranks, values=HALF_SPREAD_BPS * np.sqrt(ranks.values))


def _tick_steps(symbols: tuple[str, ...], changes: list[AssumedChange]) -> Steps:
    """Return the tick sizes in price from changes in order of time, the first at 0."""
    columns = {symbol: column for column, symbol in enumerate(symbols)}
    from_ms = sorted({each.at_ms for each in changes})
    rows = {at_ms: row for row, at_ms in enumerate(from_ms)}
    values = np.zeros((len(from_ms), len(symbols)))
    for each in changes:  # a later change of the symbol overwrites the rows from its time on
        values[rows[each.at_ms] :, columns[each.symbol]] = float(each.tick)
    return Steps(from_ms=np.array(from_ms, dtype=np.int64), values=values)


def _split(symbol: str) -> tuple[str, str]:
    """Return the base and the quote currency by the end of a symbol's name.

    If the name does not end with one of ``QUOTES``, it is the base, and the quote is the first.
    """
    for quote in QUOTES:
        if symbol.endswith(quote) and len(symbol) > len(quote):
            return symbol[: -len(quote)], quote
    return symbol, QUOTES[0]
