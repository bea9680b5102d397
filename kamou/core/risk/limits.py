"""Trading parameters (risk limits and cost model) and the limits of vetoes.

``kamou.settings.config`` loads them, over these defaults, from ``kamou.toml`` and the environment.
"""

from __future__ import annotations

from decimal import Decimal

import attrs

D = Decimal


@attrs.frozen(kw_only=True)
class CostModel:
    """Assumed costs of a trade, in basis points of notional."""

    taker_bps: Decimal = D("6")
    maker_bps: Decimal = D("2")
    slippage_bps: Decimal = D("2")  # on top of half the spread
    funding_bps_per_8h: Decimal = D("1")  # used if no rate is known
    entry_limit_offset_bps: Decimal = D("10")  # of an entry's IOC limit beyond bid or ask


@attrs.frozen(kw_only=True)
class RiskLimits:
    """Limits of the governor. Fractions are of sizing equity unless a comment differs."""

    risk_per_trade: Decimal = D("0.01")  # hard rule 1; a setting may only lower it
    exposure_per_symbol: Decimal = D("0.15")  # hard rule 2; a setting may only lower it
    leverage_max: int = 5
    open_risk_max: Decimal = D("0.04")
    daily_loss_max: Decimal = D("0.04")  # of the day's opening equity
    cluster_risk_max: Decimal = D("0.02")  # of all altcoins on one side: they move together
    shock_move: Decimal = D("0.10")  # of all prices; the loss must fit the daily budget
    budget_share_min: Decimal = D("0.25")  # of the full size; a smaller trade is denied
    gap_buffer_min: Decimal = D("0.25")  # of the stop distance; overshoot may raise the buffer
    gap_memory_days: int = 30  # days for which an overshoot counts
    notional_total_max: Decimal = D("3")  # times sizing equity
    margin_total_max: Decimal = D("0.8")  # of sizing equity
    order_value_max: Decimal = D("100000")  # money; independent of sizing
    order_contracts_max: Decimal = D("1000000000")
    collar_min: Decimal = D("0.01")  # of mark; the collar is max(this, 3 x spread)
    collar_spreads: Decimal = D("3")
    liquidation_multiple: Decimal = D("2")  # liquidation distance over (stop + gap), at least
    entries_per_strategy_hour: int = 6
    reentries_per_symbol_day: int = 2
    cooldown_after_stop_s: int = 3_600
    messages_per_s: int = 10  # choose at most half the venue's limit
    quote_age_max_s: int = 10
    account_age_max_s: int = 900  # three default cycles
    stale_halt_s: int = 60  # account or marks past their age limit this long: REDUCE_ONLY
    permit_ttl_s: int = 30
    protection_deadline_s: int = 10
    reduced_size: Decimal = D("0.5")  # of the full size
    reduced_at: Decimal = D("0.5")  # of the daily loss limit
    flatten_at: Decimal = D("1.5")  # of the daily loss limit
    equity_tolerance: Decimal = D("0.02")  # between two reads, or account and positions
    equity_confirm_s: int = 5  # two breaching reads at least this far apart change the state


@attrs.frozen(kw_only=True)
class TradingParameters:
    """Risk limits and assumed costs by which a process plans, judges and reconciles."""

    limits: RiskLimits = RiskLimits()
    costs: CostModel = CostModel()


@attrs.frozen(kw_only=True)
class VetoLimits:
    """Limits of the vetoes (T2)."""

    reward_to_risk_min: float = 1.2  # net of costs
    bar_periods_max: int = 2  # bars older than this many periods are stale
    excluded: tuple[str, ...] = ()
