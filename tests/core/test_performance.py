"""Reference figures: perf, twr and gate of vectors/quant.json, made with empyrical-reloaded 0.5.9,
arch and statsmodels; see the source named beside each."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.random import PCG64, Generator

from kamou.core import performance as p

# fmt: off
DAILY = [
    -0.01506, 0.00586, -0.03213, 0.01412, 0.02387, -0.00805, 0.00961, 0.00602, -0.00689, -0.01625,
    -0.03965, 0.02921, 5e-05, 0.05145, 0.01752, 0.00656, -0.01215, 0.02885, -0.00913, 0.0324,
    -0.00697, 0.00472, -0.02945, 0.04786, -0.00088, -0.0067, 0.01722, -0.01683, 0.01635, -0.02242,
    0.0119, -0.01988, -0.03574, -0.01088, -0.02828, 0.01207, 0.00143, 0.01119, 0.00283, -0.00608,
    0.00156, 0.02205, -0.00266, -0.01424, -0.0184, -0.00343, -0.01399, 0.03861, -0.02257, -0.02063,
    -0.00512, 0.014, -0.00436, -0.01816, -0.01514, -0.00602, 0.02047, -0.01856, -0.00083, -0.01126,
]
WON, LOST = 2.22, -1.08  # net R; the sample has 29 of 60 winning trades
SAMPLE = [WON if c == "1" else LOST for c in
          "100110110010011000000100101001011001010111100011100011001111"]
# fmt: on

fractions = st.floats(-0.2, 0.25, allow_nan=False)


def mean(values: p.Floats) -> p.Floats:
    return values.mean(axis=1)


def test_the_ratios_agree_with_empyrical() -> None:
    assert p.sharpe(DAILY) == pytest.approx(-0.820298479788915, rel=1e-12)
    assert p.sortino(DAILY) == pytest.approx(-1.2210260957439296, rel=1e-12)
    assert p.max_drawdown(DAILY) == pytest.approx(-0.15446900959834847, rel=1e-12)


def test_the_time_weighted_return_agrees_with_its_vector_and_ignores_deposits() -> None:
    found = p.return_twr([(10_000, 10_200), (15_200, 14_896), (12_896, 13_412.0)])
    assert found == pytest.approx(0.03959640198511183, rel=1e-12)


def test_marks_with_flows_chain_to_the_same_return() -> None:
    equity = np.array([10_000, 10_200, 15_200, 14_896, 12_896, 13_412.0])
    flows = np.array([0, 0, 5_000, 5_000, 3_000, 3_000.0])
    assert p.chained_return(equity, flows) == pytest.approx(0.03959640198511183, rel=1e-12)


def test_fewer_than_two_marks_return_nothing() -> None:
    assert p.chained_return(np.array([5.0]), np.array([0.0])) == 0.0


def test_the_wilson_interval_agrees_with_its_vector() -> None:
    assert p.wilson_interval(29, 60) == pytest.approx((0.36175049539732784, 0.6069218996740751))


def test_the_wilson_interval_touches_its_ends_only_there() -> None:
    assert p.wilson_interval(0, 5)[0] == 0.0
    assert p.wilson_interval(5, 5)[1] == 1.0


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
@settings(max_examples=60)
def test_the_wilson_interval_holds_the_observed_rate(counts: tuple[int, int]) -> None:
    wins, n = counts
    low, high = p.wilson_interval(wins, n)
    assert 0 <= low <= wins / n <= high <= 1


def test_the_bootstrap_agrees_with_arch() -> None:
    """arch StationaryBootstrap(5).conf_int(mean, size=.9): 0.185 and 0.845, here to one trade."""
    ((low, high),) = p.bootstrap_intervals(
        [(np.array(SAMPLE), mean)], confidence=0.9, block=5, resamples=20_000
    )
    assert low == pytest.approx(0.185, abs=0.056)
    assert high == pytest.approx(0.845, abs=0.056)


def test_the_sample_is_the_vectors_own() -> None:
    assert len(SAMPLE) == 60
    assert np.mean(SAMPLE) == pytest.approx(0.515)


def test_every_resample_is_made_of_runs_that_wrap_around() -> None:
    n, block = 50, 5.0
    chunks = list(p.bootstrap_indices(n, resamples=400, block=block, generator=Generator(PCG64(1))))
    indices = np.concatenate(chunks)
    assert indices.shape == (400, n)
    assert indices.min() >= 0
    assert indices.max() < n
    follows = (indices[:, 1:] == (indices[:, :-1] + 1) % n).mean()
    # it follows its neighbour unless a block ends (1/5), and then still once in n
    assert follows == pytest.approx(1 - 1 / block + 1 / block / n, abs=0.02)
    assert np.bincount(indices.ravel(), minlength=n).min() > 0


def test_chunks_add_up_to_the_resamples_whatever_their_length(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(p, "CHUNK_ELEMENTS", 300)
    chunks = list(p.bootstrap_indices(40, resamples=20, block=3, generator=Generator(PCG64(1))))
    assert [len(chunk) for chunk in chunks] == [7, 7, 6]


def test_a_mean_block_of_one_is_the_ordinary_bootstrap() -> None:
    (indices,) = p.bootstrap_indices(30, resamples=200, block=1, generator=Generator(PCG64(2)))
    assert (indices[:, 1:] == (indices[:, :-1] + 1) % 30).mean() < 0.06


def test_the_same_data_always_gives_the_same_interval_and_other_data_another() -> None:
    first, again = p.day_statistics(DAILY, None), p.day_statistics(list(DAILY), None)
    other = p.day_statistics([*DAILY[:-1], -0.02], None)
    assert first == again
    assert first.sharpe.low != other.sharpe.low


def test_digests_tell_columns_apart() -> None:
    one, two = np.array([1.0, 2.0]), np.array([1.0])
    assert p.data_digest(one) != p.data_digest(two, np.array([2.0]))


def test_day_statistics_hold_value_count_and_interval() -> None:
    found = p.day_statistics(DAILY, None).as_dict()
    assert found["sharpe"]["value"] == pytest.approx(-0.8202984797889155)
    assert found["return_twr"]["value"] == pytest.approx(-0.060631504900806155)
    for figure in found.values():
        assert figure["n"] == 60
        low, value, high = figure["low"], figure["value"], figure["high"]
        assert isinstance(low, float)
        assert isinstance(high, float)
        assert isinstance(value, float)
        assert low < value < high


def test_the_unit_of_the_sharpe_ratio_is_printed_beside_it() -> None:
    unit = p.day_statistics(DAILY, None).sharpe.unit
    assert "daily" in unit
    assert "sqrt(365)" in unit
    assert "idle days included" in unit


def test_the_current_day_counts_in_the_return_but_is_no_daily_observation() -> None:
    without, with_ = p.day_statistics(DAILY, None), p.day_statistics(DAILY, -0.1)
    assert with_.sharpe == without.sharpe
    assert with_.return_twr.value == pytest.approx((1 - 0.060631504900806155) * 0.9 - 1)
    assert with_.max_drawdown.value is not None
    assert without.max_drawdown.value is not None
    assert with_.max_drawdown.value < without.max_drawdown.value
    assert with_.return_twr.n == 60


@pytest.mark.parametrize("days", [0, 1, p.DAYS_MIN - 1])
def test_too_few_days_are_insufficient_evidence(days: int) -> None:
    for figure in p.day_statistics(DAILY[:days], None).as_dict().values():
        assert figure["value"] is None
        assert str(figure["reason"]).startswith("insufficient evidence")
        assert figure["n"] == days


def test_enough_days_are_evidence() -> None:
    assert p.day_statistics(DAILY[: p.DAYS_MIN], None).sharpe.value is not None


def test_days_that_never_vary_have_no_sharpe_ratio_and_no_loss_no_sortino() -> None:
    found = p.day_statistics([0.001] * 20, None)
    assert found.sharpe.value is None
    assert found.sharpe.reason == "the daily returns do not vary"
    assert found.sortino.reason == "no losing day to divide by"
    assert found.return_twr.value == pytest.approx(1.001**20 - 1)
    assert found.max_drawdown.value == 0.0


def test_ratios_of_too_short_or_flat_series_are_none() -> None:
    assert p.sharpe([0.01]) is None
    assert p.sortino([0.01]) is None
    assert p.sharpe([0.1, 0.1, 0.1]) is None
    assert p.sortino([0.1, 0.2]) is None


def test_trade_statistics_agree_with_the_vector() -> None:
    found = p.trade_statistics([r * 10 for r in SAMPLE], SAMPLE)
    assert found.expectancy_r.value == pytest.approx(0.515)
    assert found.win_rate.value == pytest.approx(29 / 60)
    assert (found.win_rate.low, found.win_rate.high) == pytest.approx(
        (0.36175049539732784, 0.6069218996740751)
    )
    assert found.profit_factor.value == pytest.approx(29 * WON / (31 * -LOST))
    assert found.trades.as_dict() == {
        "value": 60,
        "n": 60,
        "low": 60,
        "high": 60,
        "unit": "closed trades",
    }


@pytest.mark.parametrize("n", [0, p.TRADES_MIN - 1])
def test_too_few_trades_are_insufficient_evidence_but_are_counted(n: int) -> None:
    found = p.trade_statistics(SAMPLE[:n], SAMPLE[:n])
    assert found.trades.value == n
    for figure in (found.win_rate, found.expectancy_r, found.profit_factor):
        assert figure.as_dict() == {
            "value": None,
            "reason": f"insufficient evidence: {n} closed trades, 30 needed",
            "n": n,
            "unit": figure.unit,
        }


def test_without_a_losing_trade_there_is_no_profit_factor() -> None:
    found = p.trade_statistics([1.0] * 40, [1.0] * 40)
    assert found.profit_factor.value is None
    assert found.profit_factor.reason == "no losing trade to divide by"
    assert found.win_rate.value == 1.0


def test_a_single_losing_trade_does_not_bound_the_profit_factor_from_above() -> None:
    pnl = [1.0] * 39 + [-1.0]
    factor = p.trade_statistics(pnl, pnl).profit_factor
    assert factor.value == pytest.approx(39.0)
    assert factor.low is not None
    assert factor.high is None


def test_figures_that_are_not_finite_are_refused() -> None:
    with pytest.raises(AssertionError, match="finite"):
        p.day_statistics([math.nan] * 20, None)


@given(st.lists(fractions, min_size=1, max_size=80))
@settings(max_examples=60)
def test_a_drawdown_is_never_positive_nor_a_total_loss_of_more_than_all(days: list[float]) -> None:
    assert -1.0 <= p.max_drawdown(days) <= 0.0


@given(st.lists(fractions, min_size=2, max_size=40), st.floats(0.5, 3))
@settings(max_examples=60)
def test_the_sharpe_ratio_does_not_depend_on_the_size_of_the_bets(
    days: list[float], size: float
) -> None:
    ratio, scaled = p.sharpe(days), p.sharpe([day * size for day in days])
    if ratio is not None and scaled is not None and np.ptp(days) > 1e-6:
        assert scaled == pytest.approx(ratio, rel=1e-6, abs=1e-9)


def test_a_loss_on_the_first_day_is_a_fall_from_the_start() -> None:
    assert p.max_drawdown([-0.5, 0.2]) == pytest.approx(-0.5)
    assert p.max_drawdown([0.1, 0.1]) == 0.0


def test_the_least_number_of_trades_is_evidence() -> None:
    found = p.trade_statistics(SAMPLE[: p.TRADES_MIN], SAMPLE[: p.TRADES_MIN])
    assert found.expectancy_r.value is not None


def test_every_resample_begins_with_a_block_of_its_own() -> None:
    (indices,) = p.bootstrap_indices(20, resamples=50, block=1e9, generator=Generator(PCG64(3)))
    assert len(set(indices[:, 0].tolist())) > 10
