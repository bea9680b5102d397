"""What a run finds that others did: the kill switch's acts and the halt latch, journalled first."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

import attrs

from kamou.core.book.events import Event, StateChanged
from kamou.core.book.operator_events import CommandRecorded
from kamou.core.codes import StateReason
from kamou.core.model import NOTE, Figure, TradingState
from kamou.data_directory.latch import CLEAR, HALT, SET_WORD, LatchRecord, standing
from kamou.errors import DiskFullError
from kamou.runtime.supervision import RestartStormError
from kamou.store import queries
from kamou.store.journal import JournalWriter, encoded
from kamou.store.rows import StateSpan

ASKED = {
    SET_WORD: (TradingState.FLATTENING, StateReason.OPERATOR_FLATTEN),
    HALT: (TradingState.REDUCE_ONLY, StateReason.OPERATOR_HALT),
    CLEAR: (TradingState.REDUCE_ONLY, StateReason.OPERATOR_RESUME),
}
"""What a line of the latch's log asks for: the state that it leads to, and why."""
NEWEST_EVENTS = 1_000
"""The events of the last run that are looked at for its end. The newest may have an older time: an
order that ended while nothing ran has the venue's."""


def take_over(
    writer: JournalWriter,
    reader: sqlite3.Connection,
    flattened: Iterable[Event],
    *,
    latched: bool,
    latch_log: Sequence[LatchRecord] = (),
    now_ms: int,
) -> None:
    """Journal the kill switch's intents, once each, and what the latch's log says, in one commit.

    Each event has its own time: that of the intent, or of the line in the latch's log. While the
    latch stands the trading state is FLATTEN, or REDUCE_ONLY if no line of a flatten stands in its
    log. A resume while nothing ran takes the FLATTENING of a latch to REDUCE_ONLY and never
    further: no run has read the account since, and after a flatten it takes two steps to trade.

    Args:
        latched: whether the halt latch is set now.
        latch_log: every line of its log, oldest first.
        now_ms: the time of a latch that left no line in its log.
    """
    span = queries.latest(reader).state
    records = _new_lines(reader, latch_log, latched=latched)
    new = set(records)
    if latched:  # also if a run heard of it: the state that it asks for is journalled
        stands = standing(latch_log)
        halt = LatchRecord(action=HALT, reason="", actor="", at_ms=now_ms)
        records = [each for each in stands if each not in new] + records
        records += [] if stands else [halt]  # who set it, and how, is not known
    events: list[Event] = list(_latch_events(span, records, new, now_ms))
    ordered = sorted([*events, *flattened], key=lambda event: event.at_ms)
    writer.append_encoded(writer.only_new([encoded(event) for event in ordered]))


def _new_lines(
    reader: sqlite3.Connection, latch_log: Sequence[LatchRecord], *, latched: bool
) -> list[LatchRecord]:
    """Return the lines that no run has heard, oldest first.

    A run heard the lines until its end, and those before a line that a start has journalled. If
    the latch is gone without a readable clear, its flatten only holds: it may be no longer wanted.
    """
    ended_ms = _last_run_ended_ms(reader)
    imported = max(
        (place for place, each in enumerate(latch_log, 1) if _is_journalled(reader, each)),
        default=0,
    )
    if not latched:
        first = len(latch_log) - len(standing(latch_log))
        gone = (attrs.evolve(each, action=HALT) for each in latch_log[first:])
        latch_log = [*latch_log[:first], *gone]
    return [each for each in latch_log[imported:] if each.at_ms > ended_ms]


def _latch_events(
    span: StateSpan | None,
    records: Iterable[LatchRecord],
    new: Container[LatchRecord],
    now_ms: int,
) -> Iterator[Event]:
    """Return what each line of the latch's log did to the trading state, as events.

    A line that is not new was noted by the run that heard it. If that run left its state since,
    the latch takes it back now.
    """
    state = TradingState(span.state) if span else TradingState.ACTIVE
    because, since_ms = (span.reason, span.from_ms) if span else ("", 0)
    lifts = because == StateReason.OPERATOR_FLATTEN.value  # else a loss or a failure asks to close
    for record in records:
        if record.action not in ASKED:
            continue
        after, reason = ASKED[record.action]
        cause = _cause_of(record)
        lifts = lifts or state.severity < TradingState.FLATTENING.severity
        better = record.action == CLEAR and state is TradingState.FLATTENING and lifts
        stricter = state is after and because != reason.value
        worse = record.action != CLEAR and (state.severity < after.severity or stricter)
        if better or worse:
            since_ms = record.at_ms if record.at_ms >= since_ms else now_ms
            yield StateChanged(
                at_ms=since_ms,
                cause_id=cause,
                before=state,
                after=after,
                reason=reason.value,
                figures=_note(record.reason),
            )
            state, because = after, reason.value
        elif record.reason and record in new:
            yield CommandRecorded(
                at_ms=record.at_ms, cause_id=cause, reason=reason.value, note=record.reason
            )


def _cause_of(record: LatchRecord) -> str:
    return f"latch:{record.at_ms}"


def _note(words: str) -> tuple[Figure, ...]:
    return (Figure(name=NOTE, value=words),) if words else ()


def _is_journalled(reader: sqlite3.Connection, record: LatchRecord) -> bool:
    """Whether a start has journalled what the line did."""
    found = reader.execute(
        "SELECT 1 FROM event WHERE cause_id = ? AND cause_id <> ''",
        (_cause_of(record),),
    )
    return found.fetchone() is not None


def _last_run_ended_ms(reader: sqlite3.Connection) -> int:
    """When the latest event between the last two starts happened; 0 when there was none."""
    starts = "SELECT seq FROM event WHERE kind = 'run_started' AND key IS NULL ORDER BY seq DESC"
    this, last = ([seq for (seq,) in reader.execute(f"{starts} LIMIT 2")] + [0, 0])[:2]
    row = reader.execute(
        "SELECT max(at_ms) FROM event WHERE seq >= ? AND seq < ?",
        (max(last, this - NEWEST_EVENTS), this),
    ).fetchone()
    return int(row[0] or 0)


def worsen(
    writer: JournalWriter,
    reader: sqlite3.Connection,
    after: TradingState,
    reason: StateReason,
    now_ms: int,
) -> None:
    """Journal a worse trading state while no governor runs; a better one is never taken back.

    The same state for another reason is news too: a halt that the next day would end becomes
    one that only a human ends.
    """
    span = queries.latest(reader).state
    before = TradingState(span.state) if span else TradingState.ACTIVE
    stricter = before is after and span is not None and span.reason != reason.value
    if before.severity < after.severity or stricter:
        changed = StateChanged(
            at_ms=now_ms,
            cause_id="kamou",
            before=before,
            after=after,
            reason=reason.value,
        )
        writer.append([changed])


@contextmanager
def halted_by_storm(
    writer: JournalWriter, reader: sqlite3.Connection, now_ms: Callable[[], int]
) -> Iterator[None]:
    """A restart storm passes through, and is journalled: only a human rearms after it."""
    try:
        yield
    except* RestartStormError:
        writer.recover()
        with suppress(DiskFullError):  # a full disk holds new risk by itself
            worsen(writer, reader, TradingState.REDUCE_ONLY, StateReason.RESTART_STORM, now_ms())
        raise
