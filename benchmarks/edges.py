"""The table of planted edges: which strategies the gate finds in a generated market.

For each seed every strategy scores ``--days`` days of the generated market. Each candidate that the
reward-to-risk and conflict vetoes leave opens a shadow trade, at most one at a time for a strategy
and symbol. The fills are a simple model of those of the embedded exchange, with its costs: they do
not depend on the size of a trade. The gate (``kamou gate evaluate``) judges each record at the end
of every day, and the table has its highest decision. ``--edges none`` gives the same market without
any edge. With ``--regimes`` the veto of regimes counts too, as in a run.

A market of 60 symbols takes about 1 minute of CPU per seed, one of 220 symbols about 4 minutes.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from decimal import Decimal

import attrs
import numpy as np

from kamou.core.day import DAY_MS
from kamou.core.indicators.regime import RegimeIndicator
from kamou.core.indicators.regime_terms import RegimeTerms
from kamou.core.market.instruments import FUNDING_PERIOD_MS
from kamou.core.model import Candidate
from kamou.core.ranking.ranking import Ranking
from kamou.core.ranking.recorded_scores import RecordedScores, ScoringTimes, find_block_strategies
from kamou.core.record.e_values import ResultOfTrade
from kamou.core.record.promotion import GateEvaluation, GateTerms, evaluate_strategy
from kamou.core.risk.costs import reward_to_risk
from kamou.core.risk.limits import CostModel, TradingParameters, VetoLimits
from kamou.core.strategies import list_names, make_strategies
from kamou.core.vetoes import find_conflicting_symbols
from kamou.core.vetoes.base import VetoContext
from kamou.core.vetoes.regime import veto as veto_regime
from kamou.venue.market.edges import Edge, planted_edges
from kamou.venue.market.generated_day import PathSettings
from kamou.venue.market.generator import GeneratedMarket

GENESIS_MS = 1_756_684_800_000  # 2025-09-01T00:00Z, the first trading day
WARMUP_DAYS = 35
PERIOD_MS = 900_000  # cycle.timeframe_s
RISK_USD = Decimal(100)  # of each trade: 1 % of 10,000 USD
BPS = 1e-4
HEADER = (
    "| seed | strategy | edge | trades | blocks | gross R a trade | R a trade | R a block"
    " | E at the end | highest E | CANARY on day | decision |",
    "|---|---|---|---|---|---|---|---|---|---|---|---|",
)


@attrs.frozen(kw_only=True)
class Plan:
    """What every seed is judged on."""

    symbols: int
    days: int
    step_ms: int
    strategies: tuple[str, ...]
    top: int
    regimes: bool  # whether the veto of regimes counts too


class Prices:
    """The native bars of a stretch, ``[bars, symbols]``, and the settled funding."""

    def __init__(self, market: GeneratedMarket, since_ms: int, until_ms: int) -> None:
        days = [
            market.bars(market.step_ms, at, min(at + DAY_MS, until_ms))
            for at in range(since_ms, until_ms, DAY_MS)
        ]
        self.since_ms, self.step_ms = since_ms, market.step_ms
        self.open, self.high, self.low = (
            np.concatenate([getattr(day, name) for day in days]) for name in ("open", "high", "low")
        )
        self.half_spread = market.half_spread_bps(since_ms) * BPS
        self.column = {name: at for at, name in enumerate(market.symbols)}
        self.funding = market.funding_rates(since_ms, until_ms).values

    def row(self, at_ms: int) -> int:
        return (at_ms - self.since_ms) // self.step_ms


@attrs.frozen(kw_only=True)
class Closed:
    """A closed shadow trade with its R before costs too."""

    result: ResultOfTrade
    gross_r: float


def trade(
    candidate: Candidate, at_ms: int, prices: Prices, costs: CostModel, net_min: float
) -> Closed | None:
    """Return the closed shadow trade of a candidate; None: vetoed, or still open at the end."""
    column, row = prices.column[candidate.symbol], prices.row(at_ms)
    if row >= len(prices.open):
        return None
    sign, mid = float(candidate.side.sign), float(prices.open[row, column])
    half = float(prices.half_spread[column])
    slip = half + float(costs.slippage_bps) * BPS
    taker, maker = float(costs.taker_bps) * BPS, float(costs.maker_bps) * BPS
    settled = prices.funding[: (at_ms - prices.since_ms) // FUNDING_PERIOD_MS]
    rate = float(settled[-1, column]) if len(settled) else float(costs.funding_bps_per_8h) * BPS
    paid = max(0.0, sign * rate) * candidate.hold_ms / FUNDING_PERIOD_MS
    cost = mid * (2 * (taker + slip) + paid)
    net = reward_to_risk(
        target_distance=candidate.target_distance,
        stop_distance=candidate.stop_distance,
        cost=cost,
    )
    if net < net_min:
        return None
    touch = mid * (1 + sign * half)
    stop, target = touch - sign * candidate.stop_distance, touch + sign * candidate.target_distance
    risk = touch * float(costs.entry_limit_offset_bps) * BPS + candidate.stop_distance
    filled = mid * (1 + sign * slip)
    last = row + candidate.hold_ms // prices.step_ms
    exit_row, exit_price, fee, exit_mid = find_exit(
        prices, column, range(row, last), sign=sign, stop=stop, target=target
    )
    if exit_row is None:
        if last >= len(prices.open):
            return None
        exit_row, exit_mid = last, float(prices.open[last, column])
    if not fee:
        exit_price, fee = exit_mid * (1 - sign * slip), taker
    else:
        fee = maker
    closed_ms = prices.since_ms + (exit_row + 1) * prices.step_ms
    funding = pay_funding(prices, column, at_ms, closed_ms, mid)
    pnl = sign * (exit_price - filled) - taker * filled - fee * exit_price - sign * funding
    r = Decimal(f"{pnl / risk:.8f}")
    result = ResultOfTrade(
        strategy=candidate.strategy,
        symbol=candidate.symbol,
        opened_at_ms=at_ms,
        closed_at_ms=closed_ms,
        r=r,
        pnl=r * RISK_USD,
    )
    return Closed(result=result, gross_r=sign * (exit_mid - mid) / risk)


def find_exit(
    prices: Prices, column: int, rows: range, *, sign: float, stop: float, target: float
) -> tuple[int | None, float, float, float]:
    """Return row, price, 1 for a limit fill, and mid of the first exit; row None without one."""
    for first in range(rows.start, rows.stop, 96):
        part = slice(first, min(first + 96, rows.stop))
        worst = (prices.low if sign > 0 else prices.high)[part, column]
        best = (prices.high if sign > 0 else prices.low)[part, column]
        stopped = sign * (worst - stop) <= 0
        passed = sign * (best - target) > 0
        hit = np.flatnonzero(stopped | passed)
        if len(hit):
            row = first + int(hit[0])
            opened = float(prices.open[row, column])
            if stopped[hit[0]]:  # the stop first if a bar reaches both
                return row, 0.0, 0.0, sign * min(sign * stop, sign * opened)
            return row, target, 1.0, target
    return None, 0.0, 0.0, 0.0


def pay_funding(prices: Prices, column: int, from_ms: int, to_ms: int, mid: float) -> float:
    """Return what a long of one base unit pays from one time to another."""
    first = (from_ms - prices.since_ms) // FUNDING_PERIOD_MS
    last = (to_ms - prices.since_ms) // FUNDING_PERIOD_MS
    return mid * float(prices.funding[first:last, column].sum())


def shadow_trades(market: GeneratedMarket, plan: Plan) -> Iterator[Closed]:
    """Yield the closed shadow trades of every strategy."""
    until_ms = GENESIS_MS + plan.days * DAY_MS
    prices = Prices(market, market.first_ms, until_ms)
    chosen = find_block_strategies(make_strategies(plan.strategies, {}))
    assert chosen is not None, "a strategy scores single bars only"
    scores = RecordedScores(
        market,
        chosen,
        ScoringTimes(start_ms=GENESIS_MS, period_ms=PERIOD_MS, delay_ms=0),
        shards=(slice(0, len(market.symbols)),),
        top=plan.top,
        regime=RegimeIndicator(terms=RegimeTerms(), period_ms=PERIOD_MS) if plan.regimes else None,
    )
    costs, net_min = CostModel(), float(VetoLimits().reward_to_risk_min)
    open_until: dict[tuple[str, str], int] = defaultdict(int)
    for at_ms in range(GENESIS_MS, until_ms, PERIOD_MS):
        ranking = scores.ranking(at_ms, at_ms)
        top = ranking.top if ranking is not None else ()
        conflicting = find_conflicting_symbols(top)
        context = make_context(market, ranking, at_ms)
        for each in top:
            key = each.strategy, each.symbol
            if each.symbol in conflicting or open_until[key] > at_ms:
                continue
            if plan.regimes and veto_regime(each, context) is not None:
                continue
            closed = trade(each, at_ms, prices, costs, net_min)
            if closed is not None:
                open_until[key] = closed.result.closed_at_ms
                yield closed


def make_context(market: GeneratedMarket, ranking: Ranking | None, at_ms: int) -> VetoContext:
    """Return what the veto of regimes reads at a time."""
    return VetoContext(
        now_ms=at_ms,
        period_ms=PERIOD_MS,
        limits=VetoLimits(),
        parameters=TradingParameters(),
        quotes={},
        instruments={},
        regimes={} if ranking is None else ranking.regimes,
        bitcoin=market.symbols[0],
    )


@attrs.frozen(kw_only=True)
class Row:
    """One line of the table."""

    seed: int
    strategy: str
    planted: bool
    n: int
    blocks: int
    mean_r: float  # of trades, net
    gross_r: float  # of trades, before costs
    block_r: float  # mean of the blocks' means, net
    e_value: float
    highest_e_value: float
    promoted_on_day: int | None  # the first day at whose end the gate decides CANARY
    decision: str


def judge(seed: int, strategy: str, planted: bool, closed: Sequence[Closed], days: int) -> Row:
    """Return the gate's judgment of one record, looked at after every day."""
    results = [each.result for each in closed]
    looks = list(looks_of(strategy, results, days))
    final = looks[-1][1]
    promoted = next((day for day, each in looks if each.decision == "CANARY"), None)
    by_day: dict[int, list[float]] = defaultdict(list)
    for each in results:
        by_day[each.opened_at_ms // DAY_MS].append(float(each.r))
    means = [float(np.mean(each)) for each in by_day.values()]
    return Row(
        seed=seed,
        strategy=strategy,
        planted=planted,
        n=final.n,
        blocks=final.blocks,
        mean_r=final.expectancy_r or 0.0,
        gross_r=float(np.mean([each.gross_r for each in closed])) if closed else 0.0,
        block_r=float(np.mean(means)) if means else 0.0,
        e_value=final.e_value_blocks,
        highest_e_value=max(each.e_value_blocks for _, each in looks),
        promoted_on_day=promoted,
        decision=final.decision.value,
    )


def looks_of(
    strategy: str, results: Sequence[ResultOfTrade], days: int
) -> Iterator[tuple[int, GateEvaluation]]:
    """Yield day and evaluation of the gate at the end of each day with a new block."""
    known = -1
    for day in range(1, days + 1):
        end_ms = GENESIS_MS + day * DAY_MS
        # A block counts once its day is over and all its trades, and those before, have closed.
        open_from = min(
            (e.opened_at_ms for e in results if e.opened_at_ms < end_ms < e.closed_at_ms),
            default=end_ms,
        )
        before_ms = open_from - open_from % DAY_MS
        counted = [each for each in results if each.opened_at_ms < before_ms]
        if len(counted) > known or day == days:
            known = len(counted)
            yield day, evaluate_strategy(strategy, counted, GateTerms())


def run_seed(seed: int, plan: Plan, planted: str) -> list[Row]:
    """Return the rows of one seed."""
    market = make_market(seed, plan, planted)
    by_strategy: dict[str, list[Closed]] = {name: [] for name in plan.strategies}
    for closed in shadow_trades(market, plan):
        by_strategy[closed.result.strategy].append(closed)
    return [
        judge(seed, name, name in market.paths.edges, closed, plan.days)
        for name, closed in by_strategy.items()
    ]


def make_market(seed: int, plan: Plan, planted: str) -> GeneratedMarket:
    """Return a seed's market with its edges ("seed"), none ("none"), or those of the list."""
    edges = planted_edges(seed) if planted == "seed" else ()
    if planted not in ("seed", "none"):
        edges = tuple(map(Edge, planted.split(",")))
    return GeneratedMarket(
        seed=seed,
        origin_ms=GENESIS_MS - WARMUP_DAYS * DAY_MS,
        symbols=plan.symbols,
        step_ms=plan.step_ms,
        paths=PathSettings(edges=edges),
    )


def markdown(row: Row) -> str:
    day = "never" if row.promoted_on_day is None else str(row.promoted_on_day)
    return (
        f"| {row.seed} | {row.strategy} | {'planted' if row.planted else 'none'} | {row.n}"
        f" | {row.blocks} | {row.gross_r:+.2f} | {row.mean_r:+.2f} | {row.block_r:+.2f}"
        f" | {row.e_value:.3g} | {row.highest_e_value:.3g} | {day} | {row.decision} |"
    )


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="1..6")
    parser.add_argument("--symbols", type=int, default=60)
    parser.add_argument("--days", type=int, default=120)
    parser.add_argument("--bar-s", type=int, default=900)
    parser.add_argument("--edges", default="seed")
    parser.add_argument("--strategies", nargs="*", default=list(list_names()))
    parser.add_argument("--regimes", action="store_true")
    parser.add_argument("--markdown", action="store_true")
    given = parser.parse_args(arguments)
    first, _, last = given.seeds.partition("..")
    plan = Plan(
        symbols=given.symbols,
        days=given.days,
        step_ms=given.bar_s * 1000,
        strategies=tuple(given.strategies),
        top=20,
        regimes=given.regimes,
    )
    if given.markdown:
        print(*HEADER, sep="\n", flush=True)
    for seed in range(int(first), int(last or first) + 1):
        for row in run_seed(seed, plan, given.edges):
            print(markdown(row) if given.markdown else json.dumps(attrs.asdict(row)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
