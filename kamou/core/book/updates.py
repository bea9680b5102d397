"""Pushed messages of a venue about our orders. They are hints; queries decide."""

from __future__ import annotations

import attrs

from kamou.core.model import Fill, VenueOrder


@attrs.frozen(kw_only=True)
class OrderUpdate:
    """The venue pushed a change of an order."""

    order: VenueOrder


@attrs.frozen(kw_only=True)
class FillUpdate:
    """The venue pushed a fill of one of our orders."""

    fill: Fill


VenueEvent = OrderUpdate | FillUpdate
