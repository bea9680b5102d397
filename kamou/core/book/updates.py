"""Messages that a venue pushes about Kamou's orders. Queries confirm them."""

from __future__ import annotations

import attrs

from kamou.core.model import FillReport, OrderReport


@attrs.frozen(kw_only=True)
class OrderUpdate:
    """Change of an order, pushed by the venue."""

    order: OrderReport


@attrs.frozen(kw_only=True)
class FillUpdate:
    """Fill of an order of Kamou, pushed by the venue."""

    fill: FillReport


VenueEvent = OrderUpdate | FillUpdate
