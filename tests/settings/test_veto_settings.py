"""Settings of the vetoes: lists of names, the table of regimes, and their order."""

from __future__ import annotations

from pathlib import Path

import pytest

from kamou.core.risk.limits import LATER_VETOES, VETOES_OF_BACKTESTS
from kamou.settings.config import load_settings
from tests.settings.test_config import fail_to_load, load_text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "[veto.regimes]\nmean_revresion = ['range']",
            "unknown setting veto.regimes.mean_revresion; did you mean"
            " veto.regimes.mean_reversion?",
        ),
        (
            "[veto.regimes]\nmacro = ['btc:trend+', 'sideways']",
            "veto.regimes.macro (kamou.toml:2): expects labels such as range, trend+/high or"
            " btc:trend-: one of range, trend+, trend-, with or without one of /low, /normal,"
            " /high; got sideways",
        ),
        ("veto.regimes.others = ['range/shock']", "got range/shock"),
        ("veto.regimes = ['range']", "unknown setting veto.regimes"),
        ("veto.regimes.macro = 'range'", "expects a list of texts, got 'range'"),
        (
            "veto.enabled = ['held', 'regimes']",
            "veto.enabled (kamou.toml:1): names no veto: regimes; the vetoes are conflict,"
            " cooldown, depth, excluded, funding_window, held, hour, losing_symbol, regime,"
            " reward_to_risk, spread, staleness, velocity, win_rate",
        ),
        ("veto.backtest = ['Held']", "names no veto: Held"),
        (
            "regime.adx_range = 30",
            "regime.adx_range (kamou.toml:1) and regime.adx_trend (default): adx_range must be at"
            " most adx_trend, got 30 and 25",
        ),
        ("regime.days_max = 19", "days_min must be at most days_max, got 20 and 19"),
        ("regime.efficiency_trend = 0.2", "efficiency_range must be at most efficiency_trend"),
        ("regime.volatility_low = 81", "volatility_low must be at most volatility_high"),
        ("regime.volatility_high = 98", "volatility_high must be at most volatility_shock"),
    ],
)
def test_a_table_of_regimes_with_an_unknown_strategy_label_or_order_is_refused(
    tmp_path: Path, text: str, expected: str
) -> None:
    assert expected in fail_to_load(tmp_path, text)


def test_one_strategy_of_the_table_of_regimes_can_be_changed_alone(tmp_path: Path) -> None:
    text = "[veto.regimes]\nmacro = ['btc:range/low', 'trend+']"
    table = load_text(tmp_path, text).settings.veto.regimes
    assert table.macro == ("btc:range/low", "trend+")
    assert table.mean_reversion == ("range",)
    other = load_settings(None, {"KAMOU__VETO__REGIMES__OI_MOMENTUM": "trend+, trend-/high"})
    assert other.settings.veto.regimes.oi_momentum == ("trend+", "trend-/high")


def test_a_run_asks_all_vetoes_and_a_backtest_the_six_of_before() -> None:
    veto = load_settings(None, {}).settings.veto
    assert set(veto.enabled) == {*VETOES_OF_BACKTESTS, *LATER_VETOES}
    assert veto.backtest == VETOES_OF_BACKTESTS
