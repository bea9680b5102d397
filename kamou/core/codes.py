"""Every public code, in one place: ``CATEGORY_CONDITION``. Published, so never renamed."""

from __future__ import annotations

from enum import Enum, IntEnum


class Abstain(IntEnum):
    """Why a strategy says nothing of a symbol. Stored as uint8 columns; 0 is an opinion."""

    NONE = 0
    WARMING_UP = 1
    DATA_MISSING = 2
    DATA_STALE = 3
    DATA_DEGENERATE = 4  # flat prices, zero deviation, zero MAD
    REGIME_WRONG = 5
    NO_TRIGGER = 6  # everything is known; the setup is not there
    NOT_MEAN_REVERTING = 7
    STRATEGY_FAILED = 8  # the strategy raised
    SCORE_TOO_SMALL = 9


class Veto(str, Enum):
    """Why T2 vetoed a candidate."""

    DATA_STALE = "DATA_STALE"
    REWARD_TO_RISK_LOW = "REWARD_TO_RISK_LOW"
    SYMBOL_EXCLUDED = "SYMBOL_EXCLUDED"
    SYMBOL_HELD = "SYMBOL_HELD"
    COOLDOWN_AFTER_STOP = "COOLDOWN_AFTER_STOP"
    CONFLICTING_SIGNALS = "CONFLICTING_SIGNALS"


class Deny(str, Enum):
    """Why the order manager or the governor denied a plan."""

    # the plan itself
    STOP_MISSING = "STOP_MISSING"
    STOP_WRONG_SIDE = "STOP_WRONG_SIDE"
    STOP_BEYOND_LIQUIDATION = "STOP_BEYOND_LIQUIDATION"
    PRICE_COLLAR_EXCEEDED = "PRICE_COLLAR_EXCEEDED"
    PRICE_MARK_MISSING = "PRICE_MARK_MISSING"
    LEVERAGE_EXCEEDED = "LEVERAGE_EXCEEDED"
    PLAN_EXPIRED = "PLAN_EXPIRED"
    # size
    SIZE_BELOW_MINIMUM = "SIZE_BELOW_MINIMUM"
    SIZE_OFF_STEP = "SIZE_OFF_STEP"
    SIZE_MAX_EXCEEDED = "SIZE_MAX_EXCEEDED"
    VALUE_MAX_EXCEEDED = "VALUE_MAX_EXCEEDED"
    # per trade and symbol
    RISK_PER_TRADE_EXCEEDED = "RISK_PER_TRADE_EXCEEDED"
    EXPOSURE_SYMBOL_EXCEEDED = "EXPOSURE_SYMBOL_EXCEEDED"
    # portfolio
    RISK_OPEN_EXCEEDED = "RISK_OPEN_EXCEEDED"
    RISK_DAY_BUDGET_EXCEEDED = "RISK_DAY_BUDGET_EXCEEDED"
    RISK_CLUSTER_EXCEEDED = "RISK_CLUSTER_EXCEEDED"
    RISK_SHOCK_EXCEEDED = "RISK_SHOCK_EXCEEDED"
    CAPITAL_NOTIONAL_EXCEEDED = "CAPITAL_NOTIONAL_EXCEEDED"
    CAPITAL_MARGIN_EXCEEDED = "CAPITAL_MARGIN_EXCEEDED"
    # conduct
    STATE_HALTED = "STATE_HALTED"
    DUPLICATE_INTENT = "DUPLICATE_INTENT"
    SYMBOL_HELD = "SYMBOL_HELD"
    SYMBOL_RESTRICTED = "SYMBOL_RESTRICTED"
    STRATEGY_NOT_LIVE = "STRATEGY_NOT_LIVE"
    STRATEGY_DISABLED = "STRATEGY_DISABLED"
    RATE_ENTRIES_EXCEEDED = "RATE_ENTRIES_EXCEEDED"
    RATE_REENTRIES_EXCEEDED = "RATE_REENTRIES_EXCEEDED"
    RATE_MESSAGES_EXCEEDED = "RATE_MESSAGES_EXCEEDED"
    COOLDOWN_AFTER_STOP = "COOLDOWN_AFTER_STOP"
    # inputs
    DATA_STALE = "DATA_STALE"
    DATA_INVALID = "DATA_INVALID"
    ACCOUNT_STALE = "ACCOUNT_STALE"
    MARK_STALE = "MARK_STALE"
    NOT_RECONCILED = "NOT_RECONCILED"
    CLOCK_SKEWED = "CLOCK_SKEWED"
    # reducing legs
    EXIT_INCREASES_EXPOSURE = "EXIT_INCREASES_EXPOSURE"
    # silence
    GOVERNOR_SILENT = "GOVERNOR_SILENT"


class StateReason(str, Enum):
    """Why the trading state changed."""

    DAY_LOSS_HALF = "DAY_LOSS_HALF"
    DAY_LOSS_LIMIT = "DAY_LOSS_LIMIT"
    DAY_LOSS_SEVERE = "DAY_LOSS_SEVERE"
    EQUITY_UNKNOWN = "EQUITY_UNKNOWN"
    RECONCILE_MISMATCH = "RECONCILE_MISMATCH"
    PROTECTION_FAILED = "PROTECTION_FAILED"
    DISK_FULL = "DISK_FULL"
    HUMAN_HALT = "HUMAN_HALT"
    HUMAN_FLATTEN = "HUMAN_FLATTEN"
    HUMAN_RESUME = "HUMAN_RESUME"
    DAY_ROLLED = "DAY_ROLLED"
    DATA_RECOVERED = "DATA_RECOVERED"
    RESTART_STORM = "RESTART_STORM"


MEANINGS = {
    # T1 abstains
    "WARMING_UP": "the strategy needs more bars before its first score",
    "DATA_MISSING": "no bar of this symbol is known",
    "DATA_STALE": "the data is too old",
    "DATA_DEGENERATE": "prices too flat, or figures that are no numbers, allow no score",
    "REGIME_WRONG": "the market is not in the regime that the strategy wants",
    "NO_TRIGGER": "the setup that the strategy wants is not there",
    "NOT_MEAN_REVERTING": "the price does not revert to its mean as the strategy wants",
    "STRATEGY_FAILED": "the strategy raised an error",
    "SCORE_TOO_SMALL": "the score is below the least that counts",
    # T2 vetoes
    "REWARD_TO_RISK_LOW": "what may be won after costs is too little for what may be lost",
    "SYMBOL_EXCLUDED": "the settings exclude this symbol",
    "SYMBOL_HELD": "a position, an order or a permit of this symbol exists",
    "COOLDOWN_AFTER_STOP": "the symbol rests after a stop-loss",
    "CONFLICTING_SIGNALS": "strategies want both sides of this symbol",
    # the order manager and the governor deny
    "STOP_MISSING": "a stop is missing",
    "STOP_WRONG_SIDE": "the stop is not on the losing side of entry and mark",
    "STOP_BEYOND_LIQUIDATION": "liquidation is too close to the stop",
    "PRICE_COLLAR_EXCEEDED": "the price is too far from the mark, or worse than it was sized at",
    "PRICE_MARK_MISSING": "no mark price is known",
    "LEVERAGE_EXCEEDED": "the leverage is above its limit",
    "PLAN_EXPIRED": "the plan expired before its review",
    "SIZE_BELOW_MINIMUM": "what the limits leave is below the smallest order",
    "SIZE_OFF_STEP": "the quantity is off the lot, or the contract size is not the venue's",
    "SIZE_MAX_EXCEEDED": "the quantity is above the largest order",
    "VALUE_MAX_EXCEEDED": "the order's value is above its limit",
    "RISK_PER_TRADE_EXCEEDED": "the trade risks more than one trade may",
    "EXPOSURE_SYMBOL_EXCEEDED": "the symbol's exposure would be above its limit",
    "RISK_OPEN_EXCEEDED": "the open risk would be above its limit",
    "RISK_DAY_BUDGET_EXCEEDED": "the day's loss with all stops hit would be above its limit",
    "RISK_CLUSTER_EXCEEDED": "the risk of all altcoins on this side would be above its limit",
    "RISK_SHOCK_EXCEEDED": "a market shock would cost more than the day's budget leaves",
    "CAPITAL_NOTIONAL_EXCEEDED": "the value of all positions would be above its limit",
    "CAPITAL_MARGIN_EXCEEDED": "the margin used would be above its limit",
    "STATE_HALTED": "the trading state allows no entry",
    "DUPLICATE_INTENT": "an entry for this signal exists already",
    "SYMBOL_RESTRICTED": "the symbol may not be entered",
    "STRATEGY_NOT_LIVE": "the gate has not let this strategy trade",
    "STRATEGY_DISABLED": "the strategy is disabled until the operator resumes it",
    "RATE_ENTRIES_EXCEEDED": "the strategy entered too often within an hour",
    "RATE_REENTRIES_EXCEEDED": "the symbol was entered too often today",
    "RATE_MESSAGES_EXCEEDED": "too many messages would go to the venue",
    "DATA_INVALID": "inputs are missing, not finite or not positive",
    "ACCOUNT_STALE": "the account was not read lately",
    "MARK_STALE": "a held symbol has no fresh mark",
    "NOT_RECONCILED": "book and venue have not agreed lately, or the day is not open",
    "CLOCK_SKEWED": "our clock and the venue's differ",
    "EXIT_INCREASES_EXPOSURE": "the order would not reduce the position",
    "GOVERNOR_SILENT": "the risk governor did not answer in time",
}
"""What each code of a refusal means, for people."""

CAUSES = {
    StateReason.DAY_LOSS_HALF: "the day's loss reached half of its limit",
    StateReason.DAY_LOSS_LIMIT: "the day's loss reached its limit",
    StateReason.DAY_LOSS_SEVERE: "the day's loss went beyond its limit",
    StateReason.EQUITY_UNKNOWN: "account or prices were too old",
    StateReason.RECONCILE_MISMATCH: "the book and the exchange differed",
    StateReason.PROTECTION_FAILED: "a position could not be protected",
    StateReason.DISK_FULL: "the disk was full",
    StateReason.HUMAN_HALT: "halted by the operator",
    StateReason.HUMAN_FLATTEN: "flattened by the operator",
    StateReason.HUMAN_RESUME: "resumed by the operator",
    StateReason.DAY_ROLLED: "a new day began",
    StateReason.DATA_RECOVERED: "account and prices were known again",
    StateReason.RESTART_STORM: "too many restarts",
}
"""What each reason of a trading state means, for people."""


def describe_cause(reason: str) -> str:
    """Return what a reason of a trading state means; one that is not known, as it is."""
    return CAUSES[StateReason(reason)] if reason in set(StateReason) else reason


def state_cause(state: str, reason: str) -> str:
    """Say why a trading state lasts. A resume may lead to one, and is not the cause of it."""
    if reason == StateReason.HUMAN_RESUME:
        if state == "halt_new":
            return "resumed once by the operator; one more `kamou resume` lets it trade"
        if state == "reduced":
            return "resumed by the operator, with half of the day's loss limit gone"
    return describe_cause(reason)
