"""Projections write the same rows however the journal's events are committed together."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from decimal import Decimal as D

import attrs
from hypothesis import given
from hypothesis import strategies as st

from kamou.core.book import events as e
from kamou.core.kinds import RefinerVerdict
from kamou.core.model import Denial, OrderRole
from kamou.store import database
from kamou.store.journal import JournalWriter
from tests.store import story

AT_MS = story.CYCLE_MS + 5_000


def _cycle(number: int) -> e.Event:
    cycle_at_ms = story.CYCLE_MS + number * 300_000
    return e.CycleRanked(
        at_ms=AT_MS,
        cycle_at_ms=cycle_at_ms,
        bar_closed_at_ms=cycle_at_ms,
        symbols=2,
        candidates=2,
        abstained=(),
        late_shards=0,
        top=(),
    )


def _veto(number: int) -> e.Event:
    return e.CandidateVetoed(
        at_ms=AT_MS,
        signal_id=f"vetoed-{number}",
        strategy="oi_momentum",
        symbol="BTCUSDT",
        denials=(Denial(code="SYMBOL_HELD"),),
    )


def _denial(number: int) -> e.Event:
    return e.PermitDenied(
        at_ms=AT_MS,
        permit_id=f"permit-{number}",
        role=OrderRole.ENTRY,
        signal_id=f"denied-{number}",
        strategy="oi_momentum",
        symbol="ETHUSDT",
        denials=(Denial(code="RISK_HEADROOM_EXHAUSTED"),),
    )


def _refusal(number: int) -> e.Event:
    signal_id = f"refined-{number}"
    return e.CandidateRefined(
        at_ms=AT_MS,
        cause_id=signal_id,
        signal_id=signal_id,
        candidate=attrs.evolve(story.make_candidate(), signal_id=signal_id),
        verdict=RefinerVerdict.REFUSE,
        size_multiplier=D(0),
        reason_code="OFF",
    )


MAKERS: tuple[Callable[[int], e.Event], ...] = (_cycle, _veto, _denial, _refusal)


def _rows(batches: list[list[e.Event]]) -> list[list[tuple[object, ...]]]:
    connection = database.open_writer(":memory:")
    writer = JournalWriter(connection, run_number=1)
    for batch in batches:
        writer.append(batch)
    read: sqlite3.Cursor = connection.cursor()
    tables = ("cycle", "refusal", "signal", "total")
    return [list(read.execute(f"SELECT * FROM {table} ORDER BY 1")) for table in tables]


@given(st.lists(st.sampled_from(MAKERS), max_size=12), st.integers(1, 12))
def test_events_committed_together_write_the_rows_of_events_committed_alone(
    makers: list[Callable[[int], e.Event]], size: int
) -> None:
    events = [make(number) for number, make in enumerate(makers)]
    together = [events[at : at + size] for at in range(0, len(events), size)]
    assert _rows(together) == _rows([[event] for event in events])
