"""What a run begins and ends with, in words: the account, and what is left at the exchange."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime

from kamou.core.book.position_book import PositionBook
from kamou.core.codes import state_cause
from kamou.core.model import TradingState, note_of
from kamou.core.risk.limits import RiskLimits
from kamou.core.words import count_words
from kamou.data_directory.folder import DataDirectory, RunRecord
from kamou.data_directory.latch import CLEAR, HALT, SET_WORD, HaltLatch
from kamou.http.addresses import literal
from kamou.runs.recorded_book import RecordedBook
from kamou.store import database, queries
from kamou.store.latest_events import latest_mark

SAID_MAX = 6  # of what the operator did since; the newest
DECISIONS = ("vetoed", "refused", "permits")  # totals: vetoes, denials and permits


def say_time(at_ms: int) -> str:
    """``2026-01-02 12:00 UTC``."""
    return f"{datetime.fromtimestamp(at_ms // 1000, UTC):%Y-%m-%d %H:%M} UTC"


def carried_over(folder: DataDirectory, limits: RiskLimits) -> str | None:
    """Return what the newest run on this folder left for the next one; None: there was none.

    Ask before the next run opens its journal.
    """
    with closing(database.open_reader(folder.database)) as reader:
        run = queries.latest(reader).run
        if run is None:
            return None
        ended = "ended without an orderly stop"
        if run.stopped_at_ms is not None:
            ended = f"{run.stop_reason} at {say_time(run.stopped_at_ms)}"
        words = account_words(reader, limits)
        since = _since(HaltLatch(folder.latch), queries.latest(reader).at_ms or 0)
    return f"carried over from run {run.run_number}, which {ended}: {words}{since}"


DID = {SET_WORD: "flattened", HALT: "halted", CLEAR: "resumed"}


def _since(latch: HaltLatch, recorded_ms: int) -> str:
    """Say what the operator did after the record ended: a flatten closes what it shows as open."""
    done = [each for each in latch.log() if each.at_ms > recorded_ms and each.action in DID]
    if not done:
        return ""
    words = ", ".join(f"{DID[each.action]} at {say_time(each.at_ms)}" for each in done[-SAID_MAX:])
    return f"; since then, while nothing ran: {words}; what is open is read from the exchange now"


def ready_words(record: RunRecord, folder: DataDirectory, state: str | None) -> str:
    """Return where the run listens and its trading state; None: the journal cannot be read."""
    port = record.operator_port
    operator = str(folder.operator_socket) if port is None else f"port {port}"
    return (
        f"ready: pages at http://{literal(record.host)}:{record.port}/, operator at {operator},"
        f" trading state {state or 'not known'}, data directory {folder.path}"
    )


def account_words(reader: sqlite3.Connection, limits: RiskLimits) -> str:
    """Return positions, orders, the day's loss, the trading state and the decisions, in words."""
    total = sum(queries.totals(reader)[name] for name in DECISIONS)
    parts = (
        left_words(RecordedBook().follow(reader)),
        count_words(len(queries.open_orders(reader)), "open order"),
        f"day's loss {_loss(reader, limits)}",
        f"trading state {_state(reader)}",
        f"{count_words(total, 'decision')} on record",
    )
    return ", ".join(parts)


def left_words(book: PositionBook) -> str:
    """Return ``3 positions with their stops``; or how many have no confirmed stop.

    Positions are those of ``kamou status``, adopted ones among them. A stop counts once it was read
    back from the venue and covers all that is open.
    """
    trades = [trade for trade in book.trades.values() if trade.quantity]
    unprotected = sum(1 for trade in trades if not trade.protected)
    if not trades:
        return "no positions"
    shown = count_words(len(trades), "position")
    if not unprotected:
        return f"{shown} with {'its stop' if len(trades) == 1 else 'their stops'}"
    which = "" if len(trades) == 1 else f" {unprotected} of them"
    return f"{shown},{which} not covered by a confirmed stop"


def left_at_the_exchange(folder: DataDirectory) -> str:
    """Return what stays open while nothing runs."""
    with closing(database.open_reader(folder.database)) as reader:
        return left_words(RecordedBook().follow(reader))


def _state(reader: sqlite3.Connection) -> str:
    span = queries.latest(reader).state
    if span is None:
        return "active"
    if span.state == TradingState.ACTIVE.value:
        return span.state
    cause, note = state_cause(span.state, span.reason), note_of(span.figures)
    return f"{span.state} ({cause}: {note})" if note else f"{span.state} ({cause})"


def _loss(reader: sqlite3.Connection, limits: RiskLimits) -> str:
    """The day's loss as the newest mark has it: what the rules count against the limit."""
    mark = latest_mark(reader)
    if mark is None or not mark.day_equity or mark.day_lost is None:
        return "not known"
    return f"{mark.day_lost / mark.day_equity:.2%} of {limits.daily_loss_max:.2%}"
