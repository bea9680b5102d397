"""Performance statistics, each with its count and its interval, or with the reason for having none.

Returns and ratios are fractions (0.01 is one percent), money is in the account currency and R is
net profit over planned risk. Intervals are 95 % percentile intervals of the stationary bootstrap
(Politis and Romano 1994), which keeps neighbouring days together, so that losing streaks survive
the resampling; the win rate has Wilson's (1927) score interval. The seed is a digest of the data:
the same data always gives the same interval, and nobody can shop for a kinder one.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import attrs
import numpy as np
import numpy.typing as npt
from numpy.random import PCG64, Generator

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int32]
Statistic = Callable[[Floats], Floats]  # [resamples, n] -> [resamples]

DAYS_PER_YEAR = 365  # perpetual futures trade every day of the year
DAYS_MIN = 14  # the gate's least number of daily blocks; fewer days resample into fiction
TRADES_MIN = 30  # the gate's least number of trades; fewer say nothing of a win rate
RESAMPLES = 2_000  # the 2.5 % tail is then an average over 50 resamples
CONFIDENCE = 0.95
CHUNK_ELEMENTS = 2_000_000  # resampled numbers held at once: 16 MB, whatever the length
NORMAL_975 = 1.959963984540054  # 97.5 % quantile of the standard normal

INSUFFICIENT = "insufficient evidence"


@attrs.frozen(kw_only=True)
class Estimate:
    """A figure with its count and interval; or no figure (``value is None``) and a reason.

    ``high is None`` beside a value: the data do not bound it from above.
    """

    n: int
    unit: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    reason: str = ""

    def as_dict(self) -> dict[str, object]:
        """``{value, n, low, high, unit}`` or ``{value: null, reason, n, unit}``."""
        if self.value is None:
            return {"value": None, "reason": self.reason, "n": self.n, "unit": self.unit}
        return {
            "value": self.value,
            "n": self.n,
            "low": self.low,
            "high": self.high,
            "unit": self.unit,
        }


@attrs.frozen(kw_only=True)
class TradeStatistics:
    """What closed trades say, in order of their closing."""

    win_rate: Estimate
    expectancy_r: Estimate
    profit_factor: Estimate
    trades: Estimate

    def as_dict(self) -> dict[str, dict[str, object]]:
        return {field: getattr(self, field).as_dict() for field in _names(TradeStatistics)}


@attrs.frozen(kw_only=True)
class DayStatistics:
    """What daily returns say."""

    return_twr: Estimate
    max_drawdown: Estimate
    sharpe: Estimate
    sortino: Estimate

    def as_dict(self) -> dict[str, dict[str, object]]:
        return {field: getattr(self, field).as_dict() for field in _names(DayStatistics)}


UNITS = {
    "return_twr": "fraction, time-weighted, net of all costs, since inception",
    "max_drawdown": "fraction of the highest equity before it, at day closes",
    "sharpe": "daily returns, annualised by sqrt(365), ddof 1, idle days included, risk-free 0",
    "sortino": "daily returns, annualised by sqrt(365), target 0, idle days included",
    "win_rate": "fraction of closed trades with a net profit",
    "expectancy_r": "mean net R per closed trade",
    "profit_factor": "net profits over net losses",
    "trades": "closed trades",
}


def day_statistics(complete: Sequence[float] | Floats, partial: float | None) -> DayStatistics:
    """Statistics of daily returns.

    Args:
        complete: returns of whole UTC days, oldest first, idle days included as 0.
        partial: the current day's return so far. It counts in the return and the drawdown; a
            part of a day is no observation of a daily return, so not in the ratios.
    """
    days = _finite(complete)
    running = days if partial is None else np.append(days, _finite([partial]))
    if days.size < DAYS_MIN:
        none = {
            name: _insufficient(name, days.size, "complete days", DAYS_MIN)
            for name in _names(DayStatistics)
        }
        return DayStatistics(**none)
    curve = {"return_twr": (running, _total_returns), "max_drawdown": (running, _drawdowns)}
    ratios = {"sharpe": (days, _sharpes), "sortino": (days, _sortinos)}
    return DayStatistics(
        **_bootstrapped(curve, count=days.size), **_bootstrapped(ratios, count=days.size)
    )


def trade_statistics(
    pnl_net: Sequence[float] | Floats, r_multiple: Sequence[float] | Floats
) -> TradeStatistics:
    """Statistics of closed trades, given in order of closing: net money and net R of each."""
    pnl, r = _finite(pnl_net), _finite(r_multiple)
    assert pnl.shape == r.shape
    n = pnl.size
    count = Estimate(n=n, unit=UNITS["trades"], value=n, low=n, high=n)  # counted, not estimated
    if n < TRADES_MIN:
        none = {
            name: _insufficient(name, n, "closed trades", TRADES_MIN)
            for name in ("win_rate", "expectancy_r", "profit_factor")
        }
        return TradeStatistics(trades=count, **none)
    wins = int((pnl > 0).sum())
    low, high = wilson_interval(wins, n)
    win_rate = Estimate(n=n, unit=UNITS["win_rate"], value=wins / n, low=low, high=high)
    wanted = {"expectancy_r": (r, _means), "profit_factor": (pnl, _profit_factors)}
    return TradeStatistics(trades=count, win_rate=win_rate, **_bootstrapped(wanted, count=n))


# --- the figures themselves ------------------------------------------------------------------


def return_twr(subperiods: Sequence[tuple[float, float]]) -> float:
    """Time-weighted return over ``(equity after the flow, equity before the next flow)`` pairs.

    Deposits and withdrawals end a sub-period, so they are never profit (GIPS).
    """
    total = 1.0
    for start, end in subperiods:
        assert start > 0, "a time-weighted return needs equity to start from"
        total *= end / start
    return total - 1.0


def chained_return(equity: Floats, flows: Floats) -> float:
    """Time-weighted return along marks of equity, ``[n]`` each, oldest first.

    ``flows`` are net since inception at each mark; what changed between two marks is taken to
    have arrived with the later one. Zero when fewer than two marks.
    """
    assert equity.shape == flows.shape
    if equity.size < 2:
        return 0.0
    assert (equity[:-1] > 0).all(), "a time-weighted return needs equity to start from"
    growth = (equity[1:] - np.diff(flows)) / equity[:-1]
    return float(np.multiply.reduce(growth)) - 1.0


def max_drawdown(returns: Sequence[float] | Floats) -> float:
    """Deepest fall from an earlier peak (the start included) along chained returns; <= 0."""
    return float(_drawdowns(_finite(returns)[np.newaxis])[0])


def sharpe(returns: Sequence[float] | Floats) -> float | None:
    """Daily Sharpe ratio, sqrt(365), ddof 1; None below two days or without deviation."""
    values = _finite(returns)
    if values.size < 2:
        return None
    found = float(_sharpes(values[np.newaxis])[0])
    return None if math.isnan(found) else found


def sortino(returns: Sequence[float] | Floats) -> float | None:
    """Daily Sortino ratio with target 0, sqrt(365); None below two days or without a loss.

    Downside deviation is the root mean square of the losses over *all* days (Sortino and van
    der Meer 1991).
    """
    values = _finite(returns)
    if values.size < 2:
        return None
    found = float(_sortinos(values[np.newaxis])[0])
    return None if math.isnan(found) else found


def wilson_interval(wins: int, n: int) -> tuple[float, float]:
    """95 % score interval of a proportion (Wilson 1927); stays inside [0, 1] for any ``n >= 1``."""
    assert n > 0
    assert 0 <= wins <= n
    z2 = NORMAL_975**2
    centre = (wins + z2 / 2) / (n + z2)
    half = NORMAL_975 / (n + z2) * math.sqrt(wins * (n - wins) / n + z2 / 4)
    low = 0.0 if wins == 0 else centre - half
    high = 1.0 if wins == n else centre + half
    return low, high


# --- the stationary bootstrap ----------------------------------------------------------------


def data_digest(*columns: Floats) -> str:
    """SHA-256 of the columns as little-endian float64: names the data, and seeds its intervals."""
    digest = hashlib.sha256()
    for column in columns:
        digest.update(np.ascontiguousarray(column, dtype="<f8").tobytes())
        digest.update(b"|")
    return digest.hexdigest()


def block_length(n: int) -> float:
    """Mean block length, ``n ** (1/3)``: the optimal order (Politis and White 2004), at least 1."""
    return max(1.0, math.cbrt(n))


def bootstrap_indices(
    n: int, *, resamples: int, block: float, generator: Generator
) -> Iterator[Indices]:
    """Stationary-bootstrap indices in chunks ``[<= resamples, n]``, ``resamples`` rows in all.

    Blocks start anywhere, have geometric lengths with mean ``block`` and wrap around the end.
    """
    assert n > 0
    assert block >= 1
    rows_max = max(1, CHUNK_ELEMENTS // n)
    columns = np.arange(n, dtype=np.int32)
    for first in range(0, resamples, rows_max):
        rows = min(rows_max, resamples - first)
        restart = generator.random((rows, n), dtype=np.float32) < 1 / block
        restart[:, 0] = True
        starts = generator.integers(0, n, size=np.count_nonzero(restart), dtype=np.int32)
        which = np.cumsum(restart.ravel(), dtype=np.int32).reshape(rows, n) - 1
        began = np.maximum.accumulate(np.where(restart, columns, 0), axis=1)
        indices = starts[which] + (columns - began)
        indices -= n * (indices >= n)
        yield indices


def bootstrap_intervals(
    columns: Sequence[tuple[Floats, Statistic]],
    *,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    block: float | None = None,
) -> list[tuple[float, float]]:
    """Percentile intervals of a statistic of each column ``[n]``, all on the same resamples.

    A resample where a statistic is undefined (NaN) is left out of that statistic's interval.
    """
    n = columns[0][0].size
    seed = int(data_digest(*(values for values, _ in columns))[:16], 16)
    chunks = bootstrap_indices(
        n,
        resamples=resamples,
        block=block_length(n) if block is None else block,
        generator=Generator(PCG64(seed)),
    )
    drawn: list[list[Floats]] = [[] for _ in columns]
    for indices in chunks:
        for kept, (values, statistic) in zip(drawn, columns, strict=True):
            kept.append(statistic(values[indices]))
    return [_percentiles(np.concatenate(kept), confidence) for kept in drawn]


# --- inside ----------------------------------------------------------------------------------


def _names(cls: type) -> tuple[str, ...]:
    return tuple(field.name for field in attrs.fields(cls))


def _finite(values: Sequence[float] | Floats) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    assert array.ndim == 1
    assert np.isfinite(array).all(), "statistics need finite figures"
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
    out = np.full(mean.shape, np.nan)
    np.divide(mean * math.sqrt(DAYS_PER_YEAR), deviation, out=out, where=deviation > 0.0)
    return out


def _means(values: Floats) -> Floats:
    mean: Floats = values.mean(axis=1)
    return mean


def _profit_factors(pnl: Floats) -> Floats:
    won = np.maximum(pnl, 0.0).sum(axis=1)
    lost = -np.minimum(pnl, 0.0).sum(axis=1)
    out = np.full(won.shape, np.inf)  # a resample without a loss is unbounded, not undefined
    np.divide(won, lost, out=out, where=lost > 0.0)
    return out


_UNDEFINED = {
    "sharpe": "the daily returns do not vary",
    "sortino": "no losing day to divide by",
    "profit_factor": "no losing trade to divide by",
}


def _bootstrapped(
    wanted: Mapping[str, tuple[Floats, Statistic]], *, count: int
) -> dict[str, Estimate]:
    intervals = bootstrap_intervals(tuple(wanted.values()))
    made: dict[str, Estimate] = {}
    for (name, (values, statistic)), (low, high) in zip(wanted.items(), intervals, strict=True):
        value = float(statistic(values[np.newaxis])[0])
        if not math.isfinite(value):
            made[name] = Estimate(n=count, unit=UNITS[name], reason=_UNDEFINED[name])
            continue
        bound = None if math.isinf(high) else high
        made[name] = Estimate(n=count, unit=UNITS[name], value=value, low=low, high=bound)
    return made


def _percentiles(drawn: Floats, confidence: float) -> tuple[float, float]:
    known = drawn[~np.isnan(drawn)]
    if not known.size:
        return math.nan, math.nan
    tail = (1 - confidence) / 2
    # an observed value on both sides: interpolating towards an unbounded one makes no number
    low, high = np.quantile(known, [tail, 1 - tail], method="closest_observation")
    return float(low), float(high)


def _insufficient(name: str, n: int, what: str, minimum: int) -> Estimate:
    reason = f"{INSUFFICIENT}: {n} {what}, {minimum} needed"
    return Estimate(n=n, unit=UNITS[name], reason=reason)
