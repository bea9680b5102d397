"""The scripted refiner of the demo: repeatable, labeled, and with a small planted skill."""

from __future__ import annotations

from decimal import Decimal

import attrs
import numpy as np
import pytest
import trio

from kamou.core.day import DAY_MS, HOUR_MS
from kamou.core.kinds import RefinerVerdict, RunMode
from kamou.core.model import Side
from kamou.core.refiner_codes import RefinerMode
from kamou.core.refining.calls import Outcome, Question
from kamou.core.refining.prompt import make_prompt
from kamou.runs.scripted_refiner import AHEAD_MS, LABEL, SKILL, ScriptedRefiner, plan_script
from kamou.settings.config import Settings
from kamou.venue.market.generator import GeneratedMarket
from tests.refining_cases import candidate
from tests.venue.memory_market import MemoryMarket, with_bars

ORIGIN_MS = 1_767_225_600_000  # 2026-01-01
DEMO = Settings(mode=RunMode.DEMO)


@pytest.fixture(scope="module")
def market() -> GeneratedMarket:
    return GeneratedMarket(seed=3, origin_ms=ORIGIN_MS, symbols=12, step_ms=900_000)


def question(at_ms: int, symbol: str, side: Side) -> Question:
    asked = candidate(
        symbol, signal_id=f"{at_ms}.mean_reversion.{symbol}", side=side, bar_closed_at_ms=at_ms
    )
    return Question(
        signal_id=asked.signal_id, prompt=make_prompt(asked, 1), reserved_usd=Decimal(0)
    )


def ask(script: ScriptedRefiner, asked: Question) -> Outcome:
    async def main() -> Outcome:
        return await script.ask(asked)

    return trio.run(main)


def test_the_share_of_right_verdicts_is_that_of_the_planted_skill(market: GeneratedMarket) -> None:
    script = ScriptedRefiner(source=market, seed=7)
    right = []
    for hour in range(20 * 24):
        at_ms = ORIGIN_MS + hour * HOUR_MS
        if at_ms % DAY_MS > DAY_MS - AHEAD_MS - 1:
            continue  # nearer to midnight the script looks less far ahead
        for column, symbol in enumerate(market.symbols):
            side = (Side.LONG, Side.SHORT)[(hour + column) % 2]
            answer = ask(script, question(at_ms, symbol, side)).completion.answer
            assert answer is not None
            later = market.prices(at_ms + AHEAD_MS)[column] - market.prices(at_ms)[column]
            approved = answer.verdict is RefinerVerdict.APPROVE
            right.append(approved == (later * side.sign > 0))
    # 4,800 verdicts: a deviation of 0.7 %.
    assert np.mean(right) == pytest.approx(SKILL + (1 - SKILL) / 2, abs=0.03)


def test_late_in_a_day_the_script_only_draws(market: GeneratedMarket) -> None:
    script, at_ms = ScriptedRefiner(source=market, seed=7), ORIGIN_MS + DAY_MS - 900_000
    for symbol in market.symbols:
        long, short = (ask(script, question(at_ms, symbol, side)) for side in Side)
        assert long == short


def test_a_verdict_is_repeatable_labeled_free_and_approves_or_refuses(
    market: GeneratedMarket,
) -> None:
    asked = question(ORIGIN_MS + DAY_MS, market.symbols[0], Side.LONG)
    outcome = ask(ScriptedRefiner(source=market, seed=7), asked)
    assert outcome == ask(ScriptedRefiner(source=market.twin(), seed=7), asked)
    assert (outcome.completion.model, outcome.cost_usd) == (LABEL, Decimal(0))
    assert outcome.completion.answer is not None
    answers = {
        ask(ScriptedRefiner(source=market, seed=seed), asked).completion.answer
        for seed in range(40)
    }
    assert {(each.verdict, each.size_pct) for each in answers if each is not None} == {
        (RefinerVerdict.APPROVE, 100),
        (RefinerVerdict.REFUSE, 0),
    }


def test_only_a_demo_on_the_generated_market_without_a_model_is_scripted(
    market: GeneratedMarket,
) -> None:
    scripted, script = plan_script(DEMO, market)
    assert script is not None
    assert (scripted.refiner.mode, scripted.refiner.model) == (RefinerMode.ADVISORY, LABEL)
    off = attrs.evolve(DEMO, demo=attrs.evolve(DEMO.demo, scripted_refiner=False))
    model = attrs.evolve(DEMO.refiner, mode=RefinerMode.REQUIRED)
    for settings, source in (
        (attrs.evolve(DEMO, mode=RunMode.PAPER), market),
        (off, market),
        (attrs.evolve(DEMO, refiner=model), market),
        (DEMO, MemoryMarket({"AAA": with_bars()})),
    ):
        assert plan_script(settings, source) == (settings, None)
