"""The gate's transitions: what a strategy's record changes at one look.

``find_transition`` is the one function that decides. A block counts once its UTC day is over and
all its trades have closed; a block with an open trade holds back every later one, for every
statistic. Only a trade below ``TRADE_R_MIN`` counts at once, because it only stops a strategy.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from fractions import Fraction

import attrs

from kamou.core.book.gate_events import GateChanged
from kamou.core.book.gate_states import TRADING_STATES, StrategyGate
from kamou.core.day import DAY_MS, day_start_ms
from kamou.core.kinds import GateReason, GateState
from kamou.core.model import Figure
from kamou.core.record.canary import (
    CLOSES_MIN,
    SHORTFALL_MAX,
    CanaryComparison,
    Pair,
    compare_pairs,
)
from kamou.core.record.demotion import (
    calibrate_limits,
    measure_deterioration,
    rolling_mean,
    sort_trades,
)
from kamou.core.record.e_values import ResultOfTrade, describe_ruin, make_blocks
from kamou.core.record.promotion import (
    LIVE_FACTOR,
    M0_DEFAULT,
    CanaryMinima,
    GateDecision,
    GateEvaluation,
    GateTerms,
    evaluate_strategy,
)

COOLDOWN_MS = 7 * DAY_MS


@attrs.frozen(kw_only=True)
class GateRules:
    """The gate's thresholds. A run has the defaults; only simulations have others."""

    equity: float = 10_000.0  # money, from which daily returns compound
    m0: float = M0_DEFAULT  # R
    minima: CanaryMinima = CanaryMinima()
    live_closes: int = CLOSES_MIN
    cooldown_ms: int = COOLDOWN_MS

    def terms(self, gate: StrategyGate) -> GateTerms:
        """Return the terms of a strategy's present attempt."""
        return GateTerms(
            equity=self.equity,
            m0=self.m0,
            attempt=gate.attempt,
            from_ms=gate.from_ms or None,
            minima=self.minima,
        )


@attrs.frozen(kw_only=True)
class GateRecord:
    """What the gate knows of one strategy's trades, in any order."""

    strategy: str
    closed: tuple[ResultOfTrade, ...]  # all its closed shadow trades
    open_since_ms: int | None = None  # opening of its oldest open shadow trade
    pairs: tuple[Pair, ...] = ()  # closes since it became a canary
    real_open_since_ms: int | None = None  # opening of its oldest open real trade of a canary

    def until_ms(self, now_ms: int) -> int:
        """Return the time before which trades opened that count at ``now_ms``."""
        today_ms = day_start_ms(now_ms)
        if self.open_since_ms is None:
            return today_ms
        return min(today_ms, day_start_ms(self.open_since_ms))


@attrs.frozen(kw_only=True)
class GateLook:
    """The figures of one look at a strategy; no decision yet."""

    gate: StrategyGate
    now_ms: int
    until_ms: int
    counted: tuple[ResultOfTrade, ...]  # closed shadow trades of this attempt that count
    evaluation: GateEvaluation
    live_e_value_min: int
    live_closes: int  # canary closes that LIVE needs
    comparison: CanaryComparison
    ruin: str | None  # why the strategy is halted for good

    @property
    def live_lacks(self) -> tuple[str, ...]:
        """What a canary lacks for LIVE."""
        found = list(self.evaluation.reasons)
        e_value, needed = self.evaluation.e_value_blocks, self.live_e_value_min
        if e_value < needed:
            found.append(f"e-value of blocks {e_value:.4g}; LIVE needs {needed}")
        if self.comparison.closes < self.live_closes:
            closes = self.comparison.closes
            found.append(f"{closes} closed canary trades; LIVE needs {self.live_closes}")
        shortfall = self.comparison.shortfall
        if shortfall is not None and shortfall > Fraction(SHORTFALL_MAX):
            found.append(
                f"the mean of canary trades is {float(shortfall):.4g} R below that of their shadow"
                f" trades; LIVE allows {SHORTFALL_MAX} R"
            )
        return tuple(found)

    @property
    def monitored(self) -> tuple[ResultOfTrade, ...]:
        """Counted trades since the strategy became a canary; empty in SHADOW."""
        if self.gate.state not in TRADING_STATES:
            return ()
        return tuple(t for t in self.counted if t.opened_at_ms >= self.gate.reference_until_ms)


def look_at(record: GateRecord, gate: StrategyGate, now_ms: int, rules: GateRules) -> GateLook:
    """Return the figures of a strategy's record at ``now_ms``."""
    until_ms, terms = record.until_ms(now_ms), rules.terms(gate)
    ended = [each for each in record.closed if each.opened_at_ms < until_ms]
    counted = tuple(sort_trades(terms.select(ended)))
    return GateLook(
        gate=gate,
        now_ms=now_ms,
        until_ms=until_ms,
        counted=counted,
        evaluation=evaluate_strategy(record.strategy, counted, terms),
        live_e_value_min=terms.e_value_min * LIVE_FACTOR,
        live_closes=rules.live_closes,
        comparison=compare_pairs(record.pairs, until_ms, record.real_open_since_ms),
        ruin=describe_ruin(make_blocks(ended), record.closed),
    )


def find_transition(
    record: GateRecord, gate: StrategyGate, now_ms: int, rules: GateRules
) -> GateChanged | None:
    """Return the change that the record makes at ``now_ms``, or None.

    At most one change is due at a look. A demotion goes before a promotion.
    """
    if gate.state is GateState.HALTED:
        return None
    look = look_at(record, gate, now_ms, rules)
    if look.ruin is not None:
        figures = (Figure(name="ruin", value=look.ruin),)
        return _change(look, GateState.HALTED, GateReason.RUIN, figures)
    if gate.state is GateState.SHADOW:
        return _promote_to_canary(look)
    return _demote(look, rules) or _promote_to_live(look) or _resize(look)


def _promote_to_canary(look: GateLook) -> GateChanged | None:
    evaluation, gate = look.evaluation, look.gate
    if look.now_ms < gate.not_before_ms or evaluation.decision is not GateDecision.CANARY:
        return None
    needed = look.live_e_value_min // LIVE_FACTOR
    figures = (
        *_figures(e_value_blocks=evaluation.e_value_blocks, threshold=needed),
        *_figures(blocks=evaluation.blocks, symbols=evaluation.symbols),
        *_figures(sharpe=evaluation.sharpe_daily_annualised),
        *_figures(usd_per_100=evaluation.expectancy_usd_per_100),
    )
    changed = _change(look, GateState.CANARY, GateReason.CANARY_EARNED, figures)
    return attrs.evolve(changed, limits=calibrate_limits(look.counted))


def _promote_to_live(look: GateLook) -> GateChanged | None:
    if look.gate.state is not GateState.CANARY or look.live_lacks:
        return None
    evaluation, comparison = look.evaluation, look.comparison
    figures = (
        *_figures(e_value_blocks=evaluation.e_value_blocks, threshold=look.live_e_value_min),
        *_figures(canary_closes=comparison.closes, shortfall=comparison.shortfall),
    )
    return _change(look, GateState.LIVE, GateReason.LIVE_EARNED, figures)


def _demote(look: GateLook, rules: GateRules) -> GateChanged | None:
    limits = look.gate.limits
    assert limits is not None, f"{look.gate} has no limits"
    found = measure_deterioration(look.monitored, limits.reference_mean)
    if found.cusum > limits.cusum:
        reason, figures = GateReason.CUSUM, _figures(cusum=found.cusum, threshold=limits.cusum)
    elif found.drawdown > limits.drawdown:
        reason = GateReason.DRAWDOWN
        figures = _figures(drawdown=found.drawdown, threshold=limits.drawdown)
    else:
        return None
    changed = _change(look, GateState.SHADOW, reason, figures)
    return attrs.evolve(
        changed,
        attempt=look.gate.attempt + 1,
        half_size=False,
        not_before_ms=look.now_ms + rules.cooldown_ms,
    )


def _resize(look: GateLook) -> GateChanged | None:
    if is_half_size(look) == look.gate.half_size:
        return None
    figures = _figures(rolling_mean=rolling_mean(look.counted), threshold=0)
    return _change(look, look.gate.state, GateReason.ROLLING_MEAN, figures)


def is_half_size(look: GateLook) -> bool:
    """Return True if the mean of the last trades is below 0; False with fewer trades."""
    recent = rolling_mean(look.counted)
    return recent is not None and recent < 0


def _change(
    look: GateLook, to_state: GateState, reason: GateReason, figures: tuple[Figure, ...]
) -> GateChanged:
    """Return a change at this look; attempt, cooldown and limits stay as they are.

    Outside of CANARY and LIVE, size and limits mean nothing, so they are False and None.
    """
    gate, trades = look.gate, to_state in TRADING_STATES
    return GateChanged(
        at_ms=look.now_ms,
        cause_id=look.evaluation.strategy,
        strategy=look.evaluation.strategy,
        number=gate.changes + 1,
        from_state=gate.state,
        to_state=to_state,
        half_size=trades and is_half_size(look),
        attempt=gate.attempt,
        reason=reason,
        figures=figures,
        from_ms=gate.from_ms,
        until_ms=look.until_ms,
        counted=len(look.counted),
        data_hash=hash_trades(look.counted),
        not_before_ms=gate.not_before_ms,
        limits=gate.limits if trades else None,
    )


def _figures(**values: object) -> tuple[Figure, ...]:
    """Return figures of values as texts; floats and fractions with six digits."""
    return tuple(
        Figure(
            name=name,
            value=f"{float(value):.6g}" if isinstance(value, float | Fraction) else str(value),
        )
        for name, value in values.items()
    )


def hash_trades(trades: Iterable[ResultOfTrade]) -> str:
    """Return the SHA-256, hex, of the trades as lines of a CSV file without a head.

    The columns are those of ``kamou gate evaluate``, the lines those of ``sort_trades``.
    """
    lines = (
        f"{t.strategy},{t.opened_at_ms},{t.closed_at_ms},{t.symbol},{t.r},{t.pnl}\n"
        for t in sort_trades(trades)
    )
    return hashlib.sha256("".join(lines).encode()).hexdigest()
