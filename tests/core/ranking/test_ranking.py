"""The merge of shards into one ranking: order, ranks, counts, and late shards."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kamou.core.arrays import Floats
from kamou.core.codes import Abstain
from kamou.core.model import Figure, Side
from kamou.core.ranking.ranking import Ranking, cross_section_rank, merge_shards
from kamou.core.strategies import make_strategies
from kamou.core.strategies.base import Strategy, StrategyScores

PERIOD = 900_000
CLOSE_MS = 1_700_000_100_000 // PERIOD * PERIOD
REVERSION = make_strategies(["mean_reversion"], {})
MOMENTUM = make_strategies(["oi_momentum"], {})


@attrs.frozen(kw_only=True, eq=False)
class Answer:
    shard: int
    bar_closed_at_ms: int = CLOSE_MS
    close: Floats
    columns: tuple[StrategyScores, ...]
    regimes: None = None


def scores_of(strategy: str, width: int, **columns: Any) -> StrategyScores:
    made: dict[str, Any] = {
        "score": np.zeros(width),
        "raw": np.full(width, np.nan),
        "weight": np.ones(width),
        "stop_distance": np.arange(1.0, width + 1),
        "target_distance": np.arange(10.0, width + 10),
        "abstain": np.zeros(width, np.uint8),
        "proxy": np.zeros(width, np.uint8),
        "feature_names": ("z", "unknown"),
        "features": np.stack((np.arange(float(width)), np.full(width, np.nan))),
    }
    for name, values in columns.items():
        made[name] = np.asarray(values, dtype=made[name].dtype)
    return StrategyScores(strategy=strategy, **made)


def answer(shard: int, *columns: StrategyScores, bar_closed_at_ms: int = CLOSE_MS) -> Answer:
    width = len(columns[0].score) if columns else 2
    close = 100.0 * (shard + 1) + np.arange(width, dtype=np.float64)
    return Answer(shard=shard, bar_closed_at_ms=bar_closed_at_ms, close=close, columns=columns)


def ranked(
    answers: list[Answer],
    strategies: dict[str, Strategy] | None = None,
    universe: tuple[tuple[str, ...], ...] = (("A", "B"), ("C", "D")),
    top: int = 20,
) -> Ranking:
    chosen = strategies or REVERSION
    return merge_shards(answers, universe=universe, strategies=chosen, period_ms=PERIOD, top=top)


def test_candidates_are_ordered_by_strength_then_symbol() -> None:
    ranking = ranked(
        [
            answer(1, scores_of("mean_reversion", 2, score=[0.5, -0.9])),
            answer(0, scores_of("mean_reversion", 2, score=[-0.5, 0.7])),
        ]
    )
    assert [(c.symbol, c.score, c.side) for c in ranking.top] == [
        ("D", 0.9, Side.SHORT),
        ("B", 0.7, Side.LONG),
        ("A", 0.5, Side.SHORT),
        ("C", 0.5, Side.LONG),
    ]
    assert (ranking.symbols, ranking.candidates, ranking.late_shards) == (4, 4, 0)


def test_a_candidate_carries_its_own_symbols_figures_across_shards() -> None:
    ranking = ranked(
        [
            answer(0, scores_of("mean_reversion", 2, abstain=[6, 6])),
            answer(1, scores_of("mean_reversion", 2, score=[0.0, 0.8], abstain=[6, 0])),
        ]
    )
    (best,) = ranking.top
    assert best.signal_id == f"{CLOSE_MS}.mean_reversion.D"
    assert (best.close, best.stop_distance, best.target_distance) == (201.0, 2.0, 11.0)
    assert (best.bar_opened_at_ms, best.bar_closed_at_ms) == (CLOSE_MS - PERIOD, CLOSE_MS)
    assert best.features == (("z", 1.0),)  # the unknown feature is left out
    assert (best.hold_ms, best.proxy) == (96 * PERIOD, "")


def test_a_ranking_lists_its_top_candidates_and_counts_all_of_them() -> None:
    ranking = ranked([answer(0, scores_of("mean_reversion", 2, score=[0.5, 0.6]))], top=1)
    assert [c.symbol for c in ranking.top] == ["B"]
    assert ranking.candidates == 2
    assert ranking.by_strategy == (Figure(name="mean_reversion", value="2"),)


@given(st.integers(1, 4), st.data())
@settings(max_examples=60)
def test_the_limit_of_candidates_is_for_each_strategy(top: int, data: st.DataObject) -> None:
    """What one strategy wants takes no place from another, however strong it is."""
    both = make_strategies(["mean_reversion", "macro"], {})
    drawn = st.lists(st.floats(-1, 1), min_size=6, max_size=6)
    columns = [scores_of(name, 6, score=data.draw(drawn)) for name in both]
    together = ranked([answer(0, *columns)], both, top=top, universe=(tuple("ABCDEF"),)).top
    for part in columns:
        alone = ranked(
            [answer(0, part)],
            {part.strategy: both[part.strategy]},
            top=top,
            universe=(tuple("ABCDEF"),),
        )
        assert [c for c in together if c.strategy == part.strategy] == list(alone.top)
        assert len(alone.top) == min(top, alone.candidates)
    assert [c.score for c in together] == sorted((c.score for c in together), reverse=True)


@pytest.mark.parametrize("seed", range(30))
def test_the_top_candidates_are_the_first_of_all_signals_in_order(seed: int) -> None:
    chance = np.random.default_rng(seed)
    widths = chance.integers(1, 12, 2).tolist()
    names = [f"S{each:02}" for each in chance.permutation(sum(widths))]
    universe = (tuple(names[: widths[0]]), tuple(names[widths[0] :]))
    shards = [
        scores_of(
            "mean_reversion",
            width,
            score=chance.integers(-3, 4, width) / 4,  # many are equal
            weight=chance.integers(1, 3, width) / 2,
            abstain=chance.integers(0, 2, width),
        )
        for width in widths
    ]
    signals = [
        (-abs(columns.score[i] * columns.weight[i]), symbols[i])
        for columns, symbols in zip(shards, universe, strict=True)
        for i in range(len(symbols))
        if columns.abstain[i] == 0 and columns.score[i] != 0
    ]
    answers = [answer(shard, columns) for shard, columns in enumerate(shards)]
    for top in (0, 1, 3, len(signals), 30):
        ranking = ranked(answers, universe=universe, top=top)
        assert [(-c.score, c.symbol) for c in ranking.top] == sorted(signals)[:top]
        assert ranking.candidates == len(signals)


def test_abstentions_are_counted_by_strategy_and_code() -> None:
    ranking = ranked(
        [
            answer(0, scores_of("mean_reversion", 2, abstain=[5, 6])),
            answer(1, scores_of("mean_reversion", 2, abstain=[5, 0])),
        ]
    )
    assert ranking.abstained == (
        Figure(name="mean_reversion.REGIME_WRONG", value="2"),
        Figure(name="mean_reversion.NO_TRIGGER", value="1"),
        Figure(name="mean_reversion.SCORE_TOO_SMALL", value="1"),  # a score of zero has no side
    )
    assert ranking.top == ()


def test_a_shard_that_is_absent_or_late_is_left_out_of_the_ranking_and_counted() -> None:
    absent = ranked([answer(1, scores_of("mean_reversion", 2, score=[0.5, 0.6]))])
    assert ([c.symbol for c in absent.top], absent.late_shards) == (["D", "C"], 1)
    behind = ranked(
        [
            answer(
                0, scores_of("mean_reversion", 2, score=[1, 1]), bar_closed_at_ms=CLOSE_MS - PERIOD
            ),
            answer(1, scores_of("mean_reversion", 2, score=[0.5, 0.6])),
        ]
    )
    assert behind == absent


def test_a_cycle_without_a_closed_bar_has_no_candidates() -> None:
    idle = ranked([answer(0, bar_closed_at_ms=0), answer(1, bar_closed_at_ms=0)])
    assert (idle.bar_closed_at_ms, idle.top, idle.abstained, idle.late_shards) == (0, (), (), 0)
    silent = ranked([])
    assert (silent.bar_closed_at_ms, silent.symbols, silent.late_shards) == (0, 0, 2)


def test_a_shard_without_a_strategys_columns_fails_an_assertion() -> None:
    with pytest.raises(AssertionError, match="no columns of mean_reversion"):
        ranked([answer(0), answer(1)])


def test_momentum_is_ranked_across_all_shards_and_weighted_after() -> None:
    names = tuple(f"S{k:02}" for k in range(21))
    raw = np.linspace(-1, 1, 21)
    ranking = ranked(
        [
            answer(0, scores_of("oi_momentum", 10, raw=raw[:10], weight=[0.3] * 10)),
            answer(1, scores_of("oi_momentum", 11, raw=raw[10:], proxy=[1] * 11)),
        ],
        MOMENTUM,
        (names[:10], names[10:]),
    )
    shown = [(c.symbol, c.side, c.proxy) for c in ranking.top]
    assert shown == [
        ("S20", Side.LONG, "no_oi"),
        ("S19", Side.LONG, "no_oi"),
        ("S18", Side.LONG, "no_oi"),
        ("S00", Side.SHORT, ""),
        ("S01", Side.SHORT, ""),
        ("S02", Side.SHORT, ""),
    ]
    assert [c.score for c in ranking.top] == pytest.approx([1, 0.9, 0.8, 0.3, 0.27, 0.24])
    counted = {f.name: f.value for f in ranking.abstained}
    # the 15 middle ranks are below the minimum score; one of them and its raw value are 0
    assert counted == {"oi_momentum.SCORE_TOO_SMALL": "15"}


def test_the_strongest_symbol_of_a_falling_market_gives_no_long_signal() -> None:
    falling = [-5.0, -4, -3, -2, -1]
    columns = scores_of("oi_momentum", 5, raw=falling)
    ranking = ranked([answer(0, columns)], MOMENTUM, (("A", "B", "C", "D", "E"),))
    assert [(c.symbol, c.side) for c in ranking.top] == [("A", Side.SHORT)]


def test_a_symbol_in_the_wrong_regime_counts_in_the_cross_section_but_gives_no_signal() -> None:
    columns = scores_of("oi_momentum", 3, raw=[-1, 1, 2], abstain=[0, 0, Abstain.REGIME_WRONG])
    ranking = ranked([answer(0, columns)], MOMENTUM, (("A", "B", "C"),))
    assert [c.symbol for c in ranking.top] == ["A"]


def test_the_signals_of_both_strategies_are_in_one_ranking() -> None:
    answers = [
        answer(
            0,
            scores_of("mean_reversion", 2, score=[0.8, 1.0]),
            scores_of("oi_momentum", 2, raw=[-1.0, 1.0]),
        )
    ]
    ranking = ranked(answers, {**MOMENTUM, **REVERSION}, (("A", "B"),))
    assert [(c.symbol, c.strategy) for c in ranking.top] == [
        ("A", "oi_momentum"),
        ("B", "mean_reversion"),
        ("B", "oi_momentum"),
        ("A", "mean_reversion"),
    ]


def test_a_merge_leaves_the_columns_of_the_shards_unchanged() -> None:
    columns = scores_of("mean_reversion", 2, score=[0.0, 0.5])
    ranked([answer(0, columns)], universe=(("A", "B"),))
    assert columns.abstain.tolist() == [0, 0]


@settings(max_examples=80)
@given(
    values=st.lists(st.one_of(st.just(float("nan")), st.integers(-4, 4).map(float)), max_size=30)
)
def test_ranks_are_bounded_symmetric_monotone_and_average_ties(values: list[float]) -> None:
    array = np.array(values)
    ranks = cross_section_rank(array)
    known = ~np.isnan(array)
    assert (np.isnan(ranks) == ~known).all()
    kept, got = array[known], ranks[known]
    assert (np.abs(got) <= 1).all()
    np.testing.assert_allclose(cross_section_rank(-array), -ranks, atol=1e-12)
    for a, rank_a in zip(kept, got, strict=True):
        others = len(kept) - 1
        below, equal = int((kept < a).sum()), int((kept == a).sum()) - 1
        if others:
            assert rank_a == pytest.approx((2 * below + equal) / others - 1)
        else:
            assert rank_a == 0
