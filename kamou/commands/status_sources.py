"""Read the status of a data directory, from its run and from its database."""

from __future__ import annotations

import contextlib
from typing import Any

from kamou.clock import SystemClock
from kamou.commands.book import describe_account, open_database
from kamou.commands.operator import OperatorClient
from kamou.commands.status_text import troubles
from kamou.data_directory.folder import DataDirectory
from kamou.data_directory.latch import SET_WORD, HaltLatch, standing
from kamou.errors import KamouError, NotRunningError
from kamou.runs.recorded_book import RecordedBook
from kamou.settings.config import Resolved


def read_status(resolved: Resolved, recorded: RecordedBook) -> dict[str, Any]:
    """Return the status of the run, if one answers, and that of the database.

    Raises:
        StoreError: there is a database, and it cannot be read.
    """
    folder = DataDirectory(resolved.settings.data_dir)
    seen = unread(None, gone=False)
    try:
        operator = OperatorClient.find(folder)
        record = operator.record
        seen["run"] = {
            "pid": record.pid,
            "started_at_ms": record.started_at_ms,
            "port": record.port,
            "mode": record.mode,
        }
        seen["system"] = operator.status()
        seen["running"] = True
    except KamouError as error:
        seen |= {"why_not": str(error), "gone": isinstance(error, NotRunningError)}
    with contextlib.suppress(NotRunningError), contextlib.closing(open_database(folder)) as reader:
        seen["book"] = describe_account(reader, recorded, seen["system"])
        for name in ("positions", "pending_entries") if seen["running"] else ():
            seen["system"].pop(name, None)  # they are in "book"
    if not seen["running"]:
        seen["latch"] = _latch(HaltLatch(folder.latch))
    return seen | {"troubles": troubles(seen)}


def _latch(latch: HaltLatch) -> dict[str, Any] | None:
    """Return who set the halt latch, when and why; None if it is not set."""
    if not latch.is_set():
        return None
    lines = standing(latch.log())
    flattened = [line for line in lines if line.action == SET_WORD]
    shown = flattened[-1:] or lines[:1]  # the newest flatten, or the first halt
    return {
        "at_ms": shown[0].at_ms if shown else None,
        "reason": shown[0].reason if shown else "",
        "actor": shown[0].actor if shown else "",
        "flattened": bool(flattened),
    }


def unread(why_not: str | None, *, gone: bool) -> dict[str, Any]:
    """Return an empty status. ``gone``: no run holds the data directory, or none listens."""
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
