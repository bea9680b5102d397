"""Orders of the position book: unsettled ones, and the newest settled ones."""

from __future__ import annotations

import attrs

from kamou.core.book.orders import OrderState
from kamou.core.book.retention import CLOSED_KEPT, forget_oldest
from kamou.core.model import OrderRole


@attrs.define(kw_only=True)
class BookOrders:
    """Unsettled orders and the newest settled ones, by client order id."""

    unsettled: dict[str, OrderState] = attrs.field(factory=dict)
    settled: dict[str, OrderState] = attrs.field(factory=dict)  # the newest ``CLOSED_KEPT``

    def find(self, client_order_id: str) -> OrderState | None:
        """Return the order; None if it is unknown, or settled and no longer kept."""
        return self.unsettled.get(client_order_id) or self.settled.get(client_order_id)

    def of_symbol(self, symbol: str) -> tuple[OrderState, ...]:
        """Return the orders of a symbol that are not settled."""
        return tuple(o for o in self.unsettled.values() if o.intent.symbol == symbol)

    def has_live_entry(self, symbol: str) -> bool:
        """Return True if an entry in this symbol may fill, or has unrecorded fills."""
        return any(
            o.intent.symbol == symbol and o.role is OrderRole.ENTRY and o.remaining > 0
            for o in self.unsettled.values()
        )

    def add(self, order: OrderState) -> None:
        """Add the order of a committed intent."""
        self.unsettled[order.client_order_id] = order

    def keep(self, order: OrderState) -> None:
        """Store a changed order among the settled or the unsettled ones."""
        name = order.client_order_id
        if order.settled:
            self.unsettled.pop(name, None)
            self.settled[name] = order
            forget_oldest(self.settled, CLOSED_KEPT)
        else:
            self.settled.pop(name, None)
            self.unsettled[name] = order
