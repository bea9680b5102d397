"""Signals of the bar that closes at 00:00 UTC wait until the day opens."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

from kamou.core.book.candidate_events import EntriesDenied
from kamou.core.book.events import DayOpened, PermitDenied, PermitGranted, StateChanged
from kamou.core.book.position_book import PositionBook
from kamou.core.day import DAY_MS, HOUR_MS, MINUTE_MS
from kamou.core.risk.midnight_equity import LAST_PRICE_BARS
from kamou.runs.backtest import ReplayParts, replay
from kamou.settings.config import CycleSettings, Settings
from kamou.store.journal import read_events
from kamou.venue.engine import Engine
from kamou.venue.market.recorded import RecordedMarket
from kamou.venue.state import AuditRecord, FillAudit, MoneyAudit
from tests.actors import scripted_market
from tests.actors.still_market import MIDNIGHT_MS, SYMBOLS, still_market
from tests.actors.system_harness import SETTINGS, strategy_files


def events(
    monkeypatch: pytest.MonkeyPatch, data_dir: Path, step_ms: int, settings: Settings
) -> list[Any]:
    """Return the events of a replay with a signal at the close of midnight's bar."""
    minute = (MIDNIGHT_MS - scripted_market.START_MS) // MINUTE_MS
    monkeypatch.setitem(scripted_market.LINES, minute, (scripted_market.Line("AAA", 0.9),))
    path = data_dir / "journal.sqlite3"
    with strategy_files():
        replay(
            settings,
            still_market(step_ms),
            timerange=(MIDNIGHT_MS - 4 * step_ms, None),
            journal=path,
        )
    return events_in(path)


def events_in(path: Path) -> list[Any]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return [each.event for each in read_events(connection, 0)]


BARS = attrs.evolve(SETTINGS, cycle=CycleSettings(period_s=300, timeframe_s=300, shards=1))


@pytest.mark.parametrize("step_ms", [300_000, HOUR_MS, DAY_MS])
def test_a_signal_of_the_bar_that_closes_at_midnight_gets_a_permit_when_the_day_has_opened(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, step_ms: int
) -> None:
    stored = events(monkeypatch, tmp_path, step_ms, BARS)
    (opened,) = [e for e in stored if type(e) is DayOpened and e.day == "2025-01-21"]
    (granted,) = [e for e in stored if type(e) is PermitGranted]
    assert MIDNIGHT_MS < opened.at_ms <= granted.at_ms < MIDNIGHT_MS + 30_000
    assert granted.plan.planned_at_ms >= opened.at_ms  # on quotes from after the opening
    assert not [e for e in stored if type(e) in (PermitDenied, EntriesDenied)]
    # Between cycles of an hour or a day the account is read again before it is too old.
    assert not [e for e in stored if type(e) is StateChanged]


def test_signals_that_expire_before_the_day_opens_are_denied_with_that_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    short = attrs.evolve(BARS, cycle=attrs.evolve(BARS.cycle, candidate_ttl_s=2))
    stored = events(monkeypatch, tmp_path, 300_000, short)
    assert not [e for e in stored if type(e) is PermitGranted]
    (event,) = [e for e in stored if type(e) is EntriesDenied]
    (denied,) = event.entries
    assert str(denied.denials[0]) == "NOT_RECONCILED: day=not open before the signal expired"


def test_the_loss_of_a_stop_in_the_last_bar_before_midnight_counts_in_the_next_day(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The bar crosses the stop and returns; the venue dates the fill 00:00:00.000."""
    step_ms = 300_000
    drawn = still_market(step_ms)
    bars = drawn.data.bars
    low = bars.low.copy()
    low[9, SYMBOLS.index("AAA")] = 95.0
    dips = attrs.evolve(drawn.data, bars=attrs.evolve(bars, low=low))
    minute = (MIDNIGHT_MS - step_ms - scripted_market.START_MS) // MINUTE_MS
    monkeypatch.setitem(scripted_market.LINES, minute, (scripted_market.Line("AAA", 0.9),))
    records: list[AuditRecord] = []

    def keep(engine: Engine) -> None:
        records.extend(engine.audit_log)

    path = tmp_path / "journal.sqlite3"
    with strategy_files():
        replay(
            BARS,
            RecordedMarket(dips, instruments=drawn.instruments, half_spread=np.full(2, 1.0)),
            timerange=(MIDNIGHT_MS - 4 * step_ms, None),
            journal=path,
            parts=ReplayParts(inspect=keep),
        )
    (stop,) = [r for r in records if isinstance(r, FillAudit) and r.trigger_price is not None]
    assert (stop.at_ms, stop.reason) == (MIDNIGHT_MS, "order")
    # By the definition: the balance of records before 00:00, and the positions open after them.
    equity = sum(
        r.amount if isinstance(r, MoneyAudit) else r.realized - r.fee
        for r in records
        if r.at_ms < MIDNIGHT_MS and isinstance(r, MoneyAudit | FillAudit)
    )
    equity += (100 - stop.entry_before) * stop.position_before * stop.contract_size
    book = PositionBook()
    book.apply_all(enumerate(events_in(path), 1))
    assert book.day.utc_day == "2025-01-21"
    assert book.day.equity == equity
    (opened,) = [e for e in events_in(path) if type(e) is DayOpened and e.day == book.day.utc_day]
    assert (opened.opening, opened.midnight_at_ms, opened.rests_on) == (
        equity,
        MIDNIGHT_MS,
        LAST_PRICE_BARS,
    )
    assert stop.price < 99  # the stop counts in the next day's equity
