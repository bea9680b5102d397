"""Output of ``kamou why`` for every code, and the lines of state changes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

from kamou.cli import main
from kamou.core.book import events as e
from kamou.core.book.candidate_events import CandidatesVetoed, VetoedCandidate
from kamou.core.book.recent_activity import Entry
from kamou.core.book.strategy_events import StrategyDisabled
from kamou.core.codes import CAUSES, MEANINGS, Abstain, Deny, StateReason, Veto
from kamou.core.day import HOUR_MS
from kamou.core.model import Denial, Figure, OrderRole, TradingState
from kamou.core.ranking.ranking import merge_shards
from kamou.core.ranking.scan_detail import make_details, pack_details
from kamou.core.risk.denials import deny_unreviewed, deny_unusable_quote
from kamou.core.risk.governor import review_entry, review_reduction
from kamou.core.risk.limits import RiskLimits, VetoLimits
from kamou.core.risk.states import EquityRead, decide_resume
from kamou.core.risk.verdict import Denied
from kamou.core.shadow.opening import deny_unfilled
from kamou.core.strategies import make_strategies
from kamou.core.strategies.base import Strategy, StrategyScores, make_failed_scores
from kamou.core.strategies.conformance import SYMBOLS
from kamou.core.vetoes import apply_vetoes
from kamou.core.words import EXACT, FIGURE_NAMES, figure_words, state_cause
from kamou.data_directory.folder import DataDirectory
from kamou.runs.state_lines import describe_state_change
from kamou.store import database
from kamou.store.journal import JournalWriter
from tests.core.denial_cases import ROWS
from tests.core.risk.test_planning import candidate as wanted
from tests.core.risk.test_planning import early_denial
from tests.core.shadow_cases import shadow_trade
from tests.core.strategies.test_strategies_conformance import MARKET, PERIOD, fresh
from tests.core.trading_cases import NOON, D, Story, intent, plan, quote, review
from tests.core.vetoes.test_vetoes import NOW, RUINOUS, VETOES, candidate, context
from tests.core.vetoes.test_vetoes import quote as abc_quote

Row = dict[str, str]


def denied(story: Story, **changes: Any) -> tuple[Denial, ...]:
    verdict, _ = review_entry(review(story.book, plan(**changes.pop("of", {})), **changes))
    assert isinstance(verdict, Denied)
    return verdict.denials


def ready() -> Story:
    story = Story()
    story.ready()
    return story


def halted(story: Story) -> None:
    story.say(
        e.StateChanged(
            at_ms=NOON,
            before=story.book.trading.state,
            after=TradingState.REDUCE_ONLY,
            reason=StateReason.OPERATOR_HALT,
        )
    )


def entered_often(story: Story) -> None:
    for n in range(9):
        story.book.recent_activity.record_entry(
            Entry(at_ms=NOON - n, strategy="mean_reversion", symbol="SOLUSDT")
        )


def disabled(story: Story) -> None:
    story.say(
        StrategyDisabled(
            at_ms=NOON, strategy="mean_reversion", code=Deny.RATE_ENTRIES_EXCEEDED, figures=()
        )
    )


STORIES: dict[str, Callable[[Story], object]] = {
    "halted": halted,
    "granted before": lambda story: story.grant(plan()),
    "entered often": entered_often,
    "stopped out": lambda story: story.book.recent_activity.record_stop_out("SOLUSDT", NOON),
    "disabled": disabled,
}


def denials() -> Iterator[Denial]:
    """Yield at least one denial of every ``Deny`` code, made by the rules themselves."""
    for _, of, changes in ROWS:
        if "symbol" not in of:
            yield from denied(ready(), of=of, **changes)
    for happens in STORIES.values():
        story = ready()
        happens(story)
        yield from denied(story)
    held = ready()
    held.open(plan("BTCUSDT"), at_ms=NOON + 100)
    yield from denied(held, marks={})
    not_reducing = review_reduction(intent(OrderRole.EXIT, plan()), D(0))
    assert not_reducing is not None
    yield not_reducing
    yield deny_unreviewed(2.0, "risk_governor did not answer")
    yield deny_unusable_quote(None)
    yield deny_unusable_quote(quote(ask=D(99)))
    full = ready()
    full.open(plan())
    exhausted = early_denial(full.book, RiskLimits(open_risk_max=D("0.0001")), wanted("XRPUSDT"))
    assert exhausted is not None
    yield exhausted
    yield deny_unfilled(shadow_trade("1.mean_reversion.SOLUSDT"), D(99))


def vetoes() -> tuple[Denial, ...]:
    vetoed = context(
        quotes={},
        held={"ABC": "a long position of 3 contracts, mean_reversion"},
        last_stop_ms={"ABC": NOW - 61_000},
        conflicting={"ABC"},
        limits=VetoLimits(excluded=("ABC",)),
        funding_rates={"ABC": D("0.001")},
        settled_ms={"ABC": NOW - 8 * HOUR_MS + 61_000},
        regimes={},
        moves={"ABC": 0.05},
        findings={"mean_reversion": RUINOUS},
        shadows={("mean_reversion", "ABC")},
    )
    thin = context(
        quotes={"ABC": attrs.evolve(abc_quote(spread="1"), ask_qty=D(1))},
        moves=None,
        findings={"mean_reversion": RUINOUS},
    )
    one = candidate(target_distance=0.5)
    found = {denial.code: denial for denial in apply_vetoes(candidate(), thin, VETOES)}
    found |= {denial.code: denial for denial in apply_vetoes(one, vetoed, VETOES)}
    return tuple(found.values())


@attrs.frozen(kw_only=True, eq=False)
class Shard:
    shard: int
    bar_closed_at_ms: int
    close: Any
    columns: tuple[StrategyScores, ...]
    regimes: None = None


def broken_market() -> Any:
    """Return a market as in MARKET, with a missing, a stale, a new and a flat symbol.

    Three more have missing, stale and new funding, and no, stale and new ratios.
    """
    market = MARKET.copy()
    for column in ("open", "high", "low", "close"):
        values = getattr(market, column)
        values[:, 0] = np.nan
        values[700:, 1] = np.nan
        values[:740, 2] = np.nan
        values[:, 3] = 100.0
    market.funding[:, 4] = np.nan
    market.funding[740:, 5] = np.nan
    market.funding[:740, 6] = np.nan
    market.ratios[:, 4] = np.nan
    market.ratios[740:, 5] = np.nan
    market.ratios[:740, 6] = np.nan
    return market


def scans() -> Iterator[tuple[int, bytes]]:
    """Yield times and packed details of scans, which have every ``Abstain`` code."""
    made = make_strategies(
        ["mean_reversion", "oi_momentum", "funding_fade", "ratio_fade", "macro"], {}
    )
    market = broken_market()
    for last in (760, 803, 880, 998):
        yield detail(made, market, last, broken=False)
    yield detail(made, market, 999, broken=True)


def detail(made: dict[str, Strategy], market: Any, last: int, *, broken: bool) -> tuple[int, bytes]:
    names = tuple(f"S{s:02}" for s in range(SYMBOLS))
    panels = {name: fresh(strategy, market, last) for name, strategy in made.items()}
    panel = panels["mean_reversion"]
    reported = [made[name].evaluate(panels[name], panel.close_ms) for name in made]
    if broken:
        reported[0] = make_failed_scores("mean_reversion", SYMBOLS)
    shard = Shard(
        shard=0, bar_closed_at_ms=panel.close_ms, close=panel.row("close"), columns=tuple(reported)
    )
    ranking = merge_shards([shard], universe=(names,), strategies=made, period_ms=PERIOD, top=20)
    found = make_details(
        ranking,
        bars=dict(zip(names, panel.count.tolist(), strict=True)),
        last_close_ms=dict(zip(names, panel.last_close_ms.tolist(), strict=True)),
        errors={"mean_reversion": "ValueError('broken on purpose')"} if broken else {},
        period_ms=PERIOD,
        now_ms=panel.close_ms,
    )
    return NOON + last, pack_details(ranking.names, found)


@pytest.fixture
def why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Return a function that runs ``kamou why`` on a data directory with every code."""
    folder = DataDirectory(tmp_path / "kamou-data")
    folder.create()
    writer = database.open_writer(folder.database, durable=False)
    journal = JournalWriter(writer, run_number=1)
    where = {"signal_id": "1.mean_reversion.SOLUSDT", "strategy": "mean_reversion"}
    journal.append(
        [
            *ready().events,
            CandidatesVetoed(
                at_ms=NOON,
                candidates=(VetoedCandidate(symbol="SOLUSDT", denials=vetoes(), **where),),
            ),
            e.PermitDenied(
                at_ms=NOON,
                symbol="SOLUSDT",
                permit_id="1.mean_reversion.SOLUSDT.0",
                role=OrderRole.ENTRY,
                denials=tuple(denials()),
                **where,
            ),
        ]
    )
    journal.append_encoded((), list(scans()))
    writer.close()
    monkeypatch.chdir(tmp_path)

    def ask(*words: str) -> str:
        with pytest.raises(SystemExit) as exited:
            main(["why", *words])
        assert not exited.value.code
        return capsys.readouterr().out

    return ask


def test_why_shows_every_code_of_strategies_vetoes_and_governor_in_words_with_figures(
    why: Callable[..., str],
) -> None:
    rows: list[Row] = json.loads(why("SOLUSDT", "--json"))["reasons"]
    for number in range(SYMBOLS):
        rows += json.loads(why(f"S{number:02}", "--json"))["reasons"]
    by_tier = {
        tier: {row["answer"] for row in rows if row["tier"] == tier}
        for tier in ("T1", "T2", "governor")
    }
    assert by_tier["T1"] == {code.name for code in Abstain if code} | {"SCORED"}
    assert by_tier["T2"] == {code.value for code in Veto}
    assert by_tier["governor"] == {code.value for code in Deny}
    for row in rows:
        assert row["figures"], row
        if row["answer"] != "SCORED":
            assert row["words"].startswith(f"{MEANINGS[row['answer']]}: "), row
            assert len(row["words"]) > len(MEANINGS[row["answer"]]) + 5, row


def test_the_abstention_regime_wrong_shows_its_figures_and_what_the_strategy_wants(
    why: Callable[..., str],
) -> None:
    rows: list[Row] = []
    for number in range(SYMBOLS):
        rows += json.loads(why(f"S{number:02}", "--json"))["reasons"]
    wrong = {row["strategy"]: row["words"] for row in rows if row["answer"] == "REGIME_WRONG"}
    range_wanted = "; wanted a range: efficiency ratio below 0.3, ADX below 20"
    trend_wanted = "; wanted a trend: efficiency ratio above 0.35, ADX above 25"
    meaning = "the market is not in the regime that the strategy wants: found "
    assert wrong["mean_reversion"].startswith(meaning + "no range, efficiency ratio 0.")
    assert wrong["mean_reversion"].endswith(range_wanted)
    assert wrong["oi_momentum"].startswith(meaning + "no trend, efficiency ratio 0.")
    assert wrong["oi_momentum"].endswith(trend_wanted)
    for row in rows:
        if row["answer"] == "REGIME_WRONG" and row["strategy"] == "mean_reversion":
            seen = dict(part.rsplit(" ", 1) for part in row["words"].split("; ")[0].split(", ")[1:])
            assert float(seen["efficiency ratio"]) >= 0.3 or float(seen["ADX"]) >= 20


def test_the_lines_of_why_have_the_code_of_every_veto_and_denial(
    why: Callable[..., str],
) -> None:
    shown = " ".join(why("SOLUSDT").split())
    for code in (*Veto, *Deny):
        assert code.value in shown
    assert "GOVERNOR_TIMEOUT" in shown
    assert "the risk governor did not review the plan in time: waited 2.0 s, because risk" in shown


NAMED_STATE = "reduce_only, no new trades"  # as ``describe_state`` returns it
RAW = re.compile(r"\b[a-z]+_[a-z_]+\b|=\S|\d{9,}|\d\.\d{9,}")


def test_every_figure_of_a_denial_a_veto_or_a_permit_has_a_name_and_a_value_for_people() -> None:
    """The figures of ``EXACT`` and the arithmetic of the gap buffer are shown unchanged."""
    granted = review_entry(review(ready().book, plan()))[1]
    assert isinstance(granted, e.PermitGranted)
    permit = Denial(code="GRANTED", figures=granted.figures)
    for denial in (*denials(), *vetoes(), permit):
        for figure in denial.figures:
            assert figure.name in FIGURE_NAMES, denial
            if figure.name not in EXACT:
                words = figure_words(figure, denial.code).partition(" = ")[0]
                assert not RAW.search(words.replace(NAMED_STATE, "")), words


def test_the_line_of_a_state_change_has_no_raw_name_or_figure_whatever_its_reason() -> None:
    story = ready()
    halted(story)
    costly = EquityRead(equity=D(10_000), at_ms=NOON, exit_costs=D("450.123456789"))
    denied = decide_resume(story.book, costly, limits=RiskLimits(), now_ms=NOON)
    figures = (*denied.figures, Figure(name="overdue_ms", value="61000"))
    assert len(figures) > 5
    for reason in StateReason:
        event = e.StateChanged(
            at_ms=NOON,
            before=TradingState.ACTIVE,
            after=TradingState.REDUCE_ONLY,
            reason=reason,
            figures=figures,
        )
        line = describe_state_change(event).replace(NAMED_STATE, "")
        assert "the day's loss 4.50%, limit 4.00%, equity 10,000.00" in line
        assert reason.value not in line
        assert state_cause("reduce_only", reason).partition("; ")[0] in line
        assert not RAW.search(line), line


def test_every_code_has_a_meaning_and_every_state_reason_a_cause() -> None:
    codes = {code.name for code in Abstain if code} | {c.value for c in (*Veto, *Deny)}
    assert set(MEANINGS) == codes
    assert set(CAUSES) == set(StateReason)
