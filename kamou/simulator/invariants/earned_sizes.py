"""Invariant 15: strategies have the size that their shadow trades have earned.

States, figures and hashes are this module's own fold of the journal's shadow trades. A canary's
open trade holds back its pairs from its day on. The pairs of a simulation are older than its first
real trade, because it has no shadow book; so all pairs of ended days count here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

import attrs

from kamou.core.book import events as e
from kamou.core.book.gate_events import DemotionLimits, GateChanged
from kamou.core.book.late_events import ResultCorrected
from kamou.core.book.shadow_events import ShadowTradesClosed, ShadowTradesOpened
from kamou.core.day import DAY_MS
from kamou.core.kinds import GateReason, GateState
from kamou.ids import is_kamou_id
from kamou.simulator.invariants import gate_arithmetic as again
from kamou.simulator.invariants.change_figures import (
    E_VALUE_OF_CANARY,
    E_VALUE_OF_LIVE,
    CountedTrades,
    SeenPair,
    find_wrong_figures,
)
from kamou.simulator.invariants.gate_arithmetic import SeenShadow
from kamou.simulator.invariants.observed import Observed, ReportViolation
from kamou.simulator.invariants.promised_risk import TOLERANCE
from kamou.venue.state import FillAudit
from kamou.venue.violations import HardRule

EARNED = "earned"  # label of a gate whose sizes strategies must earn
SHARES = {GateState.CANARY: Decimal("0.25"), GateState.LIVE: Decimal(1)}


@attrs.define(kw_only=True)
class SeenGate:
    """A strategy's state, as its changes have left it."""

    state: GateState = GateState.SHADOW
    half_size: bool = False
    attempt: int = 1
    from_ms: int = 0
    not_before_ms: int = 0
    reference_until_ms: int = 0
    canary_at_ms: int = 0
    limits: DemotionLimits | None = None

    @property
    def outcome(self) -> tuple[GateState, bool, int]:
        """State, half size or not, and attempt."""
        return self.state, self.half_size, self.attempt

    @property
    def share(self) -> Decimal:
        """Share of both caps; 0 without a grant."""
        return SHARES.get(self.state, Decimal(0)) / (2 if self.half_size else 1)


@attrs.define(kw_only=True)
class EarnedSizes:
    """The checks of changes at the gate, of permits, and of positions at the venue."""

    observed: Observed
    report: ReportViolation
    equity: float  # money, of the gate's rules
    earned: bool = False  # of the newest run; False: its gate is assumed, and no size is checked
    gates: dict[str, SeenGate] = attrs.Factory(dict)
    _open: dict[str, SeenShadow] = attrs.Factory(dict)
    _closed: dict[str, SeenShadow] = attrs.Factory(dict)
    _canaries: dict[str, dict[str, Decimal | None]] = attrs.Factory(dict)  # strategy -> id -> R
    _shares: dict[str, Decimal] = attrs.Factory(dict)  # by permit id

    def gate(self, strategy: str) -> SeenGate:
        """Return the strategy's state."""
        return self.gates.setdefault(strategy, SeenGate())

    def record_event(self, event: e.Event) -> None:
        """Record a shadow trade; check and record a change."""
        match event:
            case e.RunStarted():
                self.earned = event.gate == EARNED
            case ShadowTradesOpened():
                for trade in event.trades:
                    seen = SeenShadow(
                        strategy=trade.strategy,
                        symbol=trade.symbol,
                        opened_at_ms=trade.opened_at_ms,
                    )
                    self._open.setdefault(trade.shadow_id, seen)
            case ShadowTradesClosed():
                for each in event.trades:
                    if each.shadow_id in self._open:
                        seen = self._open.pop(each.shadow_id)
                        self._closed[each.shadow_id] = attrs.evolve(
                            seen, closed_at_ms=each.closed_at_ms, r=each.r, pnl=each.pnl
                        )
            case e.TradeClosed():
                gate = self.gate(event.strategy)
                if gate.state is GateState.CANARY and event.opened_at_ms >= gate.canary_at_ms:
                    results = self._canaries.setdefault(event.strategy, {})
                    results[event.trade_id] = event.r_multiple
            case ResultCorrected():
                for results in self._canaries.values():
                    if event.trade_id in results:
                        results[event.trade_id] = event.r_multiple
            case GateChanged():
                if (wrong := self._find_wrong(event)) is not None:
                    detail = f"{event.strategy}, change {event.number}: {wrong}"
                    self._report(HardRule.TRANSITION, "", detail)
                self._take(event)
            case _:
                pass

    def restore_journal(self, events: Iterable[e.Event]) -> None:
        """Continue with a restored journal, which lacks later trades and changes."""
        self.gates.clear()
        self._open.clear()
        self._closed.clear()
        self._canaries.clear()
        for event in events:
            self.record_event(event)

    def check_end(self, expected: Mapping[str, SeenGate]) -> None:
        """Check state, size and attempt after the convergence phase."""
        for strategy, end in expected.items():
            if (found := self.gate(strategy).outcome) != end.outcome:
                detail = (
                    f"{strategy} is {_describe(found)} at the end, not {_describe(end.outcome)}"
                )
                self._report(HardRule.TRANSITION, "", detail)

    # --- sizes -----------------------------------------------------------------------

    def check_grant(self, event: e.PermitGranted) -> None:
        """Check that the strategy of a permit may trade, and keep its share."""
        if not self.earned:
            return
        strategy = event.plan.strategy
        self._shares[event.permit_id] = share = self.gate(strategy).share
        if not share:
            detail = f"{event.permit_id}: {strategy} is in {self.gate(strategy).state}"
            self._report(HardRule.UNEARNED, event.plan.symbol, detail)

    def check_fill(self, record: FillAudit, *, external: bool) -> None:
        """Check a position after a fill of an entry against its share of both caps.

        ``external`` is True if an external order had added to the position.
        """
        intent = self.observed.intents.get(record.client_order_id)
        permit = self.observed.permit_of(record.client_order_id)
        ours = is_kamou_id(record.client_order_id) and not record.reduce_only and not external
        if not self.earned or not ours or intent is None or permit is None:
            return
        share, limits = self._shares[intent.permit_id], self.observed.limits
        units = abs(record.position_after) * record.contract_size
        equity = max([record.equity_before, *(each for _, each in self.observed.equity)])
        distance = abs(record.entry_after - permit.plan.stop_price)
        for what, used, cap in (
            ("notional", units * record.entry_after, limits.exposure_per_symbol),
            ("risk to the stop", units * distance, limits.risk_per_trade),
        ):
            allowed = share * cap * equity * (1 + TOLERANCE)
            if used > allowed:
                detail = f"{what} {used:.6g} USDT of {allowed:.6g} USDT, {share} of the cap"
                self._report(HardRule.UNEARNED, record.symbol, detail)

    # --- changes -----------------------------------------------------------------------

    def _find_wrong(self, event: GateChanged) -> str | None:
        """Return what the event says otherwise than the journal's shadow trades; or None."""
        gate, closed = self.gate(event.strategy), self._of(self._closed, event.strategy)
        open_ms = [each.opened_at_ms for each in self._of(self._open, event.strategy)]
        # Other trades may have closed since the look, so the block after its last may count now.
        latest_ms = min([event.at_ms, *open_ms]) // DAY_MS * DAY_MS
        if event.until_ms > latest_ms or event.until_ms % DAY_MS:
            return f"trades until {event.until_ms} count, and no block from {latest_ms} on does"
        ended = [each for each in closed if each.opened_at_ms < event.until_ms]
        counted = [each for each in ended if each.opened_at_ms >= gate.from_ms]
        said = (event.from_state, event.from_ms, event.counted, event.data_hash)
        right = (gate.state, gate.from_ms, len(counted), again.digest_lines(counted))
        if said != right:
            return f"{said} instead of {right}"
        recent = again.recent_mean(counted)
        trading = event.to_state in SHARES
        if event.half_size != (trading and recent is not None and recent < 0):
            return f"half size {event.half_size} at a mean of the last trades of {recent}"
        trades = CountedTrades(
            attempt=gate.attempt,
            shadows=counted,
            monitored=[each for each in counted if each.opened_at_ms >= gate.reference_until_ms],
            pairs=self._pairs(event),
            limits=gate.limits,
            equity=self.equity,
            from_ms=gate.from_ms,
        )
        if event.reason is GateReason.RUIN:
            if not again.is_ruined(ended, closed) or event.to_state is not GateState.HALTED:
                return f"{event.reason} is not due"
        elif not self._is_due(event, gate, trades):
            return f"{event.reason} is not due"
        attempt = gate.attempt + (event.to_state is GateState.SHADOW)
        if event.attempt != attempt:
            return f"attempt {event.attempt}, not {attempt}"
        return next(find_wrong_figures(event, trades), None)

    def _is_due(self, event: GateChanged, gate: SeenGate, trades: CountedTrades) -> bool:
        """Return True if the reason of a change, which is no ruin, holds."""
        from_shadow = gate.state is GateState.SHADOW
        match event.reason:
            case GateReason.CANARY_EARNED:
                late = event.at_ms >= gate.not_before_ms and from_shadow
                return (
                    late
                    and event.to_state is GateState.CANARY
                    and self._earns(trades, E_VALUE_OF_CANARY)
                )
            case GateReason.LIVE_EARNED:
                canary = gate.state is GateState.CANARY and event.to_state is GateState.LIVE
                earned = canary and self._earns(trades, E_VALUE_OF_LIVE)
                return earned and trades.canary_is_as_good
            case GateReason.ROLLING_MEAN:
                return event.to_state is gate.state and event.half_size is not gate.half_size
            case GateReason.CUSUM | GateReason.DRAWDOWN:
                if gate.limits is None or event.to_state is not GateState.SHADOW or from_shadow:
                    return False
                mean = gate.limits.reference_mean
                cusum, fall = again.follow_losses(trades.monitored, mean)
                if event.reason is GateReason.CUSUM:
                    return cusum > gate.limits.cusum
                return fall > gate.limits.drawdown
            case _:
                return False

    def _earns(self, trades: CountedTrades, e_value: int) -> bool:
        """Return True if the shadow trades earn a state that needs this e-value at first."""
        shadows = trades.shadows
        return (
            len(shadows) >= 50
            and len({each.opened_at_ms // DAY_MS for each in shadows}) >= 14
            and len({each.symbol for each in shadows}) >= 10
            and again.bet_on_blocks(shadows) >= e_value * trades.needed_factor
            and again.passes_original_rule(shadows, self.equity, trades.from_ms)
        )

    def _pairs(self, event: GateChanged) -> list[SeenPair]:
        """Return a canary's results and those of their shadows, of ended days."""
        found = []
        for shadow_id, real in self._canaries.get(event.strategy, {}).items():
            shadow = self._closed.get(shadow_id)
            if shadow is not None and real is not None and shadow.opened_at_ms < event.until_ms:
                found.append(SeenPair(real=real, shadow=shadow.r))
        return found

    def _take(self, event: GateChanged) -> None:
        gate = self.gate(event.strategy)
        if event.reason is GateReason.CANARY_EARNED:
            gate.reference_until_ms, gate.canary_at_ms = event.until_ms, event.at_ms
        if event.to_state is GateState.SHADOW:
            gate.from_ms = (event.at_ms // DAY_MS + 1) * DAY_MS
        gate.state, gate.half_size, gate.attempt = event.to_state, event.half_size, event.attempt
        if event.reason is GateReason.CANARY_EARNED or event.to_state not in SHARES:
            self._canaries.pop(event.strategy, None)
        gate.not_before_ms, gate.limits = event.not_before_ms, event.limits

    @staticmethod
    def _of(trades: Mapping[str, SeenShadow], strategy: str) -> list[SeenShadow]:
        return [each for each in trades.values() if each.strategy == strategy]

    def _report(self, rule: HardRule, symbol: str, detail: str) -> None:
        self.report(rule, self.observed.engine.market_ms, symbol, detail)


def _describe(outcome: tuple[GateState, bool, int]) -> str:
    state, half_size, attempt = outcome
    return f"{state}{' at half size' if half_size else ''} in attempt {attempt}"
