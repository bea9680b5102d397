"""Instruments and spreads of recorded bars, inferred from the dataset itself.

They are inferred once, before any trading, and no strategy uses them as a signal. The assumptions
and their costs:

- tick size: the largest power of ten, at most 1, of which all sampled prices are multiples. A
  venue's tick size of 0.05 becomes 0.01, so fill prices are slightly too fine.
- lot size: the largest power of ten worth at most ``LOT_VALUE`` at the highest sampled price. Real
  lot sizes are often larger, so quantities are slightly too fine.
- leverage and maintenance margin: three tiers by rank of turnover.
- half spread: ``HALF_SPREAD_BPS * sqrt(rank of turnover)``, at least half a tick size. Spreads in
  a crash were wider, so costs there are too low.
"""

from __future__ import annotations

from decimal import Decimal

import numpy as np

from kamou.core.arrays import Floats
from kamou.core.market.bars import Dataset, Series
from kamou.core.model import BPS_PER_UNIT, Instrument
from kamou.venue.market.funding_calendar import find_intervals
from kamou.venue.market.universe import LOTS_MAX, NOTIONAL_MIN

SAMPLE_BARS = 1_000  # evenly spaced: enough to see all decimals of a symbol's prices
DECIMALS_MAX = 10
LOT_VALUE = 1.0  # USDT: 0.1 % of a position of 1,000 USDT
TAKER_FEE = Decimal("0.0006")
MAKER_FEE = Decimal("0.0002")
HALF_SPREAD_BPS = 0.3  # of the most traded symbol; sqrt(150) x 0.3 is 3.7 bps for the 150th
FUNDING_INTERVAL_H = 8  # for a symbol with fewer than two settlements
# (last rank of turnover in the tier, leverage, maintenance margin rate)
ASSUMED_TIERS = (
    (10, 75, Decimal("0.005")),
    (50, 50, Decimal("0.01")),
    (10**9, 25, Decimal("0.02")),
)
QUOTES = ("USDT", "USDC", "USD")


def infer_instruments(data: Dataset) -> tuple[Instrument, ...]:
    """Return one linear perpetual per symbol, in the dataset's order.

    Fees are ``TAKER_FEE`` and ``MAKER_FEE``.
    """
    bars = data.bars
    sample = np.concatenate(
        [_sample(part) for part in (bars.open, bars.high, bars.low, bars.close)]
    )
    decimals = _decimals(sample)
    highest = np.fmax.reduce(sample)
    ranks = _turnover_ranks(data)
    intervals = _funding_intervals_h(data.funding)
    instruments = []
    for column, symbol in enumerate(bars.symbols):
        lot = Decimal(10) ** int(np.floor(np.log10(LOT_VALUE / highest[column])))
        leverage, margin = next(tier[1:] for tier in ASSUMED_TIERS if ranks[column] <= tier[0])
        base, quote = _split(symbol)
        instruments.append(
            Instrument(
                symbol=symbol,
                base=base,
                quote=quote,
                tick=Decimal(10) ** -int(decimals[column]),
                lot=lot,
                contract_size=Decimal(1),
                qty_min=lot,
                qty_max=lot * LOTS_MAX,
                notional_min=NOTIONAL_MIN,
                leverage_max=leverage,
                maintenance_margin_rate=margin,
                taker_fee=TAKER_FEE,
                maker_fee=MAKER_FEE,
                funding_interval_h=int(intervals[column]),
            )
        )
    return tuple(instruments)


def half_spreads_bps(data: Dataset, instruments: tuple[Instrument, ...]) -> Floats:
    """Return half the assumed spread, ``[symbols]``, in basis points of mid."""
    ranks = _turnover_ranks(data)
    price = np.nanmedian(_sample(data.bars.close), axis=0)
    half_tick = (
        np.array([float(each.tick) for each in instruments]) / 2 / price * float(BPS_PER_UNIT)
    )
    spreads: Floats = np.maximum(HALF_SPREAD_BPS * np.sqrt(ranks), half_tick)
    return spreads


def _sample(values: Floats) -> Floats:
    """Return evenly spaced rows, and each column's first known value."""
    stride = max(1, len(values) // SAMPLE_BARS)
    sampled = values[::stride]
    known = ~np.isnan(values)
    first = values[known.argmax(axis=0), np.arange(values.shape[1])]
    return np.concatenate([sampled, first[np.newaxis]])


def _decimals(sample: Floats) -> Floats:
    """Return the fewest decimals that write every sampled price, ``[symbols]``."""
    found = np.full(sample.shape[1], float(DECIMALS_MAX))
    for decimals in range(DECIMALS_MAX, -1, -1):
        scaled = sample * 10.0**decimals
        # 1e-6 of a unit: far above float64's rounding of a price, far below a real decimal.
        whole = np.abs(scaled - np.rint(scaled)) < np.maximum(1e-6, 1e-15 * np.abs(scaled))
        whole &= np.rint(scaled) != 0.0  # a price below 1e-6 is not 0
        found[(whole | np.isnan(sample)).all(axis=0)] = decimals
    return found


def _turnover_ranks(data: Dataset) -> Floats:
    """Return the ranks by median turnover per bar, ``[symbols]``; 1 is the largest."""
    turnover = np.nanmedian(_sample(data.bars.close) * _sample(data.bars.volume), axis=0)
    order = np.argsort(-turnover, kind="stable")
    ranks = np.empty(len(order))
    ranks[order] = np.arange(1, len(order) + 1)
    return ranks


def _funding_intervals_h(funding: Series) -> Floats:
    """Return the first time between settlements in whole hours, ``[symbols]``.

    It is ``FUNDING_INTERVAL_H`` for a symbol with fewer than two settlements. Later intervals apply
    from their time on (``venue/market/funding_calendar.py``).
    """
    intervals = np.full(len(funding.symbols), float(FUNDING_INTERVAL_H))
    for column in range(len(funding.symbols)):
        at = funding.available_ms[~np.isnan(funding.values[:, column])]
        if found := find_intervals(at):
            intervals[column] = found[0][1]
    return intervals


def _split(symbol: str) -> tuple[str, str]:
    """Return the base and the quote currency by the end of a symbol's name.

    If the name does not end with one of ``QUOTES``, it is the base, and the quote is the first.
    """
    for quote in QUOTES:
        if symbol.endswith(quote) and len(symbol) > len(quote):
            return symbol[: -len(quote)], quote
    return symbol, QUOTES[0]
