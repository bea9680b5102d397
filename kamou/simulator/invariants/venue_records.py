"""Invariants 3 to 5 by the venue's records: its checkers, with allowances.

A simulation has external changes that the system cannot know at once (``outside_changes``).
"""

from __future__ import annotations

from decimal import Decimal
from functools import partial

from kamou.core.book import events as e
from kamou.ids import is_kamou_id
from kamou.simulator.invariants.observed import Observed, ReportViolation
from kamou.venue.checker import Checker, CheckLimits
from kamou.venue.engine import Engine
from kamou.venue.limit_checker import LimitChecker, PortfolioLimits
from kamou.venue.state import FillAudit, MoneyAudit, MoneyKind

WINDOW_MS = 45_000  # lifetime of a permit, largest clock error and longest delay of an order


def leverage_of(engine: Engine, client_order_id: str) -> int:
    """Return the leverage of an order by the venue's record; 1 if it is unknown."""
    sent = engine.order_request(client_order_id)
    return sent.leverage if sent is not None else 1


def reopen_day(portfolio: LimitChecker, seen: Checker, event: e.DayOpened, now_ms: int) -> None:
    """Open the day of ``portfolio`` after a restored journal opened its first day.

    The day begins with the current equity (seed 910212), less the day's net deposits if ``event``
    has no opening. If the opening is the equity of midnight, ``portfolio`` has already opened the
    day.
    """
    if event.opening is None:
        portfolio.reopen_day(seen, now_ms)
    elif not event.at_midnight:
        portfolio.open_day(seen, now_ms)


def make_limit_checker(observed: Observed, report: ReportViolation) -> LimitChecker:
    """Return the checker of the portfolio limits for one simulation."""
    engine, limits, outside = observed.engine, observed.limits, observed.outside
    columns = {symbol: n for n, symbol in enumerate(engine.source.symbols)}

    def mark_at(symbol: str, at_ms: int) -> Decimal | None:
        price = float(engine.source.prices(at_ms)[columns[symbol]])
        if price == price:
            return Decimal(repr(price))
        held = (position for position in engine.positions() if position.symbol == symbol)
        return next((position.mark_price for position in held), None)

    return LimitChecker(
        limits=PortfolioLimits(
            daily_loss=limits.daily_loss_max,
            open_risk=limits.open_risk_max,
            cluster=limits.cluster_risk_max,
            shock_move=limits.shock_move,
            notional=limits.notional_total_max,
            margin=limits.margin_total_max,
            entries_per_hour=limits.entries_per_strategy_hour,
            reentries_per_day=limits.reentries_per_symbol_day,
            gap_buffer=limits.gap_buffer_min,
            window_ms=WINDOW_MS,
        ),
        mark_at=mark_at,
        leverage_of=partial(leverage_of, engine),
        strategy_of=observed.strategy_of,
        on_violation=report,
        known=outside.must_know,
        unreported=outside.has_unreported,
    )


class SimulatedChecker(Checker):
    """The venue checker with allowances for external changes.

    It also records withdrawals, reductions and losses in ``observed.outside``.
    """

    def __init__(self, observed: Observed) -> None:
        limits = observed.limits
        super().__init__(
            CheckLimits(
                risk_per_trade=limits.risk_per_trade,
                exposure_per_symbol=limits.exposure_per_symbol,
                protection_deadline_ms=limits.protection_deadline_s * 1000,
            ),
            excused_ms=observed.excused_ms,
            is_ours=is_kamou_id,
        )
        self._outside = observed.outside

    def book_money(self, record: MoneyAudit) -> None:
        super().book_money(record)
        if record.kind is MoneyKind.TRANSFER and record.amount < 0:
            self._outside.record_withdrawal(record.at_ms, -record.amount)

    def book_fill(self, record: FillAudit) -> None:
        super().book_fill(record)
        if abs(record.position_after) < abs(record.position_before):
            self._outside.record_reduction(record.symbol, record.at_ms, record.quantity)
        loss = record.fee - record.realized
        if record.realized < 0 < loss:
            self._outside.record_loss(record.symbol, record.at_ms, record.quantity, loss)

    def _allowed(self, fraction: Decimal, record: FillAudit) -> Decimal:
        left = self._outside.sum_unknown(record.at_ms)
        return super()._allowed(fraction, record) + fraction * left
