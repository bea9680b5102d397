"""Defects in the life of an order, its permit and its stop, named by the design."""

from __future__ import annotations

from kamou.venue.violations import HardRule
from tests.simulation.mutants import Mutant

DESK = "kamou/actors/order_executor.py"
BASE = "kamou/exchange/base.py"
PROTECTION = "kamou/core/reconciliation/protection.py"

ORDERS = (
    Mutant(
        name="the intent is journalled after the order was sent",
        file="kamou/actors/order_executor.py",
        old="""        await self.commit(
            *inputs,
            *(
                IntentRecorded(at_ms=now, cause_id=intent.cause_id, intent=intent)
                for intent in (entry, *attached)
            ),
        )
        try:
            report = await self.port.submit(approved, entry, tuple(attached))
""",
        new="""        try:
            report = await self.port.submit(approved, entry, tuple(attached))
            await self.commit(
                *inputs,
                *(
                    IntentRecorded(at_ms=now, cause_id=intent.cause_id, intent=intent)
                    for intent in (entry, *attached)
                ),
            )
""",
        notices=(HardRule.UNJOURNALLED,),
        faults="none",
    ),
    Mutant(
        name="an order that timed out is sent again under a new client order id",
        file=BASE,
        old="        return await self._place(intent, attached)\n",
        new="""        try:
            return await self._place(intent, attached)
        except Exception:
            new = intent.client_order_id[:-1] + ("a" if intent.client_order_id[-1] != "a" else "b")
            return await self._place(attrs.evolve(intent, client_order_id=new), attached)
""",
        notices=(HardRule.UNJOURNALLED, HardRule.ENTERED_TWICE),
        faults="timeout_after_accept",
    ),
    Mutant(
        name="an order that timed out is sent again under its client order id",
        file=BASE,
        old="        return await self._place(intent, attached)\n",
        new="""        try:
            return await self._place(intent, attached)
        except Exception:
            return await self._place(intent, attached)
""",
        notices=(HardRule.DUPLICATE_ID,),
        faults="timeout_after_accept",
    ),
    Mutant(
        name="a time-out is taken for a rejection",
        file=DESK,
        old="""        except (UnknownOutcomeError, UnreachableError) as unclear:
            await self.commit(
                OrderUnknown(
                    at_ms=self.clock.now_ms(),
                    cause_id=entry.client_order_id,
                    client_order_id=entry.client_order_id,
                    reason=str(unclear),
                )
            )
""",
        new="""        except (UnknownOutcomeError, UnreachableError) as unclear:
            await self._reject_entry(entry, attached, "TIMED_OUT", str(unclear))
""",
        notices=(HardRule.WRITTEN_OFF, HardRule.RELEASED, HardRule.RESURRECTED),
        faults="timeout_after_accept",
    ),
    Mutant(
        name="the key of a fill is its venue order id",
        file="kamou/core/model.py",
        old='        return f"{self.symbol}:{self.execution_id}"',
        new='        return f"{self.symbol}:{self.venue_order_id}"',
        notices=(HardRule.UNSETTLED, HardRule.UNPROTECTED),
        faults="partial_fills",
    ),
    Mutant(
        name="no repeated fill is recognised",
        file="kamou/core/model.py",
        old='        return f"{self.symbol}:{self.execution_id}"',
        new='        return f"{self.symbol}:{self.execution_id}:{id(self)}"',
        notices=(HardRule.UNSETTLED, HardRule.UNPROTECTED),
        faults="duplicate_events",
    ),
    Mutant(
        name="an order that the venue does not list at once counts as ended",
        file=DESK,
        old="    not_found_after_ms: int = 20_000",
        new="    not_found_after_ms: int = 1",
        notices=(HardRule.RESURRECTED, HardRule.RELEASED),
        faults="timeout_after_accept",
    ),
    Mutant(
        name="used permits are remembered in memory only",
        file="kamou/store/permits.py",
        old="            await self._journal.commit(\n",
        new="            self.__dict__.setdefault('used', []).append(\n",
        notices=(HardRule.UNPERMITTED,),
        faults="none",
    ),
    Mutant(
        name="the port does not use permits up",
        file=BASE,
        old="        await self._checks.permits.consume(approved, intent.client_order_id)\n",
        new="",
        notices=(HardRule.UNPERMITTED,),
        faults="none",
    ),
    Mutant(
        name="permits last an hour",
        file="kamou/core/risk/governor.py",
        old="min(plan.expires_at_ms, now_ms + context.limits.permit_ttl_s * 1000)",
        new="now_ms + 3_600_000",
        notices=(HardRule.PERMIT_LONG,),
        faults="none",
    ),
    Mutant(
        name="commits are not synced",
        file="kamou/store/database.py",
        old="{'FULL' if durable else 'OFF'}",
        new="{'NORMAL' if durable else 'OFF'}",
        notices=(HardRule.LOST,),
        faults="power_cut",
    ),
    Mutant(
        name="a stop that is gone is not placed again",
        file=PROTECTION,
        old="    if now_ms >= deadline_ms and trade.unprotected_since_ms and (stop_rejected",
        new="    return ()\n    if now_ms >= deadline_ms and (stop_rejected",
        notices=(HardRule.UNPROTECTED,),
        faults="external_cancel",
    ),
    Mutant(
        name="the stop does not follow the filled size",
        file=PROTECTION,
        old="    covering = [v for v in stops if v.quantity - v.filled >= held]\n",
        new="    covering = stops\n",
        notices=(HardRule.UNPROTECTED, HardRule.UNSETTLED),
        faults="external_order",
        seeds=30,
    ),
    Mutant(
        name="orphan orders are not canceled",
        file=PROTECTION,
        old="    known = tuple(orders)\n    alive = {",
        new="    return ()\n    known = tuple(orders)\n    alive = {",
        notices=(HardRule.UNSETTLED,),
    ),
    Mutant(
        name="an adopted position gets no stop",
        file=PROTECTION,
        old="    held = trade.quantity\n    if held <= 0:\n",
        new="    held = trade.quantity\n    if held <= 0 or trade.adopted:\n",
        notices=(HardRule.UNPROTECTED,),
        faults="external_order",
    ),
    Mutant(
        name="separate stops are placed at twice the distance and count as protection",
        file=PROTECTION,
        old="        trigger_price=trade.stop_on_tick,\n",
        new="        trigger_price=2 * trade.stop_price - trade.entry_price,\n",
        also=(
            (
                PROTECTION,
                "        and trade.side.has_reached(trade.stop_price, order.trigger_price)\n",
                "",
            ),
        ),
        notices=(HardRule.RISK,),
        faults="tight_limits",
        seeds=20,
    ),
    Mutant(
        name="a stop goes out on the position's own side",
        file="kamou/exchange/embedded.py",
        old="        side=intent.side,\n",
        new="""        side=type(intent.side)(
            'buy' if intent.role.value == 'stop_loss' else intent.side
        ),
""",
        notices=(HardRule.NOT_AS_INTENDED, HardRule.UNPROTECTED, HardRule.ADDED),
        faults="none",
    ),
    Mutant(
        name="closes go out without reduce-only",
        file="kamou/exchange/embedded.py",
        old="        reduce_only=intent.reduce_only,\n",
        new="        reduce_only=intent.reduce_only and intent.role.value != 'exit',\n",
        notices=(HardRule.NOT_AS_INTENDED,),
        faults="none",
    ),
    Mutant(
        name="the time limit never closes a trade",
        file="kamou/core/book/due_actions.py",
        old="    if 0 < trade.hold_until_ms <= now_ms:\n",
        new="    if 0 < trade.hold_until_ms <= 0:\n",
        notices=(HardRule.OVERDUE,),
        faults="none",
    ),
    Mutant(
        name="fills that come after the order's end are ignored",
        file="kamou/core/book/fold.py",
        old="    trade = _trade_for(book, fill, order)\n",
        new="""    if order is not None and order.status.terminal:
        return
    trade = _trade_for(book, fill, order)
""",
        notices=(HardRule.UNSETTLED, HardRule.UNPROTECTED),
    ),
    Mutant(
        name="a requested cancellation counts as done",
        file=DESK,
        old="""        try:
            await self.port.cancel(client_order_id, symbol)
""",
        new="""        if order is not None and not order.status.terminal:
            now = self.clock.now_ms()
            await self.commit(
                OrderClosed(
                    at_ms=now,
                    cause_id=client_order_id,
                    client_order_id=client_order_id,
                    status=OrderStatus.CANCELED,
                    filled=ZERO,
                    reason="canceled",
                )
            )
        try:
            await self.port.cancel(client_order_id, symbol)
""",
        notices=(HardRule.UNSETTLED, HardRule.WRITTEN_OFF),
    ),
    Mutant(
        name="the governor's halt does not reach the port",
        file="kamou/actors/followers.py",
        old="        return self._latched() or not self._state.entries_allowed\n",
        new="        return self._latched()\n",
        notices=(HardRule.HALTED,),
        faults="operator",
        seeds=60,
    ),
)
