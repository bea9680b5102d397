"""Projections write the same rows however the journal's events are committed together."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kamou.core.book import events as e
from kamou.core.book.candidate_events import (
    CandidatesRefined,
    CandidatesVetoed,
    DeniedEntry,
    EntriesDenied,
    VetoedCandidate,
)
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
        by_strategy=(),
        abstained=(),
        late_shards=0,
        top=(),
    )


def _vetoes(number: int) -> e.Event:
    return CandidatesVetoed(
        at_ms=AT_MS,
        candidates=tuple(
            VetoedCandidate(
                signal_id=f"vetoed-{number}-{rank}",
                strategy="oi_momentum",
                symbol="BTCUSDT",
                denials=(Denial(code="SYMBOL_HELD"),),
            )
            for rank in range(2)
        ),
    )


def _denied_entries(number: int) -> e.Event:
    return EntriesDenied(
        at_ms=AT_MS + 3,
        entries=tuple(
            DeniedEntry(
                at_ms=AT_MS + rank,
                permit_id=f"permit-{number}-{rank}",
                signal_id=f"entry-{number}-{rank}",
                strategy="oi_momentum",
                symbol="ETHUSDT",
                denials=(Denial(code="RISK_HEADROOM_EXHAUSTED"),),
            )
            for rank in range(3)
        ),
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


def _verdicts(number: int) -> e.Event:
    names = {RefinerVerdict.REFUSE: "refused", RefinerVerdict.OFF: "passed"}
    return CandidatesRefined(
        at_ms=AT_MS,
        candidates=tuple(
            story.make_refined(f"{name}-{number}-{rank}", verdict=verdict)
            for rank in range(2)
            for verdict, name in names.items()
        ),
    )


MAKERS: tuple[Callable[[int], e.Event], ...] = (
    _cycle,
    _vetoes,
    _denied_entries,
    _denial,
    _verdicts,
)


def _rows(batches: list[list[e.Event]]) -> list[list[tuple[Any, ...]]]:
    connection = database.open_writer(":memory:")
    writer = JournalWriter(connection, run_number=1)
    for batch in batches:
        writer.append(batch)
    read: sqlite3.Cursor = connection.cursor()
    tables = ("cycle", "refusal", "signal", "total")
    return [list(read.execute(f"SELECT * FROM {table} ORDER BY 1, 2")) for table in tables]


@given(st.lists(st.sampled_from(MAKERS), max_size=12), st.integers(1, 12))
def test_events_committed_together_write_the_rows_of_events_committed_alone(
    makers: list[Callable[[int], e.Event]], size: int
) -> None:
    events = [make(number) for number, make in enumerate(makers)]
    together = [events[at : at + size] for at in range(0, len(events), size)]
    assert _rows(together) == _rows([[event] for event in events])


def test_an_event_of_several_refusals_writes_and_counts_a_row_for_each() -> None:
    events = [make(number) for number, make in enumerate(MAKERS)]
    (cycle,), refusals, signals, totals = _rows([events])
    assert [row[:4] for row in refusals] == [
        *((2, rank, AT_MS, "T2") for rank in range(2)),
        *((3, rank, AT_MS + rank, "governor") for rank in range(3)),
        (4, 0, AT_MS, "governor"),
        *((5, rank, AT_MS, "T3") for rank in range(2)),
    ]
    assert len(signals) == 4
    counted = dict(totals)
    assert (counted["vetoed"], counted["refused"]) == cycle[6:8] == (2, 3 + 1 + 2)


def test_a_bar_that_is_ranked_again_keeps_its_signals() -> None:
    once, again = (_rows([[_cycle(0)], [_verdicts(1)] * times]) for times in (1, 2))
    assert once[2] == again[2]
