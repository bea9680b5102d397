"""Closed sets that events and rows have, below the values that have them.

Journal, tables and JSON have the texts of these enums, so a release never renames one.
"""

from __future__ import annotations

from enum import StrEnum


class FillReason(StrEnum):
    """The venue's reason for a fill."""

    ORDER = "order"  # of Kamou, or external
    LIQUIDATION = "liquidation"
    ADL = "adl"
    SETTLEMENT = "settlement"  # the market ended


class FillSource(StrEnum):
    """The way in which a fill became known."""

    STREAM = "stream"
    RECONCILE = "reconcile"


class ExitReason(StrEnum):
    """The way in which a trade ended."""

    STOP_LOSS = "stop_loss"
    TAKE_PROFIT = "take_profit"
    TIME_LIMIT = "time_limit"
    EXIT = "exit"  # an exit order before the time limit
    LIQUIDATION = "liquidation"
    ADL = "adl"
    DELISTING = "delisting"
    EXTERNAL = "external"


class IncomeKind(StrEnum):
    """The kind of a change of the wallet balance without a fill."""

    FUNDING = "funding"
    TRANSFER = "transfer"
    INSURANCE = "insurance"


class DriftKind(StrEnum):
    """The kind of a difference between book and venue."""

    POSITION_UNKNOWN = "POSITION_UNKNOWN"  # no trade of the book explains the position
    QUANTITY_DIFFERS = "QUANTITY_DIFFERS"
    INSTRUMENT_UNKNOWN = "INSTRUMENT_UNKNOWN"  # of a position that would be adopted


class Tier(StrEnum):
    """The part of a decision that answers about a symbol or an entry."""

    STRATEGY = "T1"
    VETO = "T2"
    REFINER = "T3"
    GOVERNOR = "governor"  # also the order manager
    VENUE = "venue"


class RefinerVerdict(StrEnum):
    """The answer of the refiner (T3) about a candidate."""

    APPROVE = "approve"
    REFUSE = "refuse"
    SHRINK = "shrink"
    OFF = "off"  # the refiner is off, and the candidate passes unchanged


class RunEnd(StrEnum):
    """The way in which a run ended."""

    STOPPED = "stopped"
    CRASHED = "crashed"


class ReleaseReason(StrEnum):
    """Why a permit's reservation ends, if its entry was not rejected."""

    EXPIRED = "expired"
    NO_FILL = "no_fill"
    TRADE_CLOSED = "trade_closed"
