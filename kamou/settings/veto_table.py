"""Rows of the settings table for the vetoes (T2) and the regimes."""

from __future__ import annotations

from kamou.settings.setting import Setting

_S = Setting
LABELS = "TREND or TREND/VOLATILITY, with btc: before it for the regime of Bitcoin"

# A table: the formatter would give each argument a line of its own.
# fmt: off
VETO_ROWS = (
    _S("veto.enabled", "", "list of vetoes that a run asks, by file name"),
    _S("veto.backtest", "",
       "list of vetoes that a backtest asks, instead of those of veto.enabled"),
    _S("veto.reward_to_risk_min", "",
       "minimum ratio of a candidate's reward to its risk, net of costs", 0, 100),
    _S("veto.bar_periods_max", "bars",
       "maximum age of a candidate's bar, in bar lengths; an older candidate is vetoed", 1, 10),
    _S("veto.excluded", "", "list of symbols into which no entry is allowed"),
    _S("veto.spread_max_bps", "bps", "maximum spread, as a share of mid", 0, 10_000),
    _S("veto.depth_min", "USDT",
       "minimum value of the contracts at the best price that an entry would take", 0),
    _S("veto.funding_window_s", "s",
       "time before a funding settlement in which an entry must not cost more than "
       "veto.funding_cost_max_bps", 0, 28_800),
    _S("veto.funding_cost_max_bps", "bps",
       "maximum funding that an entry pays at a near settlement", 0, 1_000),
    _S("veto.velocity_move_min", "of price",
       "move within 60 s at or below which no symbol is paused", "0.001", 1),
    _S("veto.velocity_sigmas", "standard deviations",
       "move within 60 s above which a symbol is paused, if it is above veto.velocity_move_min; "
       "Bitcoin pauses all", 1, 100),
    _S("veto.velocity_pause_s", "s", "time without entries after such a move", 0, 86_400),
    *(_S(f"veto.regimes.{name}", "",
         f"list of regimes in which {name} may enter, each as {LABELS}; empty: all but a shock")
      for name in ("order_flow", "funding_fade", "ratio_fade", "mean_reversion", "macro",
                   "oi_momentum")),
    _S("veto.regimes.others", "",
       "list of regimes in which strategies of your own folder may enter; empty: all but a shock"),
    _S("regime.adx_period", "bars", "period of the ADX of the regime", 2, 1_000),
    _S("regime.adx_range", "", "ADX below which a range may begin", 0, 100),
    _S("regime.adx_trend", "", "ADX above which a trend may begin", 0, 100),
    _S("regime.efficiency_period", "bars", "period of the efficiency ratio of the regime",
       2, 1_000),
    _S("regime.efficiency_range", "", "efficiency ratio below which a range may begin", 0, 1),
    _S("regime.efficiency_trend", "", "efficiency ratio above which a trend may begin", 0, 1),
    _S("regime.days_max", "days",
       "number of past UTC days with which the newest day's moves are compared", 1, 365),
    _S("regime.days_min", "days",
       "minimum number of complete past days for a known regime", 1, 365),
    _S("regime.volatility_low", "percentile", "percentile below which volatility is low", 0, 100),
    _S("regime.volatility_high", "percentile",
       "percentile above which volatility is high", 0, 100),
    _S("regime.volatility_shock", "percentile",
       "percentile above which volatility is a shock, in which no strategy enters", 0, 100),
    _S("regime.confirm_bars", "bars",
       "number of bars in a row that must show a new regime; a shock counts at once", 1, 100),
    _S("regime.dwell_bars", "bars", "minimum time between two changes of a regime", 0, 1_000),
)
# fmt: on
