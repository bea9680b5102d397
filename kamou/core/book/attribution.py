"""Attribution of funding to trades, and corrections of published results.

A payment belongs to the trade that was open when it settled. ``STAMP_TOLERANCE_MS`` is allowed
before and after, because the clocks of the venue and of this machine differ.

A venue may list a payment minutes after it settled. Meanwhile the trade may have closed, its result
may be published, and another trade may be open in the symbol. ``PublishedTrade`` keeps a trade
whose result a late payment may correct.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

import attrs

from kamou.core.book.events import TradeClosed
from kamou.core.book.late_events import ResultCorrected
from kamou.core.book.trades import OpenTrade, r_multiple
from kamou.core.model import Income

STAMP_TOLERANCE_MS = 5_000
"""Clock tolerance, because adoptions have this machine's time and payments the venue's."""


@attrs.frozen(kw_only=True)
class PublishedTrade:
    """Trade with a published result, which late payments may still correct."""

    result_id: str
    trade_id: str
    symbol: str
    opened_at_ms: int
    ended_ms: int
    funding: Decimal  # money of all known payments; positive is received
    funding_published: Decimal  # money, in the newest published result
    pnl_net: Decimal  # with ``funding``
    planned_risk: Decimal | None
    corrections: int = 0  # number of committed ones

    def add_funding(self, amount: Decimal) -> PublishedTrade:
        """Return the trade with one more payment, which its published result lacks.

        Args:
            amount: money, positive is received.
        """
        return attrs.evolve(self, funding=self.funding + amount, pnl_net=self.pnl_net + amount)

    def apply_correction(self, event: ResultCorrected) -> PublishedTrade:
        """Return the trade after the committed correction of its result."""
        return attrs.evolve(self, funding_published=event.funding, corrections=event.number)


def make_published_trade(trade: OpenTrade, event: TradeClosed) -> PublishedTrade:
    """Return the published trade of a committed result.

    ``trade`` may have a payment that ``event`` lacks: one that was committed after the event was
    made and before it was committed.
    """
    return PublishedTrade(
        result_id=event.trade_id,
        trade_id=trade.trade_id,
        symbol=trade.symbol,
        opened_at_ms=trade.opened_at_ms,
        ended_ms=trade.changed_at_ms,
        funding=trade.funding,
        funding_published=event.funding,
        pnl_net=event.pnl_net + trade.funding - event.funding,
        planned_risk=trade.planned_risk,
    )


def make_correction(trade: PublishedTrade, at_ms: int) -> ResultCorrected | None:
    """Return the event that publishes late payments, or None if their sum is 0."""
    added = trade.funding - trade.funding_published
    if not added:
        return None
    return ResultCorrected(
        at_ms=at_ms,
        cause_id=trade.trade_id,
        trade_id=trade.result_id,
        number=trade.corrections + 1,
        added=added,
        funding=trade.funding,
        pnl_net=trade.pnl_net,
        r_multiple=r_multiple(trade.pnl_net, trade.planned_risk),
    )


def find_owner(
    income: Income, known: Iterable[OpenTrade | PublishedTrade]
) -> OpenTrade | PublishedTrade | None:
    """Return the trade that was open when the payment settled, or None.

    A trade that opened or ended within ``STAMP_TOLERANCE_MS`` of the payment also counts. Of
    several trades the nearest in time is returned, and of equally near ones the trade that opened
    first.

    So if one trade ends and another opens in the millisecond of the payment, the earlier trade gets
    it, because the later one was not open before the settlement.
    """
    found, nearest = None, (STAMP_TOLERANCE_MS, 0)
    for each in known:
        if each.symbol == income.symbol:
            ended_ms = income.at_ms if each.ended_ms is None else each.ended_ms
            off_ms = max(0, each.opened_at_ms - income.at_ms, income.at_ms - ended_ms)
            if off_ms <= STAMP_TOLERANCE_MS and (
                found is None or (off_ms, each.opened_at_ms) < nearest
            ):
                found, nearest = each, (off_ms, each.opened_at_ms)
    return found
