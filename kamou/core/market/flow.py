"""The order flow of windows, as a port answers it and as a panel keeps it.

A window is ``FLOW_WINDOW_MS`` long, ends at a multiple of it, and is known from its end on. Its
figures are those of ``core/indicators/order_flow.py``: the OFI of each level, the trade imbalance
and the mean spread in basis points of mid.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

import attrs
import numpy as np

from kamou.core.arrays import Floats, Ints
from kamou.core.day import MINUTE_MS, show_utc
from kamou.core.indicators.order_flow import LEVELS, SPREAD, TRADE_IMBALANCE, WINDOW_FIGURES
from kamou.errors import InvalidDataError

FLOW_WINDOW_MS = 5 * MINUTE_MS
NO_WINDOW_MS = -1  # end of the newest window if there is none
FigureOfFlow = Callable[[Ints, Floats], Floats]
"""A function of ends in ms ``[windows]`` and figures ``[windows, WINDOW_FIGURES, symbols]``."""


@attrs.frozen(kw_only=True, eq=False)
class FlowWindows:
    """The order flow of consecutive or separate windows, oldest first.

    ``values`` is ``[windows, WINDOW_FIGURES, symbols]``; NaN: unknown. ``end_ms`` is ``[windows]``.
    """

    symbols: tuple[str, ...]
    end_ms: Ints
    values: Floats

    @property
    def ofi(self) -> Floats:
        """OFI of each level in units of its mean depth, ``[windows, LEVELS, symbols]``."""
        return self.values[:, :LEVELS]

    @property
    def trade_imbalance(self) -> Floats:
        """Trade imbalance in [-1, 1], ``[windows, symbols]``."""
        return self.values[:, TRADE_IMBALANCE]

    @property
    def spread_bps(self) -> Floats:
        """Mean spread in basis points of mid, ``[windows, symbols]``."""
        return self.values[:, SPREAD]


def empty_flow(symbols: tuple[str, ...]) -> FlowWindows:
    """Return no windows."""
    return FlowWindows(
        symbols=symbols,
        end_ms=np.empty(0, dtype=np.int64),
        values=np.empty((0, WINDOW_FIGURES, len(symbols))),
    )


@attrs.frozen(kw_only=True, eq=False)
class FlowSnapshot:
    """The newest windows that a panel knew at one instant; it never changes."""

    newest_ms: int  # end of the newest window; ``NO_WINDOW_MS``: none
    values: Floats  # ``[windows, WINDOW_FIGURES, symbols]``; NaN: unknown
    _derived: dict[tuple[Hashable, int], Floats] = attrs.field(init=False, factory=dict)

    def _count_later(self, now_ms: int) -> int:
        """Return the number of windows that end after ``now_ms``."""
        later = -(-(self.newest_ms - now_ms) // FLOW_WINDOW_MS)
        return min(len(self.values), max(0, later))

    def known(self, now_ms: int) -> tuple[Ints, Floats]:
        """Return ends and figures of the windows that have ended at ``now_ms``.

        The ends are ``[windows]``, negative before the first window.
        """
        windows = len(self.values)
        known = windows - self._count_later(now_ms)
        ends = self.newest_ms - FLOW_WINDOW_MS * np.arange(windows - 1, -1, -1, dtype=np.int64)
        if self.newest_ms == NO_WINDOW_MS:
            ends[:] = NO_WINDOW_MS
        return ends[:known], self.values[:known]

    def compute(self, key: Hashable, now_ms: int, compute: FigureOfFlow) -> Floats:
        """Return ``compute`` of the windows known at ``now_ms``, cached by ``key``."""
        later = self._count_later(now_ms)
        value = self._derived.get((key, later))
        if value is None:
            value = self._derived[key, later] = compute(*self.known(now_ms))
        return value


class FlowRows:
    """The newest windows of a shard, on a grid of time.

    Args:
        windows: number of windows to keep; 0: none.
        symbols: number of symbols.
    """

    def __init__(self, windows: int, symbols: int) -> None:
        self.windows = windows
        self.newest_ms = NO_WINDOW_MS
        # No memory until the first window: most datasets have no order flow.
        shape = (windows, WINDOW_FIGURES, symbols)
        self._values: Floats = np.broadcast_to(np.nan, shape)
        self._end = windows
        self._snapshot: FlowSnapshot | None = None

    def append(self, end_ms: Ints, values: Floats) -> None:
        """Add windows in the order of time; windows between them that lack are unknown.

        Args:
            end_ms: end of each window, ``[rows]``.
            values: ``[rows, WINDOW_FIGURES, symbols]``; an infinite figure counts as unknown.

        Raises:
            InvalidDataError: a window is not after the one before, or does not end at a multiple of
                ``FLOW_WINDOW_MS``.
        """
        for at_ms, row in zip(end_ms.tolist(), values, strict=True):
            if at_ms <= self.newest_ms or at_ms % FLOW_WINDOW_MS:
                raise InvalidDataError(
                    f"a window of order flow that ends at {show_utc(at_ms)} cannot follow the one"
                    f" that ends at {show_utc(self.newest_ms)}: it must end later, at a multiple of"
                    f" {FLOW_WINDOW_MS} ms"
                )
            if self.windows:
                self._push(at_ms, np.where(np.isfinite(row), row, np.nan))
            self.newest_ms = at_ms
        if len(end_ms):
            self._snapshot = None

    def _push(self, at_ms: int, row: Floats) -> None:
        missing = 0
        if self.newest_ms != NO_WINDOW_MS:
            missing = min(self.windows, (at_ms - self.newest_ms) // FLOW_WINDOW_MS - 1)
        if self._end + missing + 1 > len(self._values):
            # A new buffer: snapshots keep the old one, whose rows are never written again.
            kept = self._values[self._end - self.windows : self._end]
            room = missing + 1 + self.windows // 4
            shape = (self.windows + room, *kept.shape[1:])
            self._values = np.full(shape, np.nan)
            self._values[: self.windows] = kept
            self._end = self.windows
        self._end += missing + 1
        self._values[self._end - 1] = row

    def copy(self) -> FlowSnapshot:
        """Return the windows as they are now; the same snapshot until they change."""
        if self._snapshot is None:
            values = self._values[self._end - self.windows : self._end]
            self._snapshot = FlowSnapshot(newest_ms=self.newest_ms, values=values)
        return self._snapshot


class FlowReads:
    """The part of a panel that has the order flow."""

    symbols: tuple[str, ...]
    history_ms: int
    _flow: FlowRows

    @property
    def flow_windows(self) -> int:
        """Windows of order flow that the panel keeps; 0: it needs no order flow."""
        return self._flow.windows

    def keep_flow(self, windows: int) -> None:
        """Keep so many windows of order flow; call it before the first one is added."""
        self._flow = FlowRows(windows, len(self.symbols))
        self.history_ms = max(self.history_ms, windows * FLOW_WINDOW_MS)

    def append_flow(self, end_ms: Ints, values: Floats) -> None:
        """Add windows of order flow, as ``FlowRows.append``.

        Raises:
            InvalidDataError: as ``FlowRows.append``.
        """
        self._flow.append(end_ms, values)

    def flow(self, now_ms: int) -> tuple[Ints, Floats]:
        """Return ends and figures of the windows that had ended by ``now_ms``.

        Ends in ms are ``[windows]``, oldest first and negative before the first; figures are
        ``[windows, WINDOW_FIGURES, symbols]``, NaN if unknown.
        """
        return self._flow.copy().known(now_ms)

    def copy_flow(self) -> FlowSnapshot:
        """Return the order flow as it is now; the same snapshot until it changes."""
        return self._flow.copy()

    def compute_from_flow(self, key: Hashable, now_ms: int, compute: FigureOfFlow) -> Floats:
        """Return ``compute(*flow(now_ms))``, cached by ``key`` until it changes."""
        return self._flow.copy().compute(key, now_ms, compute)
