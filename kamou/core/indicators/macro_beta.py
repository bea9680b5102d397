"""Betas to Bitcoin and Ether, and the z-scores of the market's newest moves.

Betas are least-squares slopes with weights that halve every ``half_life`` rows. The move of Ether
is taken without the part that follows Bitcoin, so the two slopes do not depend on each other.
Returns are limited in size before (winsorised), so that one bad print cannot make a beta.

A symbol's slopes are then shrunk to the mean of all symbols (Vasicek 1973). A slope is linear in
the returns, so the mean of the slopes is the slope of the mean return, which every shard knows.
"""

from __future__ import annotations

import attrs
import numpy as np

from kamou.core.arrays import Floats
from kamou.core.indicators.robust_zscore import robust_z
from kamou.core.indicators.window import sum_products

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
        valid = np.isfinite(market).all(axis=1, keepdims=True)
        age = np.arange(len(market) - 1, -1, -1)[:, np.newaxis]
        weights = np.where(valid, 0.5 ** (age / self.half_life), 0.0)
        weights /= max(float(weights.sum()), SPREAD_MIN)
        market = np.where(valid, market, 0.0)
        bitcoin, ether, mean = (
            self._limit(market[:, [figure]], weights)
            for figure in (BITCOIN_MOVE, ETHER_MOVE, MEAN_MOVE)
        )
        centred = _centre(bitcoin, weights)
        ether = ether - _find_slope(centred, _centre(ether, weights), weights) * bitcoin
        factors = (centred, _centre(ether, weights))
        symbols = _centre(self._limit(returns, weights), weights)
        targets = [_find_slope(x, _centre(mean, weights), weights) for x in factors]
        slopes = [_find_slope(x, symbols, weights) for x in factors]
        shrunk = self._shrink(symbols, factors, weights, slopes, targets)
        moves = self._find_z(np.concatenate((bitcoin, ether, market[:, [BREADTH]]), axis=1))
        return MacroRead(
            beta_bitcoin=shrunk[0],
            beta_ether=shrunk[1],
            bitcoin_z=float(moves[0]),
            ether_z=float(moves[1]),
            breadth_z=float(moves[2]),
            known=int(np.count_nonzero(valid)),
        )

    def _limit(self, returns: Floats, weights: Floats) -> Floats:
        """Return the returns within ``limit`` deviations of 0, by their mean size."""
        size = sum_products(np.broadcast_to(weights, returns.shape), np.abs(returns))
        most = self.limit * NORMAL_MEAN_TO_DEVIATION * size
        return np.clip(returns, -most, most)

    def _shrink(
        self,
        symbols: Floats,
        factors: tuple[Floats, Floats],
        weights: Floats,
        slopes: list[Floats],
        targets: list[Floats],
    ) -> list[Floats]:
        """Return the slopes after shrinkage to the targets, by their standard errors.

        ``symbols`` and ``factors`` have a weighted mean of 0.
        """
        fitted = slopes[0] * factors[0] + slopes[1] * factors[1]
        rest = _find_spread(symbols - fitted, weights)
        share = float(np.sum(weights * weights))  # one over the effective number of rows
        prior = self.beta_deviation**2
        shrunk = []
        for factor, slope, target in zip(factors, slopes, targets, strict=True):
            with np.errstate(invalid="ignore", divide="ignore"):
                error = rest * share / _find_spread(factor, weights)
            shrunk.append(target + (slope - target) * prior / (prior + error))
        return shrunk

    def _find_z(self, series: Floats) -> Floats:
        """Return the z-score of the newest move of each column of ``[rows, columns]``."""
        total = np.concatenate((np.zeros((1, series.shape[1])), np.cumsum(series, axis=0)))
        moves = total[self.horizon :] - total[: -self.horizon]
        past_min = max(2, len(moves) // 2)
        return robust_z(moves[-1], moves[:-1], known_min=past_min, deviation_min=MOVE_DEVIATION_MIN)


def _centre(values: Floats, weights: Floats) -> Floats:
    """Return values less their weighted mean; the weights add up to 1."""
    return values - sum_products(np.broadcast_to(weights, values.shape), values)


def _find_spread(centred: Floats, weights: Floats) -> Floats:
    return sum_products(centred * weights, centred)


def _find_slope(factor: Floats, centred: Floats, weights: Floats) -> Floats:
    """Return the slope of ``centred`` ``[rows, symbols]`` on a factor ``[rows, 1]``.

    It is NaN if the factor does not move.
    """
    spread = _find_spread(factor, weights)
    with np.errstate(invalid="ignore", divide="ignore"):
        slope = sum_products(np.broadcast_to(factor * weights, centred.shape), centred) / spread
    return np.where(spread > SPREAD_MIN, slope, np.nan)
