"""Long and short, buy and sell, and the arithmetic that depends on the direction.

The other modules of the product use these methods, or multiply by ``sign``. The venue's checkers,
the simulator's invariants and the tests' ledgers use only the enums and ``sign``. They have
formulas of their own, so they find a mistake in this module.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from enum import StrEnum
from typing import TypeVar

Price = TypeVar("Price", Decimal, float)


class OrderSide(StrEnum):
    """The direction of an order. A higher price is worse for a buy, better for a sell."""

    BUY = "buy"
    SELL = "sell"

    @property
    def sign(self) -> int:
        """1 for a buy, -1 for a sell. Contracts times it are signed contracts."""
        return 1 if self is OrderSide.BUY else -1

    @property
    def opposite(self) -> OrderSide:
        """The other side."""
        return OrderSide.SELL if self is OrderSide.BUY else OrderSide.BUY

    @property
    def rounding_against(self) -> str:
        """Rounding mode of ``decimal`` that never makes a price better for the order."""
        return ROUND_CEILING if self is OrderSide.BUY else ROUND_FLOOR

    def worse(self, a: Price, b: Price) -> Price:
        """Return the price that is worse for the order: the higher one for a buy."""
        return max(a, b) if self is OrderSide.BUY else min(a, b)

    def better(self, a: Price, b: Price) -> Price:
        """Return the price that is better for the order: the lower one for a buy."""
        return min(a, b) if self is OrderSide.BUY else max(a, b)

    def extra_cost(self, reference: Price, price: Price) -> Price:
        """Return by how much ``price`` is worse than ``reference``, in price.

        It is negative if ``price`` is better.
        """
        return (price - reference) * self.sign

    def is_stop_hit(self, trigger: Price, low: Price, high: Price) -> bool:
        """Return True if prices from ``low`` to ``high`` reach a stop order's trigger."""
        return low <= trigger if self is OrderSide.SELL else high >= trigger

    def is_limit_passed(self, limit: Price, low: Price, high: Price) -> bool:
        """Return True if a price from ``low`` to ``high`` is better than ``limit``.

        A price equal to ``limit`` is not better.
        """
        return low < limit if self is OrderSide.BUY else high > limit


class Side(StrEnum):
    """The direction of a position. A long gains when the price rises."""

    LONG = "long"
    SHORT = "short"

    @classmethod
    def of(cls, signed: Decimal | float) -> Side:
        """Return the side of a signed quantity, which must not be 0."""
        return cls.LONG if signed > 0 else cls.SHORT

    @property
    def sign(self) -> int:
        """1 for a long, -1 for a short. Contracts times it are signed contracts."""
        return 1 if self is Side.LONG else -1

    @property
    def opposite(self) -> Side:
        """The other side."""
        return Side.SHORT if self is Side.LONG else Side.LONG

    @property
    def opening(self) -> OrderSide:
        """Side of an order that opens a position of this side."""
        return OrderSide.BUY if self is Side.LONG else OrderSide.SELL

    @property
    def closing(self) -> OrderSide:
        """Side of an order that closes a position of this side."""
        return self.opening.opposite

    @property
    def rounding_to_gain(self) -> str:
        """Rounding mode of ``decimal`` towards prices at which the position gains."""
        return ROUND_CEILING if self is Side.LONG else ROUND_FLOOR

    @property
    def rounding_to_loss(self) -> str:
        """Rounding mode of ``decimal`` towards prices at which the position loses."""
        return ROUND_FLOOR if self is Side.LONG else ROUND_CEILING

    def gain(self, before: Decimal, after: Decimal) -> Decimal:
        """Return the gain from a price to a later one; negative for a loss.

        Both arguments may also be contracts x price.
        """
        return (after - before) * self.sign

    def loss(self, before: Decimal, after: Decimal) -> Decimal:
        """Return the loss from a price to a later one; negative for a gain."""
        return (before - after) * self.sign

    def has_reached(self, price: Decimal, stop: Decimal) -> bool:
        """Return True if ``price`` is at ``stop``, or beyond it where the position loses."""
        return self.loss(stop, price) >= 0
