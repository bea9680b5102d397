"""Journal the kill switch's intents, the halt latch's log and restart storms.

A run journals the intents and the log when it starts, and a restart storm when one ends it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

import attrs

from kamou.core.book.events import Event, StateChanged
from kamou.core.book.operator_events import CommandRecorded
from kamou.core.codes import StateReason
from kamou.core.model import NOTE, Figure, TradingState
from kamou.data_directory.latch import LatchAction, LatchRecord, standing_records
from kamou.errors import DiskFullError
from kamou.runtime.supervision import RestartStormError
from kamou.store import queries
from kamou.store.journal import JournalWriter, encode_event
from kamou.store.rows import StateSpan

ASKED = {
    LatchAction.SET: (TradingState.FLATTENING, StateReason.OPERATOR_FLATTEN),
    LatchAction.HALT: (TradingState.REDUCE_ONLY, StateReason.OPERATOR_HALT),
    LatchAction.CLEAR: (TradingState.REDUCE_ONLY, StateReason.OPERATOR_RESUME),
}
"""The trading state that each action in the latch's log asks for, and its reason."""
NEWEST_EVENTS = 1_000
"""Number of newest events of the last run in which its end is searched. The newest one may not have
the latest time, because an order that ended between two runs has the venue's time."""


def take_over(
    writer: JournalWriter,
    reader: sqlite3.Connection,
    flattened: Iterable[Event],
    *,
    latched: bool,
    latch_log: Sequence[LatchRecord] = (),
    now_ms: int,
) -> None:
    """Journal the kill switch's intents and the latch's log in one commit.

    Each intent is journalled once, with its own time. The event of a line has the time of the line;
    a change of the trading state has ``now_ms`` if its line is older than the newest state. While
    the latch is set, the trading state is FLATTENING, or at least REDUCE_ONLY if the log has no
    flatten since the last clear. A resume between two runs changes the FLATTENING of a latch to
    REDUCE_ONLY and not to ACTIVE: no run has read the account since, and after a flatten two
    resumes are needed.

    Args:
        writer: the writer of the journal.
        reader: a connection to the journal.
        flattened: the kill switch's intents as events.
        latched: the halt latch is set now.
        latch_log: every line of its log, oldest first.
        now_ms: the time now, for a latch without a line in its log and for the changes named above.

    Raises:
        StoreError: the journal cannot be written.
    """
    span = queries.query_latest(reader).state
    records = _new_lines(reader, latch_log, latched=latched)
    new = set(records)
    if latched:  # also if a run has seen the latch, so that its state is journalled
        active = standing_records(latch_log)
        halt = LatchRecord(action=LatchAction.HALT, reason="", actor="", at_ms=now_ms)
        records = [each for each in active if each not in new] + records
        records += [] if active else [halt]  # the log does not say who set the latch, or how
    events: list[Event] = list(_latch_events(span, records, new, now_ms))
    ordered = sorted([*events, *flattened], key=lambda event: event.at_ms)
    writer.append_encoded(writer.drop_duplicates([encode_event(event) for event in ordered]))


def _new_lines(
    reader: sqlite3.Connection, latch_log: Sequence[LatchRecord], *, latched: bool
) -> list[LatchRecord]:
    """Return the lines that no run has seen, oldest first.

    A run saw the lines until its end, and the lines before one that a start has journalled. If the
    latch was removed without a readable clear, its flatten counts as a halt, because the operator
    may have withdrawn the flatten.
    """
    ended_ms = _last_run_ended_ms(reader)
    journalled = max(
        (place for place, each in enumerate(latch_log, 1) if _is_journalled(reader, each)),
        default=0,
    )
    if not latched:
        first = len(latch_log) - len(standing_records(latch_log))
        halts = (attrs.evolve(each, action=LatchAction.HALT) for each in latch_log[first:])
        latch_log = [*latch_log[:first], *halts]
    return [each for each in latch_log[journalled:] if each.at_ms > ended_ms]


def _latch_events(
    span: StateSpan | None,
    records: Iterable[LatchRecord],
    new: Container[LatchRecord],
    now_ms: int,
) -> Iterator[Event]:
    """Yield the change of the trading state by each line of the latch's log.

    A new line with a note that changes no state yields ``CommandRecorded``. A line that a run has
    journalled yields a change only if that run has since changed the trading state back.

    Args:
        span: the newest trading state in the journal; None: ACTIVE.
        records: the lines, oldest first.
        new: the lines that no run has seen.
        now_ms: the time of a change whose line is older than the newest state.
    """
    state = span.state if span else TradingState.ACTIVE
    cause, since_ms = (span.reason, span.from_ms) if span else (None, 0)
    # A clear lifts FLATTENING if the operator asked for it, and not if a loss or a failure did.
    by_operator = cause is StateReason.OPERATOR_FLATTEN
    for record in records:
        if record.action not in ASKED:
            continue
        after, reason = ASKED[record.action]
        cause_id = _cause_id(record)
        by_operator = by_operator or state.severity < TradingState.FLATTENING.severity
        better = (
            record.action is LatchAction.CLEAR and state is TradingState.FLATTENING and by_operator
        )
        stricter = state is after and cause is not reason
        worse = record.action is not LatchAction.CLEAR and (
            state.severity < after.severity or stricter
        )
        if better or worse:
            since_ms = record.at_ms if record.at_ms >= since_ms else now_ms
            yield StateChanged(
                at_ms=since_ms,
                cause_id=cause_id,
                before=state,
                after=after,
                reason=reason,
                figures=_note_figures(record.reason),
            )
            state, cause = after, reason
        elif record.reason and record in new:
            yield CommandRecorded(
                at_ms=record.at_ms, cause_id=cause_id, reason=reason, note=record.reason
            )


def _cause_id(record: LatchRecord) -> str:
    return f"latch:{record.at_ms}"


def _note_figures(words: str) -> tuple[Figure, ...]:
    return (Figure(name=NOTE, value=words),) if words else ()


def _is_journalled(reader: sqlite3.Connection, record: LatchRecord) -> bool:
    """Return True if a start has journalled the line."""
    found = reader.execute(
        "SELECT 1 FROM event WHERE cause_id = ? AND cause_id <> ''",
        (_cause_id(record),),
    )
    return found.fetchone() is not None


def _last_run_ended_ms(reader: sqlite3.Connection) -> int:
    """Return the latest time of an event between the last two starts; 0 without one.

    Only the newest ``NEWEST_EVENTS`` of these events count.
    """
    starts = "SELECT seq FROM event WHERE kind = 'run_started' AND key IS NULL ORDER BY seq DESC"
    this, last = ([seq for (seq,) in reader.execute(f"{starts} LIMIT 2")] + [0, 0])[:2]
    row = reader.execute(
        "SELECT max(at_ms) FROM event WHERE seq >= ? AND seq < ?",
        (max(last, this - NEWEST_EVENTS), this),
    ).fetchone()
    return int(row[0] or 0)


def tighten_state(
    writer: JournalWriter,
    reader: sqlite3.Connection,
    after: TradingState,
    reason: StateReason,
    now_ms: int,
) -> None:
    """Journal a stricter trading state, or the same state with another reason.

    Do nothing for a weaker state, or for the same state and reason. Another reason counts because a
    halt that the next day would end may become one that only the operator ends. Call this while no
    governor runs.
    """
    span = queries.query_latest(reader).state
    before = span.state if span else TradingState.ACTIVE
    stricter = before is after and span is not None and span.reason is not reason
    if before.severity < after.severity or stricter:
        changed = StateChanged(
            at_ms=now_ms,
            cause_id="kamou",
            before=before,
            after=after,
            reason=reason,
        )
        writer.append([changed])


@contextmanager
def halt_on_storm(
    writer: JournalWriter, reader: sqlite3.Connection, now_ms: Callable[[], int]
) -> Iterator[None]:
    """Journal a restart storm of the block as a halt, and raise the error again.

    Only the operator ends this halt. Nothing is journalled if the trading state is FLATTENING, or
    REDUCE_ONLY after an earlier storm, or if the disk is full.

    Raises:
        RestartStormError: the error of the block, in a group.
    """
    try:
        yield
    except* RestartStormError:
        writer.recover()
        with suppress(DiskFullError):  # a full disk stops new entries by itself
            tighten_state(
                writer, reader, TradingState.REDUCE_ONLY, StateReason.RESTART_STORM, now_ms()
            )
        raise
