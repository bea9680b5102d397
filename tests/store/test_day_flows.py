"""Deposits and withdrawals belong to the UTC day of their own time stamp."""

from __future__ import annotations

from decimal import Decimal as D
from pathlib import Path

import story

from kamou.core import events as e
from kamou.core.model import Income
from kamou.store import database, queries
from kamou.store.journal import JournalWriter


def test_a_deposit_between_the_reads_that_open_a_day_belongs_to_that_day_by_its_own_time(
    tmp_path: Path,
) -> None:
    connection = database.open_writer(tmp_path / "kamou.sqlite3")
    writer = JournalWriter(connection, generation=1)
    day_ms = story.DAY0_MS - story.DAY0_MS % 86_400_000
    deposit = Income(
        income_id="d", kind="transfer", symbol="", amount=D(150), at_ms=day_ms + 86_400_000 + 3_000
    )
    writer.append(
        [
            e.DayOpened(at_ms=day_ms, day="2023-11-15", equity=D(10_000)),
            story.marked(day_ms + 86_400_000 + 1_000, "10150", "150"),  # it had seen the deposit
            e.IncomeRecorded(at_ms=day_ms + 86_400_000 + 6_000, income=deposit),
            e.DayOpened(at_ms=day_ms + 86_400_000 + 6_000, day="2023-11-16", equity=D(10_000)),
            e.DayOpened(at_ms=day_ms + 2 * 86_400_000, day="2023-11-17", equity=D(10_150)),
        ]
    )
    first, second, _ = queries.days(connection)
    assert (first.flows, first.return_) == (0, 0)
    assert (second.flows, second.return_) == (150, 0)
    connection.close()
