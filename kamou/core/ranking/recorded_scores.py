"""``RecordedScores``, the rankings of recorded data, computed in blocks of bars.

A score is a pure function of the bars that closed before it and of the open interest that was
available by then, so over recorded data a block of bars can be scored at once. The scores are those
of single bars, bit for bit (``tests/core/strategies/test_scores_in_blocks.py``), and entry b of a
block does not depend on bar b + 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import attrs
import numpy as np

from kamou.core.arrays import Codes, Floats
from kamou.core.indicators.regime import RegimeIndicator
from kamou.core.market.bars import Bars, Series, get_top_ratios
from kamou.core.market.flow import FlowSnapshot, FlowWindows
from kamou.core.market.hourly_rows import HourlySnapshot
from kamou.core.market.market_rows import find_market_rows
from kamou.core.market.panel import Panel
from kamou.core.market.panel_block import InterestSnapshot, PanelBlock
from kamou.core.market.settlements import FundingSnapshot
from kamou.core.ranking.ranking import Ranking, Scored, ScoredBar, rank_bar, score_symbols
from kamou.core.strategies import make_panel
from kamou.core.strategies.base import BlockStrategy, Strategy, StrategyScores

BLOCK_BARS = 64  # so many bars share the fixed cost of each call of numpy


class RecordedBars(Protocol):
    """Recorded bars and other sources, such as ``RecordedMarket``.

    Its bars are a time grid without gaps; a missing bar of a symbol is NaN.
    """

    @property
    def symbols(self) -> tuple[str, ...]: ...
    @property
    def first_ms(self) -> int:
        """Open time of the first bar."""
        ...

    def bars(self, period_ms: int, since_ms: int, until_ms: int) -> Bars: ...
    def open_interest(self, since_ms: int, until_ms: int) -> Series: ...
    def funding_rates(self, since_ms: int, until_ms: int) -> Series: ...
    def flow_windows(self, since_ms: int, until_ms: int) -> FlowWindows: ...
    def long_short_ratios(self, since_ms: int, until_ms: int) -> Series: ...
    def premium_index(self, since_ms: int, until_ms: int) -> Series: ...


@attrs.frozen(kw_only=True)
class ScoringTimes:
    """The time of the first score, the length of bars, and the delay of each score."""

    start_ms: int  # the first score is of the newest bar that has closed by then
    period_ms: int
    delay_ms: int  # from a bar's close to the evaluation of its score


@attrs.frozen(kw_only=True, eq=False)
class _ScoredBlock:
    """One strategy's columns over a block, with scores and abstentions.

    Arrays are ``[bars, symbols]``.
    """

    strategy: BlockStrategy
    shards: tuple[StrategyScores, ...]
    score: Floats
    abstain: Codes
    weight: Floats

    @classmethod
    def of_shards(cls, strategy: BlockStrategy, shards: tuple[StrategyScores, ...]) -> _ScoredBlock:
        score, abstain = score_symbols(
            strategy,
            np.concatenate([shard.raw for shard in shards], axis=-1),
            np.concatenate([shard.score for shard in shards], axis=-1),
            np.concatenate([shard.abstain for shard in shards], axis=-1),
        )
        weight = np.concatenate([shard.weight for shard in shards], axis=-1)
        return cls(strategy=strategy, shards=shards, score=score, abstain=abstain, weight=weight)

    def at_bar(self, bar: int) -> Scored:
        return Scored(
            strategy=self.strategy,
            parts=tuple(shard.at_bar(bar) for shard in self.shards),
            score=self.score[bar],
            abstain=self.abstain[bar],
            weight=self.weight[bar],
        )


@attrs.frozen(kw_only=True)
class _Known:
    """What became known besides bars; None: no strategy reads it."""

    interest: Series
    funding: Series | None
    flow: FlowWindows | None
    ratios: Series | None
    premium: Series | None


class _Shard:
    """The panel of a part of the symbols, and the times of what it has taken."""

    def __init__(self, panel: Panel, columns: slice) -> None:
        self.panel = panel
        self._columns = columns
        self._interest_at_ms = -1  # of the newest row
        self._funding_at_ms = -1
        self._flow_at_ms = -1
        self._ratios_at_ms = -1
        self._premium_at_ms = -1

    def take(self, bars: Bars, known: _Known) -> PanelBlock:
        """Append the bars, with what else was known at their closes.

        Return the panel after each bar.
        """
        close_ms: list[int] = (bars.open_ms + bars.period_ms).tolist()
        part = self._columns
        interest = self._take_interest(close_ms, known.interest)
        funding = self._take_funding(close_ms, known.funding) if known.funding is not None else ()
        flow = self._take_flow(close_ms, known.flow) if known.flow is not None else ()
        ratios = self._take_ratios(close_ms, known.ratios) if known.ratios is not None else ()
        premium = self._take_premium(close_ms, known.premium) if known.premium is not None else ()
        if self.panel.reads_market:
            market = find_market_rows(bars.symbols, bars.open, bars.close)
            self.panel.give_market(bars.open_ms, market)
        columns = (bars.open, bars.high, bars.low, bars.close, bars.volume)
        block = self.panel.append_block(bars.open_ms, *(column[:, part] for column in columns))
        return attrs.evolve(
            block, interest=interest, funding=funding, flow=flow, ratios=ratios, premium=premium
        )

    def _newest_first(self, series: Series) -> list[tuple[int, Floats]]:
        """Return the time and the part's values of each row, newest first."""
        values = series.values[:, self._columns]
        return list(zip(series.available_ms.tolist(), values, strict=True))[::-1]

    def _take_interest(self, close_ms: list[int], interest: Series) -> list[InterestSnapshot]:
        """Append the open interest and return it as it was at each close."""
        rows, known = self._newest_first(interest), []
        for at_ms in close_ms:
            while rows and rows[-1][0] <= at_ms:
                available_ms, values = rows.pop()
                if available_ms > self._interest_at_ms:
                    self.panel.append_interest(available_ms, values)
                    self._interest_at_ms = available_ms
            known.append(self.panel.copy_interest())
        return known

    def _take_funding(self, close_ms: list[int], funding: Series) -> list[FundingSnapshot]:
        """Append the funding and return it as it was at each close."""
        rows, known = self._newest_first(funding), []
        for at_ms in close_ms:
            while rows and rows[-1][0] <= at_ms:
                settled_ms, rates = rows.pop()
                if settled_ms > self._funding_at_ms:
                    self.panel.append_funding(settled_ms, rates)
                    self._funding_at_ms = settled_ms
            known.append(self.panel.copy_funding())
        return known

    def _take_flow(self, close_ms: list[int], flow: FlowWindows) -> list[FlowSnapshot]:
        """Append the order flow and return it as it was at each close."""
        values, known = flow.values[..., self._columns], []
        for at_ms in close_ms:
            new = (flow.end_ms > self._flow_at_ms) & (flow.end_ms <= at_ms)
            if new.any():
                self.panel.append_flow(flow.end_ms[new], values[new])
                self._flow_at_ms = int(flow.end_ms[new][-1])
            known.append(self.panel.copy_flow())
        return known

    def _take_ratios(self, close_ms: list[int], ratios: Series) -> list[HourlySnapshot]:
        """Append the long/short ratios and return them as they were at each close."""
        top, known, row = get_top_ratios(ratios), [], 0
        times, part = ratios.available_ms.tolist(), self._columns
        for at_ms in close_ms:
            while row < len(times) and times[row] <= at_ms:
                if times[row] > self._ratios_at_ms:
                    self.panel.append_ratios(times[row], ratios.values[row, part], top[row, part])
                    self._ratios_at_ms = times[row]
                row += 1
            known.append(self.panel.copy_ratios())
        return known

    def _take_premium(self, close_ms: list[int], premium: Series) -> list[HourlySnapshot]:
        """Append the premium index and return it as it was at each close."""
        rows, known = self._newest_first(premium), []
        for at_ms in close_ms:
            while rows and rows[-1][0] <= at_ms:
                available_ms, values = rows.pop()
                if available_ms > self._premium_at_ms:
                    self.panel.append_premium(available_ms, values)
                    self._premium_at_ms = available_ms
            known.append(self.panel.copy_premium())
        return known


def find_block_strategies(strategies: Mapping[str, Strategy]) -> dict[str, BlockStrategy] | None:
    """Return the strategies if all of them score blocks, otherwise None."""
    found = {name: s for name, s in strategies.items() if isinstance(s, BlockStrategy)}
    return found if len(found) == len(strategies) else None


class RecordedScores:
    """The rankings of recorded bars, in the order of time.

    One block of bars is in memory; the first request for a ranking of the next block computes that
    block. The panels begin where those of scanners that start at the same time begin.

    Args:
        market: the recorded data.
        strategies: the strategies by name.
        times: the times of the scores.
        shards: the columns of each shard.
        top: maximum number of candidates in ``Ranking.top``.
        regime: specification of the regimes of the rankings; None: they have none.
    """

    def __init__(
        self,
        market: RecordedBars,
        strategies: Mapping[str, BlockStrategy],
        times: ScoringTimes,
        *,
        shards: Sequence[slice],
        top: int,
        regime: RegimeIndicator | None = None,
    ) -> None:
        self._market = market
        self._strategies = tuple(strategies.values())
        self._times = times
        self._top = top
        self._regime = regime
        self._shards = tuple(
            _Shard(
                make_panel(self._strategies, market.symbols[part], times.period_ms, regime), part
            )
            for part in shards
        )
        start_ms = times.start_ms - times.start_ms % times.period_ms
        # All but bars was read until then.
        self._known_ms = start_ms - self._shards[0].panel.history_ms
        self._reads_funding = self._shards[0].panel.funding_settlements > 0
        self._reads_flow = self._shards[0].panel.flow_windows > 0
        self._reads_ratios = self._shards[0].panel.ratio_hours > 0
        self._reads_premium = self._shards[0].panel.premium_hours > 0
        self._scored_from_ms = start_ms - times.period_ms  # open of the first bar with a score
        first_ms = -(-market.first_ms // times.period_ms) * times.period_ms
        self._next_open_ms = max(self._known_ms, first_ms)
        # The attributes below describe the block in memory.
        self._first_close_ms = self._next_open_ms + times.period_ms
        self._close: Floats = np.zeros((0, len(market.symbols)))
        self._scored: tuple[_ScoredBlock, ...] = ()
        self._regimes: Floats | None = None  # [bars, figures, symbols]

    def ranking(self, bar_closed_at_ms: int, now_ms: int) -> Ranking | None:
        """Return the ranking at a bar that has closed, evaluated at ``now_ms``.

        Return None if no block has it: the bar is not recorded, or before the first score or the
        block in memory, or it is evaluated at another time than ``ScoringTimes.delay_ms`` after its
        close.

        Raises:
            Exception: what a strategy raises; later calls return None for the bars of its block.
        """
        if now_ms != bar_closed_at_ms + self._times.delay_ms:
            return None
        while bar_closed_at_ms > self._next_open_ms:
            if not self._read_block(self._end_of_block()):
                return None
        bar, rest = divmod(bar_closed_at_ms - self._first_close_ms, self._times.period_ms)
        if rest or bar < 0 or bar >= len(self._close) or not self._scored:
            return None
        closed = ScoredBar(
            symbols=self._market.symbols,
            close=self._close[bar],
            closed_at_ms=bar_closed_at_ms,
            period_ms=self._times.period_ms,
            regimes=None if self._regimes is None else self._regimes[bar],
        )
        scored = tuple(block.at_bar(bar) for block in self._scored)
        return rank_bar(closed, scored, top=self._top)

    def _end_of_block(self) -> int:
        """Return the end of the next block.

        A block of bars without scores ends at the first bar with a score.
        """
        end_ms = self._next_open_ms + BLOCK_BARS * self._times.period_ms
        warming = self._next_open_ms < self._scored_from_ms
        return min(end_ms, self._scored_from_ms) if warming else end_ms

    def _read_block(self, end_ms: int) -> bool:
        """Read the bars up to ``end_ms``; return False if there are none.

        Score them unless they are before the first bar with a score.
        """
        bars = self._market.bars(self._times.period_ms, self._next_open_ms, end_ms)
        if not len(bars.open_ms):
            return False
        self._first_close_ms = int(bars.open_ms[0]) + bars.period_ms
        self._next_open_ms = int(bars.open_ms[-1]) + bars.period_ms
        market, since_ms, until_ms = self._market, self._known_ms, self._next_open_ms
        known = _Known(
            interest=market.open_interest(since_ms, until_ms),
            funding=market.funding_rates(since_ms, until_ms) if self._reads_funding else None,
            flow=market.flow_windows(since_ms, until_ms) if self._reads_flow else None,
            ratios=market.long_short_ratios(since_ms, until_ms) if self._reads_ratios else None,
            premium=market.premium_index(since_ms, until_ms) if self._reads_premium else None,
        )
        self._known_ms = self._next_open_ms
        blocks = [shard.take(bars, known) for shard in self._shards]
        self._close, self._scored = np.concatenate([b.row("close") for b in blocks], axis=-1), ()
        if self._regime is not None:
            parts = [block.indicator(self._regime) for block in blocks]
            self._regimes = np.concatenate(parts, axis=-1)
        if self._next_open_ms > self._scored_from_ms:
            self._scored = self._score(blocks)
        return True

    def _score(self, blocks: Sequence[PanelBlock]) -> tuple[_ScoredBlock, ...]:
        now_ms = blocks[0].close_ms[:, np.newaxis] + self._times.delay_ms
        return tuple(
            _ScoredBlock.of_shards(
                strategy, tuple(strategy.evaluate_block(block, now_ms) for block in blocks)
            )
            for strategy in self._strategies
        )
