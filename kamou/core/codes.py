"""The public codes, their meanings and the operator's actions.

Most codes have the form ``CATEGORY_CONDITION``. Codes are published, so a release never renames
one.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum


class Abstain(IntEnum):
    """Reasons why a strategy abstains from a symbol.

    Scores and stored scans have the numbers, as uint8. 0 means that the strategy gave a score.
    """

    NONE = 0
    WARMING_UP = 1
    DATA_MISSING = 2
    DATA_STALE = 3
    DATA_DEGENERATE = 4  # flat prices, or a figure that is not finite
    REGIME_WRONG = 5
    NO_TRIGGER = 6  # the data is complete, and the condition for a signal is not met
    NOT_MEAN_REVERTING = 7
    STRATEGY_FAILED = 8  # the strategy raised, or its scores are invalid
    SCORE_TOO_SMALL = 9
    SOURCE_MISSING = 10  # funding or another source besides bars has no value
    SOURCE_STALE = 11
    SOURCE_WARMING_UP = 12
    NOT_CONFIRMED = 13  # the condition for a signal is met, and its confirmation is not


class Veto(StrEnum):
    """Reasons why a veto (T2) stops a candidate."""

    DATA_STALE = "DATA_STALE"
    REWARD_TO_RISK_LOW = "REWARD_TO_RISK_LOW"
    SYMBOL_EXCLUDED = "SYMBOL_EXCLUDED"
    SYMBOL_HELD = "SYMBOL_HELD"
    COOLDOWN_AFTER_STOP = "COOLDOWN_AFTER_STOP"
    CONFLICTING_SIGNALS = "CONFLICTING_SIGNALS"
    SHADOW_OPEN = "SHADOW_OPEN"
    REGIME_EXCLUDED = "REGIME_EXCLUDED"
    SPREAD_WIDE = "SPREAD_WIDE"
    DEPTH_LOW = "DEPTH_LOW"
    FUNDING_NEAR = "FUNDING_NEAR"
    VELOCITY_PAUSE = "VELOCITY_PAUSE"
    HOUR_LOSING = "HOUR_LOSING"
    SYMBOL_LOSING = "SYMBOL_LOSING"
    WIN_RATE_LOW = "WIN_RATE_LOW"


SHADOW_ONLY = frozenset({Veto.HOUR_LOSING, Veto.SYMBOL_LOSING, Veto.WIN_RATE_LOW})
"""Vetoes of real entries alone: their candidates stay in the shadow record, to be tested again."""


class Deny(StrEnum):
    """Reasons of the order manager, governor or exchange port for a denial.

    They deny a candidate, a plan or an order.
    """

    # the plan's stop, prices, leverage and expiry
    STOP_MISSING = "STOP_MISSING"
    STOP_WRONG_SIDE = "STOP_WRONG_SIDE"
    STOP_BEYOND_LIQUIDATION = "STOP_BEYOND_LIQUIDATION"
    PRICE_COLLAR_EXCEEDED = "PRICE_COLLAR_EXCEEDED"
    PRICE_MARK_MISSING = "PRICE_MARK_MISSING"
    LEVERAGE_EXCEEDED = "LEVERAGE_EXCEEDED"
    PLAN_EXPIRED = "PLAN_EXPIRED"
    # size
    RISK_HEADROOM_EXHAUSTED = "RISK_HEADROOM_EXHAUSTED"
    QUANTITY_BELOW_MINIMUM = "QUANTITY_BELOW_MINIMUM"
    QUANTITY_OFF_STEP = "QUANTITY_OFF_STEP"
    QUANTITY_EXCEEDS_MAXIMUM = "QUANTITY_EXCEEDS_MAXIMUM"
    NOTIONAL_EXCEEDS_MAXIMUM = "NOTIONAL_EXCEEDS_MAXIMUM"
    # limits of one trade and one symbol
    RISK_PER_TRADE_EXCEEDED = "RISK_PER_TRADE_EXCEEDED"
    EXPOSURE_SYMBOL_EXCEEDED = "EXPOSURE_SYMBOL_EXCEEDED"
    # limits of the portfolio
    RISK_OPEN_EXCEEDED = "RISK_OPEN_EXCEEDED"
    RISK_DAY_BUDGET_EXCEEDED = "RISK_DAY_BUDGET_EXCEEDED"
    RISK_CLUSTER_EXCEEDED = "RISK_CLUSTER_EXCEEDED"
    RISK_SHOCK_EXCEEDED = "RISK_SHOCK_EXCEEDED"
    CAPITAL_NOTIONAL_EXCEEDED = "CAPITAL_NOTIONAL_EXCEEDED"
    CAPITAL_MARGIN_EXCEEDED = "CAPITAL_MARGIN_EXCEEDED"
    # rate and repetition
    TRADING_HALTED = "TRADING_HALTED"
    DUPLICATE_INTENT = "DUPLICATE_INTENT"
    SYMBOL_HELD = "SYMBOL_HELD"
    SYMBOL_RESTRICTED = "SYMBOL_RESTRICTED"
    ENTRY_UNFILLED = "ENTRY_UNFILLED"
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
    # reducing orders
    EXIT_INCREASES_EXPOSURE = "EXIT_INCREASES_EXPOSURE"
    # no review
    GOVERNOR_TIMEOUT = "GOVERNOR_TIMEOUT"


class StateReason(StrEnum):
    """Reasons of a change of the trading state."""

    DAY_LOSS_HALF = "DAY_LOSS_HALF"
    DAY_LOSS_LIMIT = "DAY_LOSS_LIMIT"
    DAY_LOSS_SEVERE = "DAY_LOSS_SEVERE"
    EQUITY_UNKNOWN = "EQUITY_UNKNOWN"
    RECONCILE_MISMATCH = "RECONCILE_MISMATCH"
    PROTECTION_FAILED = "PROTECTION_FAILED"
    DISK_FULL = "DISK_FULL"
    OPERATOR_HALT = "OPERATOR_HALT"
    OPERATOR_FLATTEN = "OPERATOR_FLATTEN"
    OPERATOR_RESUME = "OPERATOR_RESUME"
    DAY_ROLLED = "DAY_ROLLED"
    DATA_RECOVERED = "DATA_RECOVERED"
    RESTART_STORM = "RESTART_STORM"


MEANINGS = {
    # T1 abstains
    "WARMING_UP": "the strategy needs more bars before its first score",
    "DATA_MISSING": "the symbol's newest bar is missing or invalid, or no bar of it is known",
    "DATA_STALE": "the newest bar or quote is too old, missing or dated in the future",
    "DATA_DEGENERATE": "flat prices or figures that are not finite allow no score",
    "REGIME_WRONG": "the market is not in the regime that the strategy wants",
    "NO_TRIGGER": "the data is complete, and the strategy's condition for a signal is not met",
    "NOT_MEAN_REVERTING": "the price does not revert to its mean as the strategy wants",
    "STRATEGY_FAILED": "the strategy raised an error or gave invalid scores",
    "SCORE_TOO_SMALL": "the score is 0, or below the strategy's minimum in absolute value",
    "SOURCE_MISSING": "the venue or the dataset has no value of a source that the strategy needs",
    "SOURCE_STALE": "the newest value of a source that the strategy needs is too old",
    "SOURCE_WARMING_UP": "the strategy needs more values of a source before its first score",
    "NOT_CONFIRMED": "a signal's condition is met, and what the strategy wants to confirm it is "
    "not",
    # T2 vetoes
    "REWARD_TO_RISK_LOW": "the reward-to-risk after costs is below its minimum",
    "SYMBOL_EXCLUDED": "the settings exclude this symbol",
    "SYMBOL_HELD": "a position, an order or a permit of this symbol exists",
    "COOLDOWN_AFTER_STOP": "the symbol is in its cooldown after a stop-loss or a liquidation",
    "CONFLICTING_SIGNALS": "one cycle has a long and a short candidate of this symbol",
    "SHADOW_OPEN": "the strategy has an open shadow trade in this symbol",
    "REGIME_EXCLUDED": "the regime is none of the strategy's, is a shock, or is not known",
    "SPREAD_WIDE": "the spread is above its maximum",
    "DEPTH_LOW": "too few contracts are offered at the best price",
    "FUNDING_NEAR": "a costly funding settlement is near",
    "VELOCITY_PAUSE": "the symbol or Bitcoin moved too much within 60 s, or its move is not known",
    "HOUR_LOSING": "the strategy's shadow record loses in this hour of the UTC day",
    "SYMBOL_LOSING": "the strategy's shadow record loses in this symbol",
    "WIN_RATE_LOW": "the win rate of the strategy's shadow record is below break-even",
    # the order manager and the governor deny
    "STOP_MISSING": "the plan has no usable stop, or an open position has no confirmed stop",
    "STOP_WRONG_SIDE": "the stop is not on the losing side of entry and mark",
    "STOP_BEYOND_LIQUIDATION": "liquidation is too close to the stop",
    "PRICE_COLLAR_EXCEEDED": "a price of the plan is too far from the mark, or the limit price is "
    "worse than the price of its sizing",
    "PRICE_MARK_MISSING": "no mark price is known",
    "LEVERAGE_EXCEEDED": "the leverage is above its limit",
    "PLAN_EXPIRED": "the plan expired before its review",
    "RISK_HEADROOM_EXHAUSTED": "too little of a limit is left for this trade",
    "QUANTITY_BELOW_MINIMUM": "the size that one trade may have is below the venue's minimum of"
    " one order",
    "QUANTITY_OFF_STEP": "the quantity is no multiple of the lot size, or the contract size is not"
    " the venue's",
    "QUANTITY_EXCEEDS_MAXIMUM": "the quantity is above the maximum of one order, of the settings or"
    " of the venue",
    "NOTIONAL_EXCEEDS_MAXIMUM": "the value is above the settings' maximum of one order",
    "RISK_PER_TRADE_EXCEEDED": "the trade risks more than one trade may",
    "EXPOSURE_SYMBOL_EXCEEDED": "the symbol's exposure would be above its limit",
    "RISK_OPEN_EXCEEDED": "the open risk would be above its limit",
    "RISK_DAY_BUDGET_EXCEEDED": "the day's loss with all stops hit would be above its limit",
    "RISK_CLUSTER_EXCEEDED": "the risk of all altcoins on this side would be above its limit",
    "RISK_SHOCK_EXCEEDED": "a market shock would cost more than the rest of the daily budget",
    "CAPITAL_NOTIONAL_EXCEEDED": "the value of all positions would be above its limit",
    "CAPITAL_MARGIN_EXCEEDED": "the margin used would be above its limit",
    "TRADING_HALTED": "the trading state allows no entry",
    "DUPLICATE_INTENT": "the signal already has a permit or an entry, or the permit's id was used",
    "SYMBOL_RESTRICTED": "the settings exclude the symbol, or the venue does not list it",
    "ENTRY_UNFILLED": "no price went beyond the limit of the resting entry before its deadline",
    "STRATEGY_NOT_LIVE": "the gate has not granted trading to this strategy",
    "STRATEGY_DISABLED": "the strategy is disabled until the operator resumes it",
    "RATE_ENTRIES_EXCEEDED": "the strategy's entries within an hour have reached their limit",
    "RATE_REENTRIES_EXCEEDED": "the symbol's re-entries of this UTC day have reached their limit",
    "RATE_MESSAGES_EXCEEDED": "the limit of messages to the venue per second is reached",
    "DATA_INVALID": "inputs are missing, not finite or not positive, or the bid is above the ask",
    "ACCOUNT_STALE": "the account's equity is not known, or was read too long ago",
    "MARK_STALE": "an open position has no fresh mark price",
    "NOT_RECONCILED": "book and venue have not agreed lately, or the UTC day is not open",
    "CLOCK_SKEWED": "this machine's clock and the venue's differ by more than 1 s",
    "EXIT_INCREASES_EXPOSURE": "the order would add or reverse exposure, or there is no position",
    "GOVERNOR_TIMEOUT": "the risk governor did not review the plan in time",
}
"""Meaning of each code of an abstention, a veto or a denial, in words."""

CAUSES = {
    StateReason.DAY_LOSS_HALF: "the day's loss reached the limit for half size",
    StateReason.DAY_LOSS_LIMIT: "the day's loss reached its limit",
    StateReason.DAY_LOSS_SEVERE: "the day's loss reached the flatten limit",
    StateReason.EQUITY_UNKNOWN: "account or prices were unknown or too old",
    StateReason.RECONCILE_MISMATCH: "the book and the exchange differed",
    StateReason.PROTECTION_FAILED: "a position could not be protected",
    StateReason.DISK_FULL: "the disk was full",
    StateReason.OPERATOR_HALT: "halted by the operator",
    StateReason.OPERATOR_FLATTEN: "flattened by the operator",
    StateReason.OPERATOR_RESUME: "resumed by the operator",
    StateReason.DAY_ROLLED: "a new day began",
    StateReason.DATA_RECOVERED: "account, prices, disk and book were in order again",
    StateReason.RESTART_STORM: "too many restarts",
}
"""Meaning of each reason of a trading state, in words."""

REJECTIONS = {
    # the exchange port denies
    "HALT_LATCHED": "the halt latch or the trading state stops entries",
    "PERMIT_NOT_GENUINE": "the permit was not made by the governor of this process",
    "PERMIT_UNKNOWN": "the journal has no such permit",
    "PERMIT_EXPIRED": "the permit expired before the order was sent",
    "PERMIT_MISMATCH": "the permit differs from the order, or from its row in the journal",
    "PERMIT_USED": "the permit was used before",
    "PERMIT_RELEASED": "the reservation of the permit has ended",
    "ATTACHED_UNSUPPORTED": "the venue takes no orders attached to an entry",
    "ATTACHED_NOT_REDUCING": "an order attached to the entry could add exposure",
    "STOP_NOT_ATTACHED": "no attached stop at the permit's price covers the entry",
    "NOT_REDUCING": "an order sent to reduce a position is an entry, or is not reduce-only",
    # the venue rejects
    "RATE_LIMITED": "the venue's rate limit is reached; the venue changed nothing",
    "QUANTITY_OFF_STEP": "the quantity is not positive, or no multiple of the lot size",
    "QUANTITY_BELOW_MINIMUM": "the quantity is below the venue's minimum of one order",
    "QUANTITY_EXCEEDS_MAXIMUM": "the quantity is above the venue's maximum of one order",
    "NOTIONAL_BELOW_MINIMUM": "the value is below the venue's minimum of one order",
    "LEVERAGE_EXCEEDED": "the leverage is not between 1 and the venue's maximum",
    "MARGIN_INSUFFICIENT": "the account has too little free margin for the order",
    "PRICE_MISSING": "a limit order has no price",
    "PRICE_OFF_TICK": "the price is not positive, or no multiple of the tick size",
    "TRIGGER_MISSING": "a conditional order has no trigger price",
    "ATTACHED_INVALID": "an attached order does not rest, or does not close what the entry opens",
    "POST_ONLY_WOULD_TAKE": "a post-only order would fill at once",
    "REDUCE_ONLY_REJECTED": "the account has no position that the order would reduce",
    "DUPLICATE_CLIENT_ID": "the client order id is empty, or another order has it",
    "ORDER_UNKNOWN": "the venue knows no order with this client order id",
    "INSTRUMENT_UNKNOWN": "the venue does not list this symbol",
    "MARKET_UNAVAILABLE": "the symbol has no price now",
    "MARKET_PAUSED": "the venue takes only reduce-only orders while a contract changes",
}
"""Meaning of each code of the exchange port or the venue, in words."""

_HALT = "Read why in `kamou status`; [operating](operating.md) says what ends the halt."
_WAIT = "Nothing: the next cycle tries again."
_REPORT = (
    "Report this code with the output of `kamou why SYMBOL`: no order of Kamou should cause it."
)
_RECONCILED = "Nothing: the next reconciliation reads the account again."

ACTIONS = {
    # abstentions
    "WARMING_UP": "Wait: `bars` and `wanted` of `kamou why SYMBOL` say how many bars are missing.",
    "DATA_MISSING": "Check that the venue or the dataset has bars of this symbol.",
    "DATA_STALE": "If it lasts, check the machine's clock, the venue's prices, and the feed in "
    "`kamou status`.",
    "DATA_DEGENERATE": "Nothing. If it lasts, put the symbol into `veto.excluded`.",
    "REGIME_WRONG": "Nothing: the strategy waits for its regime.",
    "NO_TRIGGER": "Nothing: this is the most frequent abstention.",
    "NOT_MEAN_REVERTING": "Nothing: the strategy waits until the price reverts to its mean.",
    "STRATEGY_FAILED": "Read the error in `kamou status` or in the log, and correct the strategy.",
    "SCORE_TOO_SMALL": "Nothing: a larger score is needed.",
    "SOURCE_MISSING": "Check that the venue or the dataset has the source that `wanted` of `kamou "
    "why SYMBOL` names.",
    "SOURCE_STALE": "If it lasts, check the source that `wanted` of `kamou why SYMBOL` names.",
    "SOURCE_WARMING_UP": "Wait: `wanted` of `kamou why SYMBOL` says how many values are needed.",
    "NOT_CONFIRMED": "Nothing: the strategy waits for its confirmation.",
    # vetoes
    "REWARD_TO_RISK_LOW": "Nothing. The limit is `veto.reward_to_risk_min`.",
    "SYMBOL_EXCLUDED": "Nothing, or take the symbol out of `veto.excluded`.",
    "SYMBOL_HELD": "Nothing: Kamou holds at most one trade in a symbol.",
    "COOLDOWN_AFTER_STOP": "Wait: the cooldown lasts `risk.cooldown_after_stop_s` seconds.",
    "CONFLICTING_SIGNALS": "Nothing: neither side is entered while strategies disagree.",
    "SHADOW_OPEN": "Nothing: a strategy has at most one shadow trade in a symbol.",
    "REGIME_EXCLUDED": "Nothing. The table is `veto.regimes`; `days` says how many past days are "
    "known, of `regime.days_min` that are needed.",
    "SPREAD_WIDE": "Nothing. The limit is `veto.spread_max_bps`.",
    "DEPTH_LOW": "Nothing. The limit is `veto.depth_min`.",
    "FUNDING_NEAR": "Wait until the settlement. The limits are `veto.funding_window_s` and "
    "`veto.funding_cost_max_bps`.",
    "VELOCITY_PAUSE": "Wait: the pause lasts `veto.velocity_pause_s` seconds.",
    "HOUR_LOSING": "Nothing: shadow trades go on, and the hour is tested again.",
    "SYMBOL_LOSING": "Nothing: shadow trades go on, and the symbol is tested again.",
    "WIN_RATE_LOW": "Nothing: shadow trades go on, and the win rate is tested again.",
    # denials of a plan
    "STOP_MISSING": "If `unprotected` names symbols, wait for their stops. Else correct the "
    "strategy: it gave no usable stop distance.",
    "STOP_WRONG_SIDE": "Nothing if the price moved past the stop. If it repeats, check the "
    "strategy's stop distance.",
    "STOP_BEYOND_LIQUIDATION": "Wait until the gap buffer falls; lower leverage does not help.",
    "PRICE_COLLAR_EXCEEDED": "Nothing: the price moved. The collar is at least `risk.collar_min`.",
    "PRICE_MARK_MISSING": "Check the venue's quotes of this symbol.",
    "LEVERAGE_EXCEEDED": "Lower `risk.leverage_max` if the venue allows less.",
    "PLAN_EXPIRED": "If it repeats, look for a busy actor in `kamou status`.",
    "RISK_HEADROOM_EXHAUSTED": "Wait for trades to close or for 00:00 UTC. `bound_by` names the "
    "limit.",
    "QUANTITY_BELOW_MINIMUM": "Deposit money, or wait until trades have full size. If `bound_by` "
    "is the largest quantity or value of an order, raise `risk.order_contracts_max` or "
    "`risk.order_value_max`.",
    "QUANTITY_OFF_STEP": "Nothing: the venue changed the contract; the next cycle uses it.",
    "QUANTITY_EXCEEDS_MAXIMUM": "Nothing for an entry: the next cycle uses the new maximum. If "
    "the order is an exit, close the position at the venue.",
    "NOTIONAL_EXCEEDS_MAXIMUM": "Raise `risk.order_value_max`.",
    "RISK_PER_TRADE_EXCEEDED": "Nothing. The limit is `risk.risk_per_trade` (hard rule 1). "
    "`bound_by` names the part of the risk that exceeds it.",
    "EXPOSURE_SYMBOL_EXCEEDED": "Nothing. The limit is `risk.exposure_per_symbol` (hard rule 2).",
    "RISK_OPEN_EXCEEDED": "Wait for trades to close. The limit is `risk.open_risk_max` or "
    "`risk.daily_loss_max`, whichever is lower.",
    "RISK_DAY_BUDGET_EXCEEDED": "Wait for trades to close or for 00:00 UTC. The limit is "
    "`risk.daily_loss_max`.",
    "RISK_CLUSTER_EXCEEDED": "Wait for altcoin trades of this side to close. The limit is "
    "`risk.cluster_risk_max`.",
    "RISK_SHOCK_EXCEEDED": "Wait for trades of this side to close or for 00:00 UTC. The move is "
    "`risk.shock_move`.",
    "CAPITAL_NOTIONAL_EXCEEDED": "Wait for trades to close. The limit is "
    "`risk.notional_total_max`.",
    "CAPITAL_MARGIN_EXCEEDED": "Wait for trades to close. The limit is `risk.margin_total_max`.",
    "TRADING_HALTED": _HALT,
    "DUPLICATE_INTENT": "Nothing: Kamou enters a signal once.",
    "SYMBOL_RESTRICTED": "Take the symbol out of `veto.excluded`; a symbol that the venue does not "
    "list cannot be entered.",
    "ENTRY_UNFILLED": "Nothing: such a shadow trade does not open, and counts for no statistic.",
    "STRATEGY_NOT_LIVE": "Nothing: the gate grants trading by the strategy's own shadow record.",
    "STRATEGY_DISABLED": "Find out why the strategy entered so often, then run `kamou resume`.",
    "RATE_ENTRIES_EXCEEDED": "Wait an hour; if the strategy is disabled, run `kamou resume`. The "
    "limit is `risk.entries_per_strategy_hour`.",
    "RATE_REENTRIES_EXCEEDED": "Wait for 00:00 UTC; if the strategy is disabled, run "
    "`kamou resume`. The limit is `risk.reentries_per_symbol_day`.",
    "RATE_MESSAGES_EXCEEDED": "Wait some seconds. The limit is `risk.messages_per_s`.",
    "DATA_INVALID": "Check the venue's quotes, account and instruments: `what` names the input.",
    "ACCOUNT_STALE": "Check that the venue answers. The limit is `risk.account_age_max_s`.",
    "MARK_STALE": "Check the venue's quotes of `symbol`. The limit is `risk.quote_age_max_s`.",
    "NOT_RECONCILED": "Wait a cycle. If it lasts, read the differences in `kamou status`.",
    "CLOCK_SKEWED": "Set the machine's clock by NTP. `limit_ms` is the allowed difference.",
    "EXIT_INCREASES_EXPOSURE": _RECONCILED,
    "GOVERNOR_TIMEOUT": "If it repeats, look for crashes and loop lag in `kamou status`.",
    # the exchange port
    "HALT_LATCHED": _HALT,
    "PERMIT_NOT_GENUINE": _REPORT,
    "PERMIT_UNKNOWN": _REPORT,
    "PERMIT_EXPIRED": "If it repeats, look for loop lag in `kamou status`.",
    "PERMIT_MISMATCH": _REPORT,
    "PERMIT_USED": _REPORT,
    "PERMIT_RELEASED": _WAIT,
    "ATTACHED_UNSUPPORTED": _REPORT,
    "ATTACHED_NOT_REDUCING": _REPORT,
    "STOP_NOT_ATTACHED": _REPORT,
    "NOT_REDUCING": _REPORT,
    # the venue
    "RATE_LIMITED": "Nothing: Kamou waits. Other programs on the account share its limit.",
    "NOTIONAL_BELOW_MINIMUM": _WAIT,
    "MARGIN_INSUFFICIENT": "Deposit money, or wait for trades to close.",
    "PRICE_MISSING": _REPORT,
    "PRICE_OFF_TICK": _WAIT,
    "TRIGGER_MISSING": _REPORT,
    "ATTACHED_INVALID": _REPORT,
    "POST_ONLY_WOULD_TAKE": _REPORT,
    "REDUCE_ONLY_REJECTED": _RECONCILED,
    "DUPLICATE_CLIENT_ID": _REPORT,
    "ORDER_UNKNOWN": _RECONCILED,
    "INSTRUMENT_UNKNOWN": "If it lasts, look at the venue: the symbol may be delisted.",
    "MARKET_UNAVAILABLE": _WAIT,
    "MARKET_PAUSED": _WAIT,
    # reasons of a trading state
    "DAY_LOSS_HALF": "Nothing: the next UTC day ends this state after a clean reconciliation.",
    "DAY_LOSS_LIMIT": "Nothing: the next UTC day ends the halt after a clean reconciliation.",
    "DAY_LOSS_SEVERE": "Look at the account, then run `kamou resume` twice. The second has effect "
    "once the day's loss is below its limit.",
    "EQUITY_UNKNOWN": "Check that the venue answers; two fresh reads and a clean reconciliation "
    "end the halt.",
    "RECONCILE_MISMATCH": "Read the differences in `kamou status`; two fresh reads and a clean "
    "reconciliation end the halt.",
    "PROTECTION_FAILED": "Look at the positions at the venue, then run `kamou resume` twice.",
    "DISK_FULL": "Free space on the disk of the data directory; the halt ends by itself.",
    "OPERATOR_HALT": "Run `kamou resume`.",
    "OPERATOR_FLATTEN": "Run `kamou resume` twice.",
    "OPERATOR_RESUME": "If entries are still stopped, run `kamou resume` once more; else nothing.",
    "DAY_ROLLED": "Nothing: trading goes on.",
    "DATA_RECOVERED": "Nothing: trading goes on.",
    "RESTART_STORM": "Read the crashes in the log, start again, then run `kamou resume`.",
    # differences between book and venue
    "POSITION_UNKNOWN": "Nothing if you traded by hand; else read the fills at the venue. Kamou "
    "adopts and protects the position.",
    "QUANTITY_DIFFERS": "Nothing if you traded by hand; else read the fills at the venue.",
}
"""Action of the operator for each code."""
