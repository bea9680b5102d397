"""Plans and reviews that a rule of the governor denies, by the code of the denial."""

from __future__ import annotations

from typing import Any

from kamou.core.record.gate import LiveGrant
from kamou.core.risk.limits import RiskLimits
from tests.core.trading_cases import NOON, D, account, instrument, quote, venue_position

ROWS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    # code, changes to the plan, changes to the review
    ("DATA_INVALID", {"quantity": D("NaN")}, {}),
    ("DATA_INVALID", {"leverage": 0}, {}),
    ("DATA_INVALID", {}, {"quote": quote(ask=D(99))}),
    ("DATA_INVALID", {}, {"account": account("NaN")}),
    ("DATA_INVALID", {}, {"account": account("0")}),
    ("DATA_STALE", {}, {"quote": quote(at_ms=NOON - 9_001)}),
    ("DATA_STALE", {}, {"quote": quote(at_ms=NOON + 2_001)}),
    ("ACCOUNT_STALE", {}, {"account": None}),
    ("ACCOUNT_STALE", {}, {"account": account(at_ms=NOON - 899_001)}),
    ("NOT_RECONCILED", {}, {"reconciled": False}),
    ("CLOCK_SKEWED", {}, {"clock_offset_ms": 1_001}),
    ("CLOCK_SKEWED", {}, {"clock_offset_ms": -1_001}),
    ("PLAN_EXPIRED", {"expires_at_ms": NOON + 1_000}, {}),
    ("STOP_MISSING", {"stop_price": D(0)}, {}),
    ("STOP_MISSING", {"stop_price": D("NaN")}, {}),
    ("STOP_WRONG_SIDE", {"stop_price": D(100)}, {}),
    ("STOP_WRONG_SIDE", {"stop_price": D(103)}, {}),
    ("STOP_WRONG_SIDE", {"stop_price": D("99.8")}, {"quote": quote(mark=D("99.8"))}),
    ("STOP_BEYOND_LIQUIDATION", {"stop_price": D(91)}, {}),
    ("PRICE_MARK_MISSING", {}, {"quote": None}),
    ("PRICE_MARK_MISSING", {}, {"quote": quote(mark=D(0))}),
    ("PRICE_COLLAR_EXCEEDED", {"limit_price": D("98.9")}, {}),
    ("PRICE_COLLAR_EXCEEDED", {"entry_price": D("101.1")}, {}),
    ("PRICE_COLLAR_EXCEEDED", {"limit_price": D("100.5")}, {}),
    ("LEVERAGE_EXCEEDED", {"leverage": 6}, {}),
    ("QUANTITY_BELOW_MINIMUM", {"quantity": D("0.5")}, {}),
    ("QUANTITY_BELOW_MINIMUM", {}, {"instruments": {"SOLUSDT": instrument(notional_min=D(1001))}}),
    ("QUANTITY_OFF_STEP", {"quantity": D("99.5")}, {}),
    ("QUANTITY_OFF_STEP", {"contract_size": D("0.01")}, {}),
    ("QUANTITY_EXCEEDS_MAXIMUM", {}, {"instruments": {"SOLUSDT": instrument(qty_max=D(99))}}),
    ("QUANTITY_EXCEEDS_MAXIMUM", {}, {"limits": RiskLimits(order_contracts_max=D(99))}),
    ("NOTIONAL_EXCEEDS_MAXIMUM", {}, {"limits": RiskLimits(order_value_max=D(999))}),
    ("RISK_PER_TRADE_EXCEEDED", {"stop_price": D(92)}, {}),
    ("RISK_PER_TRADE_EXCEEDED", {"risk": D(101)}, {}),
    ("EXPOSURE_SYMBOL_EXCEEDED", {"quantity": D(151)}, {}),
    ("RISK_OPEN_EXCEEDED", {}, {"limits": RiskLimits(open_risk_max=D("0.003"))}),
    ("RISK_DAY_BUDGET_EXCEEDED", {}, {"account": account("9635")}),
    ("RISK_CLUSTER_EXCEEDED", {}, {"limits": RiskLimits(cluster_risk_max=D("0.003"))}),
    ("RISK_SHOCK_EXCEEDED", {}, {"limits": RiskLimits(shock_move=D("0.41"))}),
    ("CAPITAL_NOTIONAL_EXCEEDED", {}, {"limits": RiskLimits(notional_total_max=D("0.09"))}),
    ("CAPITAL_MARGIN_EXCEEDED", {}, {"account": account(margin_used=D(7801))}),
    ("SYMBOL_HELD", {}, {"positions": (venue_position("SOLUSDT", "-1"),)}),
    ("SYMBOL_RESTRICTED", {}, {"excluded": frozenset({"SOLUSDT"})}),
    ("SYMBOL_RESTRICTED", {"symbol": "LUNAUSDT"}, {}),
    ("STRATEGY_NOT_LIVE", {}, {"grant": None}),
    ("STRATEGY_NOT_LIVE", {}, {"grant": LiveGrant(strategy="other", basis="live")}),
    ("RATE_MESSAGES_EXCEEDED", {}, {"tokens": 0.5}),
]
