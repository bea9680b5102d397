"""Random markets with gaps, invalid bars, and symbols that begin late or end early."""

from __future__ import annotations

from collections.abc import Iterator

import attrs
import numpy as np

from kamou.core.arrays import Floats, Ints
from kamou.core.day import HOUR_MS
from kamou.core.indicators.order_flow import LEVELS, SPREAD, WINDOW_FIGURES
from kamou.core.market.flow import FLOW_WINDOW_MS, FlowSnapshot
from kamou.core.market.hourly_rows import HourlySnapshot
from kamou.core.market.market_rows import find_market_rows
from kamou.core.market.panel import Panel
from kamou.core.market.panel_block import InterestSnapshot, PanelBlock
from kamou.core.market.settlements import FundingSnapshot

PERIOD_MS = HOUR_MS


@attrs.frozen(kw_only=True, eq=False)
class RoughMarket:
    """Bars ``[bars, symbols]``; other sources with their available times."""

    open_ms: Ints
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    interest_ms: Ints
    interest: Floats
    funding_ms: Ints
    funding: Floats
    flow_ms: Ints
    flow: Floats
    ratios_ms: Ints
    ratios: Floats  # of all accounts
    top_ratios: Floats
    premium_ms: Ints
    premium: Floats

    @property
    def symbols(self) -> list[str]:
        return ["BTC", "ETH", *(f"S{at:02}" for at in range(2, self.open.shape[1]))][
            : self.open.shape[1]
        ]

    def market(self, first: int, last: int) -> Floats:
        """Return the figures of the whole market in these bars."""
        rows = slice(first, last)
        return find_market_rows(self.symbols, self.open[rows], self.close[rows])

    def bars(self, first: int, last: int) -> tuple[Ints, Floats, Floats, Floats, Floats, Floats]:
        rows = slice(first, last)
        columns = (self.open, self.high, self.low, self.close, self.volume)
        open_, high, low, close, volume = (column[rows] for column in columns)
        return self.open_ms[rows], open_, high, low, close, volume

    def cut(self, bars: int) -> RoughMarket:
        """Return the first ``bars`` bars, with what else was known by their end."""
        until_ms = int(self.open_ms[bars - 1]) + PERIOD_MS
        known, settled = self.interest_ms <= until_ms, self.funding_ms <= until_ms
        ended = self.flow_ms <= until_ms
        listed, quoted = self.ratios_ms <= until_ms, self.premium_ms <= until_ms
        names = ("open_ms", "open", "high", "low", "close", "volume")
        return attrs.evolve(
            self,
            interest_ms=self.interest_ms[known],
            interest=self.interest[known],
            funding_ms=self.funding_ms[settled],
            funding=self.funding[settled],
            flow_ms=self.flow_ms[ended],
            flow=self.flow[ended],
            ratios_ms=self.ratios_ms[listed],
            ratios=self.ratios[listed],
            top_ratios=self.top_ratios[listed],
            premium_ms=self.premium_ms[quoted],
            premium=self.premium[quoted],
            **{name: getattr(self, name)[:bars] for name in names},
        )


def draw_market(seed: int, bars: int, symbols: int) -> RoughMarket:
    chance = np.random.default_rng(seed)
    noise = chance.standard_t(4, size=(bars, symbols)) * 0.004
    drift = np.repeat(chance.normal(0, 0.003, size=(bars // 40 + 1, symbols)), 40, axis=0)[:bars]
    logs = np.cumsum(noise + drift, axis=0)
    for t in range(1, bars):  # every second symbol reverts to its mean
        logs[t, ::2] = 0.9 * logs[t - 1, ::2] + noise[t, ::2]
    close = np.round(100 * np.exp(logs), chance.integers(0, 4))
    open_ = np.vstack([close[:1], close[:-1]])
    wick = 1 + np.abs(chance.normal(size=(2, bars, symbols))) * 0.002
    high, low = np.maximum(open_, close) * wick[0], np.minimum(open_, close) / wick[1]
    volume = chance.uniform(0, 10, size=(bars, symbols))
    _spoil(chance, (open_, high, low, close, volume))
    rows = chance.integers(0, bars // 2)
    interest_ms = np.sort(chance.integers(0, bars * PERIOD_MS, size=rows))
    interest = 1e6 * np.exp(np.cumsum(chance.normal(0, 0.01, size=(rows, symbols)), axis=0))
    interest[chance.random(interest.shape) < 0.05] = np.nan
    open_ms = np.arange(bars, dtype=np.int64) * PERIOD_MS
    if chance.random() < 0.3:  # some rows are missing
        open_ms[chance.integers(0, bars) :] += PERIOD_MS * chance.integers(1, 4)
    funding_ms, funding = draw_funding(seed, bars, symbols)
    flow_ms, flow = draw_flow(seed, bars, symbols)
    ratios_ms, ratios, top_ratios = draw_ratios(seed, bars, symbols)
    premium_ms, premium = draw_premium(seed, bars, symbols)
    return RoughMarket(
        open_ms=open_ms,
        open=open_,
        high=high,
        low=low,
        close=close,
        volume=volume,
        interest_ms=interest_ms,
        interest=interest,
        funding_ms=funding_ms,
        funding=funding,
        flow_ms=flow_ms,
        flow=flow,
        ratios_ms=ratios_ms,
        ratios=ratios,
        top_ratios=top_ratios,
        premium_ms=premium_ms,
        premium=premium,
    )


def draw_flow(seed: int, bars: int, symbols: int) -> tuple[Ints, Floats]:
    """Return ends and figures of windows, some of them missing or without quotes."""
    chance = np.random.default_rng((seed, 2))
    ends = np.arange(1, bars * PERIOD_MS // FLOW_WINDOW_MS, dtype=np.int64) * FLOW_WINDOW_MS
    flow = chance.normal(size=(len(ends), WINDOW_FIGURES, symbols))
    flow[:, SPREAD] = 4.0 * np.exp(0.6 * flow[:, SPREAD])
    flow[chance.random(flow.shape) < 0.01] = chance.choice([np.nan, np.inf])
    for symbol in np.flatnonzero(chance.random(symbols) < 0.5):
        first, last = np.sort(chance.integers(0, len(ends), size=2))
        figures = slice(None) if chance.random() < 0.5 else [*range(LEVELS), SPREAD]
        flow[first:last, figures, symbol] = np.nan  # no stream, or trades only
    kept = chance.random(len(ends)) > chance.choice([0.0, 0.02])
    if chance.random() < 0.3:  # the record ends early
        kept[chance.integers(0, len(ends)) :] = False
    return ends[kept], flow[kept]


def draw_funding(seed: int, bars: int, symbols: int) -> tuple[Ints, Floats]:
    """Return times and rates of funding with changing intervals, holes, and late settlements."""
    chance = np.random.default_rng((seed, 1))
    hours = np.arange(1, bars)
    rates = np.full((len(hours), symbols), np.nan)
    for symbol in range(symbols):
        change = chance.integers(0, 2 * bars)
        for part, interval in zip(
            (hours < change, hours >= change), chance.choice([1, 4, 8], 2), strict=True
        ):
            settles = part & (hours % interval == 0)
            drawn = chance.normal(0.0001, 0.0005, len(hours)) * interval / 8
            pinned = chance.random(len(hours)) < 0.3
            drawn[pinned] = 0.0001 * interval / 8
            rates[settles, symbol] = drawn[settles]
        if chance.random() < 0.3:  # the record ends early
            rates[chance.integers(0, len(hours)) :, symbol] = np.nan
    rates[chance.random(rates.shape) < 0.02] = chance.choice([np.nan, np.inf])
    times = hours * PERIOD_MS + np.where(chance.random(len(hours)) < 0.1, 5, 0)
    kept = np.isfinite(rates).any(axis=1)
    return times[kept].astype(np.int64), rates[kept]


def draw_ratios(seed: int, bars: int, symbols: int) -> tuple[Ints, Floats, Floats]:
    """Return times and ratios of all accounts and of top traders, with holes and bad values."""
    chance = np.random.default_rng((seed, 2))
    times = np.sort(chance.integers(1, bars * PERIOD_MS, size=chance.integers(1, 3 * bars)))
    if chance.random() < 0.5:  # as most venues: at the end of every hour
        times = np.arange(1, bars + 1) * PERIOD_MS
    both = np.exp(0.3 * chance.normal(size=(2, len(times), symbols)))
    both[chance.random(both.shape) < 0.03] = chance.choice([np.nan, np.inf, 0.0, -1.0])
    both[1, :, chance.random(symbols) < 0.4] = np.nan
    both[0, chance.integers(0, len(times)) :, chance.random(symbols) < 0.2] = np.nan
    return times.astype(np.int64), both[0], both[1]


def draw_premium(seed: int, bars: int, symbols: int) -> tuple[Ints, Floats]:
    """Return times and premium indices with holes and bad values; some symbols have none."""
    chance = np.random.default_rng((seed, 3))
    times = np.sort(chance.integers(1, bars * PERIOD_MS, size=chance.integers(1, 3 * bars)))
    if chance.random() < 0.5:  # as most venues: at the end of every hour
        times = np.arange(1, bars + 1) * PERIOD_MS
    premium = 0.0002 * chance.standard_t(3, size=(len(times), symbols))
    for row in range(1, len(times)):
        premium[row] += 0.8 * premium[row - 1]
    premium[chance.random(premium.shape) < 0.03] = chance.choice([np.nan, np.inf])
    premium[:, chance.random(symbols) < 0.3] = np.nan
    premium[chance.integers(0, len(times)) :, chance.random(symbols) < 0.2] = np.nan
    return times.astype(np.int64), premium


def _spoil(chance: np.random.Generator, columns: tuple[Floats, ...]) -> None:
    """Make single figures invalid, and the first or last bars of some symbols NaN."""
    bars, symbols = columns[0].shape
    for _ in range(chance.integers(0, 6)):
        at, symbol = chance.integers(0, bars), chance.integers(0, symbols)
        columns[chance.integers(0, 5)][at, symbol] = chance.choice([np.nan, np.inf, -1.0])
    for symbol in np.flatnonzero(chance.random(symbols) < 0.2):
        edge = chance.integers(0, bars)
        rows = slice(0, edge) if chance.random() < 0.5 else slice(edge, None)
        for column in columns:
            column[rows, symbol] = np.nan


def feed_bars(panel: Panel, market: RoughMarket) -> Iterator[int]:
    """Append each bar after what else was known at its close; yield its index."""
    taken = settled = ended = listed = quoted = 0
    for t in range(len(market.open_ms)):
        taken = _feed_interest(panel, market, taken, int(market.open_ms[t]) + PERIOD_MS)
        settled = _feed_funding(panel, market, settled, int(market.open_ms[t]) + PERIOD_MS)
        ended = _feed_flow(panel, market, ended, int(market.open_ms[t]) + PERIOD_MS)
        listed = _feed_ratios(panel, market, listed, int(market.open_ms[t]) + PERIOD_MS)
        quoted = _feed_premium(panel, market, quoted, int(market.open_ms[t]) + PERIOD_MS)
        open_ms, *columns = market.bars(t, t + 1)
        panel.give_market(open_ms, market.market(t, t + 1))
        panel.append(int(open_ms[0]), *(column[0] for column in columns))
        yield t


def feed_blocks(
    panel: Panel, market: RoughMarket, chance: np.random.Generator, bars_max: int
) -> Iterator[tuple[slice, PanelBlock]]:
    """Append blocks of random sizes without gaps; yield each with its rows."""
    taken = settled = ended = listed = quoted = first = 0
    gaps = np.flatnonzero(np.diff(market.open_ms) > PERIOD_MS) + 1
    ends = [*gaps.tolist(), len(market.open_ms)]
    while first < len(market.open_ms):
        end = min(end for end in ends if end > first)
        last = min(end, first + int(chance.integers(1, bars_max + 1)))
        snapshots: list[InterestSnapshot] = []
        fundings: list[FundingSnapshot] = []
        flows: list[FlowSnapshot] = []
        ratios: list[HourlySnapshot] = []
        premium: list[HourlySnapshot] = []
        for close_ms in (market.open_ms[first:last] + PERIOD_MS).tolist():
            taken = _feed_interest(panel, market, taken, close_ms)
            snapshots.append(panel.copy_interest())
            settled = _feed_funding(panel, market, settled, close_ms)
            fundings.append(panel.copy_funding())
            ended = _feed_flow(panel, market, ended, close_ms)
            flows.append(panel.copy_flow())
            listed = _feed_ratios(panel, market, listed, close_ms)
            ratios.append(panel.copy_ratios())
            quoted = _feed_premium(panel, market, quoted, close_ms)
            premium.append(panel.copy_premium())
        panel.give_market(market.open_ms[first:last], market.market(first, last))
        block = panel.append_block(*market.bars(first, last))
        known = attrs.evolve(
            block,
            interest=snapshots,
            funding=fundings,
            flow=flows,
            ratios=ratios,
            premium=premium,
        )
        yield slice(first, last), known
        first = last


def _feed_interest(panel: Panel, market: RoughMarket, taken: int, until_ms: int) -> int:
    while taken < len(market.interest_ms) and market.interest_ms[taken] <= until_ms:
        panel.append_interest(int(market.interest_ms[taken]), market.interest[taken])
        taken += 1
    return taken


def _feed_funding(panel: Panel, market: RoughMarket, settled: int, until_ms: int) -> int:
    while settled < len(market.funding_ms) and market.funding_ms[settled] <= until_ms:
        panel.append_funding(int(market.funding_ms[settled]), market.funding[settled])
        settled += 1
    return settled


def _feed_flow(panel: Panel, market: RoughMarket, ended: int, until_ms: int) -> int:
    last = int(np.searchsorted(market.flow_ms, until_ms, side="right"))
    panel.append_flow(market.flow_ms[ended:last], market.flow[ended:last])
    return last


def _feed_ratios(panel: Panel, market: RoughMarket, listed: int, until_ms: int) -> int:
    while listed < len(market.ratios_ms) and market.ratios_ms[listed] <= until_ms:
        at_ms = int(market.ratios_ms[listed])
        panel.append_ratios(at_ms, market.ratios[listed], market.top_ratios[listed])
        listed += 1
    return listed


def _feed_premium(panel: Panel, market: RoughMarket, quoted: int, until_ms: int) -> int:
    while quoted < len(market.premium_ms) and market.premium_ms[quoted] <= until_ms:
        panel.append_premium(int(market.premium_ms[quoted]), market.premium[quoted])
        quoted += 1
    return quoted
