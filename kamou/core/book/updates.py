"""Pushed messages of a venue about our orders. They are hints; queries decide."""

from __future__ import annotations

import attrs

from kamou.core.model import FillReport, OrderReport


@attrs.frozen(kw_only=True)
class OrderUpdate:
    """The venue pushed a change of an order."""

    order: OrderReport


@attrs.frozen(kw_only=True)
class FillUpdate:
    """The venue pushed a fill of one of our orders."""

    fill: FillReport


VenueEvent = OrderUpdate | FillUpdate
