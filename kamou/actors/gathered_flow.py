"""``GatheredFlow``, which keeps the windows that gatherers hand over."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from kamou.actors.panel_loader import PanelPart
from kamou.core.arrays import Floats
from kamou.core.indicators.order_flow import WINDOW_FIGURES
from kamou.core.market.flow import FLOW_WINDOW_MS, FlowWindows, empty_flow
from kamou.core.strategies.base import Strategy
from kamou.core.strategies.evaluation import count_flow_windows
from kamou.exchange.base import ExchangePort


class GatheredFlow:
    """The newest windows of all shards, in the place of the port's ``flow_windows``.

    It outlives the gatherers and the readers, as a mailbox does: only gatherers put, and what is
    read is a copy. Windows before the first one that was put come from the port, if its venue lists
    them. From then on only what was gathered counts, and what lacks is unknown.

    Args:
        port: the venue of the windows before.
        parts: the shards, in the order of their symbols.
        keep: number of windows to keep.
    """

    def __init__(self, port: ExchangePort, parts: Sequence[PanelPart], keep: int) -> None:
        self._port = port
        self.parts = tuple(parts)
        self._symbols = tuple(symbol for part in parts for symbol in part.symbols)
        self._keep = max(1, keep)
        self._values: dict[int, Floats] = {}  # by end of window, ``[WINDOW_FIGURES, symbols]``
        self._newest_ms = [-1] * len(self.parts)
        self._open: set[int] = set()
        self._put_count = self._breaks = 0

    def put(self, index: int, window: FlowWindows) -> None:
        """Take one window of part ``index``.

        A window that is not later than the last one of the part is dropped.
        """
        (end_ms,) = window.end_ms.tolist()
        if end_ms <= self._newest_ms[index]:
            return
        self._newest_ms[index] = end_ms
        self._put_count += 1
        if end_ms not in self._values:
            self._values[end_ms] = np.full((WINDOW_FIGURES, len(self._symbols)), np.nan)
        self._values[end_ms][:, self.parts[index].columns] = window.values[0]
        while len(self._values) > self._keep:
            del self._values[min(self._values)]

    def note_stream(self, index: int, *, is_open: bool) -> None:
        """Note that the stream of part ``index`` was opened, or has broken."""
        if is_open:
            self._open.add(index)
        elif index in self._open:
            self._open.remove(index)
            self._breaks += 1

    async def flow_windows(self, since_ms: int, until_ms: int) -> FlowWindows:
        """Return the order flow of the windows that ended in ``(since_ms, until_ms]``.

        Raises:
            UnreachableError, RateLimitedError: as the port.
        """
        first_ms = min(self._values, default=None)
        before_ms = until_ms if first_ms is None else min(until_ms, first_ms - FLOW_WINDOW_MS)
        before = empty_flow(self._symbols)
        if since_ms < before_ms and self._port.capabilities.flow_windows:
            before = await self._port.flow_windows(since_ms, before_ms)
        gathered = self.list_gathered(since_ms, until_ms)
        return FlowWindows(
            symbols=self._symbols,
            end_ms=np.concatenate([before.end_ms, gathered.end_ms]),
            values=np.concatenate([before.values, gathered.values]),
        )

    def list_gathered(self, since_ms: int, until_ms: int) -> FlowWindows:
        """Return the gathered windows that ended in ``(since_ms, until_ms]``."""
        ends = sorted(end_ms for end_ms in self._values if since_ms < end_ms <= until_ms)
        none = empty_flow(self._symbols)
        return FlowWindows(
            symbols=self._symbols,
            end_ms=np.array(ends, dtype=np.int64),
            values=np.concatenate([none.values, *(self._values[e][np.newaxis] for e in ends)]),
        )

    def describe(self) -> dict[str, int | None]:
        """Return the state of windows and streams as plain data.

        ``window_ms`` is the end of the newest window (None: there is none yet), ``known`` the
        number of symbols whose OFI it has, of ``symbols``. ``windows`` counts what the gatherers of
        all shards handed over, ``streams`` the open streams of ``shards``, and ``breaks`` the
        streams that ended or fell silent.
        """
        newest_ms = max(self._values, default=None)
        known = 0 if newest_ms is None else int(np.isfinite(self._values[newest_ms][0]).sum())
        return {
            "window_ms": newest_ms,
            "known": known,
            "symbols": len(self._symbols),
            "windows": self._put_count,
            "streams": len(self._open),
            "shards": len(self.parts),
            "breaks": self._breaks,
        }


def find_gathered_flow(
    port: ExchangePort, parts: Sequence[PanelPart], strategies: Iterable[Strategy], *, wanted: bool
) -> GatheredFlow | None:
    """Return what keeps the windows that the strategies read.

    None: no strategy reads order flow, the venue has no stream of quotes and trades, or ``wanted``
    is False.
    """
    keep = max(map(count_flow_windows, strategies), default=0)
    wanted = wanted and keep > 0 and port.capabilities.flow_stream
    return GatheredFlow(port, parts, keep) if wanted else None
