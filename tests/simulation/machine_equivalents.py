"""Drawn changes that do not change the behavior, each with its proof."""

from __future__ import annotations

FOLD = "kamou/core/book/fold.py"
PORTFOLIO = "kamou/core/book/trades.py"
RECONCILIATION = "kamou/core/reconciliation/reconciliation.py"
UNRESOLVED = "kamou/core/reconciliation/unresolved_orders.py"

SETTLED = (
    "An order of the book with nothing remaining is settled (`_apply_fill` ends an order that is"
    " filled), and settled orders are not in `book.orders.unsettled`."
)
PROOFS: dict[tuple[str, str, str, str], str] = {
    (
        "kamou/core/risk/midnight_equity.py",
        "units_at",
        "paid.symbol and paid.at_ms >= at_ms",
        "((paid.at_ms >= at_ms))",
    ): "A payment without a symbol moves no contracts, and symbols that hold nothing are left out.",
    (
        PORTFOLIO,
        "OpenTrade.planned_risk",
        "distance is None or self.unplanned",
        "((self.unplanned))",
    ): "Only an adopted trade has no planned distance, and it is unplanned.",
    (
        RECONCILIATION,
        "_Work._mismatch",
        "held * trade.side.sign > 0",
        "((held * trade.side.sign) >= (0))",
    ): "With nothing held there is no position to adopt, and the correction is to 0 either way.",
    (
        "kamou/core/risk/rules_rate.py",
        "_may_open",
        "reservation.client_order_id",
        "True",
    ): "No order has the empty client order id, so that the look-up finds None as well.",
    (
        FOLD,
        "_record_fill",
        "fill.client_order_id",
        "True",
    ): "No order has the empty client order id, so that the look-up finds None as well.",
    (
        "kamou/core/book/permits.py",
        "BookPermits.assign",
        "intent.permit_id",
        "True",
    ): "No permit has the empty id, so that the look-up finds None as well.",
    (
        FOLD,
        "_keep_order",
        "order.role is not OrderRole.ENTRY",
        "False",
    ): "Only an entry has a permit id; and a trade that is flat with no entry live was settled by"
    " the fill, or the end of the entry, that made it so.",
    (
        FOLD,
        "_keep_order",
        "order is before",
        "False",
    ): "An order that did not change is stored where it is; its reservation was brought to its"
    " remainder by its last change, and a trade that is flat by then was settled by it.",
    (
        "kamou/core/reconciliation/protection.py",
        "cancel_orphans",
        "o.intent.role is OrderRole.ENTRY and o.remaining > 0",
        "((o.intent.role is OrderRole.ENTRY))",
    ): SETTLED,
    (
        "kamou/core/reconciliation/protection.py",
        "cancel_orphans",
        "o.intent.trade_id not in alive and o.intent.role is not OrderRole.ENTRY"
        " and not o.status.terminal and o.status is not OrderStatus.PENDING_CANCEL",
        "((o.intent.trade_id not in alive) and (not o.status.terminal)"
        " and (o.status is not OrderStatus.PENDING_CANCEL))",
    ): "An unsettled entry has something remaining, so that its trade is in `alive`.",
    (
        RECONCILIATION,
        "_Work.protection",
        "not actions",
        "False",
    ): "`protect` returns no actions only where the confirmed stop covers all; then `is_covered`"
    " holds too, and the loop over no actions does nothing.",
    (
        FOLD,
        "_record_fill",
        "trade is not None and book.trades.open.get(fill.symbol) is trade",
        "((trade is not None))",
    ): "The trade is missing only if `_keep_order` settled it in the line before; settling it again"
    " pops what is gone and stores the same trade under the same id.",
    (
        PORTFOLIO,
        "correct_trade",
        "gone > 0",
        "((gone) >= (0))",
    ): "`gone == 0` returned eight lines before.",
    (
        "kamou/core/sides.py",
        "Side.of",
        "signed > 0",
        "((signed) >= (0))",
    ): "No call asks for the side of 0: neither venue nor adoption has a position of 0, a score of"
    " 0 is an abstention, and the governor and `_averaged` return before they ask.",
    (
        "kamou/core/book/book_orders.py",
        "BookOrders.has_live_entry",
        "o.remaining > 0",
        "((o.remaining) >= (0))",
    ): SETTLED,
    (
        PORTFOLIO,
        "_averaged",
        "held * after >= 0",
        "((held * after) > (0))",
    ): "They differ where nothing is held afterwards, and either price times 0 is 0.",
    (
        "kamou/core/risk/rules_rate.py",
        "duplicate",
        "order.role is OrderRole.ENTRY and order.plan and order.plan.signal_id == plan.signal_id",
        "((order.plan) and (order.plan.signal_id == plan.signal_id))",
    ): "Only the intent of an entry has a permit id, and only by that does an order get a plan.",
    (
        "kamou/core/risk/states.py",
        "overdue_ms",
        "max(overdue, now_ms - read.marks_at_ms - limit_ms)",
        "(now_ms - read.marks_at_ms - limit_ms)",
    ): "Called only where the mark was older than its limit at the read, so that the second figure"
    " is larger than the time since the read, and the first is that time less an age limit.",
    (
        RECONCILIATION,
        "_Work.protection",
        "trade.quantity <= 0",
        "((trade.quantity) < (0))",
    ): "`protect` returns no actions for a trade of quantity 0, and nothing to do is passed over"
    " three lines below.",
    (
        RECONCILIATION,
        "_Work.protection",
        "trade.quantity <= 0",
        "False",
    ): "`protect` returns no actions for a quantity of 0 or less, and nothing to do is passed over"
    " three lines below.",
    (
        RECONCILIATION,
        "_Work._is_pending",
        "ZERO <= held * trade.side.sign < trade.quantity",
        "((ZERO) <= (held * trade.side.sign) <= (trade.quantity))",
    ): "Called only where book and venue differ or the trade is inverted: they are never equal,"
    " and no number is between 0 and a negative quantity.",
    (
        UNRESOLVED,
        "unresolved_orders",
        "o.remaining > 0",
        "((o.remaining) >= (0))",
    ): SETTLED,
    (
        UNRESOLVED,
        "unresolved_orders",
        "o.role is OrderRole.ENTRY and o.remaining > 0",
        "((o.role is OrderRole.ENTRY))",
    ): SETTLED,
    (
        "kamou/core/reconciliation/orphan_orders.py",
        "_cancel_reason",
        "known.role is OrderRole.ENTRY and expired",
        "((expired))",
    ): "Only an order with a plan expires, only an intent with a permit id gets a plan, and only"
    " the intent of an entry has a permit id.",
}
"""File, function, old text, new text (with single blanks) -> the reason why no test
can tell the changed function from the unchanged one."""
