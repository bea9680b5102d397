"""Plans and verdicts of a day of a backtest, computed again from the journal alone."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from decimal import Decimal
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, TypeVar, cast

import attrs
import pytest

from kamou.actors.entries import FIRST_ATTEMPT
from kamou.core.book.candidate_events import CandidatesRefined, DeniedEntry, EntriesDenied
from kamou.core.book.decision_events import EntriesDecided, EntryDecision
from kamou.core.book.events import Event, IntentRecorded, PermitDenied, PermitGranted, RunStarted
from kamou.core.book.position_book import PositionBook
from kamou.core.model import Account, Denial, OrderRole, Plan, PositionReport, Quote
from kamou.core.record.gate import LiveGrant
from kamou.core.risk.context import ReviewContext
from kamou.core.risk.governor import review_entry
from kamou.core.risk.limits import CostModel, RiskLimits, TradingParameters
from kamou.core.risk.planning import plan_entry, size_fraction
from kamou.core.risk.valuation import value_book
from kamou.ids import make_permit_id
from kamou.messages.codec import encode
from kamou.runs.backtest import ReplayParts, replay
from kamou.settings.config import Settings, collect_leaf_types
from kamou.settings.values import convert_value
from kamou.store.database import open_reader
from kamou.store.journal import Committed, read_events
from tests.simulation import budget_suite as suite

D = Decimal
T = TypeVar("T")
BYTES_PER_REVIEW = 300


@attrs.frozen
class Replayed:
    """One decision, computed again: the plan or its denial, and the event of its verdict."""

    signal_id: str
    plan: Plan | Denial
    event: PermitGranted | PermitDenied | None


def to_quote(symbol: str, bid: Decimal, ask: Decimal, mark: Decimal, at_ms: int) -> Quote:
    """Return a quote; no decision uses the quantities."""
    none = D(0)
    return Quote(
        symbol=symbol, bid=bid, ask=ask, mark=mark, bid_qty=none, ask_qty=none, at_ms=at_ms
    )


def read_group(group: type[T], name: str, given: dict[str, Any]) -> T:
    """Return the settings of a group from the JSON of ``RunStarted``."""
    kinds, fields = collect_leaf_types(Settings), attrs.fields(cast("Any", group))
    keys = {field.name: f"{name}.{field.name}" for field in fields}
    return group(**{each: convert_value(kinds[key], given[key]) for each, key in keys.items()})


class Replay:
    """The journal's events, from which it computes books and decisions again."""

    def __init__(self, events: Sequence[Committed]) -> None:
        self._events = events
        started = next(c.event for c in events if isinstance(c.event, RunStarted))
        given = json.loads(started.config_json)
        self.parameters = TradingParameters(
            limits=read_group(RiskLimits, "risk", given),
            costs=read_group(CostModel, "costs", given),
        )
        self.excluded = frozenset(given["veto.excluded"])
        refined = (c.event for c in events if isinstance(c.event, CandidatesRefined))
        self._refined = {r.candidate.signal_id: r for event in refined for r in event.candidates}

    def decide_all(self) -> list[Replayed]:
        """Compute all decisions again, in the order in which they were recorded."""
        records = [c.event for c in self._events if isinstance(c.event, EntriesDecided)]
        decisions = [each for record in records for each in record.decisions]
        needed = {d.seq for d in decisions} | {d.review.seq for d in decisions if d.review}
        books: dict[int, PositionBook] = {}
        book = PositionBook()
        for committed in self._events:
            book.apply(committed.seq, committed.event)
            if committed.seq in needed:
                books[committed.seq] = book.fork()
        made = []
        for record in records:
            marks: dict[str, Quote] = {}
            for decision in record.decisions:
                marks = read_marks(decision, sorted(books[decision.seq].trades.open)) or marks
                made.append(self._decide(decision, marks, books))
        return made

    def _decide(
        self, decision: EntryDecision, marks: dict[str, Quote], books: dict[int, PositionBook]
    ) -> Replayed:
        refined, parameters = self._refined[decision.signal_id], self.parameters
        candidate, book = refined.candidate, books[decision.seq]
        grant = None
        if decision.grant:
            grant = LiveGrant(strategy=candidate.strategy, basis="", size_fraction=decision.grant)
        quote = to_quote(
            candidate.symbol, *decision.quote[:3], decision.at_ms - decision.quote.age_ms
        )
        quotes = {**marks, candidate.symbol: quote}
        plan = plan_entry(
            candidate,
            value_book(book, quotes, parameters=parameters, now_ms=decision.at_ms),
            fraction=size_fraction(book, grant, refined.size_multiplier, parameters.limits),
            attempt=1,
            parameters=parameters,
            funding_rate=decision.funding_rate,
        )
        if isinstance(plan, Denial) or decision.review is None:
            return Replayed(decision.signal_id, plan, None)
        read, held = decision.review, {s: quotes[s] for s in book.trades.open if s in quotes}
        book = books[read.seq]
        context = ReviewContext(
            plan=plan,
            book=book,
            quote=quote,
            marks=held,
            account=self._account(decision, book),
            positions=tuple(
                position(symbol)
                for symbol in (book.trades.open if read.held is None else read.held)
            ),
            reconciled=read.reconciled,
            clock_offset_ms=read.clock_offset_ms,
            parameters=parameters,
            now_ms=read.at_ms,
            grant=grant,
            excluded=self.excluded,
            tokens=read.tokens,
            funding_rate=decision.funding_rate,
        )
        return Replayed(decision.signal_id, plan, review_entry(context)[1])

    def _account(self, decision: EntryDecision, book: PositionBook) -> Account | None:
        assert decision.review is not None
        read = decision.review
        if read.account_age_ms is None:
            return None
        figures = (
            (
                book.account.equity,
                book.account.wallet_balance,
                book.account.unrealized_pnl,
                book.account.margin_used,
            )
            if read.account is None
            else tuple(map(D, read.account))
        )
        equity, balance, unrealized, margin = figures
        return Account(
            equity=equity,
            wallet_balance=balance,
            unrealized_pnl=unrealized,
            margin_used=margin,
            available=D(0),
            at_ms=read.at_ms - read.account_age_ms,
        )


def read_marks(decision: EntryDecision, symbols: list[str]) -> dict[str, Quote]:
    """Return the marks as quotes without a spread; empty if they are as before."""
    ages = decision.ages_ms * (len(symbols) if len(decision.ages_ms) == 1 else 1)
    return {
        symbol: to_quote(symbol, mark, mark, mark, decision.at_ms - age_ms)
        for symbol, mark, age_ms in zip(symbols, decision.marks, ages, strict=False)
        if mark is not None
    }


def position(symbol: str) -> PositionReport:
    """Return a position of which only the symbol counts."""
    one = D(1)
    return PositionReport(
        symbol=symbol,
        quantity=one,
        entry_price=one,
        mark_price=one,
        liquidation_price=None,
        margin=one,
        leverage=1,
        unrealized_pnl=D(0),
        updated_at_ms=0,
    )


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> list[Committed]:
    """Return the journal of one day with late and failing account reads."""
    journal = Path(tmp_path_factory.mktemp("day")) / "journal.sqlite3"
    replay(
        suite.SETTINGS,
        suite.market(7, symbols=8, days=1),
        timerange=(suite.START_MS, None),
        journal=journal,
        parts=ReplayParts(adapter=partial(suite.Unsteady, chance=Random(7))),
    )
    with closing(open_reader(journal)) as reader:
        return read_events(reader, 0)


def test_each_plan_and_verdict_of_a_day_follows_from_the_journal_alone(
    events: list[Committed],
) -> None:
    verdicts = {
        (signal_of(answer), answer.at_ms): answer for c in events for answer in answers(c.event)
    }
    intents = {g.plan.signal_id: g.plan for g in verdicts.values() if isinstance(g, PermitGranted)}
    found: Counter[str] = Counter()
    for again in Replay(events).decide_all():
        if isinstance(again.plan, Denial):
            denied = [e for (signal, _), e in verdicts.items() if signal == again.signal_id]
            assert [getattr(e, "denials", None) for e in denied] == [(again.plan,)]
            found["denied by sizing"] += 1
            continue
        assert again.event is not None
        assert verdicts[again.signal_id, again.event.at_ms] == again.event
        found[type(again.event).__name__] += 1
    assert found["PermitGranted"] == len(intents) > 20
    assert found["PermitDenied"]


def answers(event: Event) -> tuple[PermitDenied | PermitGranted | DeniedEntry, ...]:
    """Return the answers to entries that an event has."""
    if isinstance(event, EntriesDenied):
        return event.entries
    return (event,) if isinstance(event, PermitDenied | PermitGranted) else ()


def signal_of(answer: PermitDenied | PermitGranted | DeniedEntry) -> str:
    return answer.plan.signal_id if isinstance(answer, PermitGranted) else answer.signal_id


def test_no_entry_is_sent_before_the_denials_of_its_cycle_until_then_are_committed(
    events: list[Committed],
) -> None:
    """A cycle has one event of denials, and one more at most for each permitted entry."""
    ranked: list[str] = []
    answered: set[str] = set()
    denials, after_denials = Counter[str](), 0
    for event in (c.event for c in events):
        answered.update(map(signal_of, answers(event)))
        denials[event.cause_id] += isinstance(event, EntriesDenied)
        if isinstance(event, CandidatesRefined):
            ranked = [each.candidate.signal_id for each in event.candidates]
            denials[event.cause_id] -= 1
        elif isinstance(event, PermitGranted):
            denials[f"cycle:{event.plan.signal_id.partition('.')[0]}"] -= 1
        elif isinstance(event, IntentRecorded) and event.intent.role is OrderRole.ENTRY:
            signal_id = event.intent.trade_id
            before = ranked[: ranked.index(signal_id)]
            assert answered.issuperset(before)
            after_denials += bool(before)
    assert after_denials > 10
    assert max(denials.values()) <= 0


def test_the_inputs_of_a_permitted_entry_are_committed_with_its_intents(
    events: list[Committed],
) -> None:
    entries = 0
    for at, committed in enumerate(events):
        event = committed.event
        if isinstance(event, IntentRecorded) and event.intent.role is OrderRole.ENTRY:
            before = events[at - 1].event
            assert isinstance(before, EntriesDecided)
            decided = before.decisions[-1]
            assert make_permit_id(decided.signal_id, FIRST_ATTEMPT) == event.intent.permit_id
            assert decided.review is not None
            entries += 1
    assert entries > 20


def test_the_inputs_of_a_day_take_at_most_300_bytes_per_decision(events: list[Committed]) -> None:
    records = [c.event for c in events if isinstance(c.event, EntriesDecided)]
    size = sum(len(encode(record)) for record in records)
    reviews = sum(len(record.decisions) for record in records)
    assert size <= BYTES_PER_REVIEW * reviews


def test_an_input_that_is_changed_changes_a_decision(events: list[Committed]) -> None:
    """Marks of the recorded quotes that are 30 % lower give other decisions."""
    changed = [
        c._replace(event=attrs.evolve(c.event, decisions=tuple(map(lower, c.event.decisions))))
        if isinstance(c.event, EntriesDecided)
        else c
        for c in events
    ]
    assert Replay(changed).decide_all() != Replay(events).decide_all()


def lower(decision: EntryDecision) -> EntryDecision:
    return decision._replace(quote=decision.quote._replace(mark=decision.quote.mark * D("0.7")))
