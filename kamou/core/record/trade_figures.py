"""Holding times, exposure, the distribution of R and tables of closed trades."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from types import MappingProxyType

import attrs

from kamou.core.model import ZERO
from kamou.core.record.trade_sums import ClosedTrade, Holding, TradeSums, sum_trades

R_STEP = 0.5  # width of a bin of the distribution of R
R_LOW, R_HIGH = -3.0, 6.0  # one bin for all R below, one for all above: an outlier adds no rows
LISTED = 5  # number of best trades, and of worst trades, that are listed

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@attrs.frozen(kw_only=True)
class HeldShares:
    """The exposure over a tested time, in positions, time and value.

    ``positions_most`` is the largest number of positions open at once. ``time_share`` is the share
    of the time with at least one open position, ``value_share`` the mean entry value of all open
    positions over the first equity. Both shares are None if the time is empty or the first equity
    is not positive.
    """

    positions_most: int
    time_share: float | None
    value_share: float | None


@attrs.frozen(kw_only=True)
class RBin:
    """The number of trades with ``low`` <= R < ``high``; None: no such bound."""

    low: float | None
    high: float | None
    trades: int


@attrs.frozen(kw_only=True)
class TradeGroup:
    """The closed trades of one symbol, strategy, side, exit reason, weekday or hour."""

    key: str
    sums: TradeSums
    pnl_net: Decimal
    fees: Decimal
    funding: Decimal
    slippage: Decimal


def measure_exposure(
    holdings: Sequence[Holding], *, from_ms: int, until_ms: int, equity_start: Decimal
) -> HeldShares:
    """Return the exposure in the time ``[from_ms, until_ms)``.

    All holdings must be within that time. A position that closes at the instant at which another
    opens does not overlap with it.
    """
    changes = sorted(
        change
        for held in holdings
        if held.until_ms > held.from_ms
        for change in ((held.from_ms, 1), (held.until_ms, -1))
    )  # -1 sorts before 1 at the same time
    count = most = held_ms = 0
    last_ms = from_ms
    for at_ms, step in changes:
        if count:
            held_ms += at_ms - last_ms
        last_ms = at_ms
        count += step
        most = max(most, count)
    span_ms = until_ms - from_ms
    if span_ms <= 0 or equity_start <= 0:
        return HeldShares(positions_most=most, time_share=None, value_share=None)
    value = sum((h.entry_value * (h.until_ms - h.from_ms) for h in holdings), ZERO)
    return HeldShares(
        positions_most=most,
        time_share=held_ms / span_ms,
        value_share=float(value / span_ms / equity_start),
    )


def bin_r(values: Iterable[float]) -> tuple[RBin, ...]:
    """Return the distribution of R, from the lowest to the highest bin with a trade.

    A bin is ``R_STEP`` wide. One more bin has all R below ``R_LOW``, another all R from ``R_HIGH``
    on.
    """
    last = round((R_HIGH - R_LOW) / R_STEP)  # index of the bin from R_HIGH on
    counts: dict[int, int] = {}
    for value in values:
        place = min(max(math.floor((value - R_LOW) / R_STEP), -1), last)
        counts[place] = counts.get(place, 0) + 1
    if not counts:
        return ()
    return tuple(
        RBin(
            low=None if place < 0 else R_LOW + place * R_STEP,
            high=None if place >= last else R_LOW + (place + 1) * R_STEP,
            trades=counts.get(place, 0),
        )
        for place in range(min(counts), max(counts) + 1)
    )


def rank_by_r(trades: Iterable[ClosedTrade]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the ids of the best and of the worst trades by R.

    Each list has at most ``LISTED``. A trade without R is in neither list. With few
    trades one may be in both.
    """
    ranked = sorted((t for t in trades if t.r is not None), key=lambda t: (t.r, t.trade_id))
    ids = tuple(trade.trade_id for trade in ranked)
    return ids[::-1][:LISTED], ids[:LISTED]


def _opened(trade: ClosedTrade) -> datetime:
    return datetime.fromtimestamp(trade.holding.from_ms // 1000, UTC)


GROUPINGS: Mapping[str, Callable[[ClosedTrade], str]] = MappingProxyType(
    {
        "symbol": lambda trade: trade.symbol,
        "strategy": lambda trade: trade.strategy,
        "side": lambda trade: str(trade.side),
        "exit_reason": lambda trade: str(trade.exit_reason),
        "weekday": lambda trade: WEEKDAYS[_opened(trade).weekday()],
        "hour": lambda trade: f"{_opened(trade).hour:02d}",
    }
)
"""The tables of trades, and each trade's row; weekday and hour are those of the entry, UTC."""


def group_trades(trades: Sequence[ClosedTrade], by: str) -> tuple[TradeGroup, ...]:
    """Return the rows of one table of ``GROUPINGS``.

    Weekdays and hours are in the order of time, all others have the highest net PnL first.

    Raises:
        KeyError: ``GROUPINGS`` has no table ``by``.
    """
    key_of = GROUPINGS[by]
    found: dict[str, list[ClosedTrade]] = {}
    for trade in trades:
        found.setdefault(key_of(trade), []).append(trade)
    rows = [_add_up(key, group) for key, group in found.items()]
    if by == "weekday":
        return tuple(sorted(rows, key=lambda row: WEEKDAYS.index(row.key)))
    if by == "hour":
        return tuple(sorted(rows, key=lambda row: row.key))
    return tuple(sorted(rows, key=lambda row: (-row.pnl_net, row.key)))


def _add_up(key: str, trades: Sequence[ClosedTrade]) -> TradeGroup:
    return TradeGroup(
        key=key,
        sums=sum_trades(trades),
        pnl_net=sum((t.pnl_net for t in trades), ZERO),
        fees=sum((t.fees for t in trades), ZERO),
        funding=sum((t.funding for t in trades), ZERO),
        slippage=sum((t.slippage for t in trades), ZERO),
    )
