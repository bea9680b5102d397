"""A strategy that fails stops a backtest or is counted, and a run announces it once."""

from __future__ import annotations

import importlib
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs
import pytest

from kamou.commands.status_text import find_troubles
from kamou.core.book.events import CycleRanked
from kamou.core.day import show_utc
from kamou.core.record.backtest_document import BacktestReport
from kamou.core.strategies.evaluation import FailureKind, StrategyFailure
from kamou.operator.metrics import exposition
from kamou.runs.backtest import ReplayParts, replay
from kamou.runs.operator_actions import CurrentRun
from kamou.runs.strategy_failures import (
    FAILURES_MAX,
    StrategyFailedError,
    StrategyFailures,
    make_error,
)
from kamou.runtime.leveled_lines import Level, find_level
from kamou.settings.strategies import StrategySettings
from kamou.store import database
from kamou.store.journal import read_events
from tests.actors import scripted_market
from tests.actors.strategy_files import raising
from tests.actors.system_harness import SETTINGS, at, strategy_files

FAILING = attrs.evolve(SETTINGS, strategies=StrategySettings(enabled=("scripted", "raising")))
FAILED_AT_MS = at(scripted_market.RAISES_AT_MINUTE)
SPAN = (scripted_market.START_MS, at(scripted_market.MINUTES))


def backtest(*, keep_going: bool, journal: Path | None = None) -> BacktestReport:
    with strategy_files():
        return replay(
            FAILING,
            scripted_market.market(),
            timerange=SPAN,
            journal=journal,
            parts=ReplayParts(keep_going=keep_going),
        )


def test_a_backtest_stops_at_the_first_failure_with_the_traceback_of_the_authors_file(
    tmp_path: Path,
) -> None:
    kept = tmp_path / "journal.sqlite3"
    with pytest.raises(StrategyFailedError) as caught:
        backtest(keep_going=False, journal=kept)
    with closing(database.open_reader(kept)) as reader:
        events = [committed.event for committed in read_events(reader, 0)]
    assert max(e.cycle_at_ms for e in events if isinstance(e, CycleRanked)) <= FAILED_AT_MS
    first, *trace, last = caught.value.args
    assert first == (
        f"the strategy raising failed at the bar that closed at {show_utc(FAILED_AT_MS)}:"
        ' ZeroDivisionError("a strategy\'s own mistake")'
    )
    assert trace[0] == "| Traceback (most recent call last):"
    files = [line for line in trace if line.startswith('|   File "')]
    assert len(files) == 1
    assert raising.__file__ in files[0]
    assert trace[-1] == "| ZeroDivisionError: a strategy's own mistake"
    assert last.startswith(f"correct {raising.__file__}:")
    assert "--keep-going" in last
    assert caught.value.exit_code == 1


def test_a_backtest_that_keeps_going_counts_failures_and_trades_to_the_end() -> None:
    report = backtest(keep_going=True)
    (failure,) = report["strategy_failures"]
    assert (failure["strategy"], failure["kind"], failure["count"]) == ("raising", "raised", 1)
    assert failure["first_at_ms"] == failure["last_at_ms"] == FAILED_AT_MS
    assert failure["place"].startswith("strategy_files/raising.py:")
    assert report["cycles"] == scripted_market.MINUTES + 1
    assert report["trades"] > 5


def test_a_strategy_that_exits_the_process_is_counted_as_a_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def evaluate(*_: object) -> None:
        raise SystemExit(0)

    with strategy_files():
        module = importlib.import_module("kamou.core.strategies.raising")
        monkeypatch.setattr(module.Raising, "evaluate", evaluate)
        with pytest.raises(StrategyFailedError, match=r"SystemExit\(0\)"):
            backtest(keep_going=False)
        report = backtest(keep_going=True)
    (found,) = report["strategy_failures"]
    assert (found["strategy"], found["error"]) == ("raising", "SystemExit(0)")
    assert report["trades"] > 5


def failure(**changes: Any) -> StrategyFailure:
    made = StrategyFailure(
        strategy="breakout",
        kind=FailureKind.SCORE_INVALID,
        bar_closed_at_ms=FAILED_AT_MS,
        symbol="BTCUSDT",
        error=ValueError("on purpose"),
        summary="ValueError('on purpose')",
        trace=None,
        file="own/breakout.py",
        line=31,
    )
    return attrs.evolve(made, **changes)


def test_the_error_of_invalid_scores_has_symbol_and_line_and_no_traceback() -> None:
    first, last = make_error(failure()).args
    assert first.endswith(f"{show_utc(FAILED_AT_MS)}, symbol BTCUSDT: ValueError('on purpose')")
    assert last == "correct own/breakout.py:31, or pass --keep-going to count such failures"


def test_a_run_announces_the_first_failure_of_each_place_and_counts_all() -> None:
    lines: list[str] = []
    failures = StrategyFailures(lines.append)
    later = failure(bar_closed_at_ms=FAILED_AT_MS + 60_000, symbol="ETHUSDT")
    for each in (failure(), later, failure(line=40), later):
        failures.record(each)
    assert len(lines) == 2
    assert "breakout failed at own/breakout.py:31: ValueError('on purpose')" in lines[0]
    assert [find_level(line) for line in lines] == [Level.ERROR, Level.ERROR]
    first, second = failures.reports()
    assert (first["count"], second["count"]) == (3, 1)
    assert (first["symbol"], first["first_at_ms"]) == ("BTCUSDT", FAILED_AT_MS)
    assert first["last_at_ms"] == FAILED_AT_MS + 60_000


def test_the_number_of_places_that_are_counted_has_a_limit() -> None:
    failures = StrategyFailures()
    for line in range(FAILURES_MAX + 5):
        failures.record(failure(line=line))
    assert len(failures.reports()) == FAILURES_MAX


def test_status_and_metrics_show_the_failures_of_the_run() -> None:
    run = CurrentRun()
    for line in (31, 40, 31):
        run.failures.record(failure(line=line))
    status = run.status()
    text = exposition({}, status)
    assert 'kamou_strategy_failures_total{strategy="breakout",kind="score_invalid"} 3.0\n' in text
    troubles = find_troubles({"book": None, "system": status, "running": True})
    assert len(troubles) == 2
    assert troubles[0].startswith("strategy breakout failed 2 times at own/breakout.py:31, last ")
    assert troubles[0].endswith("ValueError('on purpose')")
