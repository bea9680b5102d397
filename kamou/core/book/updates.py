"""What a venue pushes about our orders: hints, for the truth is queried."""

from __future__ import annotations

import attrs

from kamou.core.model import Fill, VenueOrder


@attrs.frozen(kw_only=True)
class OrderUpdate:
    """Pushed by the venue: an order changed. A hint; the truth is queried."""

    order: VenueOrder


@attrs.frozen(kw_only=True)
class FillUpdate:
    """Pushed by the venue: a trade of ours."""

    fill: Fill


VenueEvent = OrderUpdate | FillUpdate
