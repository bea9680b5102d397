"""Verdicts of a journal's calls, joined with the shadow trades of their candidates."""

from __future__ import annotations

from contextlib import closing
from decimal import Decimal as D
from pathlib import Path

import attrs

from kamou.core.book.refiner_events import RefinerAnswer, RefinerCallsEnded
from kamou.core.kinds import RefinerVerdict
from kamou.core.refiner_codes import RefinerFailure
from kamou.core.refining.calls import Outcome, Question, fail, make_result
from kamou.core.refining.prompt import make_prompt
from kamou.core.refining.responses import Completion
from kamou.store.database import open_reader, open_writer
from kamou.store.journal import JournalWriter
from kamou.store.verdict_rows import query_judged_trades
from tests.core.shadow_cases import closed, closed_shadow, opened, shadow_trade
from tests.refining_cases import APPROVAL, NOON, REFUSAL, candidate

AT_MS = NOON


def answered(signal_id: str, outcome: Outcome) -> RefinerAnswer:
    question = Question(signal_id=signal_id, prompt=make_prompt(candidate(), 1), reserved_usd=D(1))
    return make_result(question, outcome, model="judge-1", latency_ms=5)


def ended(at_ms: int, *answers: RefinerAnswer) -> RefinerCallsEnded:
    return RefinerCallsEnded(
        at_ms=at_ms, cause_id="cycle:1", cycle_at_ms=at_ms, reserved_at_ms=at_ms, answers=answers
    )


def test_closed_shadow_trades_have_the_verdict_probability_and_cost_of_their_call(
    tmp_path: Path,
) -> None:
    names = ("approved", "refused", "failed", "open", "unasked")
    trades = {name: shadow_trade(name, strategy="one", symbol=f"{name}USDT") for name in names}
    approval = Outcome(completion=Completion(answer=APPROVAL), cost_usd=D("0.25"))
    refusal = Outcome(completion=Completion(answer=REFUSAL), cost_usd=D("0.5"))
    failure = fail(RefinerFailure.SERVER_ERROR, D("0.125"))
    calls = ended(
        AT_MS,
        answered("approved", refusal),  # asked again after a restart, see below
        answered("refused", refusal),
        answered("failed", failure),
        answered("open", approval),
    )
    results = [closed_shadow(t) for name, t in trades.items() if name != "open"]
    path = tmp_path / "kamou.sqlite3"
    with closing(open_writer(path, durable=False)) as connection:
        JournalWriter(connection, run_number=1).append(
            [
                calls,
                ended(AT_MS + 1, answered("approved", approval)),
                opened(*trades.values()),
                closed(*results),
            ]
        )
    with closing(open_reader(path)) as reader:
        record = query_judged_trades(reader)
    found = {each.symbol: each for each in record.trades}
    assert set(found) == {"approvedUSDT", "refusedUSDT"}
    assert found["approvedUSDT"].verdict is RefinerVerdict.APPROVE
    assert (found["refusedUSDT"].verdict, found["refusedUSDT"].p_win_pct) == (
        RefinerVerdict.REFUSE,
        REFUSAL.p_win_pct,
    )
    assert found["approvedUSDT"].cost_usd == D("0.25")
    assert attrs.asdict(found["approvedUSDT"])["r"] == closed_shadow(trades["approved"]).r
    assert (record.models, record.cost_usd) == (("judge-1",), D("1.625"))


def test_a_journal_without_calls_has_no_verdicts(tmp_path: Path) -> None:
    path = tmp_path / "kamou.sqlite3"
    with closing(open_writer(path, durable=False)) as connection:
        trade = shadow_trade()
        JournalWriter(connection, run_number=1).append(
            [opened(trade), closed(closed_shadow(trade))]
        )
    with closing(open_reader(path)) as reader:
        record = query_judged_trades(reader)
    assert (record.trades, record.models, record.cost_usd) == ((), (), D(0))
