"""The gate's decision on closed shadow trades, with what a strategy lacks.

``evaluate_strategy`` computes the displayed original rule (30 trades, Sharpe ratio, expectancy) and
the evidence (``core/record/e_values.py``). The original rule is necessary and not sufficient:
looked at after every trade, it promotes 85 of 100 strategies without an edge within 300 trades.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from fractions import Fraction

import attrs

from kamou.core.day import DAY_MS
from kamou.core.record.e_values import (
    Block,
    ResultOfTrade,
    block_e_value,
    describe_ruin,
    make_blocks,
    mean,
    trade_e_value,
)
from kamou.core.record.performance import TRADES_MIN, sharpe

SHARPE_MIN = 0.5  # of the original rule, daily, annualised
EXPECTANCY_USD_MIN = 1  # of the original rule, money per 100 trades
E_VALUE_MIN = 20  # of the first attempt; doubles with each further one
LIVE_FACTOR = 6  # LIVE needs this many times the e-value of a canary: 120 at the first attempt
CANARY_TRADES_MIN = 50
CANARY_BLOCKS_MIN = 14
CANARY_SYMBOLS_MIN = 10
M0_DEFAULT = 0.05  # R: uncertainty of the cost model
M0_MAX = 0.15


class GateDecision(StrEnum):
    """States that closed shadow trades can show; LIVE also needs real fills."""

    SHADOW = "SHADOW"
    CANARY = "CANARY"
    HALTED = "HALTED"  # final


@attrs.frozen(kw_only=True)
class CanaryMinima:
    """Counts and e-value that a canary needs; only simulations need less."""

    e_value: int = E_VALUE_MIN  # of blocks, at the first attempt
    trades: int = CANARY_TRADES_MIN
    blocks: int = CANARY_BLOCKS_MIN
    symbols: int = CANARY_SYMBOLS_MIN
    original_trades: int = TRADES_MIN


@attrs.frozen(kw_only=True)
class GateTerms:
    """What the gate assumes of the trades that it evaluates."""

    equity: float = 10_000.0  # money at the start, > 0
    m0: float = M0_DEFAULT  # R, 0 to ``M0_MAX``
    attempt: int = 1  # 2: the first after a demotion, and so on
    from_ms: int | None = None  # trades that opened before do not count; None: all
    to_ms: int | None = None  # trades that opened at or after it do not count; None: all
    minima: CanaryMinima = CanaryMinima()

    @property
    def e_value_min(self) -> int:
        """E-value of blocks that a canary needs at this attempt."""
        return int(self.minima.e_value * 2 ** (self.attempt - 1))

    def select(self, trades: Iterable[ResultOfTrade]) -> list[ResultOfTrade]:
        """Return the trades that count, by their opening."""
        return [
            each
            for each in trades
            if (self.from_ms is None or each.opened_at_ms >= self.from_ms)
            and (self.to_ms is None or each.opened_at_ms < self.to_ms)
        ]


@attrs.frozen(kw_only=True)
class GateEvaluation:
    """Figures and decision of the gate for one strategy."""

    strategy: str
    n: int  # closed trades
    blocks: int
    symbols: int
    # None: below two days, without deviation, or equity used up.
    sharpe_daily_annualised: float | None
    expectancy_r: float | None  # mean R; None without a trade
    expectancy_usd_per_100: float | None  # 100 x mean PnL, money; None without a trade
    e_value: float  # of single trades, for display; 0 if halted
    e_value_blocks: float  # decides; 0 if halted
    original_rule_passes: bool
    decision: GateDecision
    reasons: tuple[str, ...]  # what it lacks, or why it is halted; empty: a canary

    @property
    def halted(self) -> bool:
        """True if a loss halts the strategy for good."""
        return self.decision is GateDecision.HALTED


def evaluate_strategies(
    trades: Iterable[ResultOfTrade], terms: GateTerms
) -> tuple[GateEvaluation, ...]:
    """Return the evaluation of each strategy in ``trades``, by name."""
    by_strategy: dict[str, list[ResultOfTrade]] = defaultdict(list)
    for trade in trades:
        by_strategy[trade.strategy].append(trade)
    return tuple(evaluate_strategy(name, own, terms) for name, own in sorted(by_strategy.items()))


def evaluate_strategy(
    strategy: str, trades: Sequence[ResultOfTrade], terms: GateTerms
) -> GateEvaluation:
    """Return the evaluation of one strategy.

    Args:
        trades: closed trades of this strategy, in any order. Those that ``terms`` leave out do not
            count in any figure.
    """
    counted = terms.select(trades)
    blocks = make_blocks(counted)
    ruin = describe_ruin(blocks, counted)
    money = mean([each.pnl for each in counted]) * 100 if counted else None
    ratio = sharpe(daily_returns(counted, terms) or ())
    lacks = tuple(_original_rule_lacks(len(counted), ratio, money, terms.minima))
    e_blocks = 0.0 if ruin else block_e_value(blocks, terms.m0)
    symbols = len({each.symbol for each in counted})
    reasons: tuple[str, ...] = (ruin,) if ruin else ()
    if not ruin:
        reasons = (*lacks, *_canary_lacks(len(counted), blocks, symbols, e_blocks, terms))
    decision = GateDecision.SHADOW if reasons else GateDecision.CANARY
    return GateEvaluation(
        strategy=strategy,
        n=len(counted),
        blocks=len(blocks),
        symbols=symbols,
        sharpe_daily_annualised=ratio,
        expectancy_r=float(mean([each.r for each in counted])) if counted else None,
        expectancy_usd_per_100=None if money is None else float(money),
        e_value=0.0 if ruin else trade_e_value((each.r for each in counted), terms.m0),
        e_value_blocks=e_blocks,
        original_rule_passes=not lacks,
        decision=GateDecision.HALTED if ruin else decision,
        reasons=reasons,
    )


def daily_returns(trades: Sequence[ResultOfTrade], terms: GateTerms) -> list[float] | None:
    """Return each UTC day's PnL over the equity at its start.

    None if the equity at a start is not above 0; empty without a trade. A trade belongs to the day
    of its close. The days run from that of ``terms.from_ms``, or of the first opening, to that of
    the last close. Days without a close are 0.
    """
    if not trades:
        return []
    by_day: dict[int, list[ResultOfTrade]] = defaultdict(list)
    for trade in trades:
        by_day[trade.closed_at_ms // DAY_MS].append(trade)
    opened_ms = min(each.opened_at_ms for each in trades)
    first = (opened_ms if terms.from_ms is None else terms.from_ms) // DAY_MS
    equity, found = terms.equity, []
    for day in range(first, max(by_day) + 1):
        if equity <= 0:
            return None
        pnl = float(sum(each.pnl for each in by_day.get(day, ())))
        found.append(pnl / equity)
        equity += pnl
    return found


def _original_rule_lacks(
    n: int, ratio: float | None, money: Fraction | None, minima: CanaryMinima
) -> Iterator[str]:
    """Yield each unmet condition of the original rule."""
    if n < minima.original_trades:
        yield f"{n} trades; the original rule needs {minima.original_trades}"
    if ratio is None:
        yield "no Sharpe ratio: fewer than 2 days, returns that do not vary, or equity used up"
    elif ratio <= SHARPE_MIN:
        yield f"Sharpe ratio {ratio:.4g} (daily, x sqrt(365)); it must be above {SHARPE_MIN}"
    if money is None or money <= EXPECTANCY_USD_MIN:
        shown = "none" if money is None else f"{float(money):.4g}"
        yield f"expectancy {shown} per 100 trades; it must be above {EXPECTANCY_USD_MIN}"


def _canary_lacks(
    n: int, blocks: Sequence[Block], symbols: int, e_value: float, terms: GateTerms
) -> Iterator[str]:
    """Yield each unmet condition of a canary beyond the original rule."""
    least = terms.minima
    if e_value < terms.e_value_min:
        yield f"e-value of blocks {e_value:.4g}; a canary needs {terms.e_value_min}"
    if n < least.trades:
        yield f"{n} trades; a canary needs {least.trades}"
    if len(blocks) < least.blocks:
        yield f"{len(blocks)} blocks; a canary needs {least.blocks}"
    if symbols < least.symbols:
        yield f"{symbols} symbols; a canary needs {least.symbols}"
