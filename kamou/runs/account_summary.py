"""Texts about a run's account, positions and addresses, and ``format_minute``."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime

from kamou.core.book.position_book import PositionBook
from kamou.core.model import ZERO, TradingState, find_note
from kamou.core.risk.limits import RiskLimits
from kamou.core.words import count_words, state_cause
from kamou.data_directory.folder import DataDirectory, RunRecord
from kamou.data_directory.latch import HaltLatch, LatchAction
from kamou.http.addresses import literal
from kamou.runs.recorded_book import RecordedBook
from kamou.store import database, queries

ACTIONS_SHOWN = 6  # newest actions of the operator in one line
DECISIONS = ("vetoed", "refused", "permits")
"""Totals of decisions.

They are vetoes; refusals of the refiner and denials of the order manager and of the governor;
permits.
"""


def format_minute(at_ms: int) -> str:
    """Return a time to the minute, such as ``2026-01-02 12:00 UTC``."""
    return f"{datetime.fromtimestamp(at_ms // 1000, UTC):%Y-%m-%d %H:%M} UTC"


def describe_carry_over(data_dir: DataDirectory, limits: RiskLimits) -> str | None:
    """Return one line about the last run's end and account; None without a last run.

    The line also has the flattens, halts and resumes since then. Call this function before the next
    run opens its journal, which then has a newer run.

    Raises:
        StoreError: the journal cannot be read.
    """
    with closing(database.open_reader(data_dir.database)) as reader:
        run = queries.query_latest(reader).run
        if run is None:
            return None
        ended = "ended without an orderly stop"
        if run.stopped_at_ms is not None:
            ended = f"{run.stop_reason} at {format_minute(run.stopped_at_ms)}"
        words = summarize_account(reader, limits)
        since = _describe_later_actions(
            HaltLatch(data_dir.latch), queries.query_latest(reader).at_ms or 0
        )
    return f"carried over from run {run.run_number}, which {ended}: {words}{since}"


ACTION_WORDS = {
    LatchAction.SET: "flattened",
    LatchAction.HALT: "halted",
    LatchAction.CLEAR: "resumed",
}


def _describe_later_actions(latch: HaltLatch, recorded_ms: int) -> str:
    """Return the latch's actions after the journal's last event; empty without one.

    The actions are the newest ``ACTIONS_SHOWN`` flattens, halts and resumes of the halt latch's
    log. A flatten may have closed positions that the journal still shows as open.
    """
    later = [
        each for each in latch.log() if each.at_ms > recorded_ms and each.action in ACTION_WORDS
    ]
    if not later:
        return ""
    words = ", ".join(
        f"{ACTION_WORDS[each.action]} at {format_minute(each.at_ms)}"
        for each in later[-ACTIONS_SHOWN:]
    )
    return f"; after the journal's last event: {words}; positions are read from the exchange now"


def describe_ready(record: RunRecord, data_dir: DataDirectory, state: str | None) -> str:
    """Return one line with the run's addresses, trading state and data directory.

    Args:
        state: the trading state; None if the journal cannot be read.
    """
    port = record.operator_port
    operator = str(data_dir.operator_socket) if port is None else f"port {port}"
    return (
        f"ready: pages at http://{literal(record.host)}:{record.port}/, operator at {operator},"
        f" trading state {state or 'not known'}, data directory {data_dir.path}"
    )


def summarize_account(reader: sqlite3.Connection, limits: RiskLimits) -> str:
    """Return one line about positions, orders, loss, trading state and decisions.

    The loss is that of the open day, as of the newest equity snapshot. The decisions are all
    vetoes, refusals of the refiner, denials of the order manager and of the governor, and permits
    since the journal began.

    Raises:
        StoreError: the journal cannot be read.
    """
    total = sum(queries.query_totals(reader)[name] for name in DECISIONS)
    recorded = RecordedBook()
    parts = (
        describe_protection(recorded.follow(reader)),
        count_words(len(queries.query_open_orders(reader)), "open order"),
        f"day's loss {_describe_loss(recorded, reader, limits)}",
        f"trading state {_describe_state(reader)}",
        f"{count_words(total, 'decision')} on record",
    )
    return ", ".join(parts)


def describe_protection(book: PositionBook) -> str:
    """Describe the open positions, and say if some have no confirmed stop.

    The positions are those of ``kamou status``, which has the adopted ones too. A stop counts once
    Kamou has read it back from the venue and it covers the whole position.
    """
    trades = [trade for trade in book.trades.open.values() if trade.quantity]
    unprotected = sum(1 for trade in trades if not trade.protected)
    if not trades:
        return "no positions"
    shown = count_words(len(trades), "position")
    if not unprotected:
        return f"{shown} with {'its stop' if len(trades) == 1 else 'their stops'}"
    which = "" if len(trades) == 1 else f" {unprotected} of them"
    return f"{shown},{which} not covered by a confirmed stop"


def describe_remaining_positions(data_dir: DataDirectory) -> str:
    """Describe the positions that a run leaves, and its orders without a position.

    Raises:
        StoreError: the journal cannot be read.
    """
    with closing(database.open_reader(data_dir.database)) as reader:
        book = RecordedBook().follow(reader)
    positions = describe_protection(book)
    held = {symbol for symbol, trade in book.trades.open.items() if trade.quantity}
    live = [order for order in book.orders.unsettled.values() if not order.status.terminal]
    alone = [order for order in live if order.intent.symbol not in held]
    if not alone:
        return positions
    return f"{positions}, {count_words(len(alone), 'order')} without a position"


def _describe_state(reader: sqlite3.Connection) -> str:
    """Return the trading state, with its cause and any note unless it is active."""
    span = queries.query_latest(reader).state
    if span is None:
        return "active"
    if span.state is TradingState.ACTIVE:
        return span.state
    cause, note = state_cause(span.state, span.reason), find_note(span.figures)
    return f"{span.state} ({cause}: {note})" if note else f"{span.state} ({cause})"


def _describe_loss(recorded: RecordedBook, reader: sqlite3.Connection, limits: RiskLimits) -> str:
    """Return the day's loss and its limit as shares of the day's first equity.

    The text is ``not known`` if ``RecordedBook.measure_day`` does not know the loss.
    """
    day = recorded.measure_day(reader)
    if day is None or day.loss_unknown is not None:
        return "not known"
    return f"{max(ZERO, day.money.loss):.2%} of {limits.daily_loss_max:.2%}"
