"""Betas to Bitcoin and Ether, and the z-scores of the market's newest moves.

Betas are least-squares slopes with weights that halve every ``half_life`` rows. The move of Ether
is taken without the part that follows Bitcoin, so the two slopes do not depend on each other.
Returns are limited in size before (winsorised), so that one bad print cannot make a beta.

A symbol's slopes are then shrunk to the mean of all symbols (Vasicek 1973). A slope is linear in
the returns, so the mean of the slopes is the slope of the mean return, which every shard knows.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
import numpy as np

from kamou.core.arrays import Floats
from kamou.core.indicators.robust_zscore import robust_z
from kamou.core.indicators.window import split_columns, sum_products

BITCOIN_MOVE, ETHER_MOVE, MEAN_MOVE, BREADTH = range(4)  # indices of the whole market's figures
MARKET_FIGURES = 4
NORMAL_MEAN_TO_DEVIATION = float(np.sqrt(np.pi / 2))  # deviation over mean |x|, if normal
SPREAD_MIN = 1e-18  # a smaller variance of returns is rounding
MOVE_DEVIATION_MIN = 1e-6  # of a log return, and of the breadth


@attrs.frozen(kw_only=True)
class MacroRead:
    """Figures at one bar; betas are ``[symbols]``, NaN if a factor does not move."""

    beta_bitcoin: Floats
    beta_ether: Floats
    bitcoin_z: float  # robust z-score of Bitcoin's newest move; NaN: unknown
    ether_z: float  # the same of Ether's, without the part that follows Bitcoin
    breadth_z: float  # the same of the breadth
    known: int  # rows with figures of the whole market


@attrs.frozen(kw_only=True, eq=False)
class _Factors:
    """The whole market's part of the betas.

    Fields are ``[rows, 1]`` each unless they say otherwise.
    """

    weights: Floats  # 0 for a row without the whole market's figures; they add up to 1
    share: float  # one over the effective number of rows
    factors: tuple[Floats, Floats]  # with a weighted mean of 0
    weighted: tuple[Floats, Floats]  # factors times weights
    spreads: tuple[Floats, Floats]  # variance of each factor, ``[1]``
    targets: tuple[Floats, Floats]  # slopes of the mean return, ``[1]``


@attrs.frozen(kw_only=True)
class MacroBeta:
    """Specification of the betas, and of the z-scores of moves.

    A move is the sum over ``horizon`` rows. Its median and deviation are those of the moves that
    end at the rows before the newest.
    """

    half_life: float  # in rows
    limit: float  # of a return, in its deviations
    beta_deviation: float  # assumed standard deviation of the symbols' true betas
    horizon: int  # in rows

    def read(self, returns: Floats, market: Floats) -> MacroRead:
        """Return the figures at the newest row.

        Args:
            returns: log returns of the symbols, ``[rows, symbols]``, oldest first.
            market: the whole market's figures over the same rows, ``[rows, MARKET_FIGURES]``,
                summed if a row has several bars. A row with a NaN has no weight.
        """

        def copy(columns: slice, out: Floats) -> None:
            np.copyto(out, returns[:, columns])

        return self._read(copy, returns.shape[1], market)

    def read_levels(self, levels: Floats, market: Floats) -> MacroRead:
        """Return ``read`` of the returns between log prices ``[rows + 1, symbols]``."""

        def subtract(columns: slice, out: Floats) -> None:
            np.subtract(levels[1:, columns], levels[:-1, columns], out=out)

        return self._read(subtract, levels.shape[1], market)

    def _read(
        self, write_returns: Callable[[slice, Floats], None], symbols: int, market: Floats
    ) -> MacroRead:
        """Return the figures, by a function that writes a slice of symbols' returns."""
        valid = np.isfinite(market).all(axis=1, keepdims=True)
        age = np.arange(len(market) - 1, -1, -1)[:, np.newaxis]
        weights = np.where(valid, 0.5 ** (age / self.half_life), 0.0)
        weights /= max(float(weights.sum()), SPREAD_MIN)
        market = np.where(valid, market, 0.0)
        series = (market[:, [figure]] for figure in (BITCOIN_MOVE, ETHER_MOVE, MEAN_MOVE))
        bitcoin, ether, mean = (self._limit(each, weights, np.empty_like(each)) for each in series)
        x, y = _centre(bitcoin, weights), _centre(ether, weights)
        ether = ether - _find_slope(x * weights, y, _find_spread(x * weights, x)) * bitcoin
        moves = self._find_z(np.concatenate((bitcoin, ether, market[:, [BREADTH]]), axis=1))
        factors = _make_factors((x, _centre(ether, weights)), mean, weights)
        betas = np.empty((2, symbols))
        slices = tuple(split_columns(symbols))
        # Three arrays for all slices: to allocate large ones takes longer than to fill them.
        held = np.empty((3, len(market), max(each.stop - each.start for each in slices)))
        for columns in slices:
            returns, *spares = held[:, :, : columns.stop - columns.start]
            write_returns(columns, returns)
            betas[:, columns] = self._find_betas(returns, factors, spares)
        return MacroRead(
            beta_bitcoin=betas[0],
            beta_ether=betas[1],
            bitcoin_z=float(moves[0]),
            ether_z=float(moves[1]),
            breadth_z=float(moves[2]),
            known=int(np.count_nonzero(valid)),
        )

    def _limit(self, returns: Floats, weights: Floats, spare: Floats) -> Floats:
        """Limit returns in place to ``limit`` deviations of 0, by their mean size."""
        sizes = np.abs(returns, out=spare)
        size = sum_products(np.broadcast_to(weights, returns.shape), sizes)
        most = self.limit * NORMAL_MEAN_TO_DEVIATION * size
        # Few are beyond, and to clip all takes several times as long.
        rows, columns = np.divmod(np.flatnonzero(sizes > most), returns.shape[1])
        returns[rows, columns] = np.copysign(most[columns], returns[rows, columns])
        return returns

    def _find_betas(
        self, returns: Floats, market: _Factors, spares: list[Floats]
    ) -> tuple[Floats, Floats]:
        """Return the shrunk slopes on the two factors, ``[symbols]`` each.

        They are shrunk to the targets, by their standard errors.

        Args:
            returns: ``[rows, symbols]``; they are overwritten.
            market: the whole market's part.
            spares: two arrays of the same shape, which are overwritten.
        """
        symbols = self._limit(returns, market.weights, spares[0])
        symbols -= sum_products(np.broadcast_to(market.weights, symbols.shape), symbols)
        slopes = [
            _find_slope(weighted, symbols, spread)
            for weighted, spread in zip(market.weighted, market.spreads, strict=True)
        ]
        for slope, factor, spare in zip(slopes, market.factors, spares, strict=True):
            np.multiply(slope, factor, out=spare)
        symbols -= np.add(spares[0], spares[1], out=spares[0])
        rest = _find_spread(np.multiply(symbols, market.weights, out=spares[0]), symbols)
        error = rest * market.share
        prior = self.beta_deviation**2
        shrunk = []
        for slope, target, spread in zip(slopes, market.targets, market.spreads, strict=True):
            with np.errstate(invalid="ignore", divide="ignore"):
                shrunk.append(target + (slope - target) * prior / (prior + error / spread))
        return shrunk[0], shrunk[1]

    def _find_z(self, series: Floats) -> Floats:
        """Return the z-score of the newest move of each column of ``[rows, columns]``."""
        total = np.concatenate((np.zeros((1, series.shape[1])), np.cumsum(series, axis=0)))
        moves = total[self.horizon :] - total[: -self.horizon]
        past_min = max(2, len(moves) // 2)
        return robust_z(moves[-1], moves[:-1], known_min=past_min, deviation_min=MOVE_DEVIATION_MIN)


def _make_factors(factors: tuple[Floats, Floats], mean: Floats, weights: Floats) -> _Factors:
    """Return the whole market's part, given the mean return of all symbols."""
    bitcoin, ether = factors
    weighted = (bitcoin * weights, ether * weights)
    spreads = (_find_spread(weighted[0], bitcoin), _find_spread(weighted[1], ether))
    mean = _centre(mean, weights)
    return _Factors(
        weights=weights,
        share=float(np.sum(weights * weights)),
        factors=factors,
        weighted=weighted,
        spreads=spreads,
        targets=(
            _find_slope(weighted[0], mean, spreads[0]),
            _find_slope(weighted[1], mean, spreads[1]),
        ),
    )


def _centre(values: Floats, weights: Floats) -> Floats:
    """Return values less their weighted mean; the weights add up to 1."""
    return values - sum_products(np.broadcast_to(weights, values.shape), values)


def _find_spread(weighted: Floats, centred: Floats) -> Floats:
    """Return the variance of centred values, given these times the weights."""
    return sum_products(weighted, centred)


def _find_slope(weighted: Floats, centred: Floats, spread: Floats) -> Floats:
    """Return the slope of ``centred`` ``[rows, symbols]`` on a factor.

    It is NaN if the factor does not move.

    Args:
        weighted: the factor times the weights, ``[rows, 1]``.
        centred: values with a weighted mean of 0.
        spread: variance of the factor, ``[1]``.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        slope = sum_products(np.broadcast_to(weighted, centred.shape), centred) / spread
    return np.where(spread > SPREAD_MIN, slope, np.nan)
