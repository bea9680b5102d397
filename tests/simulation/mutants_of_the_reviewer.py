"""Defects by a reviewer who wrote neither the simulator nor its first invariants."""

from __future__ import annotations

from functools import partial

from kamou.venue.violations import HardRule
from tests.simulation.mutants import BELIEVED_AT_ONCE, RECONCILIATION, Mutant

FOLD = "kamou/core/book/fold.py"
defect = partial(Mutant, author="reviewer")

IMPORTED = "from kamou.core.model import (\n"

REVIEWER = (
    defect(
        name="an adopted short is taken for a long",
        file="kamou/core/reconciliation/adoption.py",
        old="        side=Side.of(position.quantity),\n",
        new="        side=Side.LONG,\n",
        notices=(HardRule.NOT_FLAT, HardRule.UNSETTLED, HardRule.UNPROTECTED),
        faults="external_order",
    ),
    defect(
        name="a permit is released while its order is in flight",
        file="kamou/core/book/book_state.py",
        old="        if reservation.client_order_id in self.orders.unsettled:\n",
        new="        if reservation.client_order_id in self.trades.open:\n",
        notices=(HardRule.CLUSTER, HardRule.RELEASED, HardRule.UNPERMITTED),
    ),
    defect(
        name="drift does not stop new risk",
        file="kamou/core/book/reconciliation_state.py",
        old="        self.drift[event.symbol] = event.kind\n",
        new="        self.drift.pop(event.symbol, None)\n",
        notices=(HardRule.DRIFTING,),
    ),
    defect(
        name="one resume leads from FLATTENING to trading",
        file="kamou/core/risk/states.py",
        old="        return _to(book, _T.REDUCE_ONLY, StateReason.OPERATOR_RESUME, None)\n",
        new="        return _to(book, _T.ACTIVE, StateReason.OPERATOR_RESUME, None)\n",
        notices=(HardRule.RESUMED,),
        faults="operator",
    ),
    defect(
        name="FLATTENING closes nothing",
        file="kamou/core/book/due_actions.py",
        old="    if book.trading.state is TradingState.FLATTENING:",
        new="    if False:",
        notices=(HardRule.NOT_FLAT,),
        faults="operator",
    ),
    defect(
        name="the gap buffer is left out of sizing and review alike",
        file="kamou/core/book/recent_activity.py",
        old="        return max(self.minimum, self.p99)\n",
        new="        return min(self.minimum, 0 * self.p99)\n",
        notices=(HardRule.RISK, HardRule.RISK_PROMISED),
        faults="tight_limits",
    ),
    defect(
        name="a second trade is opened in a symbol that is held",
        file="kamou/core/risk/rules_rate.py",
        old="    symbol = c.plan.symbol\n    if symbol in c.book.trades.open:\n",
        new="    symbol = c.plan.symbol\n    return None\n    if symbol in c.book.trades.open:\n",
        notices=(HardRule.HELD, HardRule.OVERSIZED, HardRule.EXPOSURE),
        seeds=40,
    ),
    defect(
        name="an order that one list omits counts as closed",
        file=RECONCILIATION,
        old="        for reported in (*self.view.open_orders, *self.view.queried):\n",
        new="""        listed = {o.client_order_id for o in self.view.open_orders}
        for name, known in tuple(self.book.orders.unsettled.items()):
            if name not in listed and known.status is OrderStatus.ACCEPTED:
                self.repair(
                    OrderClosed(
                        at_ms=self.now_ms,
                        cause_id=name,
                        client_order_id=name,
                        status=OrderStatus.CANCELED,
                        filled=ZERO,
                        reason="not listed",
                    )
                )
        for reported in (*self.view.open_orders, *self.view.queried):
""",
        also=((RECONCILIATION, IMPORTED, f"{IMPORTED}    OrderStatus,\n"),),
        notices=(HardRule.WRITTEN_OFF, HardRule.UNSETTLED),
        faults="lying_venue",
    ),
    defect(
        name="lateness never explains a difference",
        file=RECONCILIATION,
        old="            if self._in_motion(symbol) or",
        new="            if self._in_motion(symbol) and not symbol or",
        also=(BELIEVED_AT_ONCE,),
        notices=(HardRule.UNPROTECTED, HardRule.UNSETTLED),
    ),
    defect(
        name="the stop's deadline counts from now on, for ever",
        file="kamou/core/reconciliation/protection.py",
        old="    deadline_ms = (trade.unprotected_since_ms or now_ms) + allowed_ms",
        new="    deadline_ms = now_ms + allowed_ms",
        notices=(HardRule.UNPROTECTED,),
        seeds=20,
        faults="stops_rejected,external_cancel",
    ),
    defect(
        name="an exit has the size of everything that was entered",
        file="kamou/actors/protection.py",
        old="self._exit(OrderRole.EXIT, trade, trade.quantity)",
        new="self._exit(OrderRole.EXIT, trade, trade.entered)",
        notices=(HardRule.OVERDUE, HardRule.NOT_FLAT),
        faults="adl,operator,partial_fills",
        seeds=40,
    ),
    defect(
        name="a stop that was canceled by hand still counts",
        file=FOLD,
        old="        book.trades.lose_stop(trade.symbol, event.at_ms)\n",
        new="        pass\n",
        notices=(HardRule.UNPROTECTED,),
        faults="external_cancel",
    ),
    defect(
        name="REDUCED_SIZE trades at full size",
        file="kamou/core/risk/context.py",
        old="return limits.reduced_size if state is TradingState.REDUCED_SIZE else",
        new="return Decimal(1) if state is TradingState.REDUCED_SIZE else",
        notices=(HardRule.RISK_PROMISED,),
        seeds=40,
    ),
    defect(
        name="an order with an unknown outcome is never queried",
        file="kamou/actors/order_executor.py",
        old="        intent = known.intent\n        try:\n",
        new="        intent = known.intent\n        return\n        try:\n",
        notices=(HardRule.UNSETTLED, HardRule.UNPROTECTED),
        faults="timeout_before_accept,timeout_after_accept",
    ),
    defect(
        name="external orders count as orphan orders and are canceled",
        file="kamou/ids.py",
        old=" == CLIENT_ID_LENGTH and order_id.startswith(CLIENT_ID_PREFIX)\n",
        new=" > 0\n",
        notices=(HardRule.UNJOURNALLED,),
        faults="external_order",
    ),
    defect(
        name="a withdrawal is booked as a deposit",
        file=FOLD,
        old="        book.transfers.net_deposits += income.amount\n    elif",
        new="        book.transfers.net_deposits -= income.amount\n    elif",
        notices=(HardRule.UNSETTLED,),
        faults="insufficient_margin",
    ),
    defect(
        name="a position counts as protected from its first fill on",
        file="kamou/core/book/trades.py",
        old="trade.unprotected_since_ms or (0 if covered else at_ms),\n",
        new="trade.unprotected_since_ms,\n",
        notices=(HardRule.UNPROTECTED,),
    ),
    defect(
        name="the result of a closed trade leaves out the contract size",
        file="kamou/core/book/trades.py",
        old="trade.side.gain(trade.entered_value, trade.exited_value) * trade.contract_size\n",
        new="trade.side.gain(trade.entered_value, trade.exited_value)\n",
        notices=(HardRule.UNSETTLED,),
        faults="none",
    ),
)
