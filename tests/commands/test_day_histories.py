"""The day's loss over random histories: one figure for governor, planner, journal and status."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from fractions import Fraction
from pathlib import Path

import pytest

from kamou.commands.book import query_day_budget
from kamou.core.model import TradingState
from kamou.core.risk.exposure import day_budget
from kamou.core.risk.states import EquityReads, next_state
from kamou.runs.account_summary import summarize_account
from kamou.runs.recorded_book import RecordedBook
from kamou.store import database
from kamou.store.journal import JournalWriter
from kamou.store.latest_events import latest_equity
from tests.commands.day_histories import LIMITS, Look, draw_history

HISTORIES = 500
RECORDED = 40
LEVELS = (
    (TradingState.FLATTENING, LIMITS.flatten_at),
    (TradingState.REDUCE_ONLY, 1),
    (TradingState.REDUCED_SIZE, LIMITS.reduced_at),
)


def level_of(loss: Fraction) -> TradingState:
    limit = Fraction(LIMITS.daily_loss_max)
    reached = (state for state, share in LEVELS if loss >= limit * Fraction(share))
    return next(reached, TradingState.ACTIVE)


def check_governor(look: Look) -> None:
    """Compare the trading state that the governor would enter after a second such read."""
    found = next_state(
        look.story.book, EquityReads(newest=look.read), limits=LIMITS, now_ms=look.now_ms
    )
    asked = found.after if found.pending is None else found.pending.level
    assert asked is level_of(look.ledger.loss(look.read_ms, look.mark))


def check_planner(look: Look) -> None:
    """Compare the budget of the planner, which counts what is newer than the read as well."""
    lost = look.ledger.money_lost(look.now_ms, look.mark)
    left = Fraction(LIMITS.daily_loss_max) * look.ledger.start - max(Fraction(0), lost)
    assert float(day_budget(look.story.book, look.now(), LIMITS)) == pytest.approx(
        float(left), abs=1e-9
    )


def test_governor_and_planner_count_the_loss_of_the_day_by_its_definition() -> None:
    seen = 0
    for seed in range(HISTORIES):
        for look in draw_history(seed):
            with named(seed, look):
                check_governor(look)
                check_planner(look)
            seen += 1
    assert seen > 2 * HISTORIES


def test_status_and_the_journal_count_the_loss_of_the_day_by_its_definition(
    tmp_path: Path,
) -> None:
    """Both are as of the newest equity snapshot."""
    for seed in range(RECORDED):
        path = tmp_path / f"{seed}.sqlite3"
        with (
            closing(database.open_writer(path, durable=False)) as writer,
            closing(database.open_reader(path)) as reader,
        ):
            for look in draw_history(seed, JournalWriter(writer, run_number=1)):
                with named(seed, look):
                    check_status(look, reader)


def check_status(look: Look, reader: sqlite3.Connection) -> None:
    recorded = RecordedBook()
    day, mark = query_day_budget(reader, recorded), latest_equity(reader)
    assert day is not None
    assert mark is not None
    assert mark.at_ms == look.read_ms
    signed = look.ledger.loss(look.read_ms, look.mark)
    loss, limit = max(Fraction(0), signed), Fraction(LIMITS.daily_loss_max)
    costs = look.ledger.exit_costs(look.mark) / look.ledger.start
    assert day["loss"] is not None
    assert day["exit_costs"] is not None
    same(day["loss"], loss)
    same(day["exit_costs"], costs)
    same(day["result"], costs - signed)
    same(day["loss_budget_left"], max(Fraction(0), limit - loss))
    if mark.day_lost is not None and mark.day_equity is not None:
        assert float(mark.day_lost / mark.day_equity) == pytest.approx(float(loss))
    shown = f"day's loss {float(loss):.2%} of 4.00%,"
    assert shown in summarize_account(reader, LIMITS)


def same(shown: float, right: Fraction) -> None:
    """Compare a fraction that is published with six decimals."""
    assert shown == pytest.approx(float(right), abs=0.51e-6)


@contextmanager
def named(seed: int, look: Look) -> Iterator[None]:
    """Name the history of a failure."""
    try:
        yield
    except AssertionError as error:
        raise AssertionError(f"history {seed}, read {look.read_ms}: {error}") from error
