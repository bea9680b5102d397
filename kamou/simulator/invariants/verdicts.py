"""Invariant 14: the refiner's verdicts hold, and its calls stay within the budget.

The sums are this module's own: the money that the journal has reserved and settled.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

import attrs

from kamou.core.book import events as e
from kamou.core.book.candidate_events import CandidatesRefined
from kamou.core.book.refiner_events import RefinerCallsEnded, RefinerCallsReserved
from kamou.core.day import utc_day
from kamou.settings.refiner import RefinerSettings
from kamou.simulator.invariants.observed import Observed, ReportViolation
from kamou.simulator.invariants.promised_risk import TOLERANCE
from kamou.venue.violations import HardRule


@attrs.define(kw_only=True)
class RefinerVerdicts:
    """The checks of reserved money, and of permits against the verdicts."""

    observed: Observed
    report: ReportViolation
    refiner: RefinerSettings
    _largest: dict[str, Decimal] = attrs.Factory(dict)  # by signal id: largest allowed share
    _money: dict[str, tuple[str, Decimal]] = attrs.Factory(dict)  # by cycle: (UTC day, USD)
    _day: str = ""  # the newest UTC day; a clock that is set back returns to none

    def record_event(self, event: e.Event) -> None:
        """Record a verdict or money; check a reservation and its end."""
        match event:
            case CandidatesRefined():
                for each in event.candidates:
                    signal_id = each.candidate.signal_id
                    # A bar that is ranked again has two verdicts; either may have led to the plan.
                    before = self._largest.get(signal_id, Decimal(0))
                    self._largest[signal_id] = max(before, each.size_multiplier)
            case RefinerCallsReserved():
                self._reserve(event)
            case RefinerCallsEnded():
                self._settle(event)
            case _:
                pass

    def restore_journal(self, events: Iterable[e.Event]) -> None:
        """Continue with a restored journal, which does not know later calls."""
        self._day = ""
        self._money.clear()
        for event in events:
            self.record_event(event)

    def check_grant(self, event: e.PermitGranted) -> None:
        """Check that a permit's candidate was not refused, and is no larger than allowed."""
        plan = event.plan
        share = self._largest.get(plan.signal_id, Decimal(0))
        account = self.observed.engine.account()
        equity = max([account.equity, *(each for _, each in self.observed.equity)])
        # A withdrawal that no read has shown yet (seeds 930640 and 960263).
        equity += self.observed.outside.sum_unknown(self.observed.engine.market_ms)
        allowed = share * self.observed.limits.exposure_per_symbol * equity * (1 + TOLERANCE)
        if plan.notional > allowed:
            detail = f"{event.permit_id}: notional {plan.notional} USDT exceeds {allowed} USDT"
            self.report(
                HardRule.VERDICT,
                self.observed.engine.market_ms,
                plan.symbol,
                f"{detail}, with {share} of the full size by the verdict",
            )

    def _reserve(self, event: RefinerCallsReserved) -> None:
        self._day = max(self._day, utc_day(event.at_ms))
        self._money[event.unique_key] = (self._day, event.reserved_usd)
        spent = sum((usd for day, usd in self._money.values() if day == self._day), Decimal(0))
        if spent > self.refiner.budget_usd_per_day:
            detail = f"{spent} USD reserved and spent of {self.refiner.budget_usd_per_day} USD"
            self.report(HardRule.BUDGET, self.observed.engine.market_ms, "", detail)

    def _settle(self, event: RefinerCallsEnded) -> None:
        cost = sum((each.cost_usd for each in event.answers), Decimal(0))
        day, reserved = self._money.get(event.unique_key, (self._day, Decimal(0)))
        if cost > reserved:
            detail = f"calls cost {cost} USD and had reserved {reserved} USD"
            self.report(HardRule.BUDGET, self.observed.engine.market_ms, "", detail)
        self._money[event.unique_key] = (day, cost)
