"""The planted edges of generated markets: names, truth table by seed, state.

An edge is named after the strategy that it pays. ``planting.py`` makes the market with edges. A
further edge is a member of ``Edge``, an entry in ``EDGES_BY_SEED``, and its drift and conditions in
``planting.py``, with a ``Drift`` in ``PlantedState`` if it lasts longer than its condition.
"""

from __future__ import annotations

from enum import StrEnum

import attrs
import numpy as np

from kamou.core.arrays import Floats, Mask

MOMENT_H = 1e-9  # less than any part of an hour; sums of such parts are inexact


class Edge(StrEnum):
    """The edges that can be planted, by the name of the strategy that each pays."""

    FUNDING_FADE = "funding_fade"
    MACRO = "macro"
    MEAN_REVERSION = "mean_reversion"
    OI_MOMENTUM = "oi_momentum"
    ORDER_FLOW = "order_flow"
    RATIO_FADE = "ratio_fade"


EDGES_BY_SEED: tuple[tuple[Edge, ...], ...] = (
    (Edge.MEAN_REVERSION,),
    (Edge.OI_MOMENTUM,),
    (Edge.FUNDING_FADE,),
    (Edge.RATIO_FADE,),
    (Edge.MACRO,),
    (Edge.ORDER_FLOW,),
)
"""The truth table: the edges of seeds 1 to 6, repeated for all other seeds."""


def planted_edges(seed: int) -> tuple[Edge, ...]:
    """Return the edges of a seed's market; empty: the market is not planted at all."""
    return EDGES_BY_SEED[(seed - 1) % len(EDGES_BY_SEED)]


@attrs.frozen(kw_only=True, eq=False)
class Drift:
    """One edge's drift in each symbol."""

    side: Floats  # [symbols]: 1 upwards, -1 downwards, 0 none
    hours_left: Floats  # [symbols]

    @classmethod
    def none(cls, symbols: int) -> Drift:
        """Return no drift in any symbol."""
        return cls(side=np.zeros(symbols), hours_left=np.zeros(symbols))

    def after(self, hours: float) -> Drift:
        """Return the drift after some hours; in symbols whose time is over there is none."""
        left = np.maximum(self.hours_left - hours, 0.0)
        return Drift(side=np.where(left > MOMENT_H, self.side, 0.0), hours_left=left)

    def start(self, where: Mask, side: Floats, hours: float) -> Drift:
        """Return the drift with a new start in the symbols of a mask."""
        return Drift(
            side=np.where(where, side, self.side),
            hours_left=np.where(where, hours, self.hours_left),
        )

    def stop(self, where: Mask) -> Drift:
        """Return the drift without that of the symbols of a mask."""
        return self.start(where, np.zeros(len(self.side)), 0.0)


@attrs.frozen(kw_only=True, eq=False)
class Trail:
    """What a planted market remembers of its log prices, each ``[symbols]``.

    Means are exponential, with the time constants of ``planting.py``. Those of returns are per
    look, which is a part of an hour.
    """

    price: Floats  # the newest log price
    mean: Floats  # of the log price
    variance: Floats  # of the log price around that mean
    speed: Floats  # mean of the returns of about an hour
    path: Floats  # mean of their absolute values
    day: Floats  # mean of the returns of about a day
    week: Floats  # mean of the returns of about a week

    @classmethod
    def at_start(cls, log_price: Floats) -> Trail:
        """Return the memory of a market that begins at these log prices."""
        zeros = np.zeros(len(log_price))
        return cls(
            price=log_price,
            mean=log_price,
            variance=zeros,
            speed=zeros,
            path=zeros,
            day=zeros,
            week=zeros,
        )


@attrs.frozen(kw_only=True, eq=False)
class PlantedState:
    """What a planted market adds to ``MarketState``; arrays are ``[symbols]``."""

    offset: Floats  # log price that all drifts together have added
    premium: Floats  # of the perpetual, a fraction of its price
    premium_sum: Floats  # since the last settlement
    log_ratio: Floats  # of long to short accounts
    trail: Trail
    fade: Drift  # against a crowd that pays extreme funding
    pull: Drift  # back to the mean price
    push: Drift  # onwards with a strong move
    tide: Drift  # onwards with a move of Bitcoin, and then rest; the same in all symbols

    @classmethod
    def at_start(cls, log_price: Floats) -> PlantedState:
        """Return the state at the first midnight of a market with these log prices."""
        symbols = len(log_price)
        zeros, none = np.zeros(symbols), Drift.none(symbols)
        return cls(
            offset=zeros,
            premium=zeros,
            premium_sum=zeros,
            log_ratio=zeros,
            trail=Trail.at_start(log_price),
            fade=none,
            pull=none,
            push=none,
            tide=none,
        )
