"""Trading parameters (risk limits, cost model) and veto limits, with defaults.

``kamou.settings.config`` reads values that replace the defaults from ``kamou.toml`` and the
environment.
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
    slippage_bps: Decimal = D("2")  # for each order, in addition to half the spread
    funding_bps_per_8h: Decimal = D("1")  # assumed if no rate is known
    entry_limit_offset_bps: Decimal = D("10")  # of price: an entry's IOC limit beyond bid or ask


@attrs.frozen(kw_only=True)
class RiskLimits:
    """Limits of the governor.

    Fractions are of sizing equity unless a comment says otherwise.
    """

    risk_per_trade: Decimal = D("0.01")  # hard rule 1; a setting may only lower it
    exposure_per_symbol: Decimal = D("0.15")  # hard rule 2; a setting may only lower it
    leverage_max: int = 5
    open_risk_max: Decimal = D("0.04")
    daily_loss_max: Decimal = D("0.04")  # of the day's opening equity
    cluster_risk_max: Decimal = D("0.02")  # of all altcoins on one side, because they move together
    shock_move: Decimal = D("0.10")  # of all prices; its loss must fit into the daily budget
    budget_share_min: Decimal = D("0.25")  # of the full size; headroom for less counts as none
    gap_buffer_min: Decimal = D("0.25")  # times the stop distance; overshoots may raise the buffer
    gap_memory_days: int = 30  # days for which an overshoot counts
    notional_total_max: Decimal = D("3")  # times sizing equity
    margin_total_max: Decimal = D("0.8")  # of sizing equity
    order_value_max: Decimal = D("100000")  # money
    order_contracts_max: Decimal = D("1000000000")
    collar_min: Decimal = D("0.01")  # of the mark; collar: max(this, collar_spreads x spread)
    collar_spreads: Decimal = D("3")
    # Minimum of the distance to liquidation over the distance to the stop with gap buffer.
    liquidation_multiple: Decimal = D("2")
    entries_per_strategy_hour: int = 6
    reentries_per_symbol_day: int = 2
    cooldown_after_stop_s: int = 3_600
    messages_per_s: int = 10  # at most half the venue's limit is recommended
    quote_age_max_s: int = 10
    account_age_max_s: int = 900  # three cycles of the default period
    stale_halt_s: int = 60  # time beyond an age limit of account or marks that stops entries
    permit_ttl_s: int = 30
    protection_deadline_s: int = 10
    reduced_size: Decimal = D("0.5")  # of the full size, in REDUCED_SIZE
    reduced_at: Decimal = D("0.5")  # of the daily loss limit: REDUCED_SIZE
    flatten_at: Decimal = D("1.5")  # of the daily loss limit: FLATTENING
    equity_tolerance: Decimal = D("0.02")  # of equity: between two reads, or account and positions
    equity_confirm_s: int = 5  # minimum time between the two reads that confirm a breach


@attrs.frozen(kw_only=True)
class TradingParameters:
    """Risk limits and assumed costs of planning, reviews and reconciliation."""

    limits: RiskLimits = RiskLimits()
    costs: CostModel = CostModel()


VETOES_OF_BACKTESTS = (
    "conflict",
    "cooldown",
    "excluded",
    "held",
    "reward_to_risk",
    "staleness",
)
"""Names of the vetoes that a backtest asks by default."""

LATER_VETOES = (
    "depth",
    "funding_window",
    "hour",
    "losing_symbol",
    "regime",
    "spread",
    "velocity",
    "win_rate",
)
"""Names of the other vetoes, which a run asks too."""


@attrs.frozen(kw_only=True)
class RegimeTable:
    """Regimes in which each strategy may enter; ``parse_label`` reads them."""

    order_flow: tuple[str, ...] = ()
    funding_fade: tuple[str, ...] = ("range",)
    # A trend with large moves is the label that is nearest to an exhausted trend.
    ratio_fade: tuple[str, ...] = ("range", "trend+/high", "trend-/high")
    mean_reversion: tuple[str, ...] = ("range",)
    macro: tuple[str, ...] = ("btc:trend+", "btc:trend-")
    oi_momentum: tuple[str, ...] = ("trend+", "trend-")
    others: tuple[str, ...] = ()  # strategies of the operator's folder

    def labels(self, strategy: str) -> tuple[str, ...]:
        """Return the strategy's labels, or those of ``others``; empty: all but a shock."""
        named = {
            "order_flow": self.order_flow,
            "funding_fade": self.funding_fade,
            "ratio_fade": self.ratio_fade,
            "mean_reversion": self.mean_reversion,
            "macro": self.macro,
            "oi_momentum": self.oi_momentum,
        }
        return named.get(strategy, self.others)


@attrs.frozen(kw_only=True)
class VetoLimits:
    """Limits of the vetoes (T2), and the names of those that are asked."""

    enabled: tuple[str, ...] = (*VETOES_OF_BACKTESTS, *LATER_VETOES)
    backtest: tuple[str, ...] = VETOES_OF_BACKTESTS  # the names instead of ``enabled``
    reward_to_risk_min: float = 1.2  # after costs
    bar_periods_max: int = 2  # maximum age of a bar, in periods of the timeframe
    excluded: tuple[str, ...] = ()  # symbols
    spread_max_bps: Decimal = D("30")  # of mid; four times the usual spread of a small altcoin
    depth_min: Decimal = D("500")  # money at the best price; a third of the largest position
    funding_window_s: int = 900  # before a settlement: three cycles of the default period
    funding_cost_max_bps: Decimal = D("5")  # of one settlement; the usual one costs 1
    velocity_move_min: float = 0.02  # of price, within 60 s
    velocity_sigmas: float = 4.0  # of the day's moves of 60 s; the larger of the two counts
    velocity_pause_s: int = 300
    regimes: RegimeTable = RegimeTable()
