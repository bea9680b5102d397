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
    # The position cannot be adopted, because the book has no contract specification of its symbol.
    INSTRUMENT_UNKNOWN = "INSTRUMENT_UNKNOWN"


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
    ADVISORY = "advisory"  # a model only advises, and the candidate passes unchanged
    UNANSWERED = "unanswered"  # no valid answer, and the settings let the candidate pass


class RunMode(StrEnum):
    """The market and the money of a run."""

    DEMO = "demo"  # a generated or recorded market, simulated money
    PAPER = "paper"  # the real market, simulated money
    LIVE = "live"
    BACKTEST = "backtest"  # recorded market data, a simulated clock and simulated money


class MarketEdges(StrEnum):
    """The planted edges of a demo's generated market."""

    BY_SEED = "by_seed"  # those of the truth table, ``venue/market/edges.py``
    NONE = "none"


class RunEnd(StrEnum):
    """The way in which a run ended."""

    STOPPED = "stopped"
    CRASHED = "crashed"


class SizeLimit(StrEnum):
    """The limit that decided the size of a trade, or that left too little for one."""

    RISK = "risk"  # of one trade
    EXPOSURE = "exposure"  # of the symbol
    QUANTITY_MAX = "quantity_max"  # of one order
    VALUE_MAX = "value_max"  # of one order
    # of the portfolio
    OPEN_RISK = "open_risk"
    DAY_BUDGET = "day_budget"
    CLUSTER = "cluster"
    SHOCK = "shock"
    NOTIONAL_TOTAL = "notional_total"
    MARGIN_TOTAL = "margin_total"


class RiskPart(StrEnum):
    """The part of a trade's worst case that takes its risk above the limit."""

    PRICE = "price"  # the distance to the stop
    COSTS = "costs"
    GAP = "gap"
    PLAN = "plan"  # only the plan's own figure is above the limit


class TradingState(StrEnum):
    """The governor's trading state.

    A change is committed before the governor acts on it. REDUCE_ONLY and FLATTENING are a halt, in
    which the governor denies every entry.
    """

    ACTIVE = "active"
    REDUCED_SIZE = "reduced_size"  # entries at half size
    REDUCE_ONLY = "reduce_only"  # no entries; positions keep their stops
    FLATTENING = "flattening"  # no entries; every position is closed

    @property
    def severity(self) -> int:
        return list(TradingState).index(self)

    @property
    def entries_allowed(self) -> bool:
        return self in (TradingState.ACTIVE, TradingState.REDUCED_SIZE)


class ReleaseReason(StrEnum):
    """The reason why a permit's reservation ends, unless its entry was rejected."""

    EXPIRED = "expired"  # no order used the permit
    NO_FILL = "no_fill"  # the entry ended without a fill
    TRADE_CLOSED = "trade_closed"


class GateState(StrEnum):
    """The state of a strategy at the gate."""

    SHADOW = "SHADOW"  # only shadow trades
    CANARY = "CANARY"  # a quarter of the full size
    LIVE = "LIVE"
    HALTED = "HALTED"  # final


class GateReason(StrEnum):
    """The reason of a change at the gate."""

    CANARY_EARNED = "canary_earned"  # every condition of a canary holds
    LIVE_EARNED = "live_earned"  # every condition of LIVE holds
    ROLLING_MEAN = "rolling_mean"  # of the last 30 trades: below 0, or no longer
    CUSUM = "cusum"  # the results are worse than the record that earned the canary
    DRAWDOWN = "drawdown"  # the results fell further than that record makes likely
    RUIN = "ruin"  # a loss that the evidence excludes
