"""Event of a strategy's change at the gate, with all that the decision rests on."""

from __future__ import annotations

from decimal import Decimal

import attrs

from kamou.core.book.events import Event
from kamou.core.kinds import GateReason, GateState
from kamou.core.model import Figure


@attrs.frozen(kw_only=True)
class DemotionLimits:
    """Limits of the losses of a canary or live strategy, in R.

    They come from the record that made it a canary.
    """

    reference_mean: Decimal  # mean R of that record
    cusum: Decimal
    drawdown: Decimal


@attrs.frozen(kw_only=True)
class GateChanged(Event):
    """A change of a strategy's state or size at the gate.

    The decision rests on the strategy's closed shadow trades that opened from ``from_ms`` (0: all)
    until before ``until_ms``; ``data_hash`` is their hash. A loss that halts a strategy counts
    wherever it is in its record. ``limits`` are None in SHADOW and HALTED.
    """

    strategy: str
    number: int  # of the strategy's changes, from 1
    from_state: GateState
    to_state: GateState
    half_size: bool  # after the change
    attempt: int  # after the change; 2 after the first demotion
    reason: GateReason
    figures: tuple[Figure, ...]  # the statistic and its threshold
    from_ms: int
    until_ms: int
    counted: int  # closed shadow trades between the two
    data_hash: str  # SHA-256, hex
    not_before_ms: int  # no promotion before; 0: no cooldown
    limits: DemotionLimits | None

    @property
    def unique_key(self) -> str:
        return f"{self.strategy}.{self.number}"
