"""The refiner's actor: verdicts of a model, its failures, its budget and its deadline."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from kamou.core.book.candidate_events import CandidatesRefined, RefinedCandidate
from kamou.core.book.events import IntentRecorded, TradeClosed
from kamou.core.book.refiner_events import RefinerAnswer, RefinerCallsEnded, RefinerCallsReserved
from kamou.core.kinds import RefinerVerdict
from kamou.core.model import OrderRole
from kamou.core.refiner_codes import AnswerForm, RefinerFailure, RefinerMode, WithoutAnswer
from kamou.core.refining.calls import AskModel, Outcome, Question, fail
from kamou.core.refining.responses import Completion
from kamou.settings.refiner import RefinerSettings
from tests.actors.account_of import faults
from tests.actors.system_harness import SETTINGS, Ended, at, run_system
from tests.refining_cases import APPROVAL, MODEL, REFUSAL, SHRINK

COST = Decimal("0.01")
REQUIRED = RefinerSettings(mode=RefinerMode.REQUIRED, url="https://llm.example/v1", model=MODEL)


@attrs.define
class FakeModel:
    """A model that gives each question the outcome of its symbol, else an approval."""

    outcomes: dict[str, Any] = attrs.Factory(dict)  # symbol -> answer, failure or seconds to wait
    asked: list[str] = attrs.Factory(list)
    at_once: int = 0
    at_once_max: int = 0

    async def ask(self, question: Question) -> Outcome:
        symbol = question.signal_id.rpartition(".")[2]
        self.asked.append(symbol)
        self.at_once += 1
        self.at_once_max = max(self.at_once_max, self.at_once)
        try:
            return await self._answer(self.outcomes.get(symbol, APPROVAL))
        finally:
            self.at_once -= 1

    async def _answer(self, wanted: Any) -> Outcome:
        await trio.sleep(wanted if isinstance(wanted, float) else 0.5)
        if isinstance(wanted, RefinerFailure):
            return fail(wanted, COST)
        answer = APPROVAL if isinstance(wanted, float) else wanted
        return Outcome(
            completion=Completion(answer=answer, model=MODEL, tokens_in=400, tokens_out=30),
            cost_usd=COST,
            form=AnswerForm.JSON_SCHEMA,
            requests=1,
            status=200,
        )


def run(ask: AskModel | None, minutes: float = 14, **changes: Any) -> Ended:
    data_dir = changes.pop("data_dir", None)
    begin = changes.pop("begin_ms", at(0))
    refiner = attrs.evolve(REQUIRED, **changes)
    settings = attrs.evolve(SETTINGS, refiner=refiner)
    return run_system(
        settings=settings, ask_model=ask, minutes=minutes, data_dir=data_dir, begin_ms=begin
    )


def results(ended: Ended) -> dict[str, RefinerAnswer]:
    """Return the last result of each symbol."""
    return {
        each.signal_id.rpartition(".")[2]: each
        for event in ended.of(RefinerCallsEnded)
        for each in event.answers
    }


def verdicts(ended: Ended) -> dict[str, RefinedCandidate]:
    """Return the first verdict on each symbol."""
    found = [each for event in ended.of(CandidatesRefined) for each in event.candidates]
    return {each.candidate.symbol: each for each in reversed(found)}


def entered(ended: Ended) -> set[str]:
    intents = ended.of(IntentRecorded)
    return {e.intent.symbol for e in intents if e.intent.role is OrderRole.ENTRY}


def test_an_approved_candidate_is_entered_a_refused_one_is_not_and_a_shrunk_one_is_smaller() -> (
    None
):
    model = FakeModel({"BBB": REFUSAL, "CCC": SHRINK})
    ended, off = run(model.ask, minutes=3), run(None, minutes=3)
    found = verdicts(ended)
    assert (found["AAA"].verdict, found["AAA"].size_multiplier) == (
        RefinerVerdict.APPROVE,
        Decimal(1),
    )
    assert (found["BBB"].verdict, found["BBB"].reason_code) == ("refuse", "TREND_AGAINST")
    assert found["CCC"].size_multiplier == Decimal("0.25")
    assert entered(ended) == entered(off) - {"BBB"}
    sizes = {
        run_: next(
            e.intent.quantity
            for e in ended_.of(IntentRecorded)
            if e.intent.symbol == "CCC" and e.intent.role is OrderRole.ENTRY
        )
        for run_, ended_ in (("required", ended), ("off", off))
    }
    assert sizes["required"] < sizes["off"] / 2
    assert faults(ended, until_minute=3) == []


def test_without_a_model_or_in_the_mode_off_the_journal_is_that_of_a_refiner_without_ai() -> None:
    model = FakeModel()
    off = run(model.ask, minutes=3, mode=RefinerMode.OFF)
    assert model.asked == []
    assert {e.verdict for e in verdicts(off).values()} == {RefinerVerdict.OFF}
    assert off.of(RefinerCallsReserved) == []
    assert off.of(RefinerCallsEnded) == []
    assert run(None, minutes=3).events[1:] == off.events[1:]  # the first has the settings


@pytest.mark.parametrize(
    ("policy", "verdict"), list(zip(WithoutAnswer, ("refuse", "unanswered"), strict=True))
)
def test_a_candidate_without_a_valid_answer_is_treated_as_the_settings_say(
    policy: WithoutAnswer, verdict: str
) -> None:
    model = FakeModel({"AAA": RefinerFailure.ANSWER_NOT_JSON})
    ended = run(model.ask, minutes=2, without_answer=policy)
    found = verdicts(ended)["AAA"]
    assert (found.verdict, found.reason_code) == (verdict, "REFINER_ANSWER_NOT_JSON")
    assert ("AAA" in entered(ended)) == (policy is WithoutAnswer.PASS)


def test_an_advisory_model_is_asked_after_the_candidates_passed_unchanged() -> None:
    model = FakeModel(dict.fromkeys(("AAA", "BBB", "CCC"), REFUSAL))
    ended = run(model.ask, minutes=2, mode=RefinerMode.ADVISORY)
    assert entered(ended) == entered(run(None, minutes=2))
    assert {e.verdict for e in verdicts(ended).values()} == {RefinerVerdict.ADVISORY}
    assert results(ended)["AAA"].answer == REFUSAL


def test_a_model_that_never_answers_is_cut_off_at_the_deadline_and_costs_its_reservation() -> None:
    ended = run(FakeModel({"AAA": 3_600.0}).ask, minutes=2)
    late = results(ended)["AAA"]
    assert late.failure is RefinerFailure.DEADLINE_PASSED
    assert late.cost_usd == late.reserved_usd > 0
    found = verdicts(ended)
    assert found["AAA"].verdict is RefinerVerdict.REFUSE
    assert ended.of(CandidatesRefined)[0].at_ms - ended.of(RefinerCallsReserved)[0].at_ms == 20_000
    assert found["BBB"].verdict is RefinerVerdict.APPROVE  # it was asked at the same time


def test_calls_end_before_their_candidates_expire_even_with_a_longer_deadline() -> None:
    cycle = attrs.evolve(SETTINGS.cycle, candidate_ttl_s=5)
    settings = attrs.evolve(SETTINGS, cycle=cycle, refiner=REQUIRED)
    model = FakeModel({"AAA": 3_600.0, "BBB": 3_600.0, "CCC": 3_600.0})
    ended = run_system(settings=settings, ask_model=model.ask, minutes=1.5)
    waited = ended.of(RefinerCallsEnded)[0].at_ms - ended.of(RefinerCallsReserved)[0].at_ms
    assert waited <= 5_000
    assert entered(ended) == set()


def test_a_slow_model_delays_neither_stops_nor_exits_of_open_trades() -> None:
    """AAA, BBB and CCC are entered at minute 1; from minute 2 on the model hangs each time."""
    slow = FakeModel(dict.fromkeys(("DDD", "EEE", "FFF", "HHH"), 3_600.0))

    def closed(ended: Ended) -> dict[str, tuple[int, str]]:
        return {
            e.trade_id.rpartition(".")[2]: ((e.closed_at_ms - at(0)) // 60_000, e.exit_reason)
            for e in ended.of(TradeClosed)
            if e.trade_id.endswith(("AAA", "BBB", "CCC"))
        }

    ended, off = run(slow.ask, minutes=6), run(None, minutes=6)
    assert closed(ended) == closed(off) != {}
    assert faults(ended, until_minute=6) == []


def test_at_most_the_configured_number_of_calls_run_at_a_time() -> None:
    for limit in (1, 2):
        model = FakeModel()
        run(model.ask, minutes=1.5, concurrency=limit)
        assert (model.at_once_max, len(model.asked)) == (limit, 3)


def test_a_budget_that_is_used_up_refuses_without_a_call_also_after_a_restart(
    tmp_path: Path,
) -> None:
    model = FakeModel({"AAA": 3_600.0})  # the one call costs its whole reservation
    one = results(run(FakeModel().ask, minutes=1.5))["AAA"].reserved_usd
    budget = one * Decimal("1.5")
    first = run(model.ask, minutes=1.5, budget_usd_per_day=budget, data_dir=tmp_path)
    assert model.asked == ["AAA"]
    assert verdicts(first)["BBB"].reason_code == "REFINER_BUDGET_EXHAUSTED"
    second = FakeModel()
    again = run(
        second.ask, minutes=3, budget_usd_per_day=budget, data_dir=tmp_path, begin_ms=at(1.8)
    )
    assert second.asked == []
    assert verdicts(again)["DDD"].reason_code == "REFINER_BUDGET_EXHAUSTED"


def test_the_reservation_is_committed_before_the_first_request_and_the_cost_after_it() -> None:
    ended = run(FakeModel({"BBB": RefinerFailure.SERVER_ERROR}).ask, minutes=1.5)
    (reserved,), (end,) = ended.of(RefinerCallsReserved), ended.of(RefinerCallsEnded)
    assert (reserved.calls, reserved.cycle_at_ms) == (3, end.cycle_at_ms)
    assert reserved.reserved_usd == sum(each.reserved_usd for each in end.answers)
    assert end.cost_usd == 3 * COST
    order = [type(e) for e in ended.events]
    assert order.index(RefinerCallsReserved) < order.index(RefinerCallsEnded)
    assert order.index(RefinerCallsEnded) < order.index(CandidatesRefined)
    kept = results(ended)["AAA"]
    assert (kept.model_asked, kept.model_echoed, kept.status) == (MODEL, MODEL, 200)
    assert (kept.tokens_in, kept.tokens_out, kept.latency_ms) == (400, 30, 500)
    assert len(kept.prompt_hash) == 64
