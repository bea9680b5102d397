"""Events of shadow trades, which have the plan of a real trade and no order.

All shadow trades that open in a cycle are one event, and so are all that close at a bar.
"""

from __future__ import annotations

from decimal import Decimal

import attrs

from kamou.core.book.events import Event
from kamou.core.kinds import ExitReason, RefinerVerdict
from kamou.core.model import Denial, Side


@attrs.frozen(kw_only=True)
class ShadowTrade:
    """A shadow trade, filled at the prices of its opening.

    Its id is the signal's id, which the real trade of the same signal has, too.
    """

    shadow_id: str
    strategy: str
    symbol: str
    side: Side
    score: Decimal  # of the candidate, 0 to 1, six significant digits
    verdict: RefinerVerdict
    size_multiplier: Decimal  # of the verdict; the shadow trade has the full size in any case
    p_win_pct: int | None  # a model's estimate, 0 to 100; None: no model was asked before
    quantity: Decimal  # contracts
    contract_size: Decimal
    planned_entry: Decimal  # worst price at which the entry may fill
    entry_price: Decimal  # of the fill
    stop_price: Decimal
    target_price: Decimal
    planned_risk: Decimal  # money of 1 R: planned distance x base units, without gap buffer
    half_spread: Decimal  # fraction of mid at the opening; a stop and a time limit pay it, too
    fee_rate: Decimal  # of entry, stop and time limit (taker), fraction of notional
    target_fee_rate: Decimal  # of the target (maker)
    fee: Decimal  # money, of the entry
    slippage: Decimal  # money, of the entry, against mid; it is already in ``entry_price``
    opened_at_ms: int
    closes_by_ms: int  # time limit; 0: none

    @property
    def units(self) -> Decimal:
        """Base units of the position."""
        return self.quantity * self.contract_size


@attrs.frozen(kw_only=True)
class ClosedShadowTrade:
    """The result of a shadow trade. Money is in the account currency."""

    shadow_id: str
    strategy: str
    symbol: str
    opened_at_ms: int
    closed_at_ms: int  # close of the bar in which it closed
    reason: ExitReason
    exit_price: Decimal
    gross: Decimal  # before fees and funding
    fees: Decimal  # of entry and exit, positive is paid
    funding: Decimal  # positive is received
    slippage: Decimal  # of entry and exit, already in ``gross``
    pnl: Decimal  # net: gross - fees + funding
    r: Decimal  # ``pnl`` over ``planned_risk``


@attrs.frozen(kw_only=True)
class SkippedShadowTrade:
    """A candidate without a shadow trade, such as one without a quote."""

    shadow_id: str
    strategy: str
    symbol: str
    denial: Denial


@attrs.frozen(kw_only=True)
class ShadowTradesOpened(Event):
    """Shadow trades of a cycle's candidates, in the order of their ranks.

    Each candidate that passed the vetoes (T2) is in one of the two tuples, whatever the refiner's
    verdict on it.
    """

    trades: tuple[ShadowTrade, ...]
    skipped: tuple[SkippedShadowTrade, ...] = ()


@attrs.frozen(kw_only=True)
class ShadowTradesClosed(Event):
    """Results of the shadow trades that closed since the last bar that was read."""

    trades: tuple[ClosedShadowTrade, ...]
