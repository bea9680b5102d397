"""Conformance checks, which every strategy must pass, on generated data.

`kamou strategy check` and the tests run them. They show defects that a backtest hides, such as
scores that depend on earlier evaluations, or on bars before a gap.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator

import attrs
import numpy as np

from kamou.core.arrays import Floats
from kamou.core.codes import Abstain
from kamou.core.day import HOUR_MS
from kamou.core.indicators.order_flow import SPREAD, TRADE_IMBALANCE, WINDOW_FIGURES
from kamou.core.market.flow import FLOW_WINDOW_MS
from kamou.core.market.instruments import FUNDING_PERIOD_MS
from kamou.core.market.market_rows import find_market_rows
from kamou.core.market.panel import INTEREST_PERIOD_MS, Panel
from kamou.core.strategies import make_panel
from kamou.core.strategies.base import Strategy, StrategyScores
from kamou.core.strategies.evaluation import (
    CheckedStrategy,
    InvalidScoresError,
    check_strategies,
)

PERIOD_MS = HOUR_MS
WINDOW_ENDS_MS = np.arange(FLOW_WINDOW_MS, PERIOD_MS + 1, FLOW_WINDOW_MS, dtype=np.int64)
SYMBOLS = 24
SCORED_BARS = 280  # after the warm-up
LOOKS = (1, 40, 83, 160, 278)  # bars after the warm-up at which scores are compared
SCORE_COLUMNS = ("score", "raw", "weight", "stop_distance", "target_distance", "abstain", "proxy")
DECISIVE = ("score", "raw", "stop_distance", "target_distance", "abstain")
RELATIVE = 1e-10  # difference that sums in another order may make


@attrs.frozen(kw_only=True, eq=False)
class MadeMarket:
    """A generated market of hourly bars, as columns ``[bars, symbols]``.

    A panel gets every fourth row of open interest and every eighth row of funding rates. Order flow
    has the windows of each bar, ``[bars, windows, figures, symbols]``. ``ratios`` are of all
    accounts, ``top_ratios`` of top traders. ``premium`` has fractions of the index price.
    """

    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    open_interest: Floats
    funding: Floats
    flow: Floats
    ratios: Floats
    top_ratios: Floats
    premium: Floats
    market: Floats  # of the whole market, ``[bars, MARKET_FIGURES]``, whatever its symbols are

    def feed(self, panel: Panel, first: int, last: int) -> None:
        """Append bars ``first <= t < last``, and what else was known by their closes."""
        for t in range(first, last):
            open_ms = t * PERIOD_MS
            panel.give_market(np.array([open_ms]), self.market[[t]])
            panel.append(
                open_ms, self.open[t], self.high[t], self.low[t], self.close[t], self.volume[t]
            )
            if (open_ms + PERIOD_MS) % INTEREST_PERIOD_MS == 0:
                panel.append_interest(open_ms + PERIOD_MS, self.open_interest[t])
            if (open_ms + PERIOD_MS) % FUNDING_PERIOD_MS == 0:
                panel.append_funding(open_ms + PERIOD_MS, self.funding[t])
            panel.append_flow(open_ms + WINDOW_ENDS_MS, self.flow[t])
            panel.append_ratios(open_ms + PERIOD_MS, self.ratios[t], self.top_ratios[t])
            panel.append_premium(open_ms + PERIOD_MS, self.premium[t])

    def choose(self, symbols: slice) -> MadeMarket:
        """Return the market with these symbols only."""
        chosen = self._map(lambda column: column[..., symbols])
        return attrs.evolve(chosen, market=self.market)

    def copy(self) -> MadeMarket:
        """Return a copy whose columns may be changed."""
        return self._map(np.copy)

    def _map(self, change: Callable[[Floats], Floats]) -> MadeMarket:
        return MadeMarket(
            **{f.name: change(getattr(self, f.name)) for f in attrs.fields(MadeMarket)}
        )


def make_market(seed: int, bars: int) -> MadeMarket:
    """Return a market of ``SYMBOLS`` symbols and ``bars`` hourly bars.

    Every other symbol reverts to a mean and the rest have trends, so that most strategies have
    scores.
    """
    chance = np.random.default_rng(seed)
    noise = chance.standard_t(4, size=(bars, SYMBOLS)) * 0.004
    drift = np.repeat(chance.normal(0, 0.003, size=(-(-bars // 40), SYMBOLS)), 40, axis=0)[:bars]
    logs = np.cumsum(noise + drift, axis=0)
    reverting = np.zeros(SYMBOLS)
    for t in range(bars):
        reverting = 0.9 * reverting + noise[t]
        logs[t, ::2] = reverting[::2]
    close = 100 * np.exp(logs)
    open_ = np.vstack([close[:1], close[:-1]])
    wick = 1 + np.abs(chance.normal(size=(2, bars, SYMBOLS))) * 0.002
    return MadeMarket(
        open=open_,
        high=np.maximum(open_, close) * wick[0],
        low=np.minimum(open_, close) / wick[1],
        close=close,
        volume=chance.uniform(1, 10, size=(bars, SYMBOLS)),
        open_interest=1e6 * np.exp(np.cumsum(chance.normal(0, 0.01, size=(bars, SYMBOLS)), axis=0)),
        funding=chance.standard_t(3, size=(bars, SYMBOLS)) * 0.0003 + 0.0001,
        flow=_make_flow(chance, bars),
        ratios=np.exp(0.2 * chance.standard_t(4, size=(bars, SYMBOLS))),
        top_ratios=_make_top_ratios(chance, bars),
        premium=_make_premium(chance, bars),
        market=find_market_rows(("BTC", "ETH"), open_[:, :2], close[:, :2]),
    )


def _make_flow(chance: np.random.Generator, bars: int) -> Floats:
    """Return normal imbalances, those of trades in [-1, 1], and spreads of 4 bps."""
    flow = chance.normal(size=(bars, len(WINDOW_ENDS_MS), WINDOW_FIGURES, SYMBOLS))
    flow[:, :, TRADE_IMBALANCE] = np.tanh(flow[:, :, TRADE_IMBALANCE])
    flow[:, :, SPREAD] = 4.0 * np.exp(0.5 * flow[:, :, SPREAD])
    return flow


def _make_top_ratios(chance: np.random.Generator, bars: int) -> Floats:
    """Return ratios of top traders, which every third symbol does not have."""
    ratios = np.exp(0.1 * chance.standard_t(4, size=(bars, SYMBOLS)))
    ratios[:, ::3] = np.nan
    return ratios


def _make_premium(chance: np.random.Generator, bars: int) -> Floats:
    """Return premium indices that last, which every third symbol does not have."""
    premium = 0.0003 * chance.standard_t(3, size=(bars, SYMBOLS))
    for t in range(1, bars):
        premium[t] += 0.8 * premium[t - 1]
    premium[:, 1::3] = np.nan
    return premium


def fill_panel(strategy: Strategy, market: MadeMarket, last: int, first: int = 0) -> Panel:
    """Return a panel for the strategy with bars ``first <= t < last``."""
    names = [f"S{s:02}" for s in range(market.close.shape[1])]
    panel = make_panel([strategy], names, PERIOD_MS)
    market.feed(panel, first, last)
    return panel


@attrs.frozen(kw_only=True, eq=False)
class Bench:
    """A strategy with a market that is long enough for its warm-up."""

    strategy: CheckedStrategy
    market: MadeMarket

    @property
    def warmup(self) -> int:
        return self.strategy.warmup_bars

    @property
    def bars(self) -> int:
        return len(self.market.close)

    @property
    def looks(self) -> tuple[int, ...]:
        return tuple(self.warmup + after for after in LOOKS)

    def panel(self, last: int, first: int = 0, market: MadeMarket | None = None) -> Panel:
        return fill_panel(self.strategy.strategy, market or self.market, last, first)

    def scores(self, panel: Panel, late_ms: int = 0) -> StrategyScores:
        return self.strategy.evaluate(panel, max(panel.close_ms, 0) + late_ms)

    def follow(self, market: MadeMarket | None = None) -> Iterator[tuple[int, StrategyScores]]:
        """Yield every bar after the warm-up with its scores, from one panel for all bars."""
        chosen = market or self.market
        panel = self.panel(self.warmup, market=chosen)
        for t in range(self.warmup, self.bars):
            chosen.feed(panel, t, t + 1)
            yield t, self.scores(panel)


def make_bench(name: str, strategy: Strategy, seed: int = 1) -> Bench:
    """Return a strategy's bench.

    Raises:
        ConfigurationError: a declaration is missing or invalid, or its reading raises.
    """
    (checked,) = check_strategies({name: strategy}, PERIOD_MS)
    market = make_market(seed, checked.warmup_bars + SCORED_BARS)
    return Bench(strategy=checked, market=market)


def find_difference(
    one: StrategyScores,
    other: StrategyScores,
    columns: tuple[str, ...] = SCORE_COLUMNS,
    relative: float = 0,
) -> str:
    """Return the name of the first column that differs; empty if none does.

    ``relative`` is the allowed difference as a fraction of the value. NaN equals NaN.
    """
    for name in columns:
        left, right = getattr(one, name), getattr(other, name)
        if not np.allclose(left, right, rtol=relative, atol=0, equal_nan=True):
            return name
    return ""


def _keeps_no_memory(bench: Bench) -> Iterator[str]:
    followed = dict(bench.follow())
    for t in bench.looks:
        panel = bench.panel(t + 1)
        for k in range(1, 4):
            later_ms = panel.close_ms + k * INTEREST_PERIOD_MS
            panel.append_interest(later_ms, bench.market.open_interest[-k])
            panel.append_funding(later_ms, bench.market.funding[-k])
            panel.append_flow(panel.close_ms + k * WINDOW_ENDS_MS[:1], bench.market.flow[-k, :1])
            ratios, top_ratios = bench.market.ratios[-k], bench.market.top_ratios[-k]
            panel.append_ratios(panel.close_ms + k, ratios, top_ratios)
            panel.append_premium(panel.close_ms + k, bench.market.premium[-k])
        if column := find_difference(followed[t], bench.scores(panel)):
            yield (
                f"at bar {t} {column} differs between a panel that was evaluated at every bar and"
                " one that was evaluated once; keep nothing between evaluations"
            )


def _repeats_itself(bench: Bench) -> Iterator[str]:
    panel = bench.panel(bench.bars)
    first, second = (bench.scores(panel) for _ in range(2))
    if column := find_difference(first, second):
        yield (
            f"two evaluations of one panel differ in {column}; let evaluate depend on the panel and"
            " the time alone"
        )


def _waits_for_its_warmup(bench: Bench) -> Iterator[str]:
    panel = bench.panel(bench.warmup - 1)
    if bench.warmup > 1 and not bench.scores(panel).abstain.all():
        yield (
            f"a symbol with {bench.warmup - 1} bars has a score; warmup_bars are {bench.warmup}, so"
            " abstain before (check_data finds such symbols)"
        )
    bench.market.feed(panel, bench.warmup - 1, bench.warmup)
    if (bench.scores(panel).abstain == Abstain.WARMING_UP).any():
        yield (
            f"a symbol still warms up after {bench.warmup} bars, which are its warmup_bars; declare"
            " as many as evaluate needs"
        )


def _forgets_bars_before_a_gap(bench: Bench) -> Iterator[str]:
    start = bench.bars - bench.warmup - 1
    panel = bench.panel(start - 1)
    bench.market.feed(panel, start, start + 1)  # bar start - 1 is missing
    if bench.warmup > 1 and not bench.scores(panel).abstain.all():
        yield "a symbol has a score one bar after a gap; check_data finds such symbols"
    bench.market.feed(panel, start + 1, start + bench.warmup)
    clean = bench.panel(start + bench.warmup, start)
    if column := find_difference(bench.scores(panel), bench.scores(clean), DECISIVE, RELATIVE):
        yield (
            f"{column} depends on bars before a gap; read at most warmup_bars back, and keep"
            " nothing between evaluations"
        )


def _abstains_without_data(bench: Bench) -> Iterator[str]:
    market, last = bench.market.copy(), bench.bars - 91
    market.close[last - 9, 0] = np.nan  # one bar of one symbol
    market.high[last - 4 :, 1] = np.inf  # invalid bars of one symbol
    market.close[:, 2] = np.nan  # a symbol without bars
    panel = bench.panel(last, market=market)
    for at, what in ((1, "whose bars are infinite"), (2, "without any bar")):
        if not bench.scores(panel).abstain[at]:
            yield f"a symbol {what} has a score; check_data finds such symbols"
    if bench.warmup > 9 and not bench.scores(panel).abstain[0]:
        yield (
            "a symbol with a missing bar within the warm-up has a score; check_data finds such"
            " symbols"
        )
    if not bench.scores(panel, 2 * PERIOD_MS + 1).abstain.all():
        yield (
            "a symbol whose newest bar is older than two bars has a score; check_data finds such"
            " symbols"
        )


def _abstains_from_an_empty_panel(bench: Bench) -> Iterator[str]:
    if not bench.scores(bench.panel(0)).abstain.all():
        yield "a symbol of an empty panel has a score; check_data finds such symbols"


def _stands_degenerate_data(bench: Bench) -> Iterator[str]:
    flat, still = bench.market.copy(), bench.market.copy()
    for column in (flat.open, flat.high, flat.low, flat.close):
        column[:, 0] = 7.0
    still.volume[:] = 0.0
    still.open_interest[:] = np.nan
    still.funding[:] = np.nan
    still.flow[:] = np.nan
    still.ratios[:] = np.nan
    for _ in (*bench.follow(flat), *bench.follow(still)):
        yield from ()  # the check of a bar's scores raises if one is invalid


def _scores_a_symbol_alone(bench: Bench) -> Iterator[str]:
    whole = bench.scores(bench.panel(bench.bars))
    for symbols in (slice(0, 7), slice(7, 8), slice(8, SYMBOLS)):
        part = bench.scores(bench.panel(bench.bars, market=bench.market.choose(symbols)))
        chosen = attrs.evolve(
            whole, **{name: getattr(whole, name)[symbols] for name in SCORE_COLUMNS}
        )
        if column := find_difference(part, chosen, relative=RELATIVE):
            yield (
                f"{column} of a symbol depends on the other symbols of its panel; a cross_sectional"
                " strategy gives raw values, and Kamou ranks them"
            )


CONFORMANCE_CHECKS: dict[str, Callable[[Bench], Iterator[str]]] = {
    "scores depend on the panel alone, not on earlier evaluations or later data": _keeps_no_memory,
    "a second evaluation gives the same scores": _repeats_itself,
    "no score before the warm-up ends": _waits_for_its_warmup,
    "scores after a gap do not depend on bars before it": _forgets_bars_before_a_gap,
    "no score of missing, broken or stale bars": _abstains_without_data,
    "no score in an empty panel": _abstains_from_an_empty_panel,
    "flat prices, and no volume or other source, cause no error": _stands_degenerate_data,
    "a symbol's score is the same in every shard": _scores_a_symbol_alone,
}


@attrs.frozen(kw_only=True)
class CheckResult:
    """The result of one check; the strategy passed if there are no problems."""

    check: str
    problems: tuple[str, ...]


def run_check(bench: Bench, check: str) -> CheckResult:
    """Run one of ``CONFORMANCE_CHECKS``.

    A failure of the strategy is a problem, and so is each Python warning.

    Raises:
        Exception: an error of the check itself.
    """
    problems: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            problems += CONFORMANCE_CHECKS[check](bench)
        except (
            Exception,
            SystemExit,
        ) as error:  # an error of the strategy is a result of the check
            failure = bench.strategy.describe(error, bench.panel(0))
            if failure.trace is None and not isinstance(error, InvalidScoresError):
                raise  # an error of the check itself
            problems.append(f"{failure.summary}, at {failure.file}:{failure.line}")
    seen = {f"{each.message}, at {each.filename}:{each.lineno}" for each in caught}
    return CheckResult(check=check, problems=(*problems, *sorted(seen)))


def count_scores(bench: Bench) -> tuple[int, int]:
    """Return the number of scores after the warm-up, and of all bars of all symbols."""
    counts = [int((scores.abstain == 0).sum()) for _, scores in bench.follow()]
    return sum(counts), len(counts) * SYMBOLS
