"""Downtime, more than two periods without a closed cycle, and its cause."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kamou.core.book.events import Event, RunStarted, RunStopped
from kamou.core.book.run_events import HistoryCaughtUp, HistoryCutShort, HistoryStopped
from kamou.core.day import HOUR_MS, MINUTE_MS
from kamou.core.kinds import RunEnd, RunMode
from kamou.data_directory.folder import MEMORY
from kamou.settings.table import settings_table
from kamou.store import as_of, database, queries
from kamou.store.journal import JournalWriter
from kamou.store.projected_downtime import DOWNTIME_MIN_MS
from tests.store import story

T0 = story.DAY0_MS
PERIOD_MS = 5 * MINUTE_MS


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(database.open_writer(MEMORY)) as made:
        yield made


def make_run_start(run_number: int, at_ms: int, period_s: int = 300) -> RunStarted:
    return RunStarted(
        at_ms=at_ms,
        run_number=run_number,
        mode=RunMode.DEMO,
        version="1",
        config_digest=f"d{period_s}",
        config_json=json.dumps({"cycle.period_s": period_s}),
        change_reason="",
    )


def make_run_stop(run_number: int, at_ms: int, reason: RunEnd = RunEnd.STOPPED) -> RunStopped:
    return RunStopped(at_ms=at_ms, run_number=run_number, reason=reason)


def cycles(first_ms: int, count: int, period_ms: int = PERIOD_MS) -> list[Event]:
    return [story.make_cycle_close(first_ms + i * period_ms) for i in range(count)]


def downtime(connection: sqlite3.Connection, *events: Event) -> list[tuple[int, int, str]]:
    """Commit the events; return start, end (minutes from T0) and cause of downtimes."""
    run_number = 1
    for event in events:
        run_number = event.run_number if isinstance(event, RunStarted) else run_number
        JournalWriter(connection, run_number=run_number).append([event])
    found = as_of.downtime_as_of(connection, as_of.NOW, limit=1_000)
    assert queries.query_totals(connection)["downtimes"] == len(found)
    return [((d.from_ms - T0) // MINUTE_MS, (d.until_ms - T0) // MINUTE_MS, d.cause) for d in found]


def minute(number: float) -> int:
    return T0 + int(number * MINUTE_MS)


def test_more_than_two_periods_without_a_closed_cycle_are_downtime_and_two_are_not(
    connection: sqlite3.Connection,
) -> None:
    last = minute(10) + 1
    within = downtime(connection, make_run_start(1, T0), *cycles(T0, 1), *cycles(minute(10), 1))
    assert within == []
    assert downtime(connection, *cycles(last + 2 * PERIOD_MS, 1)) == [(10, 20, "sleep")]


def test_an_hour_of_sleep_is_downtime(connection: sqlite3.Connection) -> None:
    found = downtime(connection, make_run_start(1, T0), *cycles(T0, 3), *cycles(minute(70), 3))
    assert found == [(10, 70, "sleep")]


def test_downtime_with_events_and_without_a_new_run_has_an_unknown_cause(
    connection: sqlite3.Connection,
) -> None:
    awake = [story.make_equity(minute(at), "10000") for at in range(10, 70, 5)]
    found = downtime(
        connection, make_run_start(1, T0), *cycles(T0, 3), *awake, *cycles(minute(70), 3)
    )
    assert found == [(10, 70, "unknown")]


def test_downtime_after_a_stop_and_after_a_crash_has_different_causes(
    connection: sqlite3.Connection,
) -> None:
    assert downtime(
        connection,
        make_run_start(1, T0),
        *cycles(T0, 1),
        make_run_stop(1, minute(1)),
        make_run_start(2, minute(60)),
        *cycles(minute(61), 1),
        make_run_start(3, minute(120)),
        *cycles(minute(121), 1),
        make_run_stop(3, minute(122), RunEnd.CRASHED),
        make_run_start(4, minute(180)),
        *cycles(minute(181), 1),
    ) == [(0, 61, "stop"), (61, 121, "crash"), (121, 181, "crash")]


def test_a_restart_within_two_periods_is_no_downtime(connection: sqlite3.Connection) -> None:
    within = (
        make_run_start(1, T0),
        *cycles(T0, 1),
        make_run_stop(1, minute(1)),
        make_run_start(2, minute(9)),
    )
    assert downtime(connection, *within, *cycles(minute(10), 1)) == []


def test_the_time_that_a_fast_forward_takes_is_no_downtime(connection: sqlite3.Connection) -> None:
    """History up to 00:05; the fast-forward runs from 00:06 to 00:50 of real time."""
    history = (make_run_start(1, T0), *cycles(T0, 2), make_run_stop(1, minute(5)))
    made = HistoryCaughtUp(at_ms=minute(50), since_ms=minute(6))
    assert (
        downtime(connection, *history, make_run_start(2, minute(50)), made, *cycles(minute(55), 2))
        == []
    )


def test_the_time_after_a_killed_fast_forward_is_downtime_of_a_crash(
    connection: sqlite3.Connection,
) -> None:
    """A fast-forward is killed at simulated 00:05; the next one starts at 20:00 of real time."""
    killed = (make_run_start(1, T0), *cycles(T0, 2))
    rest = (make_run_start(2, minute(5)), *cycles(minute(10), 1), make_run_stop(2, minute(10)))
    made = HistoryCaughtUp(at_ms=minute(1210), since_ms=minute(1200))
    after = (make_run_start(3, minute(1210)), made, *cycles(minute(1215), 2))
    assert downtime(connection, *killed, *rest, *after) == [(10, 1200, "crash")]


def test_simulated_days_that_a_halt_skipped_are_downtime_with_the_cause_skipped(
    connection: sqlite3.Connection,
) -> None:
    """A fast-forward to 20:00 starts at 20:01; a halt latch ends it at 00:05."""
    history = (make_run_start(1, T0), *cycles(T0, 2), make_run_stop(1, minute(5)))
    cut = HistoryCutShort(at_ms=minute(1215), since_ms=minute(1201), until_ms=minute(1200))
    after = (make_run_start(2, minute(1215)), cut, *cycles(minute(1220), 2))
    assert downtime(connection, *history, *after) == [(5, 1200, "skipped")]


def test_a_stop_before_a_halt_cuts_a_fast_forward_short_is_separate_downtime(
    connection: sqlite3.Connection,
) -> None:
    """A fast-forward to 20:00 stops at 20:30; the start at 23:00 finds a halt latch."""
    stop = HistoryStopped(at_ms=minute(5), since_ms=minute(1201), until_ms=minute(1230))
    history = (make_run_start(1, T0), *cycles(T0, 2), stop, make_run_stop(1, minute(5)))
    cut = HistoryCutShort(at_ms=minute(1381), since_ms=minute(1380), until_ms=minute(1200))
    after = (make_run_start(2, minute(1381)), cut, *cycles(minute(1385), 2))
    found = downtime(connection, *history, *after)
    assert found == [(5, 1200, "skipped"), (1230, 1380, "stop")]


def test_the_time_that_an_interrupted_fast_forward_took_is_no_downtime(
    connection: sqlite3.Connection,
) -> None:
    """A fast-forward to 20:00 runs 20:01 to 20:30 and, after a stop, 22:00 to 22:20."""
    stop = HistoryStopped(at_ms=minute(5), since_ms=minute(1201), until_ms=minute(1230))
    first = (make_run_start(1, T0), *cycles(T0, 2), stop, make_run_stop(1, minute(5)))
    rest = (make_run_start(2, minute(5)), *cycles(minute(10), 239), make_run_stop(2, minute(1200)))
    made = HistoryCaughtUp(at_ms=minute(1340), since_ms=minute(1320))
    after = (make_run_start(3, minute(1340)), made, *cycles(minute(1345), 2))
    assert downtime(connection, *first, *rest, *after) == [(1230, 1320, "stop")]


def test_a_stop_in_simulated_time_is_no_downtime(connection: sqlite3.Connection) -> None:
    """The next run continues at the venue's time, whatever the real time is."""
    history = (make_run_start(1, T0), *cycles(T0, 2), make_run_stop(1, minute(6)))
    assert (
        downtime(connection, *history, make_run_start(2, minute(6)), *cycles(minute(10), 2)) == []
    )


def test_the_longer_period_limits_downtime_after_a_change_of_period(
    connection: sqlite3.Connection,
) -> None:
    hourly = [make_run_start(2, minute(1), 3600), *cycles(minute(60), 2, HOUR_MS)]
    assert downtime(connection, make_run_start(1, T0), *cycles(T0, 1), *hourly) == []


def test_the_shortest_cycle_period_is_at_least_the_shortest_downtime() -> None:
    shortest_s = settings_table()["cycle.period_s"].low
    assert isinstance(shortest_s, int)
    assert shortest_s * 1000 >= DOWNTIME_MIN_MS


@given(st.lists(st.integers(1, 40), min_size=1, max_size=30))
def test_downtime_is_every_gap_between_closed_cycles_above_two_periods(gaps: list[int]) -> None:
    ends = [T0]
    for gap in gaps:
        ends.append(ends[-1] + gap * MINUTE_MS)
    expected = [(a, b) for a, b in pairwise(ends) if b - a > 10 * MINUTE_MS]
    with closing(database.open_writer(MEMORY)) as connection:
        JournalWriter(connection, run_number=1).append(
            [make_run_start(1, T0), *(story.make_cycle_close(at_ms) for at_ms in ends)]
        )
        found = [
            (each.from_ms, each.until_ms)
            for each in as_of.downtime_as_of(connection, as_of.NOW, limit=1_000)
        ]
    assert found == expected
