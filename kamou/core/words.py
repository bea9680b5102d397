"""Words for people, instead of codes, states, figures, counts and durations."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation

from kamou.core.codes import CAUSES, StateReason
from kamou.core.day import DAY_MS, HOUR_MS, MINUTE_MS
from kamou.core.feature_names import FEATURE_NAMES
from kamou.core.kinds import RiskPart, SizeLimit, Tier, TradingState
from kamou.core.model import NOTE, Figure

FIGURE_NAMES = FEATURE_NAMES | {
    # a scan
    "bar_age_s": "age of the newest bar",
    "bars": "bars",
    "error": "error",
    "found": "found",
    "score": "score",
    "wanted": "wanted",
    # a veto or the refiner
    "another_wants": "another strategy wants",
    "bar_age_max_ms": "at most",
    "bar_age_ms": "age of the newest bar",
    "cooldown_ms": "cooldown",
    "cost": "costs",
    "funding": "funding",
    "held": "held",
    "minimum": "minimum",
    "net": "reward to risk after costs",
    "quote_age_max_ms": "at most",
    "quote_age_ms": "age of the quote",
    "setting": "setting",
    "since_ms": "since",
    "size": "share of the full size",
    "target": "target",
    "allowed": "the strategy wants",
    "bitcoin": "Bitcoin is in",
    "break_even": "break-even",
    "cost_bps": "cost in bps",
    "days": "known past days",
    "evidence": "evidence",
    "hour": "hour of the UTC day",
    "maximum_bps": "maximum in bps",
    "mean_r": "mean R",
    "n": "trades",
    "pause_ms": "pause",
    "percentile": "percentile of the moves",
    "regime": "the symbol is in",
    "spread_bps": "spread in bps",
    "window_ms": "window",
    "wins": "wins",
    # the order manager and the governor
    "age_ms": "age",
    "ask": "ask",
    "away": "away from the mark",
    "unprotected": "without a confirmed stop",
    "bid": "bid",
    "bound_by": "bound by",
    "contract_size": "contract size",
    "contracts": "contracts",
    "day": "day",
    "day_lost": "the day's loss",
    "distance": "distance",
    "drift": "differences on",
    "entries": "entries",
    "entry": "entry",
    "exposure": "exposure",
    "gap": "gap buffer",
    "gap_buffer": "gap buffer",
    "granted": "granted to",
    "late_ms": "late by",
    "left": "left",
    "left_ms": "time left",
    "role": "order",
    "leverage": "leverage",
    "limit": "limit",
    "limit_ms": "limit",
    "limit_per_s": "limit per second",
    "limit_price": "limit price",
    "liquidation": "liquidation at",
    "loss": "loss",
    "lost": "lost today",
    "lot": "lot size",
    "margin": "margin used",
    "mark": "mark price",
    "move": "move of the market",
    "needed": "needed",
    "new": "this trade",
    "notional": "value",
    "notional_min": "minimum value",
    "notional_total": "value of all positions",
    "offset_ms": "difference",
    "open": "open risk",
    "open_risk": "open risk",
    "order": "order",
    "permit": "permit",
    "position": "position",
    "price": "price",
    "sizing_equity": "sizing equity",
    "quantity": "quantity",
    "reason": "because",
    "reentries": "re-entries today",
    "reentries_max": "limit of re-entries",
    "risk": "risk",
    "side": "side",
    "sized_at": "sized at",
    "state": "trading state",
    "stop": "stop",
    "strategy": "strategy",
    "symbol": "symbol",
    "timeout_s": "waited",
    "today": "today",
    "tokens": "messages left",
    "trade": "trade",
    "unknown": "the equity is not known:",
    "value": "value",
    "venue_contract_size": "contract size at the venue",
    "what": "bad inputs:",
    "why": "because",
    "ruin": "because",
    # a change of the trading state, a difference between book and venue
    "book": "the book has",
    "day_equity": "equity at the day's opening",
    "day_pnl": "the day's result",
    "equity": "equity",
    "exit_costs": "exit costs",
    "net_deposits": "net deposits today",
    "overdue_ms": "too old by",
    "venue": "the exchange has",
}
"""Name in words of each figure of an event, a veto or a denial."""

NAMED_BY_CODE = {
    ("CONFLICTING_SIGNALS", "score"): "weighted score",
    (Tier.REFINER, "score"): "weighted score",
    ("REWARD_TO_RISK_LOW", "cost"): "costs per unit",
    ("REWARD_TO_RISK_LOW", "funding"): "funding per unit",
    ("REWARD_TO_RISK_LOW", "stop"): "distance to the stop",
    ("REWARD_TO_RISK_LOW", "target"): "distance to the target",
    ("VELOCITY_PAUSE", "move"): "move within 60 s",
    ("DEPTH_LOW", "value"): "value at the best price",
    ("FUNDING_NEAR", "left_ms"): "time to the settlement",
    ("COOLDOWN_AFTER_STOP", "since_ms"): "time since the stop-loss",
    ("RATE_REENTRIES_EXCEEDED", "entries"): "entries today",
    ("REWARD_TO_RISK_LOW", "minimum"): "minimum",
    ("QUANTITY_BELOW_MINIMUM", "minimum"): "minimum contracts",
}
"""Name in words of a figure with a code or a tier. It replaces that of ``FIGURE_NAMES``."""

BOUNDS: Mapping[str, str] = {
    SizeLimit.CLUSTER: "the risk of all altcoins on one side",
    RiskPart.COSTS: "the costs",
    SizeLimit.DAY_BUDGET: "the daily budget",
    SizeLimit.EXPOSURE: "the symbol's exposure",
    RiskPart.GAP: "the gap buffer",
    SizeLimit.MARGIN_TOTAL: "the margin used",
    SizeLimit.NOTIONAL_TOTAL: "the value of all positions",
    SizeLimit.OPEN_RISK: "the open risk",
    RiskPart.PLAN: "the plan's own figure",
    RiskPart.PRICE: "the distance to the stop",
    SizeLimit.QUANTITY_MAX: "the largest quantity of an order",
    SizeLimit.RISK: "the risk of one trade",
    SizeLimit.SHOCK: "the loss in a market shock",
    SizeLimit.VALUE_MAX: "the largest value of an order",
}
"""Name in words of each ``bound_by``: a limit of a size, or a part of the risk."""

DRIFTS = {
    "INSTRUMENT_UNKNOWN": "the contract specification is not known",
    "POSITION_UNKNOWN": "no trade of the book explains the position",
    "QUANTITY_DIFFERS": "the quantities differ",
}
"""Meaning of each kind of ``DriftFound``."""

STATE_WORDS: Mapping[str, str] = {
    TradingState.ACTIVE: "trading",
    TradingState.REDUCED_SIZE: "trading at reduced size",
    TradingState.REDUCE_ONLY: "no new trades",
    TradingState.FLATTENING: "closing everything",
}
"""Meaning of each trading state, in words."""
FLATTENED = "flattened: no new trades"

MONEY_FIGURES = frozenset(
    {"day_equity", "equity", "exit_costs", "net_deposits", "notional", "sizing_equity"}
)
MONEY_FIGURES |= {"notional_min", "value"}
EXACT = frozenset({"error", "order", "permit", "setting", "symbol", "trade"})  # shown unchanged
ACRONYMS = frozenset({"adl", "adx", "ai", "atr", "bb", "ema", "macd", "oi", "rsi", "sma", "vwap"})
UNKNOWN_AGES = {"never": "never read", "none": "never read", "inf": "unknown"}
INSTANTS_FROM_MS = 10**11  # a larger value is an instant: it is above 3 years
PRICE_DIGITS = 8  # significant digits that are shown
CODE_NAME = re.compile(r"\b[a-z]+(?:_[a-z]+)+\b")


def describe_cause(reason: str) -> str:
    """Return the meaning of a reason of a trading state, or an unknown one unchanged."""
    return CAUSES[StateReason(reason)] if reason in set(StateReason) else reason


def state_cause(state: str, reason: str) -> str:
    """Return the cause of the current trading state in words.

    After a resume, a halt or half size may remain for another cause. Both have words of their own.

    Args:
        state: a ``TradingState``.
        reason: a ``StateReason``; another text is returned unchanged.
    """
    if reason == StateReason.OPERATOR_RESUME:
        if state == TradingState.REDUCE_ONLY:
            return "resumed once by the operator; entries need one more `kamou resume`"
        if state == TradingState.REDUCED_SIZE:
            return "resumed by the operator, with the day's loss still at the limit for half size"
    return describe_cause(reason)


def strategy_name(name: str) -> str:
    """Return the strategy's name in words: ``oi_momentum`` is ``OI momentum``."""
    parts = name.split("_")
    return " ".join(part.upper() if part in ACRONYMS else part for part in parts)


def describe_state(code: str, *, holding: bool = True) -> str:
    """Return a trading state with its words, as in ``reduce_only, no new trades``.

    ``active`` is returned alone.

    Args:
        code: a ``TradingState``.
        holding: True if a position is open. FLATTENING without one has the words of REDUCE_ONLY.
    """
    if code == TradingState.ACTIVE:
        return code
    closed = code == TradingState.FLATTENING and not holding
    return f"{code}, {STATE_WORDS[TradingState.REDUCE_ONLY] if closed else state_words(code)}"


def state_words(code: str, *, holding: bool = True) -> str:
    """Return the trading state in plain words.

    Args:
        code: a ``TradingState``; another text is returned in lower case with spaces.
        holding: True if a position is open. FLATTENING without one has words of its own.
    """
    if code == TradingState.FLATTENING and not holding:
        return FLATTENED
    return STATE_WORDS.get(code, code.replace("_", " ").lower())


def figure_name(name: str, code: str = "") -> str:
    """Return the name in words of a figure with this code or tier.

    An unknown name is returned with spaces and without its unit.
    """
    known = NAMED_BY_CODE.get((code, name)) or FIGURE_NAMES.get(name)
    if known is None:
        known = strategy_name(name.removesuffix("_ms").removesuffix("_s"))
    return known


def figures_words(figures: Iterable[Figure], code: str = "") -> str:
    """Return all figures but the operator's note in words, separated by commas."""
    return ", ".join(figure_words(each, code) for each in figures if each.name != NOTE)


def figure_words(figure: Figure, code: str = "") -> str:
    """Return a figure in words.

    ``age_ms=12000`` becomes ``age 12.0 s``, and ``day_pnl=-4.01%`` becomes
    ``the day's loss 4.01%``.
    """
    name, value = figure.name, figure.value
    if name == "day_pnl":
        return _day_result(value)
    return f"{figure_name(name, code)} {_value_words(name, value)}"


def count_words(number: int, one: str, more: str = "") -> str:
    """Return a count with its noun: ``1 position``, ``1,204 positions``.

    Args:
        more: the plural; empty: ``one`` with an s.
    """
    return f"{number:,} {one if number == 1 else more or one + 's'}"


def format_duration(span_ms: int) -> str:
    """Return a duration in words, rounded down to one or two units.

    Examples are ``3 d 4 h``, ``12 min`` and ``2.5 s``. Seconds have one rounded decimal.
    """
    if span_ms >= DAY_MS:
        return _two(span_ms, DAY_MS, "d", HOUR_MS, "h")
    if span_ms >= HOUR_MS:
        return _two(span_ms, HOUR_MS, "h", MINUTE_MS, "min")
    if span_ms >= MINUTE_MS:
        return f"{span_ms // MINUTE_MS} min"
    return f"{span_ms / 1000:.1f} s"


def _two(span_ms: int, large_ms: int, large: str, small_ms: int, small: str) -> str:
    rest = span_ms % large_ms // small_ms
    whole = f"{span_ms // large_ms} {large}"
    return f"{whole} {rest} {small}" if rest else whole


def _day_result(value: str) -> str:
    """Return the day's gain or loss in words, in per cent of its opening equity.

    Args:
        value: per cent with ``%``, or a fraction; a text that is no number is shown unchanged.
    """
    number = _number(value.removesuffix("%"))
    if number is None:
        return f"{FIGURE_NAMES['day_pnl']} {value}"
    share = number if value.endswith("%") else number * 100
    which = "loss" if share < 0 else "gain" if share else "result"
    return f"the day's {which} {abs(share):.2f}%"


def _value_words(name: str, value: str) -> str:
    if name in EXACT:
        return value
    number = _number(value)
    unit = 1 if name.endswith("_ms") else 1000 if name.endswith("_s") else 0
    if unit and not name.endswith("_per_s"):
        return _time_words(value, number, unit)
    if number is not None:
        return f"{number:,.2f}" if name in MONEY_FIGURES else _rounded(number)
    if name == "bound_by":
        return BOUNDS.get(value, strategy_name(value))
    if name == "state":
        return describe_state(value)
    if name == "reason":
        return describe_cause(value)
    return CODE_NAME.sub(lambda found: strategy_name(found.group()), value)


def _time_words(value: str, number: Decimal | None, unit: int) -> str:
    if number is None:
        return UNKNOWN_AGES.get(value, value)
    span_ms = round(number * unit)
    if span_ms > INSTANTS_FROM_MS:
        return f"{datetime.fromtimestamp(span_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
    return format_duration(span_ms)


def _rounded(number: Decimal) -> str:
    """Return the number with thousands separators and a rounded fraction."""
    places = PRICE_DIGITS - 1 - number.adjusted() if number else 0
    if abs(places) < 2 * PRICE_DIGITS:  # else so small or large that it stays as it is
        number = number.quantize(Decimal(1).scaleb(-max(0, places)), rounding=ROUND_HALF_EVEN)
    text = f"{number:,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _number(value: str) -> Decimal | None:
    try:
        number = Decimal(value)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None
