"""Enums of the fields of events and rows, such as reasons, sources and kinds.

The journal, tables and JSON have the texts of these enums, so a release never renames one.
``core/model.py`` and the events import this module.
"""

from __future__ import annotations

from enum import StrEnum


class FillReason(StrEnum):
    """The venue's reason for a fill."""

    ORDER = "order"  # an order filled, of Kamou or external
    LIQUIDATION = "liquidation"
    ADL = "adl"
    SETTLEMENT = "settlement"  # the venue settled the position, because the symbol's market ended


class FillSource(StrEnum):
    """The way in which a fill became known."""

    STREAM = "stream"  # the venue pushed it
    RECONCILE = "reconcile"  # a read or query of the venue listed it


class ExitReason(StrEnum):
    """The way in which a trade ended."""

    STOP_LOSS = "stop_loss"
    TAKE_PROFIT = "take_profit"
    TIME_LIMIT = "time_limit"
    EXIT = "exit"  # an exit order before the time limit, or without one
    LIQUIDATION = "liquidation"
    ADL = "adl"
    DELISTING = "delisting"
    EXTERNAL = "external"  # an external order, or a correction to the venue's quantity


class IncomeKind(StrEnum):
    """The kind of a change of the wallet balance without a fill."""

    FUNDING = "funding"
    TRANSFER = "transfer"
    INSURANCE = "insurance"


class DriftKind(StrEnum):
    """The kind of a difference between book and venue."""

    POSITION_UNKNOWN = "POSITION_UNKNOWN"  # no trade of the book explains the position
    QUANTITY_DIFFERS = "QUANTITY_DIFFERS"
    INSTRUMENT_UNKNOWN = "INSTRUMENT_UNKNOWN"  # the position would be adopted otherwise


class Tier(StrEnum):
    """The part of Kamou, or the venue, that decides on a symbol or an entry."""

    STRATEGY = "T1"
    VETO = "T2"
    REFINER = "T3"
    GOVERNOR = "governor"  # also the order manager
    VENUE = "venue"


class RefinerVerdict(StrEnum):
    """The verdict of the refiner (T3) on a candidate."""

    APPROVE = "approve"
    REFUSE = "refuse"
    SHRINK = "shrink"
    OFF = "off"  # the refiner is off, and the candidate passes unchanged


class RunEnd(StrEnum):
    """The way in which a run ended."""

    STOPPED = "stopped"
    CRASHED = "crashed"


class ReleaseReason(StrEnum):
    """The reason why a permit's reservation ends, unless its entry was rejected."""

    EXPIRED = "expired"  # no order used the permit
    NO_FILL = "no_fill"  # the entry ended without a fill
    TRADE_CLOSED = "trade_closed"
