"""Order-flow imbalance (OFI), trade imbalance, and their robust z-scores.

OFI is that of Cont, Kukanov and Stoikov, "The Price Impact of Order Book Events" (2014): each new
quote of a level contributes ``e_n``, the change of demand less the change of supply, and the OFI of
a window is the sum of its contributions over the mean depth. Levels 2 to 5 have contributions of
their own, by the same formula.
"""

from __future__ import annotations

import attrs
import numpy as np

from kamou.core.arrays import Floats, Ints
from kamou.core.indicators.robust_zscore import median_known, robust_z

LEVELS = 5  # price levels of the order book, the best one first
TRADE_IMBALANCE, SPREAD = LEVELS, LEVELS + 1  # figures of a window after the OFI of each level
WINDOW_FIGURES = LEVELS + 2


@attrs.frozen(kw_only=True, eq=False)
class BookLevels:
    """Consecutive quotes of the best levels, each ``[quotes, levels]``.

    Quantities are in base units. A level that the book does not have is NaN.
    """

    bid: Floats
    bid_qty: Floats
    ask: Floats
    ask_qty: Floats


def find_contributions(book: BookLevels) -> Floats:
    """Return ``e_n`` of each quote after the first, ``[quotes - 1, levels]``.

    It is in base units. A contribution is NaN if its quote or the quote before lacks the level.
    """
    bid, ask, bid_qty, ask_qty = book.bid, book.ask, book.bid_qty, book.ask_qty
    # Products, because NaN * 0 is NaN: a missing level has no contribution of 0.
    demand = (bid[1:] >= bid[:-1]) * bid_qty[1:] - (bid[1:] <= bid[:-1]) * bid_qty[:-1]
    supply = (ask[1:] <= ask[:-1]) * ask_qty[1:] - (ask[1:] >= ask[:-1]) * ask_qty[:-1]
    contributions: Floats = demand - supply
    return contributions


def find_depths(book: BookLevels) -> Floats:
    """Return the mean of bid and ask quantity of each quote, ``[quotes, levels]``."""
    depths: Floats = (book.bid_qty + book.ask_qty) / 2.0
    return depths


def measure_ofi(book: BookLevels) -> Floats:
    """Return the OFI of a window, ``[levels]``, in units of the mean depth.

    The first quote is the one that stood when the window began. The mean depth is that of all
    quotes, the first one included.
    """
    ofi: Floats = find_contributions(book).sum(axis=0) / find_depths(book).mean(axis=0)
    return ofi


def measure_trade_imbalance(bought: Floats, volume: Floats) -> Floats:
    """Return the trade imbalance ``(2 bought - volume) / volume``; NaN without volume.

    Args:
        bought: volume of the trades whose taker bought.
        volume: volume of all trades, in the same unit and shape.
    """
    traded = np.where(volume > 0, volume, np.nan)
    return (2.0 * bought - volume) / traded


@attrs.frozen(kw_only=True)
class FlowRead:
    """Figures of the newest window, ``[symbols]`` or ``[bars, symbols]``.

    NaN: unknown.
    """

    ofi_z: Floats  # robust z-score of the OFI against past windows
    trade_z: Floats  # the same of the trade imbalance
    ofi: Floats
    trade_imbalance: Floats
    spread_bps: Floats
    spread_median_bps: Floats  # of the past windows
    known: Floats  # past windows with a known OFI or, if more, with a known trade imbalance
    end_ms: Floats  # of the newest window


@attrs.frozen(kw_only=True)
class FlowZ:
    """Specification of the z-scores of the newest window's flow.

    Medians and deviations are those of the newest ``past`` known windows before the newest one, and
    up to ``missing_max`` windows among them may be unknown. With fewer known windows they are NaN.
    The OFI is the mean of the first ``levels`` levels. Deviations are at least ``deviation_min``.
    """

    past: int
    missing_max: int
    levels: int
    deviation_min: float

    @property
    def windows(self) -> int:
        """Number of windows that ``read`` needs."""
        return self.past + self.missing_max + 1

    def read(self, end_ms: Ints, values: Floats) -> Floats:
        """Return the figures of ``FlowRead``, ``[figures, symbols]``.

        ``split_flow_figures`` gives them their names.

        Args:
            end_ms: end of each window, ``[windows]``, oldest first; negative: there is none.
            values: ``[windows, WINDOW_FIGURES, symbols]``.
        """
        values = values[-self.windows :]
        # The mean of one level is this level, and takes no time.
        ofi = values[:, 0] if self.levels == 1 else values[:, : self.levels].mean(axis=1)
        imbalance, spread = values[:, TRADE_IMBALANCE], values[:, SPREAD]
        past_ofi, known_ofi = self._choose(ofi[:-1])
        past_imbalance, known_imbalance = self._choose(imbalance[:-1])
        spread_median, _ = median_known(self._choose(spread[:-1])[0])
        known = np.minimum(np.maximum(known_ofi, known_imbalance), self.past)
        newest_ms = float(end_ms[-1]) if end_ms[-1] >= 0 else np.nan
        return np.stack(
            (
                self._find_z(ofi[-1], past_ofi),
                self._find_z(imbalance[-1], past_imbalance),
                ofi[-1],
                imbalance[-1],
                spread[-1],
                spread_median,
                known,
                np.full(known.shape, newest_ms),
            )
        )

    def _choose(self, past: Floats) -> tuple[Floats, Ints]:
        """Return the newest ``past`` known values, and the number of all known ones.

        Other values are NaN, or left out.
        """
        unknown = np.isnan(past)
        if not unknown[-self.past :].any():  # the usual case, in a quarter of the time
            lacking = np.count_nonzero(unknown[: -self.past], axis=0)
            return past[-self.past :], len(past) - lacking
        ordinal = np.cumsum(~unknown[::-1], axis=0)[::-1]
        return np.where(ordinal <= self.past, past, np.nan), ordinal[0]

    def _find_z(self, value: Floats, past: Floats) -> Floats:
        return robust_z(value, past, known_min=self.past, deviation_min=self.deviation_min)


def split_flow_figures(figures: Floats) -> FlowRead:
    """Return the figures of ``FlowZ.read``, ``[..., figures, symbols]``, by name."""
    columns = np.moveaxis(figures, -2, 0)
    names = [field.name for field in attrs.fields(FlowRead)]
    return FlowRead(**dict(zip(names, columns, strict=True)))
