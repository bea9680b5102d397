"""Current equity of the account, and its exit costs.

Planning, governor and rules use the same figures. The equity is the wallet balance of the newest
account read, with the later changes of the balance that the book has, and the unrealized PnL of
open positions at the marks of the decision. So a realized loss counts as soon as its fill is
recorded. ``CurrentEquity.unknown`` says which change cannot be known.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

import attrs

from kamou.clock import floor_ms
from kamou.core.book.position_book import PositionBook
from kamou.core.day import HOUR_MS
from kamou.core.model import BPS_PER_UNIT, ZERO, Account, Instrument, PositionReport, Quote
from kamou.core.risk.costs import taker_rate
from kamou.core.risk.limits import CostModel


@attrs.frozen(kw_only=True)
class CurrentEquity:
    """Equity and wallet balance at one instant, with the times of their inputs."""

    equity: Decimal  # money
    wallet_balance: Decimal  # money, realized only
    exit_costs: Decimal  # money: fee and slippage of closing all positions at the marks
    account_at_ms: int  # venue's time of the account read; 0: none
    marks_at_ms: int | None  # of the oldest sound mark of a position; None without one
    unknown: str | None = None  # in words, a change that the figures may lack; None: none

    @property
    def sizing_equity(self) -> Decimal:
        """Money of which the limits are fractions: min(equity, wallet balance)."""
        return min(self.equity, self.wallet_balance)


def exit_rate(instrument: Instrument | None, costs: CostModel) -> Decimal:
    """Return the cost of closing a position, as a fraction of its notional."""
    return taker_rate(instrument, costs) + costs.slippage_bps / BPS_PER_UNIT


def exit_costs(
    positions: Iterable[PositionReport], instruments: Mapping[str, Instrument], costs: CostModel
) -> Decimal:
    """Return the cost of closing these positions at their marks, money.

    The cost of a position without an instrument counts as 0.

    Args:
        instruments: contract specifications, by symbol.
    """
    total = ZERO
    for position in positions:
        instrument = instruments.get(position.symbol)
        size = instrument.contract_size if instrument is not None else ZERO
        notional = abs(position.quantity) * size * position.mark_price
        total += notional * exit_rate(instrument, costs)
    return total


def current_equity(
    book: PositionBook,
    account: Account | None,
    quotes: Mapping[str, Quote],
    *,
    costs: CostModel,
    now_ms: int,
) -> CurrentEquity:
    """Return the equity as of ``now_ms``.

    Args:
        account: newest read of this process; None without one. The book's equity snapshot
            replaces it if the snapshot is newer.
        quotes: quotes of all open positions, by symbol. The entry price replaces a missing or
            unsound quote; the rule ``marks_fresh`` then denies every entry.
    """
    at_ms, balance = book.account.marked_ms, book.account.wallet_balance
    if account is not None and account.at_ms >= at_ms:
        at_ms, balance = account.at_ms, account.wallet_balance
    for change in book.account.changes.values():
        # The read may or may not include a change of its own millisecond. Assume the lower balance.
        if change.at_ms > at_ms or (change.at_ms == at_ms and change.amount < 0):
            balance += change.amount
    unrealized_pnl = exit_costs = ZERO
    marks_at_ms: int | None = None
    for symbol, trade in book.trades.open.items():
        quote = quotes.get(symbol)
        mark = trade.entry_price
        if quote is not None and quote.sound:
            mark = quote.mark
            marks_at_ms = quote.at_ms if marks_at_ms is None else min(marks_at_ms, quote.at_ms)
        unrealized_pnl += trade.unrealized_pnl(mark)
        exit_costs += trade.notional(mark) * exit_rate(book.instruments.get(symbol), costs)
    return CurrentEquity(
        equity=balance + unrealized_pnl,
        wallet_balance=balance,
        exit_costs=exit_costs,
        account_at_ms=at_ms,
        marks_at_ms=marks_at_ms,
        unknown=_unknown(book, at_ms, now_ms),
    )


def _unknown(book: PositionBook, account_at_ms: int, now_ms: int) -> str | None:
    """Return in words the change that the figures may lack, or None."""
    if not account_at_ms:
        return "the account was never read"
    if book.account.unexplained_ms >= account_at_ms:
        return "a fill without a trade, or a corrected quantity"
    hour_ms = floor_ms(now_ms, HOUR_MS)
    if account_at_ms < hour_ms:
        trades = (*book.trades.open.values(), *book.trades.finished.values())
        held = sorted(t.symbol for t in trades if t.opened_at_ms < hour_ms)
        if held:
            return f"funding of the last full hour on {','.join(held)}"
    return None
