"""Invariant 4, at each permit: the limits hold for all positions and permits.

No permit is granted in a symbol with a position, or while book and venue differ. The arithmetic is
this module's own.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import attrs

from kamou.core.book import events as e
from kamou.core.book.position_book import PositionBook
from kamou.core.model import Plan, TradingState
from kamou.simulator.invariants.observed import Observed, ReportViolation
from kamou.simulator.invariants.outside_changes import KNOWN_AFTER_MS
from kamou.venue.violations import HardRule

TOLERANCE = Decimal("0.05")  # sizing equity moves between the read of a plan and its permit
MAJOR_SYMBOLS = ("BTC", "ETH")

Wrong = Callable[[HardRule, str], None]


@attrs.define
class PromisedRisk:
    """The checks of a permit against the account at its commit."""

    observed: Observed
    report: ReportViolation
    _drifting: bool = False

    def record_event(self, event: e.Event) -> None:
        """Record that a drift begins or ends."""
        if isinstance(event, e.DriftFound | e.DriftExplained):
            self._drifting = isinstance(event, e.DriftFound)

    def restore_book(self, book: PositionBook) -> None:
        """Continue with the book of a restored journal."""
        self._drifting = book.reconciliation.drifting

    def check_grant(self, event: e.PermitGranted) -> None:
        """Check a committed permit."""
        seen, plan, now_ms = self.observed, event.plan, self.observed.engine.market_ms

        def wrong(rule: HardRule, detail: str) -> None:
            self.report(rule, now_ms, plan.symbol, f"{event.permit_id}: {detail}")

        if self._drifting:
            wrong(HardRule.DRIFTING, "granted while book and venue differ")
        held_ms = now_ms - seen.held_since.get(plan.symbol, now_ms)
        if held_ms - seen.excused_ms(plan.symbol, now_ms - held_ms, now_ms) > KNOWN_AFTER_MS:
            detail = f"granted although the symbol has had a position for {held_ms} ms"
            wrong(HardRule.HELD, detail)
        account = seen.engine.account()
        sizing_equity = min(account.equity, account.wallet_balance) * (1 + TOLERANCE)
        allowed = seen.limits.risk_per_trade * sizing_equity
        if seen.state is TradingState.REDUCED_SIZE:
            allowed *= seen.limits.reduced_size
        if plan.risk > allowed + self._lately_gone() * seen.limits.risk_per_trade:
            detail = f"risk {plan.risk} USDT exceeds {allowed} USDT in {seen.state}"
            wrong(HardRule.RISK_PROMISED, detail)
        self._check_sums(plan, sizing_equity + self._lately_gone(), wrong)

    def _lately_gone(self) -> Decimal:
        """Return the USDT lost or withdrawn since the reads that a new plan may use."""
        moved = self.observed.outside.sum_unknown(self.observed.engine.market_ms)
        known = [equity for _, equity in self.observed.equity]
        return moved + (max(known) - known[-1] if known else Decimal(0))

    def _check_sums(self, plan: Plan, sizing_equity: Decimal, wrong: Wrong) -> None:
        """Check open and cluster risk of all positions and permits together."""
        limits = self.observed.limits
        total = cluster = Decimal(0)
        for symbol, sign, risk in (*self._risks_of_positions(), *self._risks_of_permits()):
            total += risk
            if not _is_major(symbol) and sign == plan.side.sign:
                cluster += risk
        if total > limits.open_risk_max * sizing_equity:
            wrong(
                HardRule.OPEN_RISK,
                f"open risk {total} USDT exceeds {limits.open_risk_max * sizing_equity} USDT",
            )
        if not _is_major(plan.symbol) and cluster > limits.cluster_risk_max * sizing_equity:
            wrong(
                HardRule.CLUSTER,
                f"cluster risk {cluster} USDT exceeds"
                f" {limits.cluster_risk_max * sizing_equity} USDT",
            )

    def _risks_of_positions(self) -> list[tuple[str, int, Decimal]]:
        """Return (symbol, sign, USDT from mark to stop) of Kamou's positions with a stop."""
        found = []
        for position in self.observed.engine.positions():
            stops = self.observed.stops.get(position.symbol)
            if not stops or position.symbol in self.observed.external:
                continue
            sign = 1 if position.quantity > 0 else -1
            stop = min(stops.values()) if sign > 0 else max(stops.values())
            size = self.observed.engine.instruments[position.symbol].contract_size
            risk = max(Decimal(0), (position.mark_price - stop) * position.quantity * size)
            found.append((position.symbol, sign, risk))
        return found

    def _risks_of_permits(self) -> list[tuple[str, int, Decimal]]:
        """Return (symbol, sign, USDT at risk of the part without a fill) of all permits."""
        permits = self.observed.permits.values()
        return [(p.plan.symbol, p.plan.side.sign, p.open_risk) for p in permits]


def _is_major(symbol: str) -> bool:
    return symbol.startswith(MAJOR_SYMBOLS)
