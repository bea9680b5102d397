"""The account's newest state in the database, for the verbs that print it."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from kamou.core.model import find_note
from kamou.core.plain import to_plain
from kamou.data_directory.folder import DataDirectory
from kamou.errors import NotRunningError
from kamou.runs.recorded_book import RecordedBook

if TYPE_CHECKING:
    from kamou.core.kinds import RunMode
    from kamou.operator.answers import PlainRow


class DayBudget(TypedDict):
    """Result and loss of a day, as fractions of its first equity.

    The first equity is that of 00:00 UTC if it is known. If the loss as the governor counts it is
    unknown, ``loss`` and ``exit_costs`` are None, ``loss_unknown`` has the reason, and
    ``loss_budget_left`` uses the result.
    """

    day: str
    result: float
    loss: float | None  # as the governor counts it, with the exit costs of all open positions
    exit_costs: float | None
    loss_unknown: str | None
    loss_limit: float  # of the newest run
    loss_budget_left: float


class AccountStatus(TypedDict):
    """The account's newest state; money is decimal text, None: unknown."""

    as_of_ms: int | None  # of the positions and pending entries
    mode: RunMode | None
    currency: str
    state: str
    state_reason: str | None
    state_note: str | None  # the operator's reason
    state_since_ms: int | None  # None: it has never changed
    disabled_strategies: list[str]
    equity: str | None
    wallet_balance: str | None
    unrealized_pnl: str | None
    equity_at_ms: int | None
    cycle_at_ms: int | None
    day: DayBudget | None  # None: see ``query_day_budget``
    positions: Sequence[PlainRow]
    pending_entries: Sequence[PlainRow]
    resting_orders: int  # number of open orders of all roles


def open_database(directory: DataDirectory, database: Path | None = None) -> sqlite3.Connection:
    """Return a read-only connection to the database.

    Args:
        directory: the data directory, whose database is read.
        database: file that is read instead; None: the data directory's database.

    Raises:
        NotRunningError: no run has used this data directory.
        StoreError: the database cannot be read, is damaged, or is of another version; or the given
            file does not exist.
    """
    from kamou.store.database import open_reader

    if database is not None:
        _check_once(database)
        return open_reader(database)
    if not directory.database.exists():
        raise NotRunningError(
            f"no run has used the data directory {directory.path} yet; `kamou run` starts one"
        )
    _check_once(directory.database)
    return open_reader(directory.database)


@cache
def _check_once(path: Path) -> None:
    """Check all pages of the database, once per process, because the check is slow.

    Raises:
        StoreError: the database cannot be read, is damaged, or is of another version.
    """
    from kamou.store.database import open_checked_reader

    open_checked_reader(path).close()


def describe_account(
    reader: sqlite3.Connection,
    recorded: RecordedBook | None = None,
    system: Mapping[str, Any] | None = None,
) -> AccountStatus:
    """Return state, equity, daily budget, positions and pending entries as plain data.

    ``positions``, ``pending_entries`` and ``as_of_ms`` are those of ``system`` if it has them.

    Args:
        reader: connection to the database.
        recorded: position book that follows the journal; None: a new one.
        system: status of the run, whose positions have newer mark prices; None: no run.

    Raises:
        StoreError: this version cannot read an event.
    """
    from kamou.store import queries
    from kamou.store.latest_events import disabled_strategies, latest_equity
    from kamou.store.latest_run import DEFAULT_CURRENCY, latest_run

    latest, run = queries.query_latest(reader), latest_run(reader)
    resting = queries.query_open_orders(reader)
    recorded = recorded or RecordedBook()
    equity, span = latest.equity, latest.state
    if system is not None and "positions" in system:
        held, pending, at_ms = (system[k] for k in ("positions", "pending_entries", "at_ms"))
    else:
        held, pending = recorded.rows(reader, latest_equity(reader))
        at_ms = latest.at_ms
    return {
        "as_of_ms": at_ms,
        "mode": latest.mode,
        "currency": run.currency if run else DEFAULT_CURRENCY,
        "state": span.state if span else "active",
        "state_reason": span.reason if span else None,
        "state_note": (find_note(span.figures) or None) if span else None,
        "state_since_ms": span.from_ms if span else None,
        "disabled_strategies": list(disabled_strategies(reader)),
        "equity": to_plain(equity.equity if equity else None),
        "wallet_balance": to_plain(equity.wallet_balance if equity else None),
        "unrealized_pnl": to_plain(equity.unrealized_pnl if equity else None),
        "equity_at_ms": equity.at_ms if equity else None,
        "cycle_at_ms": latest.cycle.cycle_at_ms if latest.cycle else None,
        "day": query_day_budget(reader, recorded),
        "positions": held,
        "pending_entries": pending,
        "resting_orders": len(resting),
    }


def query_day_budget(reader: sqlite3.Connection, recorded: RecordedBook) -> DayBudget | None:
    """Return result, loss and loss limit of the day, as of the newest equity snapshot.

    Return None if no day was opened, no equity was read, or the day began without equity.

    Raises:
        StoreError: this version cannot read an event.
    """
    from kamou.store.latest_run import DAILY_LOSS_MAX, latest_run

    found = recorded.measure_day(reader)
    if found is None:
        return None
    run, day = latest_run(reader), found.money
    limit = DAILY_LOSS_MAX if run is None else run.daily_loss_max
    known = found.loss_unknown is None
    lost = max(Decimal(0), day.loss if known else -day.result)
    return {
        "day": found.utc_day,
        "result": round(float(day.result), 6),
        "loss": round(float(lost), 6) if known else None,
        "exit_costs": round(float(day.exit_costs / day.equity_start), 6) if known else None,
        "loss_unknown": found.loss_unknown,
        "loss_limit": float(limit),
        "loss_budget_left": round(float(max(Decimal(0), limit - lost)), 6),
    }


def describe_loss(day: DayBudget | None) -> str:
    """Return the day's loss as the governor counts it, or why it is unknown, as text."""
    if day is None:
        return "unknown: the record has no day with equity yet"
    if day["loss"] is None:
        return f"unknown: {day['loss_unknown']}"
    return (
        f"{day['loss']:.2%} of {day['loss_limit']:.2%},"
        f" exit costs of {day['exit_costs']:.2%} included"
    )
