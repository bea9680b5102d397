"""Sources of a data directory's status: its run, database and halt latch."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict

from kamou.clock import SystemClock
from kamou.commands.book import AccountStatus, describe_account, open_database
from kamou.commands.operator import OperatorClient
from kamou.commands.status_text import find_troubles
from kamou.data_directory.folder import DataDirectory
from kamou.data_directory.latch import HaltLatch, LatchAction, standing_records
from kamou.errors import KamouError, NotRunningError
from kamou.runs.recorded_book import RecordedBook
from kamou.settings.config import Resolved


class RunFacts(TypedDict):
    """The run that holds the data directory, from its run record."""

    pid: int
    started_at_ms: int
    port: int  # of the public site
    mode: str


class LatchFacts(TypedDict):
    """The record of the halt latch that is shown, and whether a flatten set the latch."""

    at_ms: int | None  # None: the log has no readable record of it
    reason: str
    actor: str
    flattened: bool


class StatusDocument(TypedDict):
    """The status of a data directory, as `kamou status --json` prints it."""

    at_ms: int
    running: bool
    why_not: str | None  # why there is no status of a run
    gone: bool  # no run was found that holds the data directory and listens
    troubles: list[str]  # sentences of ``status_text.find_troubles``
    run: RunFacts | None  # None: no run was found
    latch: LatchFacts | None  # None: the halt latch is not set, or a run answered
    system: Mapping[str, object] | None  # as the run answered
    book: AccountStatus | None  # None: there is no database
    notice: NotRequired[str | None]  # only while the status is watched


def read_status(resolved: Resolved, recorded: RecordedBook) -> StatusDocument:
    """Return the status of the run, if one answers, and of the database, if it exists.

    Raises:
        StoreError: the database exists and cannot be read, is damaged, or is of another version.
    """
    directory = DataDirectory(resolved.settings.data_dir)
    status = empty_status(None, gone=False)
    system: dict[str, Any] | None = None
    try:
        operator = OperatorClient.find(directory)
        record = operator.record
        status["run"] = {
            "pid": record.pid,
            "started_at_ms": record.started_at_ms,
            "port": record.port,
            "mode": record.mode,
        }
        system = status["system"] = operator.status()
        status["running"] = True
    except KamouError as error:
        status["why_not"], status["gone"] = str(error), isinstance(error, NotRunningError)
    with (
        contextlib.suppress(NotRunningError),
        contextlib.closing(open_database(directory)) as reader,
    ):
        status["book"] = describe_account(reader, recorded, system)
        if system is not None:
            for name in ("positions", "pending_entries"):
                system.pop(name, None)  # they are in "book"
    if not status["running"]:
        status["latch"] = _describe_halt_latch(HaltLatch(directory.latch))
    status["troubles"] = find_troubles(status)
    return status


def _describe_halt_latch(latch: HaltLatch) -> LatchFacts | None:
    """Return time, reason and actor of the halt latch, and whether a flatten set it.

    None if the halt latch is not set.
    """
    if not latch.is_set():
        return None
    lines = standing_records(latch.log())
    flattened = [line for line in lines if line.action is LatchAction.SET]
    shown = flattened[-1:] or lines[:1]  # the newest flatten, else the first halt
    return {
        "at_ms": shown[0].at_ms if shown else None,
        "reason": shown[0].reason if shown else "",
        "actor": shown[0].actor if shown else "",
        "flattened": bool(flattened),
    }


def empty_status(why_not: str | None, *, gone: bool) -> StatusDocument:
    """Return a status without run and database.

    Args:
        why_not: why there is no status of a run.
        gone: no run was found that holds the data directory and listens.
    """
    return {
        "at_ms": SystemClock().now_ms(),
        "running": False,
        "why_not": why_not,
        "gone": gone,
        "troubles": [],
        "run": None,
        "latch": None,
        "system": None,
        "book": None,
    }
