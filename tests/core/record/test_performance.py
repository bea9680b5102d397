"""Performance statistics, compared with the reference figures of other packages.

The figures perf, twr and gate of vectors/quant.json were made with empyrical-reloaded 0.5.9, arch
and statsmodels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.random import PCG64, Generator

from kamou.core.arrays import Floats
from kamou.core.record import bootstrap as b
from kamou.core.record import performance as p
from kamou.core.record.trade_sums import TradeSums

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


def ended(returns: Sequence[float]) -> p.DayStatistics:
    """Return the statistics of complete days with these returns."""
    values = np.asarray(returns, dtype=np.float64)
    return p.day_statistics(p.DayReturns(returns=values, as_of_ms=7))


def sums_and_days(pnl: Sequence[float], r: Sequence[float]) -> tuple[TradeSums, p.TradeDays]:
    """Return the sums and the days of one trade on each complete day."""
    net, multiples = np.asarray(pnl, dtype=np.float64), np.asarray(r, dtype=np.float64)
    days = p.TradeDays(
        trades=np.ones(len(net)),
        wins=(net > 0).astype(np.float64),
        r=multiples,
        with_r=np.ones(len(net)),
        profit=np.maximum(net, 0.0),
        loss=np.maximum(-net, 0.0),
    )
    sums = TradeSums(
        trades=len(net),
        wins=int(days.wins.sum()),
        r=float(days.r.sum()),
        with_r=len(net),
        profit=float(days.profit.sum()),
        loss=float(days.loss.sum()),
    )
    return sums, days


def one_a_day(pnl: Sequence[float], r: Sequence[float]) -> p.TradeStatistics:
    sums, days = sums_and_days(pnl, r)
    (bounds,) = p.trade_bounds((days,), 7)
    return p.trade_statistics(sums, bounds)


def mean(values: Floats) -> Floats:
    means: Floats = values.mean(axis=1)
    return means


def test_sharpe_sortino_and_maximum_drawdown_agree_with_empyrical() -> None:
    assert p.sharpe(DAILY) == pytest.approx(-0.820298479788915, rel=1e-12)
    assert p.sortino(DAILY) == pytest.approx(-1.2210260957439296, rel=1e-12)
    assert p.max_drawdown(DAILY) == pytest.approx(-0.15446900959834847, rel=1e-12)


def test_the_wilson_interval_agrees_with_the_reference_vector() -> None:
    assert p.wilson_interval(29, 60) == pytest.approx((0.36175049539732784, 0.6069218996740751))


def test_the_wilson_interval_of_no_wins_or_no_losses_ends_at_0_or_1() -> None:
    assert p.wilson_interval(0, 5)[0] == 0.0
    assert p.wilson_interval(5, 5)[1] == 1.0


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
@settings(max_examples=60)
def test_the_wilson_interval_contains_the_observed_rate(counts: tuple[int, int]) -> None:
    wins, n = counts
    low, high = p.wilson_interval(wins, n)
    assert 0 <= low <= wins / n <= high <= 1


def test_the_bootstrap_agrees_with_arch() -> None:
    """arch's StationaryBootstrap(5).conf_int(mean, size=.9) gives 0.185 and 0.845.

    The tolerance is the effect of one trade: 3.3 R over 60 trades.
    """
    ((low, high),) = b.bootstrap_intervals(
        [(np.array(SAMPLE), mean)], confidence=0.9, block=5, resamples=20_000
    )
    assert low == pytest.approx(0.185, abs=0.056)
    assert high == pytest.approx(0.845, abs=0.056)


def test_the_sample_has_the_size_and_mean_of_the_reference_vector() -> None:
    assert len(SAMPLE) == 60
    assert np.mean(SAMPLE) == pytest.approx(0.515)


def test_each_resample_consists_of_blocks_that_wrap_around() -> None:
    n, block = 50, 5.0
    chunks = list(b.bootstrap_indices(n, resamples=400, block=block, generator=Generator(PCG64(1))))
    indices = np.concatenate(chunks)
    assert indices.shape == (400, n)
    assert indices.min() >= 0
    assert indices.max() < n
    follows = (indices[:, 1:] == (indices[:, :-1] + 1) % n).mean()
    # an index is the next one unless a block ends, 1 time in 5, and then still 1 time in n
    assert follows == pytest.approx(1 - 1 / block + 1 / block / n, abs=0.02)
    assert np.bincount(indices.ravel(), minlength=n).min() > 0


def test_the_chunks_of_a_bootstrap_add_up_to_the_number_of_resamples(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(b, "CHUNK_ELEMENTS", 300)
    chunks = list(b.bootstrap_indices(40, resamples=20, block=3, generator=Generator(PCG64(1))))
    assert [len(chunk) for chunk in chunks] == [7, 7, 6]


def test_a_mean_block_of_one_is_the_ordinary_bootstrap() -> None:
    (indices,) = b.bootstrap_indices(30, resamples=200, block=1, generator=Generator(PCG64(2)))
    assert (indices[:, 1:] == (indices[:, :-1] + 1) % 30).mean() < 0.06


def test_the_same_data_always_gives_the_same_interval_and_other_data_another() -> None:
    first, again = ended(DAILY), ended(list(DAILY))
    other = ended([*DAILY[:-1], -0.02])
    assert first == again
    assert first.sharpe.low != other.sharpe.low


def test_digests_of_different_columns_differ() -> None:
    one, two = np.array([1.0, 2.0]), np.array([1.0])
    assert b.data_digest(one) != b.data_digest(two, np.array([2.0]))


def test_day_statistics_have_a_value_a_count_and_an_interval_around_the_value() -> None:
    found = ended(DAILY).as_dict()
    assert found["sharpe"]["value"] == pytest.approx(-0.8202984797889155)
    assert found["return_twr"]["value"] == pytest.approx(-0.060631504900806155)
    for figure in found.values():
        assert figure["n"] == 60
        low, value, high = figure["low"], figure["value"], figure["high"]
        assert isinstance(low, float)
        assert isinstance(high, float)
        assert isinstance(value, float)
        assert low < value < high


def test_the_unit_of_the_sharpe_ratio_names_days_annualization_and_idle_days() -> None:
    unit = ended(DAILY).sharpe.unit
    assert "daily" in unit
    assert "sqrt(365)" in unit
    assert "idle days included" in unit


def test_an_interval_names_its_own_count_and_time() -> None:
    sums, days = sums_and_days([r * 10 for r in SAMPLE], SAMPLE)
    (bounds,) = p.trade_bounds((days,), 1_700)
    now = attrs.evolve(sums, trades=sums.trades + 5, r=sums.r - 3.0, with_r=sums.with_r + 3)
    found = p.trade_statistics(now, bounds).as_dict()
    assert found["expectancy_r"]["n"] == 63
    assert found["win_rate"]["n"] == 65
    assert found["expectancy_r"]["interval"] == {"n": 60, "days": 60, "as_of_ms": 1_700}
    assert found["expectancy_r"]["value"] == pytest.approx((0.515 * 60 - 3) / 63)
    assert ended(DAILY).as_dict()["sharpe"]["interval"] == {"n": 60, "days": 60, "as_of_ms": 7}
    assert "interval" not in found["trades"]


def test_trades_of_too_few_complete_days_have_a_win_rate_and_no_expectancy_or_profit_factor() -> (
    None
):
    days = p.TradeDays(
        trades=np.full(5, 20.0),
        wins=np.full(5, 9.0),
        r=np.full(5, 1.0),
        with_r=np.full(5, 20.0),
        profit=np.full(5, 30.0),
        loss=np.full(5, 20.0),
    )
    (bounds,) = p.trade_bounds((days,), 3)
    sums = TradeSums(trades=100, wins=45, r=5.0, with_r=100, profit=150.0, loss=100.0)
    found = p.trade_statistics(sums, bounds)
    assert (found.win_rate.low, found.win_rate.high) == p.wilson_interval(45, 100)
    for figure in (found.expectancy_r, found.profit_factor):
        assert figure.reason == "insufficient evidence: 5 complete days, 14 needed"
        assert figure.n == 100


def test_each_group_of_trades_has_its_own_count_and_an_interval_around_its_expectancy() -> None:
    generator = Generator(PCG64(5))
    made = [
        p.TradeDays(
            trades=generator.integers(0, 9, 40).astype(np.float64),
            wins=np.zeros(40),
            r=generator.normal(size=40),
            with_r=generator.integers(0, 9, 40).astype(np.float64),
            profit=generator.random(40),
            loss=generator.random(40),
        )
        for _ in range(3)
    ]
    bounds = p.trade_bounds(made, 1)
    assert [found.counted.n for found in bounds] == [int(days.trades.sum()) for days in made]
    for found, days in zip(bounds, made, strict=True):
        assert found.expectancy_r is not None
        low, high = found.expectancy_r
        assert low < days.r.sum() / days.with_r.sum() < high
    assert p.trade_bounds((), 1) == ()


def test_the_sums_of_a_resample_equal_the_sums_of_its_rows() -> None:
    columns = Generator(PCG64(1)).normal(size=(50, 3))
    found = b.resampled_sums(columns, resamples=200)
    seed = int(b.data_digest(columns.ravel())[:16], 16)
    (indices,) = b.bootstrap_indices(
        50, resamples=200, block=b.block_length(50), generator=Generator(PCG64(seed))
    )
    for row, drawn in zip(found, indices, strict=True):
        assert row == pytest.approx(columns[drawn].sum(axis=0))


@pytest.mark.parametrize("days", [0, 1, p.DAYS_MIN - 1])
def test_too_few_days_give_no_value_but_a_reason_and_their_count(days: int) -> None:
    for figure in ended(DAILY[:days]).as_dict().values():
        assert figure["value"] is None
        assert str(figure["reason"]).startswith("insufficient evidence")
        assert figure["n"] == days


def test_the_minimum_number_of_days_gives_a_sharpe_ratio() -> None:
    assert ended(DAILY[: p.DAYS_MIN]).sharpe.value is not None


def test_days_without_variation_have_no_sharpe_ratio_and_without_loss_no_sortino_ratio() -> None:
    found = ended([0.001] * 20)
    assert found.sharpe.value is None
    assert found.sharpe.reason == "the daily returns do not vary"
    assert found.sortino.reason == "no losing day to divide by"
    assert found.return_twr.value == pytest.approx(1.001**20 - 1)
    assert found.max_drawdown.value == 0.0


def test_ratios_of_too_short_flat_or_lossless_series_are_none() -> None:
    assert p.sharpe([0.01]) is None
    assert p.sortino([0.01]) is None
    assert p.sharpe([0.1, 0.1, 0.1]) is None
    assert p.sortino([0.1, 0.2]) is None


def test_trade_statistics_agree_with_the_reference_vector() -> None:
    found = one_a_day([r * 10 for r in SAMPLE], SAMPLE)
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
def test_too_few_trades_give_no_value_but_are_counted(n: int) -> None:
    found = one_a_day(SAMPLE[:n], SAMPLE[:n])
    assert found.trades.value == n
    for figure in (found.win_rate, found.expectancy_r, found.profit_factor):
        assert figure.as_dict() == {
            "value": None,
            "reason": f"insufficient evidence: {n} closed trades on complete days, 30 needed",
            "n": n,
            "unit": figure.unit,
        }


def test_trades_that_closed_on_no_complete_day_count_but_not_towards_the_minimum() -> None:
    days = p.TradeDays(
        trades=np.array([15.0, 1.0]),
        wins=np.array([8.0, 0.0]),
        r=np.array([2.0, -1.0]),
        with_r=np.array([15.0, 0.0]),
        profit=np.array([30.0, 0.0]),
        loss=np.array([20.0, 1.0]),
    )
    (bounds,) = p.trade_bounds((days,), 3)
    sums = TradeSums(trades=26, wins=12, r=3.0, with_r=25, profit=50.0, loss=40.0)
    found = p.trade_statistics(sums, bounds)
    reason = "insufficient evidence: 16 closed trades on complete days, 30 needed"
    assert (found.win_rate.n, found.win_rate.reason) == (26, reason)
    assert (found.expectancy_r.n, found.expectancy_r.reason) == (
        25,
        "insufficient evidence: 15 closed trades with R on complete days, 30 needed",
    )


def test_the_profit_factor_is_none_without_a_losing_trade() -> None:
    found = one_a_day([1.0] * 40, [1.0] * 40)
    assert found.profit_factor.value is None
    assert found.profit_factor.reason == "no losing trade to divide by"
    assert found.win_rate.value == 1.0


def test_a_single_losing_trade_does_not_bound_the_profit_factor_from_above() -> None:
    pnl = [1.0] * 39 + [-1.0]  # some resamples draw no losing day
    factor = one_a_day(pnl, pnl).profit_factor
    assert factor.value == pytest.approx(39.0)
    assert factor.low is not None
    assert factor.high is None


def test_day_statistics_of_returns_that_are_not_finite_fail_an_assertion() -> None:
    with pytest.raises(AssertionError, match="finite"):
        ended([math.nan] * 20)


@given(st.lists(fractions, min_size=1, max_size=80))
@settings(max_examples=60)
def test_a_maximum_drawdown_is_between_minus_1_and_0(days: list[float]) -> None:
    assert -1.0 <= p.max_drawdown(days) <= 0.0


@given(st.lists(fractions, min_size=2, max_size=40), st.floats(0.5, 3))
@settings(max_examples=60)
def test_the_sharpe_ratio_does_not_depend_on_the_scale_of_the_returns(
    days: list[float], size: float
) -> None:
    ratio, scaled = p.sharpe(days), p.sharpe([day * size for day in days])
    if ratio is not None and scaled is not None and np.ptp(days) > 1e-6:
        assert scaled == pytest.approx(ratio, rel=1e-6, abs=1e-9)


def test_a_loss_on_the_first_day_is_a_drawdown() -> None:
    assert p.max_drawdown([-0.5, 0.2]) == pytest.approx(-0.5)
    assert p.max_drawdown([0.1, 0.1]) == 0.0


def test_the_minimum_number_of_trades_gives_an_expectancy() -> None:
    found = one_a_day(SAMPLE[: p.TRADES_MIN], SAMPLE[: p.TRADES_MIN])
    assert found.expectancy_r.value is not None


def test_each_resample_draws_the_start_of_its_first_block() -> None:
    (indices,) = b.bootstrap_indices(20, resamples=50, block=1e9, generator=Generator(PCG64(3)))
    assert len(set(indices[:, 0].tolist())) > 10
