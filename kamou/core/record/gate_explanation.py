"""The gate's arithmetic of one strategy line by line, for people."""

from __future__ import annotations

import math
from fractions import Fraction

import attrs

from kamou.core.book.book_state import BookState
from kamou.core.book.gate_states import TRADING_STATES, StrategyGate
from kamou.core.record.demotion import measure_deterioration, rolling_mean
from kamou.core.record.e_values import BLOCK_LAMBDAS, BLOCK_MEAN_MAX, make_blocks
from kamou.core.record.gate_record import gather_record
from kamou.core.record.gate_transitions import (
    GateLook,
    GateRecord,
    GateRules,
    hash_trades,
    look_at,
)


@attrs.frozen(kw_only=True)
class BlockLine:
    """One block: its mean, the bet's gain, and the wealth of each share after it."""

    day: str
    trades: int
    mean_r: float
    gain: float  # mean, at most 10, less m0
    products: tuple[float, ...]  # of (1 + lambda gain) so far, one for each lambda
    e_value: float  # mean of the products


@attrs.frozen(kw_only=True)
class Watched:
    """A statistic that can demote or halve a strategy, with its limit, both in R."""

    name: str
    level: float | None  # None: too few trades
    limit: float


@attrs.frozen(kw_only=True)
class GateExplanation:
    """State, evidence and missing conditions of one strategy."""

    strategy: str
    gate: StrategyGate
    as_of_ms: int
    until_ms: int  # trades that opened at or after it do not count yet
    held_back: int  # closed shadow trades that do not count yet
    m0: float
    look: GateLook
    blocks: tuple[BlockLine, ...]
    watched: tuple[Watched, ...]
    data_hash: str

    @property
    def lacks(self) -> tuple[str, ...]:
        """What the next state needs; in HALTED, why nothing leads out of it."""
        if self.look.ruin is not None:
            return (self.look.ruin,)
        if self.gate.state in TRADING_STATES:
            return self.look.live_lacks
        return self.look.evaluation.reasons


def explain_strategy(
    book: BookState, strategy: str, now_ms: int, rules: GateRules
) -> GateExplanation:
    """Return the arithmetic of a strategy's record as of ``now_ms``."""
    return explain_record(gather_record(book, strategy), book.gate.find(strategy), now_ms, rules)


def explain_record(
    record: GateRecord, gate: StrategyGate, now_ms: int, rules: GateRules
) -> GateExplanation:
    """Return the arithmetic of a record as of ``now_ms``."""
    look = look_at(record, gate, now_ms, rules)
    fresh = [each for each in record.closed if each.opened_at_ms >= gate.from_ms]
    return GateExplanation(
        strategy=record.strategy,
        gate=gate,
        as_of_ms=now_ms,
        until_ms=look.until_ms,
        held_back=len(fresh) - len(look.counted),
        m0=rules.m0,
        look=look,
        blocks=_explain_blocks(look, rules.m0),
        watched=_watch(look),
        data_hash=hash_trades(look.counted),
    )


def _explain_blocks(look: GateLook, m0: float) -> tuple[BlockLine, ...]:
    """Return the blocks with the products after each; 0 for a ruined strategy."""
    lines, products = [], (1.0,) * len(BLOCK_LAMBDAS)
    for block in make_blocks(look.counted):
        gain = float(min(block.mean_r, Fraction(BLOCK_MEAN_MAX))) - m0
        products = tuple(
            0.0 if look.ruin else product * (1 + share * gain)
            for product, share in zip(products, BLOCK_LAMBDAS, strict=True)
        )
        lines.append(
            BlockLine(
                day=block.day,
                trades=block.trades,
                mean_r=float(block.mean_r),
                gain=gain,
                products=products,
                e_value=math.fsum(products) / len(products),
            )
        )
    return tuple(lines)


def _watch(look: GateLook) -> tuple[Watched, ...]:
    """Return the rolling mean and, in CANARY and LIVE, CUSUM and drawdown."""
    recent = rolling_mean(look.counted)
    found = [Watched(name="rolling_mean", level=None if recent is None else float(recent), limit=0)]
    if (limits := look.gate.limits) is not None:
        now = measure_deterioration(look.monitored, limits.reference_mean)
        found += [
            Watched(name="cusum", level=float(now.cusum), limit=float(limits.cusum)),
            Watched(name="drawdown", level=float(now.drawdown), limit=float(limits.drawdown)),
        ]
    return tuple(found)
