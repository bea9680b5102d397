"""The equity snapshot: an event with the account's money at one read of the venue."""

from __future__ import annotations

from collections.abc import Sequence

from kamou.core.book.events import EquityRecorded
from kamou.core.book.position_book import PositionBook
from kamou.core.day import utc_day
from kamou.core.model import Account, PositionReport
from kamou.core.reconciliation.venue_view import marks_of
from kamou.core.risk.equity import exit_costs
from kamou.core.risk.exposure import compute_exposure
from kamou.core.risk.limits import TradingParameters


def equity_snapshot(
    book: PositionBook,
    account: Account,
    positions: Sequence[PositionReport],
    parameters: TradingParameters,
    now_ms: int,
) -> EquityRecorded:
    """Return the event of an account read, with the day's loss if its day is open.

    Args:
        book: the book after the repairs, which agrees with ``positions``.
        positions: positions that were read with the account.
        now_ms: time for which the gap buffer counts overshoots.
    """
    exposure = compute_exposure(
        book,
        marks={each.symbol: each.mark_price for each in positions},
        parameters=parameters,
        now_ms=now_ms,
    )
    closing_costs = exit_costs(positions, book.instruments, parameters.costs)
    opened = book.day.utc_day == utc_day(account.at_ms)
    day = book.measure_day(account.equity, closing_costs, at_ms=account.at_ms)
    return EquityRecorded(
        at_ms=account.at_ms,
        equity=account.equity,
        wallet_balance=account.wallet_balance,
        unrealized_pnl=account.unrealized_pnl,
        margin_used=account.margin_used,
        open_risk=exposure.open_risk,
        net_deposits=book.transfers.net_deposits,
        exit_costs=closing_costs,
        day_equity=day.equity_start if opened else None,
        day_lost=day.money_lost if opened else None,
        marks=marks_of(positions),
    )
