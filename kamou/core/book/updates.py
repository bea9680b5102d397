"""Reports of orders and fills that a venue pushes; reconciliation reads lost ones."""

from __future__ import annotations

import attrs

from kamou.core.model import FillReport, OrderReport


@attrs.frozen(kw_only=True)
class OrderUpdate:
    """The venue's report of an order after a change of the order."""

    order: OrderReport


@attrs.frozen(kw_only=True)
class FillUpdate:
    """The venue's report of a new fill, of any order of the account."""

    fill: FillReport


VenueEvent = OrderUpdate | FillUpdate
