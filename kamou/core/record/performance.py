"""Performance statistics of daily returns and closed trades.

Each statistic has its count and interval, or the reason why it has no value. Returns are fractions
(0.01 is one percent), money is in the account currency and R is net PnL over planned risk.
Intervals are 95 % and use complete UTC days: percentiles of the stationary bootstrap
(``core/record/bootstrap.py``), or Wilson's (1927) score interval for the win rate. Intervals and
statistics of days change once a day, statistics of trades change with every trade.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import attrs
import numpy as np

from kamou.core.arrays import Floats
from kamou.core.record.bootstrap import Statistic, bootstrap_intervals, percentiles, resampled_sums
from kamou.core.record.trade_sums import TradeSums

DAYS_PER_YEAR = 365  # perpetual futures trade every day of the year
DAYS_MIN = 14  # the gate's minimum; intervals over fewer days are not reliable
TRADES_MIN = 30  # the gate's minimum; a win rate over fewer trades is not reliable
NORMAL_975 = 1.959963984540054  # 97.5 % quantile of the standard normal

INSUFFICIENT = "insufficient evidence"


@attrs.frozen(kw_only=True)
class Counted:
    """Size of the data behind an interval.

    There are ``n`` observations in ``days`` complete days until ``as_of_ms``, which is None without
    a complete day.
    """

    n: int
    days: int
    as_of_ms: int | None

    def as_dict(self) -> dict[str, object]:
        return {"n": self.n, "days": self.days, "as_of_ms": self.as_of_ms}


@attrs.frozen(kw_only=True)
class Estimate:
    """A statistic with its count and interval, or the reason why it has no value.

    If ``value`` is None, ``reason`` says why. If ``value`` is known and ``high`` is None, the
    interval has no upper bound. ``counted`` is None without a value or for an exact count.
    """

    n: int
    unit: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    reason: str = ""
    counted: Counted | None = None

    def as_dict(self) -> dict[str, object]:
        """Return the estimate as JSON values.

        The keys are ``value, n, low, high, unit``, and ``interval`` if ``counted`` is known; or
        ``value, reason, n, unit`` if the value is None.
        """
        if self.value is None:
            return {"value": None, "reason": self.reason, "n": self.n, "unit": self.unit}
        found: dict[str, object] = {
            "value": self.value,
            "n": self.n,
            "low": self.low,
            "high": self.high,
            "unit": self.unit,
        }
        if self.counted is not None:
            found["interval"] = self.counted.as_dict()
        return found


@attrs.frozen(kw_only=True)
class TradeStatistics:
    """Statistics of closed trades."""

    win_rate: Estimate
    expectancy_r: Estimate
    profit_factor: Estimate
    trades: Estimate

    def as_dict(self) -> dict[str, dict[str, object]]:
        return {field: getattr(self, field).as_dict() for field in _names(TradeStatistics)}


@attrs.frozen(kw_only=True)
class DayStatistics:
    """Statistics of daily returns."""

    return_twr: Estimate
    max_drawdown: Estimate
    sharpe: Estimate
    sortino: Estimate

    def as_dict(self) -> dict[str, dict[str, object]]:
        return {field: getattr(self, field).as_dict() for field in _names(DayStatistics)}


UNITS = {
    "return_twr": "fraction, time-weighted, net of all costs, over complete days",
    "max_drawdown": "fraction of the index's earlier peak, at closes of complete days",
    "sharpe": "daily returns, annualised by sqrt(365), ddof 1, idle days included, risk-free 0",
    "sortino": "daily returns, annualised by sqrt(365), target 0, idle days included",
    "win_rate": "fraction of closed trades with a net profit",
    "expectancy_r": "mean net R per closed trade whose risk was planned",
    "profit_factor": "net profits over net losses",
    "trades": "closed trades",
}


@attrs.frozen(kw_only=True, eq=False)
class DayReturns:
    """Returns of the complete days of the record, as fractions, oldest first.

    The return of an idle day is 0.

    Left out are days that are not complete, such as the current one, and days without a return.
    """

    returns: Floats  # [days]
    as_of_ms: int | None = None  # the close of the last complete day; None: no day


@attrs.frozen(kw_only=True, eq=False)
class TradeDays:
    """Sums over the trades closed on each complete day, ``[days]`` each, oldest first.

    ``r`` is the sum of R over the ``with_r`` trades that have one. ``profit`` and ``loss`` are
    sums of money, and both are 0 or positive.
    """

    trades: Floats
    wins: Floats
    r: Floats
    with_r: Floats
    profit: Floats
    loss: Floats


@attrs.frozen(kw_only=True)
class TradeBounds:
    """Intervals (95 %) of trade statistics; None below their minimum of observations.

    All need ``TRADES_MIN`` trades. The mean R and the profit factor also need ``DAYS_MIN`` days,
    and the mean R needs ``TRADES_MIN`` trades with R.
    """

    counted: Counted
    with_r: int  # number of the counted trades that have R
    win_rate: tuple[float, float] | None
    expectancy_r: tuple[float, float] | None
    profit_factor: tuple[float, float] | None


def day_statistics(days: DayReturns) -> DayStatistics:
    """Return the statistics of complete days; no values below ``DAYS_MIN`` days."""
    daily = _finite(days.returns)
    counted = Counted(n=daily.size, days=daily.size, as_of_ms=days.as_of_ms)
    if daily.size < DAYS_MIN:
        none = {
            name: _insufficient(name, daily.size, daily.size, "complete day", DAYS_MIN)
            for name in _names(DayStatistics)
        }
        return DayStatistics(**none)
    values = {
        "return_twr": float(np.prod(1.0 + daily)) - 1.0,
        "max_drawdown": max_drawdown(daily),
        "sharpe": sharpe(daily),
        "sortino": sortino(daily),
    }
    drawn = bootstrap_intervals([(daily, statistic) for statistic in _OF_DAYS.values()])
    bounds = dict(zip(_OF_DAYS, drawn, strict=True))
    return DayStatistics(
        **{name: _estimate(name, value, bounds[name], counted) for name, value in values.items()}
    )


def trade_bounds(groups: Sequence[TradeDays], as_of_ms: int | None) -> tuple[TradeBounds, ...]:
    """Return the intervals of several groups' trade statistics.

    All groups cover the same complete days. The bootstrap resamples whole days, because trades of
    one day depend on the same prices. The win rate has Wilson's interval over the trades.
    """
    size = groups[0].trades.size if groups else 0
    columns = [(g.with_r, g.r, g.profit, g.loss) for g in groups]
    enough = size >= DAYS_MIN
    sums = (
        resampled_sums(np.column_stack([c for group in columns for c in group])) if enough else None
    )
    made = []
    for i, group in enumerate(groups):
        n, wins, with_r = (int(c.sum()) for c in (group.trades, group.wins, group.with_r))
        drawn = None if sums is None or n < TRADES_MIN else sums[:, 4 * i : 4 * i + 4].T
        of_r = None if drawn is None or with_r < TRADES_MIN else _quotients(drawn[1], drawn[0])
        made.append(
            TradeBounds(
                counted=Counted(n=n, days=size, as_of_ms=as_of_ms),
                with_r=with_r,
                win_rate=wilson_interval(wins, n) if n >= TRADES_MIN else None,
                expectancy_r=None if of_r is None else percentiles(of_r),
                profit_factor=None if drawn is None else percentiles(_factors(drawn[2], drawn[3])),
            )
        )
    return tuple(made)


def trade_statistics(sums: TradeSums, bounds: TradeBounds) -> TradeStatistics:
    """Return the statistics of all closed trades, with intervals over complete days."""
    n, counted = sums.trades, bounds.counted
    counted_trades = Estimate(n=n, unit=UNITS["trades"], value=n, low=n, high=n)
    values = {
        "win_rate": sums.win_rate,
        "expectancy_r": sums.expectancy_r,
        "profit_factor": sums.profit_factor,
    }
    with_r = "closed trade with R" if sums.with_r < n else "closed trade"
    of_r = (sums.with_r, attrs.evolve(counted, n=bounds.with_r), with_r)
    made = {}
    for name, value in values.items():
        own, found, what = of_r if name == "expectancy_r" else (n, counted, "closed trade")
        if found.n < TRADES_MIN:
            made[name] = _insufficient(name, own, found.n, what, TRADES_MIN, " on complete days")
        elif (interval := getattr(bounds, name)) is None:
            made[name] = _insufficient(name, own, found.days, "complete day", DAYS_MIN)
        else:
            made[name] = _estimate(name, value, interval, found, n=own)
    return TradeStatistics(trades=counted_trades, **made)


# --- statistics of one series ------------------------------------------------------------------


def max_drawdown(returns: Sequence[float] | Floats) -> float:
    """Return the maximum drawdown of chained returns, a fraction; 0 or negative.

    The start counts as a peak.
    """
    return float(_drawdowns(_finite(returns)[np.newaxis])[0])


def sharpe(returns: Sequence[float] | Floats) -> float | None:
    """Return the daily Sharpe ratio, annualised by sqrt(365), with ddof 1.

    It is None below 2 days or if the returns are constant.
    """
    values = _finite(returns)
    if values.size < 2:
        return None
    found = float(_sharpes(values[np.newaxis])[0])
    return None if math.isnan(found) else found


def sortino(returns: Sequence[float] | Floats) -> float | None:
    """Return the daily Sortino ratio, annualised by sqrt(365), with target 0.

    It is None below 2 days or without a losing day. The downside deviation is the root mean square
    of the losses over *all* days (Sortino and van der Meer 1991).
    """
    values = _finite(returns)
    if values.size < 2:
        return None
    found = float(_sortinos(values[np.newaxis])[0])
    return None if math.isnan(found) else found


def wilson_interval(wins: int, n: int) -> tuple[float, float]:
    """Return Wilson's (1927) 95 % score interval of a proportion, within [0, 1].

    ``n`` is at least 1.
    """
    assert n > 0
    assert 0 <= wins <= n
    z2 = NORMAL_975**2
    centre = (wins + z2 / 2) / (n + z2)
    half = NORMAL_975 / (n + z2) * math.sqrt(wins * (n - wins) / n + z2 / 4)
    low = 0.0 if wins == 0 else centre - half
    high = 1.0 if wins == n else centre + half
    return low, high


# --- computations over resamples and texts ------------------------------------------------------


def _names(cls: type) -> tuple[str, ...]:
    return tuple(field.name for field in attrs.fields(cls))


def _finite(values: Sequence[float] | Floats) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    assert array.ndim == 1
    assert np.isfinite(array).all(), f"statistics need finite values, got {array}"
    return array


def _total_returns(returns: Floats) -> Floats:
    total: Floats = np.prod(1.0 + returns, axis=1) - 1.0
    return total


def _drawdowns(returns: Floats) -> Floats:
    curve = np.cumprod(1.0 + returns, axis=1)
    peak = np.maximum(np.maximum.accumulate(curve, axis=1), 1.0)
    deepest: Floats = np.minimum((curve / peak - 1.0).min(axis=1, initial=0.0), 0.0)
    return deepest


def _sharpes(returns: Floats) -> Floats:
    deviation = returns.std(axis=1, ddof=1)
    flat = np.ptp(returns, axis=1) == 0.0  # rounding leaves a constant series a tiny deviation
    return _ratio(returns.mean(axis=1), np.where(flat, 0.0, deviation))


def _sortinos(returns: Floats) -> Floats:
    downside = np.sqrt((np.minimum(returns, 0.0) ** 2).mean(axis=1))
    return _ratio(returns.mean(axis=1), downside)


def _ratio(mean: Floats, deviation: Floats) -> Floats:
    return _quotients(mean * math.sqrt(DAYS_PER_YEAR), deviation)


def _quotients(above: Floats, below: Floats) -> Floats:
    out = np.full(above.shape, np.nan)
    np.divide(above, below, out=out, where=below > 0.0)
    return out


def _factors(profit: Floats, loss: Floats) -> Floats:
    """Return profit / loss; infinite without a loss, NaN without any trade."""
    out = np.where(profit > 0.0, np.inf, np.nan)
    np.divide(profit, loss, out=out, where=loss > 0.0)
    return out


_OF_DAYS: Mapping[str, Statistic] = {
    "return_twr": _total_returns,
    "max_drawdown": _drawdowns,
    "sharpe": _sharpes,
    "sortino": _sortinos,
}
_UNDEFINED = {
    "sharpe": "the daily returns do not vary",
    "sortino": "no losing day to divide by",
    "profit_factor": "no losing trade to divide by",
}


def _estimate(
    name: str,
    value: float | None,
    interval: tuple[float, float],
    counted: Counted,
    *,
    n: int | None = None,
) -> Estimate:
    n = counted.n if n is None else n
    if value is None:
        return Estimate(n=n, unit=UNITS[name], reason=_UNDEFINED[name])
    low, high = interval
    return Estimate(
        n=n,
        unit=UNITS[name],
        value=value,
        low=low,
        high=None if math.isinf(high) else high,
        counted=counted,
    )


def _insufficient(
    name: str, n: int, found: int, what: str, minimum: int, where: str = ""
) -> Estimate:
    """Return an estimate without a value, because it has too few observations.

    ``found`` is the number of observations on complete days, and ``minimum`` are needed. ``n``
    counts the observations of all days, so it may be larger than ``found``.
    """
    noun, *more = what.split(" with ")
    several = " with ".join((noun if found == 1 else f"{noun}s", *more))
    why = f"{INSUFFICIENT}: {found} {several}{where}, {minimum} needed"
    return Estimate(n=n, unit=UNITS[name], reason=why)
