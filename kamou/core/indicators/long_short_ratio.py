"""The robust z-score of the newest long/short ratio.

The figure is ln(ratio of all accounts), less ln(ratio of top traders) where both exist: the crowd's
position beyond that of the traders who have the most capital.
"""

from __future__ import annotations

import attrs
import numpy as np

from kamou.core.arrays import Floats, Ints
from kamou.core.indicators.robust_zscore import robust_z

ALL_ACCOUNTS, TOP_TRADERS = range(2)  # indices of the figures of an hour


@attrs.frozen(kw_only=True)
class RatioRead:
    """Figures of the newest ratios, ``[symbols]`` or ``[bars, symbols]``."""

    z: Floats  # robust z-score of the figure; NaN: unknown
    log_ratio: Floats  # ln(ratio of all accounts); NaN: there is none
    spread: Floats  # less ln(ratio of top traders); NaN: one of the two is unknown
    available_ms: Floats  # time of the newest ratio; NaN: there is none
    known: Floats  # number of past hours with the figure


@attrs.frozen(kw_only=True)
class RatioZ:
    """Specification of the z-score of the newest long/short ratio.

    Median and deviation are those of the ``past`` hours before the newest ratio. At least
    ``known_min`` of these hours must have the figure, and the deviation is at least
    ``deviation_min``, in units of ln(ratio).
    """

    past: int
    known_min: int
    deviation_min: float

    def read(self, times: Ints, logs: Floats) -> Floats:
        """Return the figures of ``RatioRead``, ``[figures, symbols]``.

        ``split_ratios`` names them.

        Args:
            times: of each observation in ms, ``[hours, symbols]``; negative: none.
            logs: ln(ratio), ``[hours, 2, symbols]``, of all accounts and of top traders.
        """
        symbols = np.arange(times.shape[1])
        newest = _find_newest(times)
        accounts, top_traders = logs[:, ALL_ACCOUNTS], logs[:, TOP_TRADERS]
        figure = spreads = accounts - top_traders
        log_ratio, spread = accounts[newest, symbols], spreads[newest, symbols]
        # A symbol whose newest ratio has no spread has past figures without one, too.
        without = np.isnan(spread)
        if without.any():
            figure = np.where(without, accounts, spreads)
        past = self._choose_past(figure, newest)
        z = robust_z(
            figure[newest, symbols],
            past,
            known_min=self.known_min,
            deviation_min=self.deviation_min,
        )
        known = len(past) - np.count_nonzero(np.isnan(past), axis=0)
        figures = np.stack((z, log_ratio, spread, times[newest, symbols], known))
        figures[:4, newest < 0] = np.nan
        return figures

    def _choose_past(self, figure: Floats, newest: Ints) -> Floats:
        """Return the figures of the hours before each symbol's newest; others are NaN."""
        last = int(newest[0]) if len(newest) else -1
        if (newest == last).all():  # the usual case, in a quarter of the time
            return figure[max(0, last - self.past) : max(0, last)]
        hours = np.arange(len(figure))[:, np.newaxis]
        before = (hours < newest) & (hours >= newest - self.past)
        return np.where(before, figure, np.nan)


def _find_newest(times: Ints) -> Ints:
    """Return the row of each symbol's newest observation, ``[symbols]``; -1: none."""
    if len(times) and (times[-1] >= 0).all():
        return np.full(times.shape[1], len(times) - 1)
    hours = np.arange(len(times))[:, np.newaxis]
    return np.asarray(np.where(times >= 0, hours, -1).max(axis=0))


def split_ratios(figures: Floats) -> RatioRead:
    """Return the figures of ``RatioZ.read``, ``[..., figures, symbols]``, by name."""
    z, log_ratio, spread, available_ms, known = np.moveaxis(figures, -2, 0)
    return RatioRead(
        z=z, log_ratio=log_ratio, spread=spread, available_ms=available_ms, known=known
    )
