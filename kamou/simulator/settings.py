"""The settings of simulations, and their changes by faults and the operator."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from random import Random
from typing import Any

import attrs

from kamou.core.indicators.regime_terms import RegimeTerms
from kamou.core.kinds import RunMode, SizeLimit
from kamou.core.refiner_codes import RefinerMode, WithoutAnswer
from kamou.core.risk.limits import VETOES_OF_BACKTESTS, RiskLimits, VetoLimits
from kamou.core.strategies.funding_fade import FundingFadeParameters
from kamou.core.strategies.macro import MacroParameters
from kamou.core.strategies.mean_reversion import MeanReversionParameters
from kamou.core.strategies.oi_momentum import MomentumParameters
from kamou.core.strategies.order_flow import OrderFlowParameters
from kamou.core.strategies.ratio_fade import RatioFadeParameters
from kamou.runtime.determinism import make_random_stream
from kamou.settings.config import CycleSettings, Settings
from kamou.settings.refiner import RefinerSettings
from kamou.settings.strategies import StrategySettings
from kamou.simulator.binding_limits import EntryCount
from kamou.simulator.faults import ALL_SOURCES, REFINER_STREAM, FaultName

SETTINGS = Settings(
    mode=RunMode.BACKTEST,
    # Cycles of a minute and strategies that signal several times an hour, so that one simulated
    # hour has the events of days.
    cycle=CycleSettings(period_s=60, timeframe_s=60, shards=2),
    risk=RiskLimits(
        shock_move=Decimal("0.04"),
        entries_per_strategy_hour=1_000,
        reentries_per_symbol_day=1_000,
        cooldown_after_stop_s=60,
    ),
    # Regimes need 20 days of history, and a simulated market has hours; see ``ask_all_vetoes``.
    veto=VetoLimits(reward_to_risk_min=0.1, enabled=VETOES_OF_BACKTESTS),
    strategies=StrategySettings(
        enabled=("mean_reversion", "oi_momentum"),
        parameters={
            "mean_reversion": MeanReversionParameters(
                window=20,
                warmup=30,
                z_entry=1.0,
                rsi_low=35.0,
                rsi_high=65.0,
                variance_ratio_q=2,
                half_life_min=0.1,
                efficiency_max=0.7,
                efficiency_period=5,
                adx_max=60.0,
                atr_period=7,
                hold_bars=12,
            ),
            "oi_momentum": MomentumParameters(
                horizons_days=(0,),
                warmup_days=0,
                efficiency_min=0.3,
                efficiency_period=5,
                adx_min=20.0,
                atr_period=7,
                target_atr=3.0,
                hold_hours=1,
                rank_min=0.5,
            ),
        },
    ),
)


TIGHT = Decimal("0.1")
"""Factor on the risk limits; without it exposure binds at the simulated stop distances."""


def tighten_limits(settings: Settings) -> Settings:
    """Return the settings with risk limits that decide sizes instead of exposure."""
    risk = attrs.evolve(
        settings.risk,
        risk_per_trade=settings.risk.risk_per_trade * TIGHT,
        open_risk_max=settings.risk.open_risk_max * TIGHT,
        cluster_risk_max=settings.risk.cluster_risk_max * TIGHT,
    )
    return attrs.evolve(settings, risk=risk)


MORE_STRATEGIES = {
    "funding_fade": FundingFadeParameters(
        settlements=6,
        extreme_bars=3,
        efficiency_max=0.9,
        adx_max=60.0,
        atr_period=7,
        hold_hours=1,
    ),
    "ratio_fade": RatioFadeParameters(
        window_days=1,
        warmup_hours=6,
        z_entry=1.0,
        extreme_bars=3,
        efficiency_max=0.7,
        adx_max=60.0,
        atr_period=7,
        hold_hours=1,
    ),
    "macro": MacroParameters(
        window_days=2, half_life_days=1.0, horizon_hours=1, z_entry=1.0, atr_period=7, hold_hours=1
    ),
    "order_flow": OrderFlowParameters(windows=10, z_min=1.0, atr_period=7, hold_minutes=15),
}
"""Parameters with which the other strategies signal several times an hour, after three days."""


def enable_more(settings: Settings, names: Iterable[str]) -> Settings:
    """Return the settings with more strategies, which are some of ``MORE_STRATEGIES``."""
    mine, more = settings.strategies, {name: MORE_STRATEGIES[name] for name in names}
    enabled, parameters = (*mine.enabled, *more), {**mine.parameters, **more}
    return attrs.evolve(
        settings, strategies=attrs.evolve(mine, enabled=enabled, parameters=parameters)
    )


def ask_all_vetoes(settings: Settings) -> Settings:
    """Return the settings with the vetoes of a run, and regimes of one past day."""
    return attrs.evolve(
        settings,
        veto=attrs.evolve(settings.veto, enabled=VetoLimits().enabled),
        regime=RegimeTerms(days_min=1, days_max=2, confirm_bars=1, dwell_bars=1),
    )


MODEL = "simulated"
MODEL_BUDGET_USD = Decimal("0.6")  # a day, some 30 calls, so that it ends within an hour
MODEL_DEADLINE_S = 8


def require_refiner(settings: Settings, draw: Random) -> Settings:
    """Return the settings with a refiner whose verdicts apply, or that only advises."""
    refiner = RefinerSettings(
        mode=RefinerMode.ADVISORY if draw.random() < 0.2 else RefinerMode.REQUIRED,
        without_answer=WithoutAnswer.PASS if draw.random() < 0.3 else WithoutAnswer.REFUSE,
        url="https://model.invalid/v1",
        model=MODEL,
        budget_usd_per_day=MODEL_BUDGET_USD,
        deadline_s=MODEL_DEADLINE_S,
        concurrency=2,
    )
    return attrs.evolve(settings, refiner=refiner)


_F = FaultName

NARROW: dict[FaultName, tuple[tuple[str, Any], ...]] = {
    _F.NARROW_DAY_BUDGET: (
        ("daily_loss_max", Decimal("0.004")),
        ("shock_move", Decimal("0.001")),
    ),
    _F.NARROW_OPEN_RISK: (("open_risk_max", Decimal("0.003")),),
    _F.NARROW_CLUSTER: (("cluster_risk_max", Decimal("0.0015")),),
    _F.NARROW_SHOCK: (("shock_move", Decimal("0.25")),),
    _F.NARROW_NOTIONAL: (("notional_total_max", Decimal("0.25")),),
    _F.NARROW_MARGIN: (("margin_total_max", Decimal("0.05")),),
    _F.NARROW_COUNTS: (("entries_per_strategy_hour", 4), ("reentries_per_symbol_day", 1)),
}
"""Limits that bind within a few trades; a position is 0.15 and its risk 0.002 of sizing equity."""

BINDS: dict[FaultName, tuple[SizeLimit | EntryCount, ...]] = {
    _F.NARROW_DAY_BUDGET: (SizeLimit.DAY_BUDGET,),
    _F.NARROW_OPEN_RISK: (SizeLimit.OPEN_RISK,),
    _F.NARROW_CLUSTER: (SizeLimit.CLUSTER,),
    _F.NARROW_SHOCK: (SizeLimit.SHOCK,),
    _F.NARROW_NOTIONAL: (SizeLimit.NOTIONAL_TOTAL,),
    _F.NARROW_MARGIN: (SizeLimit.MARGIN_TOTAL,),
    _F.NARROW_COUNTS: (EntryCount.HOUR, EntryCount.DAY),
}
"""The limits that each fault makes bind."""


def narrow_limits(settings: Settings, faults: frozenset[FaultName]) -> Settings:
    """Return the settings with the limits that ``faults`` narrow."""
    changes = {key: value for name in NARROW if name in faults for key, value in NARROW[name]}
    return attrs.evolve(settings, risk=attrs.evolve(settings.risk, **changes))


def apply_faults(settings: Settings, faults: frozenset[FaultName], seed: int) -> Settings:
    """Return the settings of a seed's simulation with the changes of ``faults``."""
    if _F.TIGHT_LIMITS in faults:
        settings = tighten_limits(settings)
    if _F.REFINER_TROUBLE in faults:
        settings = require_refiner(settings, make_random_stream(seed, REFINER_STREAM))
    if ALL_SOURCES & faults:
        settings = enable_more(settings, MORE_STRATEGIES)
    elif _F.FLOW_TROUBLE in faults:  # nobody else reads the stream of quotes
        settings = enable_more(settings, ("order_flow",))
    if _F.ALL_VETOES in faults:
        settings = ask_all_vetoes(settings)
    return narrow_limits(settings, faults)


def reconfigure_settings(settings: Settings, draw: float) -> Settings:
    """Return the settings after a restart: one or two shards, half or full risk.

    ``draw``, in [0, 1), decides.
    """
    cycle = attrs.evolve(settings.cycle, shards=1 if draw < 0.5 else 2)
    per_trade = Decimal("0.005") if draw < 0.3 else Decimal("0.01")
    if settings.risk.open_risk_max < SETTINGS.risk.open_risk_max:
        per_trade *= TIGHT
    risk = attrs.evolve(settings.risk, risk_per_trade=per_trade)
    return attrs.evolve(settings, cycle=cycle, risk=risk, change_reason="the operator's")
