"""Tests of the start of a run: the halt latch's log and the kill switch's intents."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from kamou.core.book.events import Event, IntentRecorded, RunStarted, StateChanged
from kamou.core.codes import StateReason
from kamou.core.kinds import RunMode
from kamou.core.model import OrderRole, TradingState
from kamou.data_directory.latch import LatchAction, LatchRecord
from kamou.runs.takeover import take_over
from kamou.store import database, queries
from kamou.store.journal import JournalWriter, read_events
from tests.core.trading_cases import NOON, Story, closed_cycle, intent, plan

LATER = NOON + 9_000


class EndedRun:
    """The journal of a run that has ended, on which the next run starts."""

    def __init__(self, path: Path, reader: sqlite3.Connection, writer: JournalWriter) -> None:
        self.path, self.reader, self.writer = path, reader, writer
        story = Story()
        story.ready()
        writer.append(story.events)

    def start(self, at_ms: int, run_number: int = 2) -> None:
        started = RunStarted(
            at_ms=at_ms,
            run_number=run_number,
            mode=RunMode.DEMO,
            version="0",
            config_digest="",
            config_json="{}",
            change_reason="",
        )
        self.writer.append([started])

    def take_over(
        self, *log: LatchRecord, latched: bool = False, flattened: tuple[Event, ...] = ()
    ) -> None:
        take_over(self.writer, self.reader, flattened, latched=latched, latch_log=log, now_ms=LATER)

    def state(self) -> tuple[str, str] | None:
        span = queries.query_latest(self.reader).state
        return None if span is None else (span.state, span.reason)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[EndedRun]:
    path = tmp_path / "journal.sqlite3"
    database.migrate_journal(path)
    with (
        closing(database.open_writer(path)) as connection,
        closing(database.open_reader(path)) as reader,
    ):
        yield EndedRun(path, reader, JournalWriter(connection, run_number=1))


def latch_line(action: LatchAction, at_ms: int) -> LatchRecord:
    return LatchRecord(action=action, reason="", actor="operator", at_ms=at_ms)


def flatten_event(reason: StateReason, at_ms: int) -> StateChanged:
    return StateChanged(
        at_ms=at_ms,
        before=TradingState.ACTIVE,
        after=TradingState.FLATTENING,
        reason=reason,
    )


def test_a_line_of_the_latch_log_that_the_last_run_saw_is_not_journalled_again(
    journal: EndedRun,
) -> None:
    journal.writer.append([flatten_event(StateReason.DAY_LOSS_SEVERE, NOON + 3_000)])
    journal.writer.append(
        [closed_cycle(NOON + 100)]
    )  # older, like an order's end at the venue's time
    journal.start(LATER)
    journal.take_over(
        latch_line(LatchAction.SET, NOON + 150), latch_line(LatchAction.CLEAR, NOON + 200)
    )
    assert journal.state() == ("flattening", "DAY_LOSS_SEVERE")


@pytest.mark.parametrize("action", [LatchAction.SET, LatchAction.HALT])
@pytest.mark.parametrize("reason", [StateReason.DAY_LOSS_SEVERE, StateReason.PROTECTION_FAILED])
def test_a_clear_of_the_latch_does_not_end_a_flatten_for_a_loss_or_a_missing_stop(
    journal: EndedRun, reason: StateReason, action: LatchAction
) -> None:
    journal.writer.append([flatten_event(reason, NOON + 1)])
    journal.start(LATER)
    journal.take_over(latch_line(action, NOON + 5_000), latch_line(LatchAction.CLEAR, NOON + 5_100))
    state = journal.state()
    assert state is not None
    assert state[0] == "flattening", "closing goes on"


def test_a_journalled_latch_line_is_not_journalled_again_after_the_clock_was_set_back(
    journal: EndedRun,
) -> None:
    log = (latch_line(LatchAction.SET, NOON + 5_000), latch_line(LatchAction.CLEAR, NOON + 5_100))
    journal.start(LATER)
    journal.take_over(*log)
    assert journal.state() == ("reduce_only", "OPERATOR_RESUME")
    resumed = StateChanged(
        at_ms=NOON + 200,  # the clock was set back to before the lines
        before=TradingState.REDUCE_ONLY,
        after=TradingState.ACTIVE,
        reason=StateReason.OPERATOR_RESUME,
    )
    journal.start(NOON + 100, run_number=3)
    journal.writer.append([resumed])
    journal.start(NOON + 300, run_number=4)
    journal.take_over(*log)
    assert journal.state() == ("active", "OPERATOR_RESUME")


def test_a_latch_without_a_line_in_its_log_halts_and_does_not_flatten(
    journal: EndedRun,
) -> None:
    journal.start(LATER)
    journal.take_over(latched=True)
    assert journal.state() == ("reduce_only", "OPERATOR_HALT")


def test_a_damaged_line_of_the_latchs_log_keeps_the_halt_of_an_earlier_line(
    journal: EndedRun,
) -> None:
    journal.start(LATER)
    journal.take_over(
        latch_line(LatchAction.HALT, NOON + 50), latch_line(LatchAction.UNREADABLE, 0), latched=True
    )
    assert journal.state() == ("reduce_only", "OPERATOR_HALT")


def test_a_flatten_whose_latch_was_removed_without_a_clear_becomes_a_halt(
    journal: EndedRun,
) -> None:
    journal.start(LATER)
    journal.take_over(latch_line(LatchAction.SET, NOON + 5_000))
    assert journal.state() == ("reduce_only", "OPERATOR_HALT")


def test_an_intent_that_is_twice_in_the_kill_switchs_log_is_journalled_once(
    journal: EndedRun,
) -> None:
    journal.start(LATER)
    closing_intent = IntentRecorded(
        at_ms=NOON + 5, cause_id="flatten", intent=intent(OrderRole.EXIT, plan())
    )
    for _ in range(2):
        journal.take_over(flattened=(closing_intent, closing_intent))
    events = [each.event for each in read_events(journal.reader, 0)]
    assert events.count(closing_intent) == 1
