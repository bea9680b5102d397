"""A scanner shard: keeps the panel of its symbols and lets strategies score them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs
import numpy as np
import trio

from kamou.actors.base import Actor
from kamou.actors.panel_loader import LoadedPanel, PanelLoader
from kamou.core.arrays import Floats
from kamou.core.indicators.regime import RegimeIndicator
from kamou.core.market.panel import Panel
from kamou.core.ranking.recorded_scores import RecordedScores
from kamou.core.strategies.base import StrategyScores, make_failed_scores
from kamou.core.strategies.evaluation import CheckedStrategy, StrategyFailure
from kamou.messages.market import BarsClosed
from kamou.messages.signals import ShardRanked
from kamou.runtime.mailbox_sides import Outbox

NO_FLOATS = np.empty(0)


@attrs.define(kw_only=True, eq=False, slots=False)
class Scanner(Actor[BarsClosed]):
    """The actor of one shard.

    Its state is the panel, which the port can reload, and the newest bar that was ranked. If
    ``on_strategy_failed`` returns, a strategy that fails abstains from all symbols of the shard at
    this bar, and the shard goes on. If it raises, the scanner crashes.
    """

    name: str = attrs.field(init=False)
    _index: int
    _panels: PanelLoader
    _symbols: tuple[str, ...]
    _strategies: Sequence[CheckedStrategy]
    _veto: Outbox[ShardRanked]
    _on_strategy_failed: Callable[[StrategyFailure], None]
    _recorded: RecordedScores | None = None  # of all symbols, in a backtest
    _regime: RegimeIndicator | None = None  # None: no veto reads regimes
    _loaded: LoadedPanel = attrs.field(init=False)
    _ranked_open_ms: int = attrs.field(init=False, default=-1)  # of the newest bar that was ranked

    def __attrs_post_init__(self) -> None:
        self.name = f"scanner-{self._index}"

    async def recover(self) -> None:
        """Reload the panel from the port; the panel is empty if the read fails.

        With recorded scores the panel stays empty until a bar has no recorded ranking.
        """
        if self._recorded is None:
            await self._reload()
        else:
            self._loaded = self._panels.make_empty(self._index)
            await trio.lowlevel.checkpoint()

    async def _reload(self) -> None:
        self._loaded = await self._panels.load(self._index)

    @property
    def _panel(self) -> Panel:
        return self._loaded.panel

    async def handle(self, message: BarsClosed) -> None:
        assert isinstance(message, BarsClosed), message
        if self._take_recorded(message):
            return
        panel = self._panel
        if len(message.open_ms) and int(message.open_ms[0]) > panel.close_ms:
            # Bars are missing before these: messages were conflated, or the panel was empty.
            await self._reload()
            panel = self._panel
        self._loaded.take_open_interest(message.open_interest_ms, message.open_interest)
        self._loaded.take_funding(message.funding_ms, message.funding_rates)
        self._loaded.take_flow(message.flow_ms, message.flow)
        self._loaded.take_ratios(message.ratios_ms, message.ratios, message.top_ratios)
        self._loaded.take_premium(message.premium_ms, message.premium)
        panel.give_market(message.open_ms, message.market)
        for row, open_ms in enumerate(message.open_ms):
            if open_ms > panel.open_ms:
                panel.append(
                    int(open_ms),
                    message.open[row],
                    message.high[row],
                    message.low[row],
                    message.close[row],
                    message.volume[row],
                )
        # Not only after an append: bars that a reload brought have not been ranked either.
        fresh = len(message.open_ms) > 0 and panel.open_ms > self._ranked_open_ms
        self._ranked_open_ms = panel.open_ms
        self._rank(message, fresh=fresh)

    def _take_recorded(self, message: BarsClosed) -> bool:
        """Send the recorded ranking of the newest bar; return False if there is none.

        An error of a strategy ends the use of recorded scores.
        """
        if self._recorded is None or not len(message.open_ms):
            return False
        closed_at_ms = int(message.open_ms[-1]) + message.period_ms
        try:
            ranking = self._recorded.ranking(closed_at_ms, self.clock.now_ms())
        except (
            Exception,
            SystemExit,
        ):  # scored bar by bar from now on, the strategy raises at the bar of its defect
            ranking = self._recorded = None
        if ranking is None:
            return False
        self._veto.put_nowait(
            ShardRanked(
                cause_id=message.cause_id,
                cycle_at_ms=message.cycle_at_ms,
                shard=self._index,
                bar_closed_at_ms=closed_at_ms,
                close=NO_FLOATS,
                columns=(),
                ranking=ranking.without_columns(),
            )
        )
        return True

    def _rank(self, message: BarsClosed, *, fresh: bool) -> None:
        if not fresh:
            self._send(message, 0, NO_FLOATS, ())
            return
        panel = self._panel
        now = self.clock.now_ms()
        columns = tuple(self._score(strategy, panel, now) for strategy in self._strategies)
        self._send(message, panel.close_ms, panel.row("close").copy(), columns)

    def _score(self, strategy: CheckedStrategy, panel: Panel, now_ms: int) -> StrategyScores:
        try:
            return strategy.evaluate(panel, now_ms)
        except (Exception, SystemExit) as error:  # a restart would not correct the strategy
            failure = strategy.describe(error, panel)
        self._on_strategy_failed(failure)
        text = f"{failure.summary}, at {failure.place}"
        return make_failed_scores(strategy.name, len(self._symbols), text)

    def _send(
        self,
        message: BarsClosed,
        bar_closed_at_ms: int,
        close: Floats,
        columns: tuple[StrategyScores, ...],
    ) -> None:
        self._veto.put_nowait(
            ShardRanked(
                cause_id=message.cause_id,
                cycle_at_ms=message.cycle_at_ms,
                shard=self._index,
                bar_closed_at_ms=bar_closed_at_ms,
                close=close,
                columns=columns,
                bars=self._panel.count.astype(float),
                last_close_ms=self._panel.last_close_ms.astype(float),
                regimes=self._read_regimes() if bar_closed_at_ms else None,
            )
        )

    def _read_regimes(self) -> Floats | None:
        return None if self._regime is None else self._panel.indicator(self._regime)
