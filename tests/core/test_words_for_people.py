"""Words for people in place of figures, bounds, trading states and strategies."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import kamou
from kamou.core import strategies
from kamou.core.kinds import RiskPart, SizeLimit
from kamou.core.model import NOTE, Figure, TradingState
from kamou.core.words import (
    BOUNDS,
    FIGURE_NAMES,
    STATE_WORDS,
    describe_state,
    figure_words,
    figures_words,
    state_words,
    strategy_name,
)

ROOT = Path(kamou.__file__).parent
MAKERS = {"make_denial", "make_veto", "_disabled"}  # functions whose keywords are names of figures


def names_in_the_source() -> Iterator[tuple[str, str]]:
    """Yield the names of figures in the source, with their places."""
    for path in sorted(ROOT.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            place = f"{path.relative_to(ROOT)}:{node.lineno}"
            if node.func.id in MAKERS:
                yield from ((each.arg, place) for each in node.keywords if each.arg)
            if node.func.id == "Figure":
                for each in node.keywords:
                    if each.arg == "name" and isinstance(each.value, ast.Constant):
                        yield str(each.value.value), place


def test_every_figure_that_the_source_names_has_a_name_for_people() -> None:
    found = dict(names_in_the_source())
    assert len(found) > 60
    assert {name: place for name, place in found.items() if name not in FIGURE_NAMES} == {}


def test_no_word_for_a_figure_a_bound_or_a_state_has_an_underscore_or_an_equals_sign() -> None:
    for words in (*FIGURE_NAMES.values(), *BOUNDS.values(), *STATE_WORDS.values()):
        assert "_" not in words
        assert "=" not in words


def test_every_limit_of_a_size_and_every_part_of_a_risk_has_a_name_for_people() -> None:
    assert set(BOUNDS) == {*SizeLimit, *RiskPart}


def test_every_trading_state_has_words_which_differ_for_flattening_without_a_position() -> None:
    assert set(STATE_WORDS) == {state.value for state in TradingState}
    assert describe_state("active") == "active"
    assert describe_state("reduce_only") == "reduce_only, no new trades"
    assert describe_state("flattening") == "flattening, closing everything"
    assert describe_state("flattening", holding=False) == "flattening, no new trades"
    assert state_words("flattening", holding=False) == "flattened: no new trades"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("oi_momentum", "OI momentum"),
        ("mean_reversion", "mean reversion"),
        ("bb_squeeze", "BB squeeze"),
        ("adx", "ADX"),
    ],
)
def test_the_displayed_name_of_a_strategy_has_its_acronyms_in_capitals(
    name: str, shown: str
) -> None:
    assert strategy_name(name) == shown


def test_no_displayed_name_of_a_strategy_has_an_underscore() -> None:
    for name in strategies.discover_strategies():
        assert "_" not in strategy_name(name)


@pytest.mark.parametrize(
    ("name", "value", "code", "words"),
    [
        ("day_pnl", "-4.01%", "", "the day's loss 4.01%"),
        ("day_pnl", "-0.0401", "", "the day's loss 4.01%"),
        ("day_pnl", "1.5%", "", "the day's gain 1.50%"),
        ("day_pnl", "-0.00%", "", "the day's result 0.00%"),
        ("equity", "9590.123456789", "", "equity 9,590.12"),
        ("age_ms", "12000", "", "age 12.0 s"),
        ("age_ms", "never", "", "age never read"),
        ("timeout_s", "2", "", "waited 2.0 s"),
        ("since_ms", "1767312000000", "", "since 2026-01-02 00:00:00 UTC"),
        ("since_ms", "61000", "COOLDOWN_AFTER_STOP", "time since the stop-loss 1 min"),
        ("quote_age_ms", "inf", "", "age of the quote unknown"),
        ("bound_by", "day_budget", "", "bound by the daily budget"),
        ("reason", "DAY_LOSS_LIMIT", "", "because the day's loss reached its limit"),
        ("reason", "not enough margin", "", "because not enough margin"),
        ("entry", "0.000012345678912", "", "entry 0.000012345679"),
        ("quantity", "2687.000", "", "quantity 2,687"),
        ("quantity", "1E+40", "", f"quantity {10**40:,}"),
        ("strategy", "oi_momentum", "", "strategy OI momentum"),
        ("order", "km_order_1", "", "order km_order_1"),
        ("score", "0.5", "T3", "weighted score 0.5"),
        ("score", "0.5", "SCORED", "score 0.5"),
    ],
)
def test_a_figure_is_shown_as_its_name_and_a_value_for_people(
    name: str, value: str, code: str, words: str
) -> None:
    assert figure_words(Figure(name=name, value=value), code) == words


def test_the_operators_note_is_not_shown_as_a_figure() -> None:
    figures = (Figure(name=NOTE, value="news"), Figure(name="limit", value="4.00%"))
    assert figures_words(figures) == "limit 4.00%"
