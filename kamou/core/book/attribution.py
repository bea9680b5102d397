"""Whose funding a payment is: that of the trade which held the symbol at the payment's own time.

A venue may list a payment minutes after it was settled. By then the trade that was charged may be
closed, its result published, and another trade open in the symbol.
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
"""An adoption and a correction are stamped by our own clock, a payment by the venue's."""


@attrs.frozen(kw_only=True)
class PublishedTrade:
    """A trade whose result is in the journal, as far as a late payment may still change it."""

    result_id: str
    trade_id: str
    symbol: str
    opened_at_ms: int
    ended_ms: int
    funding: Decimal  # money, all that is known; positive is received
    funding_published: Decimal  # what the newest result in the journal says
    pnl_net: Decimal  # with ``funding``
    planned_risk: Decimal | None
    corrections: int = 0

    def received(self, amount: Decimal) -> PublishedTrade:
        """Return the trade with one more payment, not yet published."""
        return attrs.evolve(self, funding=self.funding + amount, pnl_net=self.pnl_net + amount)

    def corrected(self, event: ResultCorrected) -> PublishedTrade:
        """Return the trade after its correction was committed."""
        return attrs.evolve(self, funding_published=event.funding, corrections=event.number)


def published_trade(trade: OpenTrade, event: TradeClosed) -> PublishedTrade:
    """Return what is remembered of a trade whose result was committed.

    A payment that was committed between the making of the result and its commit is in ``trade``
    and not in ``event``.
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


def correction(trade: PublishedTrade, at_ms: int) -> ResultCorrected | None:
    """Return the event that publishes late payments; None if there are none."""
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


def attribute(
    income: Income,
    trades: dict[str, OpenTrade],
    finished: dict[str, OpenTrade],
    published: dict[str, PublishedTrade],
) -> bool:
    """Add a funding payment to the trade that held at its time, in the dictionary that has it.

    Args:
        income: the payment.
        trades: the open trades, by symbol.
        finished: flat trades without a result, by trade id.
        published: trades with a result, by result id.

    Returns:
        False if no known trade held the symbol then.
    """
    amount = income.amount
    owner = holder(income, (*published.values(), *finished.values(), *trades.values()))
    if owner is None:
        return False
    if isinstance(owner, PublishedTrade):
        published[owner.result_id] = owner.received(amount)
        return True
    paid = attrs.evolve(owner, funding=owner.funding + amount)
    if trades.get(owner.symbol) is owner:
        trades[owner.symbol] = paid
    else:
        finished[owner.trade_id] = paid
    return True


def holder(
    income: Income, known: Iterable[OpenTrade | PublishedTrade]
) -> OpenTrade | PublishedTrade | None:
    """Return the trade that held ``income.symbol`` at ``income.at_ms``; None without one.

    One position per symbol: of two trades that touch at that millisecond, the earlier one was
    charged, because what opens at a settlement's own stamp was not there before it.
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
