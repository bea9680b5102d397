"""A strategy's scores, reads and declarations are checked, and each failure has its place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kamou.core.codes import Abstain
from kamou.core.day import HOUR_MS
from kamou.core.indicators.atr import Atr
from kamou.core.market.panel import Panel
from kamou.core.strategies import make_panel
from kamou.core.strategies.base import Parameters, StrategyScores
from kamou.core.strategies.evaluation import (
    CheckedStrategy,
    FailureKind,
    InvalidScoresError,
    StrategyFailure,
    check_strategies,
)
from kamou.errors import ConfigurationError

WIDTH = 5
SYMBOLS = tuple(f"S{n}USDT" for n in range(WIDTH))
WARMUP = 4
COUNT = np.full(WIDTH, WARMUP)
Change = Callable[[Panel], StrategyScores]


def scores(**changes: Any) -> StrategyScores:
    """Return valid scores: symbols 0 to 2 are scored, 3 and 4 are not."""
    valid = StrategyScores(
        strategy="drawn",
        score=np.array([0.5, -1.0, 0.0, np.nan, 7.0]),
        raw=np.array([0.5, -3.0, 0.0, np.nan, np.nan]),
        weight=np.array([1.0, 0.3, 1.0, np.nan, -1.0]),
        stop_distance=np.array([1.0, 2.0, 3.0, np.nan, -1.0]),
        target_distance=np.array([1.0, 2.0, 3.0, 0.0, np.inf]),
        abstain=np.array([0, 0, 0, Abstain.WARMING_UP, Abstain.NO_TRIGGER], np.uint8),
        proxy=np.zeros(WIDTH, np.uint8),
        feature_names=("one", "two"),
        features=np.full((2, WIDTH), np.nan),
    )
    return attrs.evolve(valid, **changes)


class Drawn:
    """A strategy whose declarations are valid, and whose scores are those of a function."""

    name = "drawn"
    cross_sectional = False
    score_min = 0.0
    proxies = ("", "other")
    indicators = (Atr(3),)
    requirements: ClassVar[dict[Any, Any]] = {}
    open_interest_span_ms = 0
    parameter_class = Parameters

    def __init__(self, evaluated: Change = lambda _panel: scores(), **changes: Any) -> None:
        self.evaluated = evaluated
        for name, value in changes.items():
            setattr(self, name, value)

    def hold_ms(self, period_ms: int) -> int:
        return period_ms

    def lookback_bars(self, period_ms: int) -> int:
        return 3

    def warmup_bars(self, period_ms: int) -> int:
        return WARMUP

    def evaluate(self, panel: Panel, now_ms: int) -> StrategyScores:
        return self.evaluated(panel)


def checked(strategy: Drawn) -> CheckedStrategy:
    (found,) = check_strategies({"drawn": strategy}, HOUR_MS)
    return found


def warm_panel(strategy: Drawn) -> Panel:
    panel = make_panel([strategy], SYMBOLS, HOUR_MS)
    for t in range(WARMUP):
        row = np.full(WIDTH, 100.0 + t)
        panel.append(t * HOUR_MS, row, row + 1, row - 1, row, row)
    return panel


def failure_of(evaluated: Change, **changes: Any) -> StrategyFailure:
    strategy = Drawn(evaluated, **changes)
    panel = warm_panel(strategy)
    with pytest.raises(Exception) as caught:  # noqa: PT011 - any error of a strategy
        checked(strategy).evaluate(panel, panel.close_ms)
    assert isinstance(caught.value, Exception)
    return checked(strategy).describe(caught.value, panel)


def with_value(column: str, at: int, value: float) -> dict[str, Any]:
    values = getattr(scores(), column).copy()
    values[at] = value
    return {column: values}


def test_valid_scores_pass_whatever_the_abstaining_symbols_have() -> None:
    checked(Drawn()).check(scores(), SYMBOLS, COUNT)


BROKEN_COLUMNS: dict[str, tuple[dict[str, Any], FailureKind]] = {
    "wrong name": ({"strategy": "other"}, FailureKind.NAME_WRONG),
    "short column": ({"score": np.zeros(WIDTH - 1)}, FailureKind.COLUMN_WRONG),
    "two dimensions": ({"weight": np.ones((1, WIDTH))}, FailureKind.COLUMN_WRONG),
    "a list": ({"stop_distance": [1.0] * WIDTH}, FailureKind.COLUMN_WRONG),
    "whole scores": ({"score": np.zeros(WIDTH, np.int64)}, FailureKind.COLUMN_WRONG),
    "codes as floats": ({"abstain": np.zeros(WIDTH)}, FailureKind.COLUMN_WRONG),
    "None": ({"proxy": None}, FailureKind.COLUMN_WRONG),
    "a feature without a name": ({"feature_names": ("one",)}, FailureKind.COLUMN_WRONG),
    "feature_names None": ({"feature_names": None}, FailureKind.COLUMN_WRONG),
    "whole feature_names": ({"feature_names": (1, 2)}, FailureKind.COLUMN_WRONG),
    "a list of feature_names": ({"feature_names": ["one", "two"]}, FailureKind.COLUMN_WRONG),
    "a feature name twice": ({"feature_names": ("one", "one")}, FailureKind.COLUMN_WRONG),
    "features of objects": (
        {"features": np.array([[None] * WIDTH] * 2, dtype=object)},
        FailureKind.COLUMN_WRONG,
    ),
    "negative code": ({"abstain": np.full(WIDTH, -1, np.int64)}, FailureKind.CODE_UNKNOWN),
    "unknown code": ({"abstain": np.full(WIDTH, 99, np.uint8)}, FailureKind.CODE_UNKNOWN),
}


@pytest.mark.parametrize("name", BROKEN_COLUMNS)
def test_a_wrong_name_column_or_code_is_a_failure_of_its_kind(name: str) -> None:
    changes, kind = BROKEN_COLUMNS[name]
    with pytest.raises(InvalidScoresError) as caught:
        checked(Drawn()).check(scores(**changes), SYMBOLS, COUNT)
    assert caught.value.kind is kind


def test_a_result_that_is_no_strategy_scores_is_a_failure() -> None:
    found = failure_of(lambda _panel: None)  # type: ignore[arg-type,return-value]  # the mistake of this test
    assert found.kind is FailureKind.COLUMN_WRONG
    assert found.summary == "evaluate returned NoneType, not StrategyScores"


EDGES = (0.0, -0.0, 1.0, -1.0, np.nextafter(1, 2), np.nextafter(0, -1), np.nan, np.inf, -np.inf)
ALLOWED: dict[str, tuple[FailureKind, Callable[[float], bool]]] = {
    "score": (FailureKind.SCORE_INVALID, lambda x: -1 <= x <= 1),
    "weight": (FailureKind.WEIGHT_INVALID, lambda x: 0 <= x <= 1),
    "stop_distance": (FailureKind.DISTANCE_INVALID, lambda x: 0 < x < np.inf),
    "target_distance": (FailureKind.DISTANCE_INVALID, lambda x: 0 < x < np.inf),
}


@given(
    column=st.sampled_from(sorted(ALLOWED)),
    at=st.integers(0, WIDTH - 1),
    value=st.sampled_from(EDGES) | st.floats(),
)
@settings(max_examples=400)
def test_a_value_of_a_scored_symbol_fails_exactly_if_it_is_not_allowed(
    column: str, at: int, value: float
) -> None:
    kind, is_allowed = ALLOWED[column]
    changed = scores(**with_value(column, at, value))
    abstains = at >= 3
    if abstains or is_allowed(value):
        checked(Drawn()).check(changed, SYMBOLS, COUNT)
        return
    with pytest.raises(InvalidScoresError) as caught:
        checked(Drawn()).check(changed, SYMBOLS, COUNT)
    assert (caught.value.kind, caught.value.symbol) == (kind, SYMBOLS[at])
    assert str(caught.value).startswith(f"{SYMBOLS[at]} has the ")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_cross_sectional_strategy_needs_finite_raw_values_and_no_scores(value: float) -> None:
    strategy = checked(Drawn(cross_sectional=True))
    strategy.check(scores(score=np.full(WIDTH, np.nan)), SYMBOLS, COUNT)
    with pytest.raises(InvalidScoresError) as caught:
        strategy.check(scores(**with_value("raw", 1, value)), SYMBOLS, COUNT)
    assert (caught.value.kind, caught.value.symbol) == (FailureKind.SCORE_INVALID, "S1USDT")


def test_a_proxy_that_the_strategy_does_not_list_is_a_failure() -> None:
    strategy = checked(Drawn())
    strategy.check(scores(proxy=np.ones(WIDTH, np.uint8)), SYMBOLS, COUNT)
    with pytest.raises(InvalidScoresError, match="proxy 2; expected 0 to 1"):
        strategy.check(scores(proxy=np.full(WIDTH, 2, np.uint8)), SYMBOLS, COUNT)


def test_a_score_before_the_warm_up_has_ended_is_a_failure() -> None:
    young = np.array([WARMUP, WARMUP - 1, WARMUP, 0, 0])
    with pytest.raises(InvalidScoresError) as caught:
        checked(Drawn()).check(scores(), SYMBOLS, young)
    assert (caught.value.kind, caught.value.symbol) == (FailureKind.WARMUP_IGNORED, "S1USDT")


def reads_a_bar_too_far(panel: Panel) -> StrategyScores:
    panel.row("close", back=3)
    return scores()


def reads_an_unknown_field(panel: Panel) -> StrategyScores:
    panel.view("vwap", 2)  # type: ignore[arg-type]  # the mistake of this test
    return scores()


def divides_by_zero(_panel: Panel) -> StrategyScores:
    raise ZeroDivisionError("on purpose")


@pytest.mark.parametrize(
    ("evaluated", "kind", "summary"),
    [
        (reads_a_bar_too_far, FailureKind.READ_UNDECLARED, "the strategy reads 4 bars back"),
        (reads_an_unknown_field, FailureKind.FIELD_UNKNOWN, "the panel has no field 'vwap'"),
        (divides_by_zero, FailureKind.RAISED, "ZeroDivisionError('on purpose')"),
    ],
)
def test_a_failure_has_the_line_of_the_strategy_that_raised_and_the_bars_time(
    evaluated: Change, kind: FailureKind, summary: str
) -> None:
    found = failure_of(evaluated)
    assert found.kind is kind
    assert found.summary.startswith(summary)
    assert found.bar_closed_at_ms == WARMUP * HOUR_MS
    assert found.file == __file__
    assert found.line == evaluated.__code__.co_firstlineno + 1
    assert found.place == f"strategies/test_evaluation.py:{found.line}"
    assert found.trace is not None
    assert found.trace.tb_frame.f_code.co_name == "evaluate"


def test_a_failure_of_scores_has_the_line_of_evaluate_and_the_symbol() -> None:
    found = failure_of(lambda _panel: scores(**with_value("score", 2, 1.5)))
    assert (found.symbol, found.trace) == ("S2USDT", None)
    assert found.line == Drawn.evaluate.__code__.co_firstlineno
    assert found.summary == ("S2USDT has the score 1.5; expected -1 to 1 where it does not abstain")


WRONG_DECLARATIONS: list[tuple[dict[str, Any], str]] = [
    ({"name": "other"}, "the name 'other'; expected 'drawn', the name of its file"),
    ({"cross_sectional": 1}, "cross_sectional 1; expected True or False"),
    ({"score_min": 1.0}, "score_min 1.0; expected a number from 0 to below 1"),
    ({"score_min": float("nan")}, "score_min nan; expected a number from 0 to below 1"),
    ({"proxies": ("other",)}, "proxies ('other',); expected a tuple of texts"),
    ({"indicators": [Atr(3)]}, "indicators [Atr(period=3)]; expected a tuple of indicators"),
    ({"requirements": {1: "x"}}, "requirements {1: 'x'}; expected a mapping from Abstain"),
    ({"open_interest_span_ms": -1}, "open_interest_span_ms -1; expected a whole number of ms"),
    ({"funding_settlements": -1}, "funding_settlements -1; expected a whole number of settlements"),
    ({"flow_windows": 0.5}, "flow_windows 0.5; expected a whole number of windows, at least 0"),
    ({"ratio_hours": -1}, "ratio_hours -1; expected a whole number of hours"),
    ({"premium_hours": 1.5}, "premium_hours 1.5; expected a whole number of hours"),
    ({"reads_market": 1}, "reads_market 1; expected True or False"),
    ({"hold_ms": lambda _p: 0}, "hold_ms 0; expected a whole number of ms, at least 1"),
    ({"hold_ms": lambda _p: 2.5}, "hold_ms 2.5; expected a whole number of ms, at least 1"),
    ({"lookback_bars": lambda _p: 0}, "lookback_bars 0; expected a whole number of bars"),
    ({"warmup_bars": lambda _p: 2}, "warmup_bars 2; expected at least lookback_bars, which are 3"),
    ({"evaluate": None}, "evaluate None; expected a method that returns StrategyScores"),
]


@pytest.mark.parametrize(("changes", "words"), WRONG_DECLARATIONS)
def test_an_invalid_declaration_is_an_error_that_says_what_is_expected(
    changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        checked(Drawn(**changes))
    assert str(caught.value).startswith(f"the strategy drawn declares {words}")


def test_a_missing_declaration_is_named_and_one_that_raises_is_an_error() -> None:
    class Bare:
        name = "bare"

        @property
        def proxies(self) -> tuple[str, ...]:
            raise ZeroDivisionError("on purpose")

    with pytest.raises(
        ConfigurationError, match="bare raises when its proxies is read: ZeroDivision"
    ):
        check_strategies({"bare": Bare()}, HOUR_MS)  # type: ignore[dict-item]  # the mistake of this test
    with pytest.raises(ConfigurationError, match="declares no hold_ms; expected a whole number"):
        check_strategies({"x": object()}, HOUR_MS)  # type: ignore[dict-item]  # the mistake of this test


def test_an_error_inside_of_a_declaration_is_named_with_its_line() -> None:
    def lookback_bars(period_ms: int) -> int:
        return period_ms.windw  # type: ignore[attr-defined,no-any-return]  # the mistake of this test

    with pytest.raises(ConfigurationError) as caught:
        checked(Drawn(lookback_bars=lookback_bars))
    text = str(caught.value)
    assert text.startswith(
        "the strategy drawn raises when its lookback_bars is read: AttributeError("
    )
    assert f", at {__file__}:{lookback_bars.__code__.co_firstlineno + 1}; correct it" in text


def test_a_declaration_that_should_be_a_method_is_an_error_with_the_file() -> None:
    with pytest.raises(ConfigurationError) as caught:
        checked(Drawn(lookback_bars=3))
    assert str(caught.value).endswith(f"'int' object is not callable\"), at {__file__}; correct it")
