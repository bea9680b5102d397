"""A failure names the author's own file and line, whatever the strategy raises and inherits."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kamou.core.day import HOUR_MS
from kamou.core.market.panel import Panel
from kamou.core.strategies import make_panel
from kamou.core.strategies.base import StrategyScores
from kamou.core.strategies.conformance import CONFORMANCE_CHECKS, make_bench, run_check
from kamou.core.strategies.evaluation import check_strategies, find_evaluate
from kamou.settings.strategy_files import load_file
from tests.core.strategies.test_evaluation import Drawn, failure_of, scores
from tests.core.strategies.test_strategies_conformance import Simple


class UnreadableError(Exception):
    """An error whose text cannot be made."""

    def __repr__(self) -> str:
        raise LookupError("on purpose")


def raises_unreadable(_panel: Panel) -> StrategyScores:
    raise UnreadableError


def test_an_error_whose_text_raises_is_named_by_its_type() -> None:
    assert failure_of(raises_unreadable).summary == "UnreadableError"


class Exits(Simple):
    """A strategy that ends the process."""

    def evaluate(self, panel: Panel, now_ms: int) -> StrategyScores:
        raise SystemExit(0)


def test_an_exit_of_the_process_is_a_problem_of_a_check() -> None:
    result = run_check(make_bench("simple", Exits()), next(iter(CONFORMANCE_CHECKS)))
    (problem,) = result.problems
    assert problem.startswith(f"SystemExit(0), at {__file__}:")


def rewrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*given: Any) -> Any:
        return function(*given)

    return wrapper


class Decorated(Drawn):
    """A strategy whose evaluate has a decorator."""

    evaluate = rewrapped(Drawn.evaluate)


def test_a_decorated_evaluate_is_found_at_its_own_line() -> None:
    line = Drawn.evaluate.__code__.co_firstlineno
    assert find_evaluate(Decorated(lambda _panel: scores()))[1] == line


OWN = """from kamou.core.strategies.mean_reversion import MeanReversion


class Own(MeanReversion):
    name = "own"

    def _score(self, *_):
        return 1 / 0


strategy = Own
"""


def test_a_failure_of_a_subclass_of_a_strategy_of_kamou_is_in_the_authors_file(
    tmp_path: Path,
) -> None:
    path = tmp_path / "own.py"
    path.write_text(OWN)
    path.chmod(0o600)
    (strategy,) = check_strategies({"own": load_file(path).factory()}, HOUR_MS)
    panel = make_panel([strategy.strategy], ("A", "B"), HOUR_MS)
    with pytest.raises(ZeroDivisionError) as caught:
        strategy.evaluate(panel, 0)
    failure = strategy.describe(caught.value, panel)
    assert (failure.file, failure.line) == (str(path), 8)
